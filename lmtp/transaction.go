package lmtp

import (
	"context"
	"strconv"
)

// step is the reply that a transaction waits for next.
type step int

const (
	stepRset step = iota
	stepMail
	stepRcpt
	stepBody
)

func (s step) String() string {
	return [...]string{"RSET", "MAIL", "RCPT", "BDAT"}[s]
}

// transaction is one message on its way to one mailbox.
type transaction struct {
	ctx     context.Context
	sender  string
	mailbox string
	octets  [][]byte
	size    int64
	verdict chan error // gets exactly one value
	number  uint64     // in the order of enqueue

	// waits: the octets follow only after the 250 to RCPT. Set when a
	// connection takes the transaction.
	waits bool
	end   int64 // where its octets end in the write; the writer's alone

	// Guarded by Client.mu.
	lane    *lane
	conn    *conn // nil while queued
	done    bool  // the verdict is out
	step    step
	begun   bool        // the octets that had to wait wait no more
	sent    bool        // the last octet went out and octets is not in use any more
	refusal *ReplyError // the first
	losses  int         // kept connections that were found dead under it
	tries   int         // of its lane, when a connection took it

	// withdrawn is why RSET took the place of the octets; nil: it did not.
	withdrawn error
}

func newTransaction(ctx context.Context, sender, mailbox string, octets [][]byte) *transaction {
	t := &transaction{
		ctx: ctx, sender: sender, mailbox: mailbox, octets: octets,
		verdict: make(chan error, 1),
	}
	for _, o := range octets {
		t.size += int64(len(o))
	}
	return t
}

// finish hands out the verdict; Client.mu is held.
func (t *transaction) finish(err error) {
	t.done, t.conn = true, nil
	t.verdict <- err
}

// rewind makes it as it was before a connection took it; Client.mu is held.
func (t *transaction) rewind() {
	t.conn, t.step, t.begun, t.sent, t.refusal, t.withdrawn = nil, stepRset, false, false, nil, nil
}

// outcome is the verdict once all replies are there. A *ReplyError must not
// become a non-nil error interface with nothing in it.
func (t *transaction) outcome() error {
	if t.refusal != nil {
		return t.refusal
	}
	return nil
}

// appendEnvelope appends RSET, MAIL and RCPT. RSET makes the transaction
// independent of the one before: after a refused chunk Dovecot 2.3 refuses
// everything until it comes.
func (t *transaction) appendEnvelope(b []byte, eightBit bool) []byte {
	b = append(b, "RSET\r\nMAIL FROM:<"...)
	b = append(b, t.sender...)
	b = append(b, '>')
	if eightBit {
		b = append(b, " BODY=8BITMIME"...)
	}
	b = append(b, "\r\nRCPT TO:<"...)
	b = append(b, t.mailbox...)
	return append(b, ">\r\n"...)
}

// appendChunk appends the command that the octets follow (RFC 3030, 2).
func (t *transaction) appendChunk(b []byte) []byte {
	b = append(b, "BDAT "...)
	b = strconv.AppendInt(b, t.size, 10)
	return append(b, " LAST\r\n"...)
}
