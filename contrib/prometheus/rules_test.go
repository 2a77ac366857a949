// Package prometheus tests the alert rules that a user copies.
package prometheus

import (
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/homing-mail/homing/internal/neighbour"
	"github.com/homing-mail/homing/internal/prometheus"
	"github.com/homing-mail/homing/metrics"
)

const (
	rules  = "homing.rules.yml"
	alerts = "../../docs/alerts.md"
	manual = "https://github.com/homing-mail/homing/blob/main/docs/alerts.md#"
)

var tests = []string{"homing.rules.test.yml", "homing.nomail.test.yml"}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestRules(t *testing.T) {
	promtool := neighbour.Program(t, "promtool")
	for _, args := range [][]string{{"check", "rules", rules}, {"check", "config", "prometheus.yml"}, append([]string{"test", "rules"}, tests...)} {
		if out, err := exec.CommandContext(t.Context(), promtool, args...).CombinedOutput(); err != nil {
			t.Errorf("promtool %v: %v\n%s", args, err, out)
		}
	}
}

// A rule about a metric that homing does not have would never fire.
func TestRulesNameWhatThereIs(t *testing.T) {
	table := metrics.New("test").Table()
	for _, path := range append([]string{rules}, tests...) {
		text := read(t, path)
		for _, mistake := range prometheus.Mistakes(text, table) {
			t.Errorf("%s: %s", path, mistake)
		}
		if names := prometheus.Named(text, table); len(names) == 0 {
			t.Errorf("%s names no metric", path)
		}
	}
}

// alert is a rule as far as this test reads it.
type alert struct{ name, rest string }

func alertsOf(t *testing.T) (all []alert) {
	t.Helper()
	for _, part := range strings.Split(read(t, rules), "\n      - ")[1:] {
		if name, rest, ok := strings.Cut(part, "\n"); ok && strings.HasPrefix(name, "alert: ") {
			all = append(all, alert{strings.TrimPrefix(name, "alert: "), rest})
		}
	}
	if n := strings.Count(read(t, rules), "alert: "); n != len(all) || n == 0 {
		t.Fatalf("%d of %d alerts found", len(all), n)
	}
	return all
}

// Each alert is seen to fire, and seen not to.
func TestEachAlertIsTestedBothWays(t *testing.T) {
	var text strings.Builder
	for _, path := range tests {
		text.WriteString(read(t, path))
	}
	for _, a := range alertsOf(t) {
		fires := regexp.MustCompile(`alertname: ` + a.name + `\n\s+exp_alerts:\n\s+- `)
		calm := regexp.MustCompile(`alertname: ` + a.name + `\}`)
		if !fires.MatchString(text.String()) || !calm.MatchString(text.String()) {
			t.Errorf("%s: fires in a test: %v, stays calm in one: %v", a.name, fires.MatchString(text.String()), calm.MatchString(text.String()))
		}
	}
}

// Each alert says what it means, how bad it is, and where it is explained; and
// nothing is explained there that does not exist.
func TestEachAlertIsExplained(t *testing.T) {
	var names []string
	for _, a := range alertsOf(t) {
		names = append(names, a.name)
		for _, want := range []string{"severity: ", "summary: ", "description: ", "runbook_url: " + manual + strings.ToLower(a.name) + "\n"} {
			if !strings.Contains(a.rest+"\n", want) {
				t.Errorf("%s has no %q", a.name, want)
			}
		}
	}
	var explained []string
	for _, found := range regexp.MustCompile(`(?m)^## (\w+)$`).FindAllStringSubmatch(read(t, alerts), -1) {
		if strings.HasPrefix(found[1], "Homing") {
			explained = append(explained, found[1])
		}
	}
	slices.Sort(names)
	slices.Sort(explained)
	if !slices.Equal(names, explained) {
		t.Errorf("the rules have %q, %s explains %q", names, alerts, explained)
	}
}
