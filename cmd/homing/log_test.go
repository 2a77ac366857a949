package main

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
)

// TestLogLinesCannotBeForged: what strangers choose stays within its value,
// whatever it says, and a terminal does nothing that it asks for.
func TestLogLinesCannotBeForged(t *testing.T) {
	hostile := "ann@far.test\r\ntime=2026-11-22T00:00:00Z level=INFO msg=\"all is well\"\x1b[2J\x00\u2028\"} {\"level\":\"INFO\"}\n"
	for _, format := range []string{"text", "json"} {
		var out bytes.Buffer
		newLogger(&Config{LogFormat: logFormat(format)}, &out).Info("held", "sender", hostile, slog.Group("g", "reason", hostile))
		if text := out.String(); strings.Count(text, "\n") != 1 || strings.ContainsAny(text, "\r\x1b\x00") {
			t.Errorf("%s: %q, want one line without control characters", format, text)
		}
	}
}
