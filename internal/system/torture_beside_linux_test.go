package system

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/textproto"
	"slices"
	"strings"
	"sync"
	"testing"

	"golang.org/x/time/rate"
)

// other delivers mail of its own to the same mailboxes, as a Postfix beside
// homing does: one message after another, without homing's header lines, and
// again after any answer but 250.
type other struct {
	t      *testing.T
	socket string
	done   sync.WaitGroup
	stop   context.CancelFunc
	taken  map[string][]string // the subjects that Dovecot has taken, by user
}

// otherSubject is what the subjects of its mail begin with.
const otherSubject = "Subject: beside-"

// otherRate is how many messages a second it tries to deliver.
const otherRate = 15

// newOther starts one; it delivers until end.
func newOther(t *testing.T, socket string) *other {
	ctx, stop := context.WithCancel(t.Context())
	o := &other{t: t, socket: socket, stop: stop, taken: map[string][]string{}}
	o.done.Go(func() { o.deliver(ctx) })
	return o
}

// end waits until it delivers no more.
func (o *other) end() {
	o.stop()
	o.done.Wait()
}

func (o *other) deliver(ctx context.Context) {
	pace := rate.NewLimiter(otherRate, 1)
	var conn *textproto.Conn
	for n := 0; pace.Wait(ctx) == nil; {
		if conn == nil {
			conn = o.dial()
		}
		if conn == nil {
			continue // Dovecot is away
		}
		user, subject := crowd[n%len(crowd)], fmt.Sprint(otherSubject, n)
		err := give(conn, address(user), subject)
		refused, answered := errors.AsType[*textproto.Error](err)
		switch {
		case err == nil:
			o.taken[user] = append(o.taken[user], subject)
			n++
		case !answered || refused.Code == 421:
			_ = conn.Close() // it has ended
			conn = nil
		}
	}
	if conn != nil {
		_ = conn.Close() // all was answered
	}
}

// dial opens a session, nil where Dovecot does not answer.
func (o *other) dial() *textproto.Conn {
	conn, err := textproto.Dial("unix", o.socket)
	if err != nil {
		return nil
	}
	if _, _, err = conn.ReadResponse(220); err == nil {
		err = command250(conn, "LHLO beside.test")
	}
	if err != nil {
		_ = conn.Close() // there is no session
		return nil
	}
	return conn
}

// give delivers one message. After a refusal the session can take the next.
func give(conn *textproto.Conn, to, subject string) error {
	for _, line := range []string{"RSET", "MAIL FROM:<beside@far.test>", "RCPT TO:<" + to + ">"} {
		if err := command250(conn, line); err != nil {
			return err
		}
	}
	message := subject + "\r\nFrom: beside@far.test\r\n\r\nNot homing's.\r\n"
	return command250(conn, fmt.Sprintf("BDAT %d LAST\r\n%s", len(message), strings.TrimSuffix(message, "\r\n")))
}

func command250(conn *textproto.Conn, line string) error {
	if err := conn.PrintfLine("%s", line); err != nil {
		return err
	}
	_, _, err := conn.ReadResponse(250)
	return err
}

// isOther tells its mail from homing's.
func isOther(raw []byte) bool { return bytes.Contains(raw, []byte("\n"+otherSubject)) }

// count is how many of its messages Dovecot took.
func (o *other) count() (n int) {
	for _, subjects := range o.taken {
		n += len(subjects)
	}
	return n
}

// judge checks that every message that Dovecot took of it is there as well.
func (o *other) judge(user string, mailbox [][]byte) {
	o.t.Helper()
	for _, subject := range o.taken[user] {
		if !slices.ContainsFunc(mailbox, func(raw []byte) bool { return bytes.Contains(raw, []byte("\n"+subject+"\r\n")) }) {
			o.t.Errorf("%s has no %q of the other deliverer, whom Dovecot said that it had", user, subject)
		}
	}
}
