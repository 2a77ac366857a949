package main

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/homing-mail/homing/courier"
	"github.com/homing-mail/homing/lmtp"
	"github.com/homing-mail/homing/maildir"
)

// namedMailbox is a mailbox that the configuration names.
type namedMailbox struct {
	name string
	by   string // the variable, and the rule in it
}

// mailboxes lists the mailboxes that the configuration names, each once.
func (c *checker) mailboxes() (all []namedMailbox) {
	var rules []courier.Target
	if !c.isWrong("HOMING_RECIPIENTS") {
		rules = c.cfg.rules.Targets()
	}
	for _, t := range rules {
		all = append(all, namedMailbox{t.Mailbox, "HOMING_RECIPIENTS, rule " + t.Pattern + "="})
	}
	for _, other := range []namedMailbox{
		{string(c.cfg.FallbackMailbox), "HOMING_FALLBACK_MAILBOX"}, {string(c.cfg.Postmaster), "HOMING_POSTMASTER"},
		{c.formMailbox(), "HOMING_FORM_MAILBOX"}} {
		known := slices.ContainsFunc(all, func(m namedMailbox) bool { return m.name == other.name })
		if other.name != "" && !known {
			all = append(all, other)
		}
	}
	return all
}

// destination tries the way out and each mailbox that is known by name.
func (c *checker) destination(ctx context.Context, p *page) {
	switch to := c.cfg.DeliverTo; {
	case c.isWrong("HOMING_DELIVER_TO"), c.cfg.onlyFormOut():
	case to.maildir != "":
		c.maildir(ctx, p, to)
	default:
		client := lmtp.New(c.lmtpConfig(to))
		defer client.Close()
		c.lmtp(ctx, p, to, client)
		if c.probing {
			p.try(ctx, "probe", c.probeTo, func(ctx context.Context) finding { return c.probe(ctx, client) })
		}
	}
}

// lmtpConfig is that of deliveries with a shorter patience, so that what a
// server fails to say is said by us.
func (c *checker) lmtpConfig(to destination) lmtp.Config {
	config := lmtpConfig(to)
	config.Connections = 1
	config.Timeouts = lmtp.Timeouts{Dial: c.patience / 3, Greeting: c.patience / 3, Command: c.patience / 3}
	return config
}

// lmtp tries the session, and RCPT for each mailbox.
func (c *checker) lmtp(ctx context.Context, p *page, to destination, client *lmtp.Client) {
	var trial *lmtp.Trial
	if !p.try(ctx, "lmtp", to.String(), func(ctx context.Context) finding {
		var err error
		if trial, err = client.Try(ctx); err != nil {
			return broken(err, awayMend(to, err))
		}
		return sessionFinding(trial, len(c.mailboxes()))
	}) {
		return
	}
	defer trial.Close()
	for _, m := range c.mailboxes() {
		var lost bool
		p.try(ctx, "mailbox", m.name, func(ctx context.Context) finding {
			err := trial.Recipient(ctx, m.name)
			_, lost = errors.AsType[*lmtp.AwayError](err)
			return recipientFinding(m, to, err)
		})
		if p.hung || lost {
			return
		}
	}
	if c.cfg.LMTPExclusive {
		c.exclusive(ctx, p, client)
	}
}

// sessionFinding says what the server is.
func sessionFinding(trial *lmtp.Trial, named int) finding {
	server, way := "an LMTP server", "DATA"
	if trial.IsDovecot() {
		server = "Dovecot"
	}
	if trial.Chunks() {
		way = "BDAT, pipelined"
	}
	text := fmt.Sprintf("%s, offers %s; mail goes by %s", server, strings.Join(trial.Offers(), " "), way)
	if named == 0 {
		text += "; no mailbox was tried, since no variable names one: addresses are mailboxes as they are"
	}
	return well("%s", text)
}

// awayMend is what to do where no session comes about.
func awayMend(to destination, err error) string {
	_, unknown := errors.AsType[x509.UnknownAuthorityError](err)
	_, misnamed := errors.AsType[x509.HostnameError](err)
	switch {
	case unknown:
		return "give Dovecot a certificate of an authority that this system knows, or install yours (in SSL_CERT_FILE or the system's store)"
	case misnamed:
		return "name the host in HOMING_DELIVER_TO as its certificate does"
	case errors.Is(err, fs.ErrNotExist) && to.network == "unix":
		return "start Dovecot with its lmtp service; in a container mount the directory of the socket, not the socket"
	case errors.Is(err, fs.ErrPermission):
		return "let homing's user use the socket: mode, user or group of unix_listener lmtp in Dovecot's service lmtp"
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded):
		return "raise process_limit of Dovecot's service lmtp (and keep HOMING_LMTP_CONNECTIONS below it); see whether a firewall drops the connection"
	case to.network == "unix":
		return "start Dovecot, or correct the socket's path in HOMING_DELIVER_TO"
	}
	return "start Dovecot with an inet_listener of its service lmtp there, or correct HOMING_DELIVER_TO; in a container join Dovecot's network"
}

// recipientFinding judges the answer to RCPT.
func recipientFinding(m namedMailbox, to destination, err error) finding {
	reply, refused := errors.AsType[*lmtp.ReplyError](err)
	switch {
	case err == nil:
		return well("taken, and taken back (%s)", m.by)
	case refused && reply.Busy():
		return well("there; something is being delivered to it just now (%s)", m.by)
	case refused && strings.HasSuffix(reply.Enhanced, ".2.2"):
		return doubtful(fmt.Sprintf("%v (%s)", err, m.by), "the mailbox is full: delete mail in it or raise its quota; homing tries again for HOMING_RETRY_FOR")
	case refused && reply.Code < 500:
		return broken(fmt.Errorf("%w (%s)", err, m.by), "Dovecot's log says why it cannot take mail for it now; homing would try again")
	case refused:
		return broken(fmt.Errorf("%w (%s)", err, m.by), "make this user in Dovecot, or correct "+m.by)
	}
	if _, unspeakable := errors.AsType[*lmtp.AddressError](err); unspeakable {
		return broken(fmt.Errorf("%w (%s)", err, m.by), "correct "+m.by)
	}
	return broken(err, awayMend(to, err))
}

// maildir tries the directory, and what each mailbox's would be.
func (c *checker) maildir(ctx context.Context, p *page, to destination) {
	boxes, err := maildir.New(to.maildir)
	if err != nil {
		p.add("maildir", to.maildir, 0, misset(err, "correct HOMING_DELIVER_TO"))
		return
	}
	if !p.try(ctx, "maildir", boxes.Base(), func(context.Context) finding {
		f, _ := writable(boxes.Base(), "HOMING_DELIVER_TO")
		return f
	}) {
		return
	}
	for _, m := range c.mailboxes() {
		p.try(ctx, "mailbox", m.name, func(context.Context) finding { return maildirFinding(boxes, m) })
	}
}

// maildirFinding looks at one Maildir, where homing writes into tmp.
func maildirFinding(boxes *maildir.Maildir, m namedMailbox) finding {
	dir, err := boxes.Where(m.name)
	if err != nil {
		return broken(fmt.Errorf("%w (%s)", err, m.by), "correct "+m.by+", or the pattern in HOMING_DELIVER_TO")
	}
	at := existing(filepath.Join(dir, "tmp"))
	if err := tryWrite(at); err != nil {
		return broken(fmt.Errorf("%s: %w (%s)", at, err, m.by), "let homing's user write there")
	}
	if at == filepath.Join(dir, "tmp") {
		return well("%s is there and writable (%s)", dir, m.by)
	}
	return well("%s would be made (%s)", dir, m.by)
}
