package lmtp

import (
	"context"
	"errors"
	"fmt"
	"io"
)

// Trial is a session in which no message is ever sent, on a connection of its
// own. It is not for several goroutines.
type Trial struct {
	conn *conn
}

// offers are the extensions that a person may want to know of: those that homing
// uses, and those that Dovecot and other servers announce.
var offers = []string{"CHUNKING", "PIPELINING", "8BITMIME", "ENHANCEDSTATUSCODES", "SIZE", "SMTPUTF8", "DSN", "STARTTLS", "XCLIENT"}

// Try connects, reads the greeting and says LHLO. Its error is an *AwayError.
// The caller closes the Trial.
func (c *Client) Try(ctx context.Context) (*Trial, error) {
	k, err := c.connect(ctx)
	if err != nil {
		return nil, err
	}
	k.wire.capped = true
	k.wire.within(c.config.Timeouts.Command)
	return &Trial{k}, nil
}

// Offers lists extensions that the server announces, without their parameters;
// such that homing has never heard of are not among them.
func (t *Trial) Offers() (names []string) {
	for _, name := range offers {
		if offered, _ := t.conn.session.Extension(name); offered {
			names = append(names, name)
		}
	}
	return names
}

// Chunks reports whether deliveries will be made with BDAT, not with DATA.
func (t *Trial) Chunks() bool { return t.conn.ours }

// IsDovecot reports whether the server greets as Dovecot does.
func (t *Trial) IsDovecot() bool { return t.conn.swallows }

// Recipient asks whether the server would take mail for the mailbox from the
// null sender, and takes that back with RSET. The errors are *ReplyError,
// *AddressError, or an *AwayError, after which the Trial is of no more use.
func (t *Trial) Recipient(ctx context.Context, mailbox string) error {
	return t.within(ctx, mailbox, func() (*ReplyError, error) {
		verdict, err := t.reserve(mailbox)
		if err != nil {
			return nil, err
		}
		refusal, err := t.say("RSET", "RSET")
		if verdict == nil {
			verdict = refusal
		}
		return verdict, err
	})
}

// Room counts how many sessions at once the server lets deliver to the mailbox, up
// to most, each on a connection of its own: Dovecot's lmtp_user_concurrency_limit,
// less what is being delivered at the moment. The errors are those of Try and of
// Recipient.
func (c *Client) Room(ctx context.Context, mailbox string, most int) (int, error) {
	for n := range most {
		t, err := c.Try(ctx)
		if err != nil {
			return n, err
		}
		defer t.Close() // which takes it back
		err = t.within(ctx, mailbox, func() (*ReplyError, error) { return t.reserve(mailbox) })
		if refusal, refused := errors.AsType[*ReplyError](err); refused && refusal.Busy() {
			return n, nil
		}
		if err != nil {
			return n, err
		}
	}
	return most, nil
}

// within carries a dialogue about a mailbox out, for as long as ctx lasts. The
// dialogue's verdict is the first refusal, its error one of the connection.
func (t *Trial) within(ctx context.Context, mailbox string, dialogue func() (*ReplyError, error)) error {
	if err := checkEnvelope("", mailbox); err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, t.conn.wire.cut)
	defer stop()
	verdict, err := dialogue()
	if ctx.Err() != nil {
		err = ctx.Err()
	}
	switch {
	case err != nil:
		return t.conn.client.away(err)
	case verdict != nil:
		return verdict
	}
	return nil
}

// reserve asks for the mailbox.
func (t *Trial) reserve(mailbox string) (*ReplyError, error) {
	if verdict, err := t.say("MAIL", "MAIL FROM:<>"); verdict != nil || err != nil {
		return verdict, err // without MAIL, RCPT would be refused for that
	}
	return t.say("RCPT", "RCPT TO:<"+mailbox+">")
}

// say sends one command and reads its reply. 421 is an error: the server hangs up.
func (t *Trial) say(command, line string) (*ReplyError, error) {
	if _, err := io.WriteString(t.conn.wire, line+"\r\n"); err != nil {
		return nil, err
	}
	return t.hear(command)
}

// hear reads the reply to a command.
func (t *Trial) hear(command string) (*ReplyError, error) {
	r, err := t.conn.replies.next()
	switch {
	case err != nil:
		return nil, fmt.Errorf("no reply to %s: %w", command, err)
	case r.code == codeClosing:
		return nil, r.err(command)
	case 300 <= r.code && r.code < 400:
		return nil, fmt.Errorf("%w: %d to %s", errMalformed, r.code, command)
	case r.code >= 400:
		return r.err(command), nil
	}
	return nil, nil
}

// Close takes leave with QUIT.
func (t *Trial) Close() { t.conn.quit() }
