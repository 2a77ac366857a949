package lmtp

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
)

// cancellable is a delivery to bob, and what cancels it.
func (th *theatre) cancellable() (func() error, context.CancelFunc) {
	ctx, cancel := context.WithCancel(th.t.Context())
	return func() error { return th.Deliver(ctx, "a@x.test", "bob@y.test", mail()) }, cancel
}

func TestCancel(t *testing.T) {
	t.Run("before", func(t *testing.T) {
		play(t, nil, func(t *testing.T, th *theatre) {
			deliver, cancel := th.cancellable()
			cancel()
			if err := deliver(); !errors.Is(err, context.Canceled) || th.dials > 0 {
				t.Errorf("got %v after %d dials", err, th.dials)
			}
		})
	})
	t.Run("in flight, all sent", func(t *testing.T) {
		play(t, []string{greetDovecot + bob + `
			EOF
		`}, func(t *testing.T, th *theatre) {
			deliver, cancel := th.cancellable()
			result := th.start(deliver)
			cancel()
			if err := <-result; !errors.Is(err, context.Canceled) || !isUnknown(err) {
				t.Errorf("got %v", err)
			}
		})
	})
	t.Run("in flight, amid the octets", func(t *testing.T) {
		play(t, []string{greetDovecot + envelopeBob + `
			C: BDAT 5 LAST
			O: "ma"
			STALL
		`}, func(t *testing.T, th *theatre) {
			deliver, cancel := th.cancellable()
			result := th.start(deliver)
			cancel()
			if err := <-result; !errors.Is(err, context.Canceled) || isUnknown(err) {
				t.Errorf("got %v", err)
			}
		})
	})
}

func TestCancelQueued(t *testing.T) {
	play(t, []string{greetDovecot + bob + `
		AWAIT cancelled
	` + taken + bye}, func(t *testing.T, th *theatre) {
		first := th.start(th.bob)
		ctx, cancel := context.WithCancel(t.Context())
		// In a lane of its own, for which the only connection has no time.
		queued := th.start(func() error { return th.Deliver(ctx, "", "carol@y.test", mail()) })
		cancel()
		if err := <-queued; !errors.Is(err, context.Canceled) || isUnknown(err) {
			t.Errorf("got %v", err)
		}
		close(th.cue("cancelled"))
		if err := <-first; err != nil {
			t.Error(err)
		}
	})
}

func TestCancelLeavesOthers(t *testing.T) {
	play(t, []string{
		greetDovecot + `
			AWAIT all
		` + bob + bob + bob + `
			EOF
		`,
		greetDovecot + bob + bob + taken + taken + bye,
	}, func(t *testing.T, th *theatre) {
		deliver, cancel := th.cancellable()
		results := []<-chan error{th.start(th.bob), th.start(deliver), th.start(th.bob)}
		close(th.cue("all"))
		synctest.Wait()
		cancel()
		if err := <-results[1]; !errors.Is(err, context.Canceled) || !isUnknown(err) {
			t.Errorf("the cancelled one: %v", err)
		}
		if err := errors.Join(<-results[0], <-results[2]); err != nil {
			t.Errorf("the others: %v", err)
		}
	})
}

func TestClose(t *testing.T) {
	play(t, []string{greetDovecot + `
		AWAIT both
	` + bob + bob + `
		EOF
	`}, func(t *testing.T, th *theatre) {
		flying, behind := th.start(th.bob), th.start(th.bob)
		close(th.cue("both"))
		queued := th.start(func() error { return th.to("carol@y.test") })
		th.Close()
		for _, result := range []<-chan error{flying, behind} {
			if err := <-result; !isUnknown(err) || !errors.Is(err, errClosed) {
				t.Errorf("in flight: %v", err)
			}
		}
		if err := <-queued; !errors.Is(err, errClosed) {
			t.Errorf("queued: %v", err)
		}
		if err := th.bob(); !errors.Is(err, errClosed) {
			t.Errorf("after: %v", err)
		}
	})
}
