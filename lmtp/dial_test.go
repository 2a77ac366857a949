package lmtp

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestProbe(t *testing.T) {
	play(t, []string{greetDovecot + bye, greetPlain + bye}, func(t *testing.T, th *theatre) {
		for range 2 {
			if err := th.Probe(t.Context()); err != nil {
				t.Error(err)
			}
		}
	})
}

// Whatever keeps a session from beginning is nobody's fault but the
// destination's.
func TestAway(t *testing.T) {
	tests := []struct {
		name, dialogue string
		took           time.Duration
		says           string
	}{
		{"no banner: Dovecot's process limit", `
			STALL`, 15 * time.Second, "process_limit"},
		{"closed at once", `
			CLOSE`, 0, "greeting"},
		{"shutting down", `
			S: 421 4.3.2 Shutting down
			EOF`, 0, "Shutting down"},
		{"no reply to LHLO", `
			S: 220 mx.test Dovecot ready.
			C: LHLO homing.test
			STALL`, 15 * time.Second, "timeout"},
		{"LHLO refused", `
			S: 220 mx.test Dovecot ready.
			C: LHLO homing.test
			S: 550 5.7.1 not you
			EOF`, 0, "not you"},
		{"an SMTP server", `
			S: 220 mx.test ESMTP
			C: LHLO homing.test
			S: 500 5.5.1 unknown command
			C: HELO homing.test
			S: 250 mx.test
			EOF`, 0, "SMTP server"},
		{"a greeting without end", strings.ReplaceAll(longReply(), "250-", "220-") + `
			EOF`, 0, "64 KiB"},
		{"not a mail server", `
			S: HTTP/1.1 400 Bad Request
			EOF`, 0, "HTTP"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			play(t, []string{tt.dialogue, tt.dialogue}, func(t *testing.T, th *theatre) {
				for _, ask := range []func() error{th.bob, func() error { return th.Probe(t.Context()) }} {
					begun := time.Now()
					err := ask()
					away, ok := errors.AsType[interface {
						error
						Away() bool
					}](err)
					if !ok || !away.Away() || isUnknown(err) || !strings.Contains(err.Error(), tt.says) {
						t.Errorf("got %v", err)
					}
					if took := time.Since(begun); took != tt.took {
						t.Errorf("took %s, want %s", took, tt.took)
					}
				}
			})
		})
	}
}

// With nobody to talk to, all that wait are told at once, and the next try
// finds the server back.
func TestAwayEndsAllThatWait(t *testing.T) {
	const opens = `
		AWAIT all
		CLOSE
	`
	play(t, []string{opens, greetDovecot + bob + taken + bye}, func(t *testing.T, th *theatre) {
		var results []<-chan error
		for i := range 5 {
			results = append(results, th.start(func() error { return th.to(fmt.Sprintf("user%d@y.test", i)) }))
		}
		close(th.cue("all"))
		for _, result := range results {
			if err := <-result; !isAway(err) {
				t.Errorf("got %v", err)
			}
		}
		if err := th.bob(); err != nil {
			t.Error(err)
		}
	})
}

// A further connection that fails while one is ready is not an outage: it is
// put off for ten seconds, and nobody fails.
func TestFailedDialBacksOff(t *testing.T) {
	carol := strings.ReplaceAll(bob, "bob@", "carol@")
	dave := strings.ReplaceAll(bob, "bob@", "dave@")
	plays := []string{
		greetDovecot + bob + `
			AWAIT end
		` + taken + bye,
		`
			CLOSE
		`,
		greetDovecot + carol + taken + dave + taken + bye,
	}
	playConfigured(t, Config{Connections: 2}, plays, func(t *testing.T, th *theatre) {
		first := th.start(th.bob)
		begun := time.Now()
		second := th.start(func() error { return th.to("carol@y.test") })
		third := th.start(func() error { return th.to("dave@y.test") })
		if err := errors.Join(<-second, <-third); err != nil {
			t.Error(err)
		}
		if took := time.Since(begun); took != redialAfter {
			t.Errorf("dialled again after %s", took)
		}
		close(th.cue("end"))
		if err := <-first; err != nil {
			t.Error(err)
		}
	})
}

// With no connection left, nothing is put off.
func TestBackoffEndsWithTheLastConnection(t *testing.T) {
	carol := strings.ReplaceAll(bob, "bob@", "carol@")
	plays := []string{
		greetDovecot + bob + `
			AWAIT failed
		` + taken + carol + `
			CLOSE
		`,
		`
			CLOSE
		`,
		greetDovecot + carol + taken + bye,
	}
	playConfigured(t, Config{Connections: 2}, plays, func(t *testing.T, th *theatre) {
		begun := time.Now()
		first := th.start(th.bob)
		second := th.start(func() error { return th.to("carol@y.test") })
		close(th.cue("failed"))
		// carol's own connection was lost with her message on it: she rests.
		if err := errors.Join(<-first, <-second); err != nil || time.Since(begun) > th.config.Timeouts.Rest {
			t.Errorf("got %v after %s", err, time.Since(begun))
		}
	})
}

// What was sent on a connection that is lost may still be delivered by the
// process at its other end: the mailbox is left alone meanwhile, others are not.
func TestMailboxRestsAfterALoss(t *testing.T) {
	carol := strings.ReplaceAll(bob, "bob@", "carol@")
	plays := []string{
		greetDovecot + bob + `
			CLOSE
		`,
		greetDovecot + carol + taken + bob + taken + bye,
	}
	playConfigured(t, Config{Connections: 2}, plays, func(t *testing.T, th *theatre) {
		if _, ok := errors.AsType[*UnknownError](th.bob()); !ok {
			t.Error("the first is not unknown")
		}
		begun := time.Now()
		second := th.start(th.bob)
		if err := th.to("carol@y.test"); err != nil || time.Since(begun) > 0 {
			t.Errorf("another mailbox: %v after %s", err, time.Since(begun))
		}
		if err := <-second; err != nil || time.Since(begun) != 2*time.Second {
			t.Errorf("the mailbox itself: %v after %s", err, time.Since(begun))
		}
	})
}

// The delivery that a dial was begun for goes away; the others still need it.
func TestDialOutlivesItsDelivery(t *testing.T) {
	play(t, []string{`
		AWAIT cancelled
	` + greetDovecot + bob + taken + bye}, func(t *testing.T, th *theatre) {
		ctx, cancel := context.WithCancel(t.Context())
		first := th.start(func() error { return th.Deliver(ctx, "a@x.test", "bob@y.test", mail()) })
		second := th.start(th.bob)
		cancel()
		if err := <-first; !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
		close(th.cue("cancelled"))
		if err := <-second; err != nil {
			t.Error(err)
		}
	})
}

func TestProbeCancelled(t *testing.T) {
	play(t, []string{`
		EOF
	`}, func(t *testing.T, th *theatre) {
		ctx, cancel := context.WithCancel(t.Context())
		result := th.start(func() error { return th.Probe(ctx) })
		cancel()
		if err := <-result; !isAway(err) {
			t.Errorf("got %v", err)
		}
	})
}

// Close does not wait for a server that says nothing.
func TestCloseWhileDialing(t *testing.T) {
	play(t, []string{`
		EOF
	`}, func(t *testing.T, th *theatre) {
		result := th.start(th.bob)
		begun := time.Now()
		th.Close()
		if err := <-result; !errors.Is(err, errClosed) || time.Since(begun) > 0 {
			t.Errorf("got %v after %s", err, time.Since(begun))
		}
	})
}

func TestIdleConnectionIsGivenUp(t *testing.T) {
	plays := []string{
		greetDovecot + bob + taken + `
			SILENCE 59s
		` + bob + taken + `
			SILENCE 59s
		` + bye,
		greetDovecot + bob + taken + `
			SILENCE 59s
			C: QUIT
			STALL
		`,
	}
	observer := make(observed)
	playConfigured(t, Config{Connections: 1, Observer: observer}, plays, func(t *testing.T, th *theatre) {
		for _, pause := range []time.Duration{59500 * time.Millisecond, time.Hour, time.Hour} {
			if err := th.bob(); err != nil {
				t.Fatal(err)
			}
			<-time.After(pause)
			synctest.Wait()
			if idle := observer.last("idle"); (idle == 1) != (pause < time.Minute) {
				t.Errorf("%d idle connections after %s", idle, pause)
			}
		}
		if observer.last("busy")+observer.last("dialing") != 0 {
			t.Errorf("at the end: %v", observer)
		}
	})
}
