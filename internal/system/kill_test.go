package system

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/homing-mail/homing/internal/dovecot"
)

// homing is killed at any instant, again and again, while mail pours in. What it
// acknowledged arrives, and with the rule from contrib/dovecot it arrives once.
func TestKilledAtAnyInstant(t *testing.T) {
	versions(t, func(t *testing.T, version dovecot.Version) {
		for name, options := range map[string]dovecot.Options{
			"alone":   {Version: version, Users: users(crowd...)},
			"contrib": shipped(t, version, users(crowd...)),
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				testKilledAtAnyInstant(t, options, name == "contrib")
			})
		}
	})
}

func testKilledAtAnyInstant(t *testing.T, options dovecot.Options, onceOnly bool) {
	times := 12
	if testing.Short() {
		times = 3
	}
	h := settle(t, options)
	l := h.begin(0, crowd...)
	for range times {
		l.awaitMore(1 + rand.N(20))
		select {
		case <-time.After(rand.N(200 * time.Millisecond)):
		case <-h.exited:
			t.Fatalf("homing ended by itself:\n%s", h.log.tail())
		}
		l.moved("")
		h.kill()
		if rand.N(2) == 0 { // and once more while it starts
			early := launch(t, h.env)
			<-time.After(rand.N(100 * time.Millisecond))
			early.kill()
		}
		h.restart()
		l.moved(h.webhook)
	}
	l.stop()
	h.awaitIdle()
	repeated := l.verify(onceOnly)
	t.Logf("killed %d times: %d messages, %d copies too many", times, len(l.acked), repeated)
}
