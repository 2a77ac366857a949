package main

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"strings"
	"testing"
	"unicode"
)

// TestLogLinesCannotBeForged: what strangers choose stays within its value,
// whatever it says, and a terminal does nothing that it asks for.
func TestLogLinesCannotBeForged(t *testing.T) {
	hostile := "ann@far.test\r\ntime=2026-11-22T00:00:00Z level=INFO msg=\"all is well\"\x1b[2J\x00\x7f\u0085\u009b2J\u202e\u2028\U000e0001\"} {\"level\":\"INFO\"}\n"
	for _, format := range []string{"text", "json"} {
		var out bytes.Buffer
		newLogger(&Config{LogFormat: logFormat(format)}, &out).Info("held", "sender", hostile, slog.Group("g", "reason", hostile))
		if text := out.String(); strings.Count(text, "\n") != 1 || strings.ContainsFunc(strings.TrimSuffix(text, "\n"), unprintable) {
			t.Errorf("%s: %q, want one line without control characters", format, text)
		}
		if format == "json" {
			var line struct{ Sender string }
			if err := json.Unmarshal(out.Bytes(), &line); err != nil || line.Sender != hostile {
				t.Errorf("%q is read back as %q, %v", out.String(), line.Sender, err)
			}
		}
	}
}

func unprintable(r rune) bool { return !unicode.IsPrint(r) }

// What a neighbour answers ends up in errors, and they on a terminal.
func TestErrorsAreHarmlessOnATerminal(t *testing.T) {
	const hostile = "\x1b[2J\u009b31m\u202e\x7f"
	var out bytes.Buffer
	if code := run(t.Context(), []string{"--" + hostile}, nil, streams{err: &out}); code == exitDone {
		t.Fatal("no error")
	}
	if text := strings.TrimSuffix(out.String(), "\n"); strings.ContainsFunc(text, unprintable) || !strings.Contains(text, "[2J") {
		t.Errorf("%q", text)
	}
}
