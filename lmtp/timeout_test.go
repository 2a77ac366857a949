package lmtp

import (
	"crypto/tls"
	"net"
	"testing"
	"time"
)

func TestTimeouts(t *testing.T) {
	tests := []struct {
		name, end string
		want      time.Duration
		unknown   bool
	}{
		{"a command's reply", bob + `
			STALL`, 5 * time.Minute, true},
		{"the verdict", bob + `
			S: 250 OK
			S: 250 OK
			S: 250 OK
			STALL`, 10 * time.Minute, true},
		{"a write, and then any reply that was under way", envelopeBob + `
			STALL`, 3*time.Minute + drainTime, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			play(t, []string{greetDovecot + tt.end}, func(t *testing.T, th *theatre) {
				begun := time.Now()
				err := th.bob()
				if took := time.Since(begun); took != tt.want {
					t.Errorf("took %s, want %s", took, tt.want)
				}
				if err == nil || isUnknown(err) != tt.unknown {
					t.Errorf("got %v", err)
				}
			})
		})
	}
}

// After a write has failed, verdicts that are under way still count, but are not
// waited for as long as others.
func TestDrain(t *testing.T) {
	play(t, []string{greetDovecot + `
		AWAIT all
	` + bob + `
		C: RSET
		PAUSE 3m1s
	` + taken + `
		STALL
	`}, func(t *testing.T, th *theatre) {
		begun := time.Now()
		first, second := th.start(th.bob), th.start(th.bob)
		close(th.cue("all"))
		if err := <-first; err != nil {
			t.Error(err)
		}
		// It goes back to the queue, but the next dial fails.
		if err := <-second; !isAway(err) {
			t.Errorf("got %v", err)
		}
		if took, want := time.Since(begun), 3*time.Minute+time.Second+drainTime; took != want {
			t.Errorf("took %s, want %s", took, want)
		}
	})
}

// A reply is not overdue while the message is still being written.
func TestSlowWrite(t *testing.T) {
	play(t, []string{greetDovecot + envelopeBob + `
		S: 250 OK
		S: 250 OK
		S: 250 OK
		C: BDAT 10485760 LAST
		SKIP 2097152
		PAUSE 2m50s
		SKIP 2097152
		PAUSE 2m50s
		SKIP 2097152
		PAUSE 2m50s
		SKIP 2097152
		PAUSE 2m50s
		SKIP 2097152
		PAUSE 9m50s
		S: 250 saved
	` + bye}, func(t *testing.T, th *theatre) {
		err := th.Deliver(t.Context(), "a@x.test", "bob@y.test", [][]byte{make([]byte, 10<<20)})
		if err != nil {
			t.Error(err)
		}
	})
}

// A server that accepts and says nothing to the beginning of TLS.
func TestSilentHandshake(t *testing.T) {
	playConfigured(t, Config{Connections: 1, TLS: &tls.Config{ServerName: "mx.test"}}, []string{`
		STALL
	`}, func(t *testing.T, th *theatre) {
		begun := time.Now()
		if err := th.bob(); !isAway(err) {
			t.Errorf("got %v", err)
		}
		if took, want := time.Since(begun), th.config.Timeouts.Greeting; took != want {
			t.Errorf("took %s, want %s", took, want)
		}
	})
}

// pieces is a connection that notes how much it is given at a time.
type pieces struct {
	net.Conn
	largest, armed int
}

func (p *pieces) SetWriteDeadline(time.Time) error { p.armed++; return nil }

func (p *pieces) Write(octets []byte) (int, error) {
	p.largest = max(p.largest, len(octets))
	return len(octets), nil
}

// However it is written, a large message has a deadline for each part.
func TestPieces(t *testing.T) {
	const parts = 5
	octets := make([]byte, parts*maxWrite)
	for name, write := range map[string]func(*wire) error{
		"by go-smtp": func(w *wire) error { _, err := w.Write(octets); return err },
		"ours":       func(w *wire) error { _, err := w.send(net.Buffers{octets}); return err },
	} {
		p := &pieces{}
		if err := write(newWire(p, nil, Timeouts{})); err != nil || p.largest > maxWrite || p.armed != parts {
			t.Errorf("%s: %d octets at a time, %d deadlines, %v", name, p.largest, p.armed, err)
		}
	}
}
