package submission

import "context"

// Trial is a session in which no message is sent. It is not for several
// goroutines.
type Trial struct {
	session *session
	sender  string
}

// Try does what [Client.Probe] does and leaves the session open, also when ctx
// then ends. Its error is an *AwayError. The caller closes the Trial.
func (c *Client) Try(ctx context.Context) (*Trial, error) {
	s, err := c.open(ctx)
	if err != nil {
		return nil, err
	}
	s.release()
	return &Trial{s, c.config.Sender}, nil
}

// Mechanism is what the password was told by; empty: none was asked for.
func (t *Trial) Mechanism() string { return t.session.mechanism }

// Recipient asks whether the server would take mail for the mailbox, and takes
// that back with RSET. Its errors are *ReplyError, *AddressError, or the
// connection's.
func (t *Trial) Recipient(ctx context.Context, mailbox string) error {
	if err := checkEnvelope(t.sender, mailbox); err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, t.session.wire.cut)
	defer stop()
	t.session.wire.within(t.session.limits.Open)
	if err := t.session.Mail(t.sender, nil); err != nil {
		return refusal("MAIL", err)
	}
	if err := t.session.Rcpt(mailbox, nil); err != nil {
		return refusal("RCPT", err)
	}
	return t.session.Reset()
}

// Close takes leave with QUIT.
func (t *Trial) Close() {
	t.session.quit()
	t.session.close()
}
