package lmtp

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// refusal returns the refusal in err, or fails.
func refusal(t *testing.T, err error) ReplyError {
	t.Helper()
	reply, ok := errors.AsType[*ReplyError](err)
	if !ok {
		t.Fatalf("got %v, want a refusal", err)
	}
	return *reply
}

func TestDeliver(t *testing.T) {
	play(t, []string{greetDovecot + bob + taken + bye}, func(t *testing.T, th *theatre) {
		octets := mail()
		if err := th.Deliver(t.Context(), "a@x.test", "bob@y.test", octets); err != nil {
			t.Fatal(err)
		}
		if got := bytes.Join(octets, []byte("|")); string(got) != "ma|il\n" {
			t.Errorf("octets became %q", got)
		}
	})
}

func TestDeliverNullSenderWithout8BITMIME(t *testing.T) {
	play(t, []string{`
		S: 220 Dovecot
		C: LHLO homing.test
		S: 250-mx.test
		S: 250-PIPELINING
		S: 250 CHUNKING
		C: RSET
		C: MAIL FROM:<>
		C: RCPT TO:<bob>
		C: BDAT 0 LAST
		S: 250
		S: 250 2.1.0 OK
		S: 251 2.1.5 will forward
		S: 250 saved
	` + bye}, func(t *testing.T, th *theatre) {
		if err := th.Deliver(t.Context(), "", "bob", nil); err != nil {
			t.Fatal(err)
		}
	})
}

// Every octet arrives, whatever it looks like, and nothing of it is a command.
func TestDeliverKeepsOctets(t *testing.T) {
	const evil = "a\r\n.\r\nb\n.\nRSET\r\n\r\r\n\x00\xff.\r\n"
	play(t, []string{greetDovecot + envelopeBob + `
		C: BDAT 24 LAST
		O: "a\r\n.\r\nb\n.\nRSET\r\n\r\r\n\x00\xff.\r\n"
	` + taken + bye}, func(t *testing.T, th *theatre) {
		if err := th.Deliver(t.Context(), "a@x.test", "bob@y.test", [][]byte{[]byte(evil)}); err != nil {
			t.Fatal(err)
		}
	})
}

func TestRefusals(t *testing.T) {
	tests := []struct {
		name    string
		replies string
		want    ReplyError
	}{
		{"RCPT: the refusal of BDAT is only its echo", `
			S: 250 2.0.0 OK
			S: 250 2.1.0 OK
			S: 550 5.1.1 <bob@y.test> User doesn't exist: bob@y.test
			S: 503 5.5.0 No valid recipients`,
			ReplyError{550, "5.1.1", "<bob@y.test> User doesn't exist: bob@y.test", "RCPT"}},
		{"MAIL: likewise", `
			S: 250 2.0.0 OK
			S: 501 5.5.4 Invalid FROM
			S: 503 5.5.0 MAIL needed first
			S: 503 5.5.0 MAIL needed first`,
			ReplyError{501, "5.5.4", "Invalid FROM", "MAIL"}},
		{"end of data", `
			S: 250 2.0.0 OK
			S: 250 2.1.0 OK
			S: 250 2.1.5 OK
			S: 552-5.2.2 <bob@y.test>
			S: 552 5.2.2 Quota exceeded`,
			ReplyError{552, "5.2.2", "<bob@y.test> Quota exceeded", "BDAT"}},
		{"without enhanced code", `
			S: 250 OK
			S: 250 OK
			S: 250 OK
			S: 451 later`,
			ReplyError{451, "", "later", "BDAT"}},
		{"RSET", `
			S: 500 what
			S: 503 nested MAIL
			S: 503 no
			S: 503 no`,
			ReplyError{500, "", "what", "RSET"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			// The connection stays in step: the next one is delivered on it.
			play(t, []string{greetDovecot + bob + tt.replies + bob + taken + bye}, func(t *testing.T, th *theatre) {
				if got := refusal(t, th.bob()); got != tt.want {
					t.Errorf("got %+v, want %+v", got, tt.want)
				}
				if err := th.bob(); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

func TestBusy(t *testing.T) {
	tests := []struct {
		reply string
		want  bool
		again int // how often it is asked again before that is the verdict
	}{
		{"451 4.3.0 <bob@y.test> Too many concurrent deliveries for user", true, len(standBack)},
		{"451 4.3.0 Temporary internal error", false, 0},
		{"451 4.2.0 Too many concurrent deliveries", false, 0},
		{"550 5.3.0 Too many concurrent deliveries", false, 0},
	}
	for _, tt := range tests {
		play(t, []string{greetDovecot + bob + `
			S: 250 OK
			S: 250 OK
			S: ` + tt.reply + `
			S: 503 5.5.0 No valid recipients
		` + strings.Repeat(refusedAtOnce, tt.again) + bye}, func(t *testing.T, th *theatre) {
			reply := refusal(t, th.bob())
			if got := reply.Busy(); got != tt.want {
				t.Errorf("%s: Busy is %v", tt.reply, got)
			}
			if code := reply.ReplyCode(); !strings.HasPrefix(tt.reply, "451") != (code != 451) {
				t.Errorf("%s: ReplyCode is %d", tt.reply, code)
			}
		})
	}
}

// The next envelopes and octets do not wait for the verdict before them.
func TestPipelining(t *testing.T) {
	const refused = `
		S: 250 2.0.0 OK
		S: 250 2.1.0 OK
		S: 550 5.1.1 unknown
		S: 503 5.5.0 No valid recipients
	`
	play(t, []string{greetDovecot + `
		AWAIT all
	` + bob + bob + bob + taken + refused + taken + bye}, func(t *testing.T, th *theatre) {
		results := []<-chan error{th.start(th.bob), th.start(th.bob), th.start(th.bob)}
		close(th.cue("all"))
		if err := <-results[0]; err != nil {
			t.Error(err)
		}
		if got := refusal(t, <-results[1]); got.Code != 550 {
			t.Error(got)
		}
		if err := <-results[2]; err != nil {
			t.Error(err)
		}
	})
}

// A ninth does wait, and more follow only when half of them are done.
func TestInFlightLimit(t *testing.T) {
	play(t, []string{greetDovecot + `
		AWAIT all
	` + bob + strings.Repeat(bob, maxInFlight-1) + `
		SILENCE 1s
	` + strings.Repeat(taken, maxInFlight-refill-1) + `
		SILENCE 1s
	` + taken + strings.Repeat(bob, maxInFlight-refill) + `
		SILENCE 1s
	` + strings.Repeat(taken, maxInFlight) + bye}, func(t *testing.T, th *theatre) {
		var results []<-chan error
		for range 2*maxInFlight - refill {
			results = append(results, th.start(th.bob))
		}
		close(th.cue("all"))
		for _, result := range results {
			if err := <-result; err != nil {
				t.Error(err)
			}
		}
	})
}

// okToBob comes after a moment in which the client sends nothing more.
const okToBob = `
	SILENCE 1s
	S: 250 OK
	S: 250 OK
	S: 250 OK
`

// Octets of more than 1 MiB, and any octets where the server is not known to
// swallow them after a refusal, follow the 250 to RCPT.
func TestOctetsWait(t *testing.T) {
	big := [][]byte{bytes.Repeat([]byte("x"), maxBytes), []byte("y")}
	bigToBob := func(th *theatre) func() error {
		return func() error { return th.Deliver(th.t.Context(), "a@x.test", "bob@y.test", big) }
	}
	t.Run("large", func(t *testing.T) {
		// The second envelope waits too: nothing joins what is too large already.
		play(t, []string{greetDovecot + envelopeBob + okToBob + `
			C: BDAT 1048577 LAST
			SKIP 1048577
			SILENCE 1s
			S: 250 saved
		` + bob + taken + bye}, func(t *testing.T, th *theatre) {
			results := []<-chan error{th.start(bigToBob(th)), th.start(th.bob)}
			for _, result := range results {
				if err := <-result; err != nil {
					t.Error(err)
				}
			}
		})
	})
	t.Run("large and refused", func(t *testing.T) {
		play(t, []string{greetDovecot + envelopeBob + `
			S: 250 OK
			S: 250 OK
			S: 550 5.1.1 unknown
		` + bob + taken + bye}, func(t *testing.T, th *theatre) {
			if got := refusal(t, bigToBob(th)()); got.Command != "RCPT" || got.Code != 550 {
				t.Error(got)
			}
			if err := th.bob(); err != nil {
				t.Error(err)
			}
		})
	})
}

func TestOctetsWaitForOtherServers(t *testing.T) {
	envelope := strings.ReplaceAll(envelopeBob, " BODY=8BITMIME", "")
	const body = `
		C: BDAT 5 LAST
		O: "mail\n"
	`
	// The next envelope goes out while the verdict is awaited, its octets do not.
	play(t, []string{greetOther + envelope + okToBob + body + envelope + `
		SILENCE 1s
		S: 250 saved
	` + okToBob + body + `
		S: 552 full
	` + bye}, func(t *testing.T, th *theatre) {
		first, second := th.start(th.bob), th.start(th.bob)
		if err := <-first; err != nil {
			t.Error(err)
		}
		if got := refusal(t, <-second); got.Code != 552 {
			t.Error(got)
		}
	})
}

// A refusal that comes early is kept back until the octets, which are the
// caller's again afterwards, are out of the writer's hands.
func TestEarlyRefusal(t *testing.T) {
	play(t, []string{greetDovecot + envelopeBob + `
		C: BDAT 4 LAST
		SKIP 2
		S: 250 OK
		S: 250 OK
		S: 250 OK
		S: 552 5.3.4 too much
		AWAIT rest
		SKIP 2
	` + bye}, func(t *testing.T, th *theatre) {
		result := th.start(func() error {
			return th.Deliver(t.Context(), "a@x.test", "bob@y.test", [][]byte{[]byte("ab"), []byte("cd")})
		})
		select {
		case err := <-result:
			t.Fatalf("answered while writing: %v", err)
		default:
		}
		close(th.cue("rest"))
		if got := refusal(t, <-result); got.Code != 552 {
			t.Error(got)
		}
	})
}
