package prometheus

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
)

func TestScrape(t *testing.T) {
	var letters atomic.Int64
	target := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, "letters_total{kind=\"plain\"} %d\nletters_total{kind=\"odd\"} NaN\n", letters.Load())
	}))
	defer target.Close()
	s := Start(t, strings.TrimPrefix(target.URL, "http://"))

	s.Await(t, `up{job="test"} == 1`)
	if got := s.Query(t, `letters_total > 0`); len(got) != 0 {
		t.Errorf("before the first letter: %v", got)
	}
	letters.Store(7)
	got := s.Await(t, `letters_total{kind="plain"} > 0`)
	if len(got) != 1 || got[0].Value != 7 || got[0].Labels["kind"] != "plain" {
		t.Errorf("after seven letters: %v", got)
	}
	for _, wrong := range []string{"sum(", "1"} {
		if got, err := s.query(wrong); err == nil {
			t.Errorf("query %q: %v and no error", wrong, got)
		}
	}
}

func TestRules(t *testing.T) {
	target := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, "letters{box=\"a\"} 7\nletters{box=\"b\"} 7\n")
	}))
	defer target.Close()
	file := filepath.Join(t.TempDir(), "rules.yml")
	err := os.WriteFile(file, []byte(`{"groups": [{"name": "g", "rules": [
		{"record": "twice", "expr": "sum(letters) * 2"},
		{"alert": "Wrong", "expr": "letters + on () letters"}]}]}`), 0o600)
	if err != nil {
		t.Fatal(err)
	}
	s := StartWith(t, file, strings.TrimPrefix(target.URL, "http://"))
	s.Await(t, `twice == 28`)
	got := s.Rules(t)
	if len(got) != 2 || got[0] != (Rule{"twice", "ok", ""}) || got[1].Name != "Wrong" || got[1].Health != "err" || got[1].LastError == "" {
		t.Errorf("%+v", got)
	}
	if none := Start(t).Rules(t); len(none) != 0 {
		t.Errorf("without a file there are %v", none)
	}
}

// failures counts a test's errors instead of reporting them.
type failures struct {
	testing.TB
	n int
}

func (f *failures) Errorf(string, ...any) { f.n++ }

func TestCheckMetrics(t *testing.T) {
	const good = "# HELP letters_total Letters seen.\n# TYPE letters_total counter\nletters_total 1\n"
	for _, test := range []struct {
		metrics string
		wrong   int
	}{
		{good, 0},
		{"this is not a metric\n", 1},
		{"# HELP letters Letters seen.\n# TYPE letters counter\nletters 1\n", 1}, // not named _total
		{"letters_total 1\n", 1}, // no help
	} {
		seen := &failures{TB: t}
		CheckMetrics(seen, []byte(test.metrics))
		if seen.n != test.wrong {
			t.Errorf("%q: %d complaints, want %d", test.metrics, seen.n, test.wrong)
		}
	}
}
