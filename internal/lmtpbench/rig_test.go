package lmtpbench

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/homing-mail/homing/internal/dovecot"
	"github.com/homing-mail/homing/internal/usage"
	"github.com/homing-mail/homing/lmtp"
)

// queued is how many deliveries wait in all, as the courier would have them.
const queued = 64

// rig is one comparison.
type rig struct {
	server           *dovecot.Server
	source           string // smtp-source
	network, address string
	messages, octets int
	connections      int    // of homing, at most
	mailboxes        int    // of homing
	rivals           int    // connections of smtp-source
	domain           string // of the run, for fresh Maildirs
}

// runs of all comparisons, so that no two share a domain.
var runs atomic.Int64

// run gives f a domain of its own with its mailboxes, and removes them.
func (r rig) run(b *testing.B, f func(r rig) time.Duration) figures {
	r.domain = fmt.Sprintf("run%d.test", runs.Add(1))
	home := filepath.Join(r.server.MailRoot, r.domain)
	r.settle(b)
	begun := time.Now()
	cpu := f(r)
	took := time.Since(begun)
	if stored := count(home) - mailboxes; stored != r.messages {
		b.Fatalf("%d messages sent, %d in %s\n%s", r.messages, stored, home, r.server.Log())
	}
	if err := os.RemoveAll(home); err != nil {
		b.Fatal(err)
	}
	syscall.Sync() // the other run is not to pay for it
	n := float64(r.messages)
	return figures{rate: n / took.Seconds(), cpu: cpu.Seconds() * 1000 / n}
}

// settle makes the mailboxes, which is not what is measured.
func (r rig) settle(b *testing.B) {
	client := lmtp.New(lmtp.Config{Network: "unix", Address: r.server.UnixSocket, Connections: 4, Name: "bench"})
	defer client.Close()
	var each sync.WaitGroup
	for n := range mailboxes {
		each.Go(func() {
			if err := client.Deliver(b.Context(), "a@x.test", r.mailbox(n), [][]byte{[]byte("Subject: the first\r\n\r\n")}); err != nil {
				b.Error(err)
			}
		})
	}
	each.Wait()
}

func (r rig) mailbox(n int) string { return strconv.Itoa(n%mailboxes) + "u@" + r.domain }

// homing delivers with package lmtp and returns the processor time it took.
func (r rig) homing(b *testing.B, body [][]byte) time.Duration {
	before := usage.Self(b)
	client := lmtp.New(lmtp.Config{Network: r.network, Address: r.address, Connections: r.connections, Name: "bench"})
	defer client.Close()
	ctx, cancel := context.WithCancelCause(b.Context())
	defer cancel(nil)
	work := make(chan int, r.messages)
	for i := range r.messages {
		work <- i
	}
	close(work)
	var workers sync.WaitGroup
	for range queued {
		workers.Go(func() {
			for i := range work {
				if err := client.Deliver(ctx, "a@x.test", r.mailbox(i%r.mailboxes), body); err != nil {
					cancel(err)
					return
				}
			}
		})
	}
	workers.Wait()
	if err := context.Cause(ctx); err != nil {
		b.Fatalf("%v\n%s", err, r.server.Log())
	}
	return usage.Self(b) - before
}

// smtpSource runs the yardstick and returns the processor time it took.
func (r rig) smtpSource(b *testing.B) time.Duration {
	target := "unix:" + r.address
	if r.network == "tcp" {
		target = "inet:" + r.address
	}
	ctx, cancel := context.WithTimeout(b.Context(), 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, r.source, "-L", "-d", "-s", strconv.Itoa(r.rivals),
		"-m", strconv.Itoa(r.messages), "-l", strconv.Itoa(r.octets),
		"-f", "a@x.test", "-N", "-t", "u@"+r.domain, target)
	if out, err := cmd.CombinedOutput(); err != nil {
		b.Fatalf("%v: %v\n%s", cmd, err, out)
	}
	return cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
}

// payload is a message of about this size, head and body apart as the courier
// has them.
func payload(octets int) [][]byte {
	head := []byte("X-Homing-Id: 0123456789abcdef0123456789abcdef\r\nX-Original-To: u@example.com\r\n")
	const top = "From: a@x.test\r\nTo: u@example.com\r\nSubject: a benchmark\r\n\r\n"
	line := []byte("The quick brown fox jumps over the lazy dog, again and again and again.\r\n")
	body := append([]byte(top), bytes.Repeat(line, octets/len(line)+1)...)
	return [][]byte{head, body[:octets-len(line)], []byte("-- the end.\r\n")}
}

// count returns the number of messages below home.
func count(home string) int {
	found, _ := filepath.Glob(filepath.Join(home, "h*", "Maildir", "new", "*"))
	return len(found)
}
