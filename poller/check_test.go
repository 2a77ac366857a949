package poller

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/homing-mail/homing/internal/sqstest"
)

func TestInspect(t *testing.T) {
	server, err := sqstest.New("mail", "dead")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Close() })
	server.Redrive("mail", "dead", 3, 36*time.Hour)
	server.Send("mail", "a mail", nil, time.Time{})
	got, err := Inspect(t.Context(), server.Client(), server.URL("mail"))
	if err != nil {
		t.Fatal(err)
	}
	if off := got.Heard.Sub(got.Date); off < -time.Minute || off > time.Minute {
		t.Errorf("the clocks are %v apart", off)
	}
	got.Date, got.Heard = time.Time{}, time.Time{}
	if want := (QueueState{Messages: 1, Retention: 36 * time.Hour, Receives: 3}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if n := len(server.Messages("mail")); n != 1 || server.Calls()["ReceiveMessage"] != 0 {
		t.Errorf("%d messages are left, calls %v", n, server.Calls())
	}
}

func TestInspectRefused(t *testing.T) {
	server, err := sqstest.New("mail")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Close() })
	for code, mend := range map[string]string{
		"AccessDeniedException": "allow sqs:", "ExpiredToken": "credentials", "InvalidSecurity": "check the queue's URL", "QueueDoesNotExist": "check the queue's URL",
	} {
		server.Inject(func(string, sqstest.Request) *sqstest.Fault { return &sqstest.Fault{Status: 400, Code: code} })
		state, err := Inspect(t.Context(), server.Client(), server.URL("mail"))
		refused, ok := errors.AsType[*InspectError](err)
		if !ok || !strings.Contains(refused.Mend(), mend) || !strings.HasPrefix(refused.Error(), "SQS answered 400 "+code) {
			t.Errorf("%s: %v", code, err)
		}
		if state.Date.IsZero() || state.Heard.IsZero() {
			t.Errorf("%s: no time in %+v", code, state)
		}
	}
	client, url := server.Client(), server.URL("mail")
	server.Close()
	if _, err := Inspect(t.Context(), client, url); err == nil || !strings.HasPrefix(err.Error(), "no answer: ") {
		t.Errorf("nobody there: %v", err)
	}
}
