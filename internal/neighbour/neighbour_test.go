package neighbour

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// ending records how a test was ended, and ends the goroutine's work the way
// testing does: by not returning.
type ending struct {
	testing.TB
	how, text string
}

func (e *ending) Helper() {}

func (e *ending) Skipf(format string, args ...any) { e.end("skip", format, args) }

func (e *ending) Fatalf(format string, args ...any) { e.end("fail", format, args) }

func (e *ending) end(how, format string, args []any) {
	e.how, e.text = how, fmt.Sprintf(format, args...)
	panic(e)
}

// watch runs f with a testing.TB whose end it reports.
func watch(t *testing.T, f func(testing.TB)) (e *ending) {
	t.Helper()
	e = &ending{TB: t}
	defer func() {
		if r := recover(); r != nil && r != any(e) {
			panic(r)
		}
	}()
	f(e)
	return e
}

func TestMissing(t *testing.T) {
	for _, test := range []struct{ ci, want string }{
		{"", "skip"},
		{"false", "skip"},
		{"true", "fail"},
		{"1", "fail"},
	} {
		t.Run("CI="+test.ci, func(t *testing.T) {
			t.Setenv("CI", test.ci)
			got := watch(t, func(tb testing.TB) { Missing(tb, "dovecot 2.4", "./test.sh installs it") })
			if got.how != test.want {
				t.Errorf("ended by %q, want %q", got.how, test.want)
			}
			if !strings.Contains(got.text, "dovecot 2.4") || !strings.Contains(got.text, "./test.sh") {
				t.Errorf("text %q names neither what is missing nor how to get it", got.text)
			}
		})
	}
}

func TestProgram(t *testing.T) {
	t.Setenv("CI", "")
	dir := t.TempDir()
	t.Setenv("NEIGHBOUR_TOOLS", dir)
	tool := filepath.Join(dir, "some-neighbour")
	if err := os.WriteFile(tool, []byte("#!/bin/sh\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	plain := filepath.Join(dir, "not-a-program")
	if err := os.WriteFile(plain, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if got := Program(t, "some-neighbour"); got != tool {
		t.Errorf("got %q, want %q", got, tool)
	}
	if got := Program(t, "sh"); !filepath.IsAbs(got) {
		t.Errorf("sh found at %q, want an absolute path", got)
	}
	for _, name := range []string{"not-a-program", "never-heard-of-it"} {
		got := watch(t, func(tb testing.TB) { Program(tb, name) })
		if got.how != "skip" || !strings.Contains(got.text, name) {
			t.Errorf("%s: ended by %q with %q, want a skip naming it", name, got.how, got.text)
		}
	}
}

func TestBuiltTools(t *testing.T) {
	root := filepath.Dir(filepath.Dir(builtTools()))
	if _, err := os.Stat(filepath.Join(root, "go.mod")); err != nil {
		t.Errorf("%q is not the module's root: %v", root, err)
	}
}

func TestDirectory(t *testing.T) {
	t.Setenv("CI", "")
	root := t.TempDir()
	t.Setenv("NEIGHBOUR_TOOLS", filepath.Join(root, "bin"))
	made := filepath.Join(root, "some-data")
	if err := os.Mkdir(made, 0o755); err != nil {
		t.Fatal(err)
	}
	if got := Directory(t, "some-data"); got != made {
		t.Errorf("got %q, want %q", got, made)
	}
	got := watch(t, func(tb testing.TB) { Directory(tb, "never-heard-of-it") })
	if got.how != "skip" || !strings.Contains(got.text, "never-heard-of-it") {
		t.Errorf("ended by %q with %q, want a skip naming it", got.how, got.text)
	}
}
