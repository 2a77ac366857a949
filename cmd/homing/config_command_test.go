package main

import (
	"errors"
	"io"
	"strings"
	"testing"
)

func runConfig(t *testing.T, environ []string, args ...string) (string, error) {
	t.Helper()
	var out strings.Builder
	cmd := newConfigCommand(environ)
	cmd.SetOut(&out)
	cmd.SetErr(&out)
	cmd.SetArgs(args)
	err := cmd.ExecuteContext(t.Context())
	return out.String(), err
}

func TestConfigCommand(t *testing.T) {
	rules := writeFile(t, "a@example.com=a\n*=b\n")
	out, err := runConfig(t, enough("HOMING_MEMORY=1GiB", "HOMING_LISTEN=", "HOMING_RECIPIENTS_FILE="+rules))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"HOMING_MEMORY=1GiB  (set)\n    message bytes in memory at a time, over all deliveries\n    default: 256MiB\n",
		"HOMING_HISTORY=30d\n    how long deliveries are remembered, to recognise repetitions\nHOMING_",
		"HOMING_LISTEN=  (set)\n",
		`HOMING_RECIPIENTS="a@example.com=a\n*=b"  (from HOMING_RECIPIENTS_FILE, "` + rules + `")` + "\n",
		"HOMING_FALLBACK_MAILBOX=\n",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is missing in\n%s", want, out)
		}
	}
	for _, v := range variables() {
		if strings.Count(out, "\n"+v.Name+"=")+strings.Count(out[:len(v.Name)+1], v.Name+"=") != 1 || !strings.Contains(out, v.Meaning) {
			t.Errorf("%s is not shown once, with its meaning", v.Name)
		}
	}
}

// TestConfigCommandWithMistakes: they are the error, and what can be read is
// shown all the same.
func TestConfigCommandWithMistakes(t *testing.T) {
	out, err := runConfig(t, []string{"HOMING_MEMORY=much\x1b[2J", "HOMING_LISTEN="})
	if wrong, ok := errors.AsType[*configError](err); !ok || len(wrong.mistakes) != 2 {
		t.Errorf("error %v, want two mistakes", err)
	}
	if !strings.Contains(out, `HOMING_MEMORY="much\x1b[2J"  (set)`) || !strings.Contains(out, "HOMING_LISTEN=  (set)") {
		t.Errorf("shown:\n%s", out)
	}
}

func TestConfigCommandTakesNoArguments(t *testing.T) {
	if _, err := runConfig(t, enough(), "all"); err == nil {
		t.Error("an argument is taken")
	}
}

type brokenWriter struct{}

func (brokenWriter) Write([]byte) (int, error) { return 0, errors.New("broken pipe") }

func TestConfigCommandCannotWrite(t *testing.T) {
	cmd := newConfigCommand(enough())
	cmd.SetOut(brokenWriter{})
	cmd.SetErr(io.Discard)
	cmd.SetArgs(nil)
	if err := cmd.ExecuteContext(t.Context()); err == nil || !strings.Contains(err.Error(), "broken pipe") {
		t.Errorf("error %v, want the writer's", err)
	}
}
