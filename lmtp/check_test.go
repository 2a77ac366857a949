package lmtp

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"
)

// A trial takes back what it asks, and never sends a message.
func TestTrial(t *testing.T) {
	play(t, []string{greetDovecot + `
		C: MAIL FROM:<>
		S: 250 2.1.0 OK
		C: RCPT TO:<bob@y.test>
		S: 250 2.1.5 OK
		C: RSET
		S: 250 2.0.0 OK
		C: MAIL FROM:<>
		S: 250 2.1.0 OK
		C: RCPT TO:<eve@y.test>
		S: 550-5.1.1 <eve@y.test>
		S: 550 5.1.1 User doesn't exist: eve
		C: RSET
		S: 250 2.0.0 OK
		C: MAIL FROM:<>
		S: 550 5.7.1 no bounces here
		C: RSET
		S: 250 2.0.0 OK
	` + bye}, func(t *testing.T, th *theatre) {
		trial, err := th.Try(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if got, want := trial.Offers(), []string{"CHUNKING", "PIPELINING", "8BITMIME", "ENHANCEDSTATUSCODES"}; !slices.Equal(got, want) {
			t.Errorf("it offers %q, want %q", got, want)
		}
		if !trial.Chunks() || !trial.IsDovecot() {
			t.Errorf("chunks %v, Dovecot %v", trial.Chunks(), trial.IsDovecot())
		}
		if err := trial.Recipient(t.Context(), "bob@y.test"); err != nil {
			t.Error(err)
		}
		want := ReplyError{Code: 550, Enhanced: "5.1.1", Text: "<eve@y.test> User doesn't exist: eve", Command: "RCPT"}
		if got := refusal(t, trial.Recipient(t.Context(), "eve@y.test")); got != want {
			t.Errorf("got %+v, want %+v", got, want)
		}
		if got := refusal(t, trial.Recipient(t.Context(), "bob@y.test")); got.Command != "MAIL" {
			t.Errorf("got %+v", got)
		}
		var unspeakable *AddressError
		if err := trial.Recipient(t.Context(), "bob> NOTIFY=NEVER"); !errors.As(err, &unspeakable) {
			t.Errorf("got %v", err)
		}
		trial.Close()
	})
}

func TestTrialWithoutExtensions(t *testing.T) {
	play(t, []string{greetPlain + bye}, func(t *testing.T, th *theatre) {
		trial, err := th.Try(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if trial.Chunks() || trial.IsDovecot() {
			t.Errorf("chunks %v, Dovecot %v", trial.Chunks(), trial.IsDovecot())
		}
		trial.Close()
	})
}

// A connection that is lost ends the trial, and so does an impatient caller.
func TestTrialLost(t *testing.T) {
	for name, end := range map[string]string{
		"closed":    "CLOSE",
		"shut down": "S: 421 4.3.2 Shutting down\nCLOSE",
		"malformed": "S: hello\nEOF",
		"a 354":     "S: 354 go on\nEOF",
		"stalled":   "EOF",
	} {
		t.Run(name, func(t *testing.T) {
			play(t, []string{greetDovecot + "\nC: MAIL FROM:<>\n" + end}, func(t *testing.T, th *theatre) {
				trial, err := th.Try(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				if err := trial.Recipient(ctx, "bob@y.test"); !isAway(err) {
					t.Errorf("got %v", err)
				} else if stalled := errors.Is(err, context.DeadlineExceeded); stalled != (name == "stalled") {
					t.Errorf("got %v", err)
				}
				trial.conn.wire.cut()
			})
		})
	}
}
