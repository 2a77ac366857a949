package submission

import (
	"errors"
	"fmt"

	"github.com/emersion/go-smtp"
)

// send carries out one transaction.
func (s *session) send(sender, mailbox string, octets [][]byte) error {
	size := 0
	for _, o := range octets {
		size += len(o)
	}
	if limit, told := s.MaxMessageSize(); told && limit > 0 && size > limit {
		s.quit()
		return &SizeError{Octets: size, Limit: limit}
	}
	data, err := s.envelope(sender, mailbox, size)
	if err != nil {
		s.quit() // no DATA is under way
		return err
	}
	s.wire.within(s.limits.Body)
	for _, o := range octets {
		if _, err := data.Write(o); err != nil {
			return fmt.Errorf("submission: the connection was lost before the message was sent: %w", err)
		}
	}
	return s.finish(data)
}

// envelope says who writes to whom, until the server waits for the message.
func (s *session) envelope(sender, mailbox string, size int) (*smtp.DataCommand, error) {
	s.wire.within(s.limits.Envelope)
	if err := s.Mail(sender, &smtp.MailOptions{Size: int64(size)}); err != nil {
		return nil, refusal("MAIL", err)
	}
	if err := s.Rcpt(mailbox, nil); err != nil {
		return nil, refusal("RCPT", err)
	}
	data, err := s.Data()
	if err != nil {
		return nil, refusal("DATA", err)
	}
	return data, nil
}

// finish ends the message and waits for the verdict. From here on nobody knows
// whether the final dot got out.
func (s *session) finish(data *smtp.DataCommand) error {
	s.wire.within(s.limits.Final)
	_, err := data.CloseWithResponse()
	if err != nil {
		reply, answered := errors.AsType[*smtp.SMTPError](err)
		switch {
		case !answered, reply.Code < 200 || reply.Code > 599 || reply.Code/100 == 3:
			return &UnknownError{err}
		case reply.Code >= 400:
			s.quit()
			return refusal("DATA", err)
		}
		// A 2yz other than 250 says yes, too (RFC 5321 4.2.1).
	}
	s.quit()
	return nil
}
