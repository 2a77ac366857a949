package lmtp

import (
	"errors"
	"fmt"

	"github.com/emersion/go-smtp"
)

// transactData is a transaction in go-smtp's hands, for servers without
// CHUNKING. Its error means that the connection is of no use any more.
//
// go-smtp makes CRLF of a bare LF, so that nothing in a message can end it; but
// it makes CRCRCRLF of CRCRLF too. Here, and only here, octets are not kept.
func (k *conn) transactData(t *transaction) error {
	k.wire.within(k.client.config.Timeouts.Command)
	if k.stale {
		if err := k.session.Reset(); err != nil {
			return err
		}
		k.stale = false
	}
	if err := k.session.Mail(t.sender, nil); err != nil {
		return k.refuse(t, "MAIL", err)
	}
	if err := k.session.Rcpt(t.mailbox, nil); err != nil {
		k.stale = true // the server remembers MAIL
		return k.refuse(t, "RCPT", err)
	}
	k.mark(t, stepBody, false)
	if k.client.config.Exclusive {
		if verdict := k.prove(t); verdict != nil {
			return k.withdrawData(t, verdict)
		}
		defer k.release()
	}
	data, err := k.session.Data()
	if err != nil {
		k.stale = true
		return k.refuse(t, "DATA", err)
	}
	return k.sendData(t, data)
}

// sendData writes the message. On failure the connection is cut, never ended
// with QUIT or RSET: go-smtp would end the message first, and half of it would
// be delivered.
func (k *conn) sendData(t *transaction, data *smtp.DataCommand) error {
	for _, o := range t.octets {
		if _, err := data.Write(o); err != nil {
			return err
		}
	}
	k.mark(t, stepBody, true) // from here the final dot may get out
	k.wire.within(k.client.config.Timeouts.Final)
	if _, err := data.CloseWithLMTPResponse(); err != nil {
		return k.refuse(t, "DATA", err)
	}
	k.client.mu.Lock()
	defer k.client.mu.Unlock()
	k.resolve(t, nil)
	return nil
}

// mark notes how far t has come, for settle.
func (k *conn) mark(t *transaction, s step, sent bool) {
	k.client.mu.Lock()
	defer k.client.mu.Unlock()
	t.step, t.sent = s, sent
}

// refuse makes a verdict of a reply. Anything else, and 421, is an error of the
// connection.
func (k *conn) refuse(t *transaction, command string, err error) error {
	reply, ok := errors.AsType[*smtp.SMTPError](err)
	if !ok || reply.Code < 400 || reply.Code > 599 {
		return err
	}
	refusal := &ReplyError{Code: reply.Code, Text: printable(reply.Message), Command: command}
	if e := reply.EnhancedCode; e != smtp.EnhancedCodeNotSet {
		refusal.Enhanced = fmt.Sprintf("%d.%d.%d", e[0], e[1], e[2])
	}
	if reply.Code == codeClosing {
		return refusal
	}
	k.client.mu.Lock()
	defer k.client.mu.Unlock()
	k.resolve(t, refusal)
	return nil
}
