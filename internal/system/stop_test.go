package system

import (
	"errors"
	"net"
	"net/http"
	"syscall"
	"testing"
	"time"

	"github.com/homing-mail/homing/internal/dovecot"
	"github.com/homing-mail/homing/internal/s3test"
)

// SIGTERM lets what is in flight finish.
func TestStopFinishesWhatIsInFlight(t *testing.T) {
	versions(t, func(t *testing.T, version dovecot.Version) {
		h := settle(t, dovecot.Options{Version: version, Users: users("alice")})
		asked, asks := gate(h.s3)
		h.send(letter("in flight"), "ann@far.test", address("alice"))
		<-asked
		h.signal(t, syscall.SIGTERM)
		await(t, "the webhook to close", func() error { return h.refused() })
		close(asks)
		if code, took := h.ends(t); code != 0 || took > 5*time.Second {
			t.Errorf("homing ended with %d after %v, want 0 at once", code, took)
		}
		h.one(address("alice"), "INBOX")
		h.restart()
		h.awaitIdle()
		h.one(address("alice"), "INBOX")
	})
}

// What does not finish in ten seconds stays in the spool, and is delivered by
// the next homing.
func TestStopLeavesTheRest(t *testing.T) {
	versions(t, func(t *testing.T, version dovecot.Version) {
		h := settle(t, dovecot.Options{Version: version, Users: users("alice")})
		asked, asks := gate(h.s3)
		defer close(asks)
		h.send(letter("stalled"), "ann@far.test", address("alice"))
		<-asked
		if code, took := h.stop(t); code != 0 || took < 9*time.Second || took > 13*time.Second {
			t.Errorf("homing ended with %d after %v, want 0 after 10 s", code, took)
		}
		h.s3.Inject(nil)
		h.restart()
		h.one(address("alice"), "INBOX")
		h.awaitIdle()
	})
}

// A second signal ends it at once.
func TestSecondSignal(t *testing.T) {
	t.Parallel()
	h := withoutDovecot(t)
	asked, asks := gate(h.s3)
	defer close(asks)
	h.send(letter("stalled"), "ann@far.test", address("alice"))
	<-asked
	h.signal(t, syscall.SIGTERM)
	await(t, "the webhook to close", func() error { return h.refused() })
	// At once, but not in the same instant: two signals that come together are one.
	await(t, "homing to end", func() error {
		if h.ended() {
			return nil
		}
		return errors.Join(h.cmd.Process.Signal(syscall.SIGTERM), errors.New("it runs"))
	})
	if state := h.cmd.ProcessState; state.Success() {
		t.Errorf("homing ended with %v although it was cut off", state)
	}
	if line := h.log.lines("homing has stopped; what was not finished waits in the spool"); line != nil {
		t.Error("homing says that it stopped in order")
	}
}

// gate lets no request for an object through until asks is closed; asked
// receives when the first has come.
func gate(s3 *s3test.Server) (asked <-chan struct{}, asks chan<- struct{}) {
	first, open := make(chan struct{}, 1), make(chan struct{})
	s3.Inject(func(r *http.Request) *s3test.Fault {
		if r.URL.Query().Has("list-type") {
			return nil // the sweep's
		}
		select {
		case first <- struct{}{}:
		default:
		}
		select {
		case <-open:
		case <-r.Context().Done():
		}
		return nil
	})
	return first, open
}

// refused is nil once the webhook takes no connection any more.
func (h *home) refused() error {
	conn, err := net.Dial("tcp", h.webhook)
	if err == nil {
		return errors.Join(errors.New("it takes connections"), conn.Close())
	}
	if !errors.Is(err, syscall.ECONNREFUSED) {
		return err
	}
	return nil
}
