package main

import (
	"context"
	"crypto/x509"
	"errors"
	"strings"

	"github.com/homing-mail/homing/submission"
)

// formMailbox is the mailbox of the form's messages, where it is among those at
// HOMING_DELIVER_TO.
func (c *checker) formMailbox() string {
	if c.cfg.FormDeliverTo.address != "" {
		return ""
	}
	return string(c.cfg.FormMailbox)
}

// form tells to which keys messages have to be encrypted, to be compared with the
// page, and tries the server that they leave by. What is wrong with the variables
// the configuration's lines say.
func (c *checker) form(ctx context.Context, p *page) {
	if c.cfg.FormPath != "" && len(c.cfg.FormKey.ids) > 0 {
		p.add("form", string(c.cfg.FormPath), 0, well("takes what is encrypted to %s, for %s", strings.Join(c.cfg.FormKey.ids, " or "), c.cfg.FormMailbox))
	}
	to := c.cfg.FormDeliverTo
	if to.address == "" || to.user != "" && c.cfg.FormPassword == "" {
		return
	}
	var trial *submission.Trial
	if !p.try(ctx, "submission", to.String(), func(ctx context.Context) (f finding) {
		f, trial = c.submission(ctx)
		return f
	}) || trial == nil {
		return
	}
	defer trial.Close()
	p.try(ctx, "mailbox", string(c.cfg.FormMailbox), func(ctx context.Context) finding { return c.submissionMailbox(ctx, trial) })
}

// submission tries the session, as far as the password.
func (c *checker) submission(ctx context.Context) (finding, *submission.Trial) {
	config := submissionConfig(c.cfg)
	config.Timeouts.Open = c.patience * 4 / 5
	trial, err := submission.New(config).Try(ctx)
	if err != nil {
		return broken(err, submissionMend(err)), nil
	}
	if trial.Mechanism() == "" {
		return well("TLS with a certificate that is right; no user is configured"), trial
	}
	return well("TLS with a certificate that is right; the password was taken (AUTH %s)", trial.Mechanism()), trial
}

// submissionMend is what to do where no session comes about.
func submissionMend(err error) string {
	_, unknown := errors.AsType[x509.UnknownAuthorityError](err)
	_, misnamed := errors.AsType[x509.HostnameError](err)
	away, _ := errors.AsType[*submission.AwayError](err)
	switch {
	case unknown:
		return "the server needs a certificate of an authority that this system knows; for one of your own set SSL_CERT_FILE"
	case misnamed:
		return "name the host in HOMING_FORM_DELIVER_TO as its certificate does"
	case away != nil && away.Clear:
		return "use submissions://host:465 if the provider has it; if it has STARTTLS on other networks, something between takes it away"
	case away != nil && away.Refused:
		return "correct the user in HOMING_FORM_DELIVER_TO, or HOMING_FORM_PASSWORD; many providers want an app password or token here"
	}
	return "correct HOMING_FORM_DELIVER_TO (submission:// is STARTTLS, mostly port 587; submissions:// is TLS from the first octet, mostly 465); look whether a firewall drops the connection"
}

// submissionMailbox asks whether the form's mail would be taken.
func (c *checker) submissionMailbox(ctx context.Context, trial *submission.Trial) finding {
	err := trial.Recipient(ctx, string(c.cfg.FormMailbox))
	refused, ok := errors.AsType[*submission.ReplyError](err)
	switch {
	case err == nil:
		return well("mail from %s to it would be taken; that was taken back (HOMING_FORM_MAILBOX)", c.cfg.formFrom())
	case ok && refused.Code < 500:
		return doubtful(err.Error(), "the server may take it later; homing tries again for HOMING_RETRY_FOR")
	}
	// Whose the fault is the words tell, not the command: Postfix refuses a sender at RCPT.
	return broken(err, "the user has to be allowed to send from HOMING_FORM_FROM, which is "+c.cfg.formFrom()+", and HOMING_FORM_MAILBOX has to be there")
}
