package courier

import (
	"slices"
	"testing"
)

func TestTargets(t *testing.T) {
	rules, err := ParseRules("Alice@Example.com=alice bob@b.test, @.example.com=ALICE\n@b.test=carol\ninfo@=bob@b.test dave\n*=eve")
	if err != nil {
		t.Fatal(err)
	}
	want := []Target{{"alice", "alice@example.com"}, {"bob@b.test", "alice@example.com"}, {"carol", "@b.test"}, {"dave", "info@"}, {"eve", "*"}}
	if got := rules.Targets(); !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if got := new(Rules).Targets(); got != nil {
		t.Errorf("no rules name %v", got)
	}
	// A pattern shown is the rule's own.
	for _, pattern := range []string{"*", "a@b", "@b", "@.b", "a@"} {
		again, err := ParseRules(pattern + "=x")
		if err != nil || again.Targets()[0].Pattern != pattern {
			t.Errorf("%s: shown as %v, %v", pattern, again.Targets(), err)
		}
	}
}
