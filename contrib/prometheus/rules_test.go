// Package prometheus tests the alert rules that a user copies.
package prometheus

import (
	"os"
	"os/exec"
	"regexp"
	"testing"

	"github.com/homing-mail/homing/internal/neighbour"
	"github.com/homing-mail/homing/metrics"
)

func TestRules(t *testing.T) {
	promtool := neighbour.Program(t, "promtool")
	for _, args := range [][]string{{"check", "rules", "homing.rules.yml"}, {"test", "rules", "homing.rules.test.yml"}} {
		if out, err := exec.CommandContext(t.Context(), promtool, args...).CombinedOutput(); err != nil {
			t.Errorf("promtool %v: %v\n%s", args, err, out)
		}
	}
}

// A rule about a metric that homing does not have would never fire.
func TestRulesNameMetricsThatExist(t *testing.T) {
	text, err := os.ReadFile("homing.rules.yml")
	if err != nil {
		t.Fatal(err)
	}
	known := map[string]bool{}
	for _, row := range metrics.New("test").Table() {
		known[row.Name] = true
	}
	names := regexp.MustCompile(`homing_[a-z_]+`).FindAllString(string(text), -1)
	for _, name := range names {
		if !known[name] {
			t.Errorf("%s is no metric of homing", name)
		}
	}
	if len(names) < 5 {
		t.Errorf("only %v", names)
	}
}
