package poller

import (
	"io"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/homing-mail/homing/intake"
	"github.com/homing-mail/homing/notice"
)

// TestPartKeepsAll: what is sent in a part is what is read from it.
func TestPartKeepsAll(t *testing.T) {
	sent := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for _, notification := range []string{"", "x", `{"a":"b\"\\"}`, "<&>\u2028\n\t", strings.Repeat(`"\`, 1000)} {
		body, err := part{notification: notification, sent: sent, recipients: []string{`"a b"@x`, "<c>"}}.body()
		if err != nil {
			t.Fatal(err)
		}
		p, err := openPart(&message{body: body, sent: sent.Add(time.Hour)})
		if err != nil || p.notification != notification || !p.sent.Equal(sent) || !slices.Equal(p.recipients, []string{`"a b"@x`, "<c>"}) {
			t.Errorf("%q became %+v, %v", notification, p, err)
		}
	}
}

// A part cannot claim to be younger than its message.
func TestPartFromTheFuture(t *testing.T) {
	sent := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	body, err := part{notification: "x", sent: sent.Add(time.Hour)}.body()
	if err != nil {
		t.Fatal(err)
	}
	if p, err := openPart(&message{body: body, sent: sent}); err != nil || !p.sent.Equal(sent) {
		t.Errorf("got %v, %v", p.sent, err)
	}
}

// FuzzRead: whatever a body says, nothing unsigned is read unless that is asked
// for, an unsigned body has neither content nor verdicts, and nobody is added to
// a receipt's recipients.
func FuzzRead(f *testing.F) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	genuine := receipt("m1", "a@example.com", "b@example.com")
	for _, body := range []string{"", "{}", genuine, envelope(genuine, at), partOf(envelope(genuine, at), "a@example.com"), partOf(genuine, "b@example.com"),
		partOf(envelope(genuine, at), "c@example.com"), `{"homing":{}}`, `{"notificationType":"Received","content":"x","mail":{"messageId":"y"},"receipt":{}}`} {
		f.Add(body, true)
		f.Add(body, false)
	}
	f.Fuzz(func(t *testing.T, body string, raw bool) {
		r := reader{Trust: Trust{Topics: []string{topic}, Raw: raw, Verifier: &seal{}}, source: source,
			intake: intake.New(intake.Config{Log: slog.New(slog.NewTextHandler(io.Discard, nil)), History: time.Hour})}
		n, err := r.read(t.Context(), &message{id: "1", body: body, sent: at})
		if err != nil || n.envelope.Type != notice.TypeNotification {
			return
		}
		if n.raw && !raw || !n.raw && (n.envelope.Signature != "genuine" || n.envelope.TopicARN != topic) {
			t.Errorf("believed %q", body)
		}
		_, all := notice.Parse(n.envelope.Message)
		for i, a := range n.arrivals {
			if n.raw && (a.Verdicts != "" || a.Content != nil && n.kind != notice.KindUnknown) {
				t.Errorf("an unsigned body says %+v", a)
			}
			for _, address := range a.Recipients {
				if !slices.Contains(all[i].Recipients, address) {
					t.Errorf("%q is added", address)
				}
			}
		}
	})
}
