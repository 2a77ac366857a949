package system

import (
	"bytes"
	"crypto/tls"
	"encoding/pem"
	"errors"
	"io"
	"net"
	"net/mail"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"

	"github.com/homing-mail/homing/internal/dovecot"
	"github.com/homing-mail/homing/internal/gnupg"
	"github.com/homing-mail/homing/internal/postfix"
	"github.com/homing-mail/homing/internal/sessmtp"
)

// trustedToo returns the path of a file of roots: SNS's, and one more.
func trustedToo(t *testing.T, root []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "roots.pem")
	if err := os.WriteFile(path, slices.Concat(site.signer.CAPEM(), root), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// selfSigned makes a certificate for localhost, and what trusts it.
func selfSigned(t *testing.T) (cert, key, roots string) {
	t.Helper()
	dir := t.TempDir()
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	certificate := writeCertificate(t, cert, key, 1)
	return cert, key, trustedToo(t, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate.Raw}))
}

// through are the variables of a form that leaves by a submission server.
func through(server, user, password, roots string) []string {
	to := url.URL{Scheme: "submission", User: url.User(user), Host: server}
	return []string{"HOMING_FORM_DELIVER_TO", to.String(), "HOMING_FORM_PASSWORD", password, "SSL_CERT_FILE", roots}
}

// A provider as many are: a real Postfix takes submissions, asks a real Dovecot
// whether the password is right, and delivers to it. GnuPG decrypts what comes.
func TestFormThroughPostfix(t *testing.T) {
	t.Parallel()
	o := newOwner(t, gnupg.V22)
	provider := dovecot.Start(t, dovecot.Options{
		Version: dovecot.V23, Users: users("alice"),
		Config: "auth_mechanisms = plain login\nservice auth {\n  unix_listener sasl {\n    mode = 0666\n  }\n}\n",
	})
	cert, key, roots := selfSigned(t)
	mta := postfix.Start(t, postfix.Options{
		Main: strings.NewReplacer("@SASL@", filepath.Join(filepath.Dir(provider.UnixSocket), "sasl"), "@LMTP@", provider.UnixSocket).Replace(`
smtpd_tls_security_level = encrypt
smtpd_tls_cert_file = @DIR@/cert.pem
smtpd_tls_key_file = @DIR@/key.pem
smtpd_sasl_auth_enable = yes
smtpd_sasl_type = dovecot
smtpd_sasl_path = @SASL@
smtpd_tls_auth_only = yes
smtpd_helo_required = yes
smtpd_helo_restrictions = reject_invalid_helo_hostname, reject_non_fqdn_helo_hostname
smtpd_sender_login_maps = texthash:@DIR@/senders
smtpd_sender_restrictions = reject_sender_login_mismatch
smtpd_relay_restrictions = permit_sasl_authenticated, reject
smtpd_recipient_restrictions = permit_sasl_authenticated, reject
mynetworks =
virtual_mailbox_domains = home.test
virtual_transport = lmtp:unix:@LMTP@
`),
		Files: map[string]string{"cert.pem": read(t, cert), "key.pem": read(t, key), "senders": "form@home.test alice@home.test\n"},
	})
	_, port, err := net.SplitHostPort(mta.Address)
	if err != nil {
		t.Fatal(err)
	}
	variables := append(o.variables("HOMING_FORM_FROM", "form@home.test"), through("localhost:"+port, address("alice"), dovecot.Password, roots)...)
	// The same homing has a Dovecot of its own, for all other mail.
	h := settle(t, dovecot.Options{Version: dovecot.V23, Users: users("bob")}, variables...)

	entity := written("Grüße 👋\r\n.\r\n..", bytes.Repeat([]byte("\x00\xff"), 50_000))
	id := h.accept(t, signed(o.seal(t, entity)))
	h.send(letter("other"), "ann@far.test", address("bob"))
	h.one(address("bob"), "INBOX")
	message := provider.WaitMessages(t, address("alice"), "INBOX", 1)[0]
	if m, err := mail.ReadMessage(bytes.NewReader(message)); err != nil || m.Header.Get("Return-Path") != "<form@home.test>" || m.Header.Get("Message-ID") != "<"+id+"@home.test>" {
		t.Errorf("%v: %.1000s", err, message)
	}
	sameOctets(t, o.opened(t, message), entity)
	h.awaitIdle()

	// The check sees the same, and sends nothing.
	code, out, _ := command(t, h.env, "check")
	if code != 0 || !strings.Contains(out, "the password was taken (AUTH PLAIN)") || !strings.Contains(out, "mail from form@home.test to it would be taken") {
		t.Errorf("homing check ends with %d:\n%s", code, out)
	}
	code, out, _ = command(t, h.env.with("HOMING_FORM_FROM", "other@home.test"), "check")
	if code != 1 || !strings.Contains(out, "not owned by user") || !strings.Contains(out, "allowed to send from HOMING_FORM_FROM, which is other@home.test") {
		t.Errorf("with another's address it ends with %d:\n%s", code, out)
	}
	if n := len(provider.Mailbox(t, address("alice"), "INBOX")); n != 1 {
		t.Errorf("%d mails, want 1", n)
	}
}

// What is wrong with the provider holds up nothing but the form's messages, which
// wait; nothing is told to a stranger.
func TestFormProviderIsAway(t *testing.T) {
	t.Parallel()
	o := newOwner(t, gnupg.V22)
	ses := sessmtp.Start(t, sessmtp.Config{User: "form", Password: "right", Verified: []string{domain}})
	provider := net.JoinHostPort(ses.Host, ses.Port)
	h := settle(t, dovecot.Options{Version: dovecot.V23, Users: users("bob")}, append(o.variables(), through(provider, "form", "wrong", trustedToo(t, ses.Authority))...)...)
	id := h.accept(t, signed(o.seal(t, written("waits", nil))))
	line := h.await(t, "the destination of the contact form does not answer; mail is taken and kept meanwhile")
	if text, _ := line["error"].(string); !strings.Contains(text, "535") || strings.Contains(text, "wrong") {
		t.Errorf("logged %v", line)
	}
	h.send(letter("other"), "ann@far.test", address("bob"))
	h.one(address("bob"), "INBOX")
	h.sameMetric(t, "homing_form_destination_up", 0)
	h.sameMetric(t, "homing_destination_up", 1)
	if it := h.awaitItem(id, "pending", func(it item) bool { return it.State == "pending" }); it.Attempts != 0 || len(it.Deliveries) != 0 {
		t.Errorf("it has attempts: %+v", it)
	}
	code, out, _ := command(t, h.env, "check")
	if code != 1 || !strings.Contains(out, "refuses the user or the password") || !strings.Contains(out, "correct the user in HOMING_FORM_DELIVER_TO, or HOMING_FORM_PASSWORD") {
		t.Errorf("homing check ends with %d:\n%s", code, out)
	}
	code, out, _ = command(t, h.env.with("SSL_CERT_FILE", site.caFile), "check")
	if code != 1 || !strings.Contains(out, "certificate signed by unknown authority") || !strings.Contains(out, "SSL_CERT_FILE") {
		t.Errorf("without trust it ends with %d:\n%s", code, out)
	}
	if ses.Sessions() != 0 || len(ses.Messages()) != 0 {
		t.Errorf("%d sessions, %d messages", ses.Sessions(), len(ses.Messages()))
	}
	if code, _ := h.stop(t); code != 0 {
		t.Errorf("homing ended with %d", code)
	}
	h.env["HOMING_FORM_PASSWORD"] = "right"
	h.restart()
	h.awaitIdle()
	mails := ses.Messages()
	if len(mails) != 1 || !bytes.Contains(mails[0].Octets, []byte(id)) || mails[0].Recipients[0] != address("alice") {
		t.Errorf("the provider has %+v", mails)
	}
	h.awaitMetric(t, "homing_form_destination_up", 1)

	// And so it is where there is nothing but the form, without AWS.
	h.stop(t)
	delete(h.env, "HOMING_BUCKETS")
	delete(h.env, "HOMING_SNS_TOPICS")
	h.restart()
	h.awaitMetric(t, "homing_destination_up", 1)
	h.awaitMetric(t, "homing_form_destination_up", 1)
}

// absentMinded is a submission server that takes every message, and hangs up on
// the first without saying so.
type absentMinded struct {
	mu    sync.Mutex
	mails []string
}

// NewSession implements smtp.Backend.
func (a *absentMinded) NewSession(c *smtp.Conn) (smtp.Session, error) {
	return &absence{server: a, conn: c}, nil
}

type absence struct {
	server *absentMinded
	conn   *smtp.Conn
}

func (*absence) AuthMechanisms() []string { return []string{sasl.Plain} }

func (*absence) Auth(string) (sasl.Server, error) {
	return sasl.NewPlainServer(func(_, user, password string) error {
		if user != "form" || password != "right" {
			return errors.New("wrong")
		}
		return nil
	}), nil
}

func (*absence) Mail(string, *smtp.MailOptions) error { return nil }
func (*absence) Rcpt(string, *smtp.RcptOptions) error { return nil }
func (*absence) Reset()                               {}
func (*absence) Logout() error                        { return nil }

func (a *absence) Data(r io.Reader) error {
	octets, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	a.server.mu.Lock()
	defer a.server.mu.Unlock()
	if a.server.mails = append(a.server.mails, string(octets)); len(a.server.mails) == 1 {
		return a.conn.Conn().Close()
	}
	return nil
}

// "Failed, but it happened": the reply to a message is lost. It is sent again, and
// whoever compares Message-IDs, or X-Homing-Ids, sees that it is the same.
func TestFormReplyIsLost(t *testing.T) {
	t.Parallel()
	o := newOwner(t, gnupg.V22)
	cert, key, roots := selfSigned(t)
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	provider := &absentMinded{}
	server := smtp.NewServer(provider)
	server.Domain, server.TLSConfig = "mx.test", &tls.Config{Certificates: []tls.Certificate{pair}}
	go server.Serve(listener)
	t.Cleanup(func() { server.Close() })
	_, port, err := net.SplitHostPort(listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	h := settle(t, dovecot.Options{Version: dovecot.V23, Users: users("bob")}, append(o.variables(), through("localhost:"+port, "form", "right", roots)...)...)
	id := h.accept(t, signed(o.seal(t, written("twice", nil))))
	it := h.awaitItem(id, "done", func(it item) bool { return it.State == "done" })
	provider.mu.Lock()
	defer provider.mu.Unlock()
	if len(provider.mails) != 2 || provider.mails[0] != provider.mails[1] || !strings.Contains(provider.mails[0], "\r\nMessage-ID: <"+id+"@home.test>\r\n") ||
		!strings.HasPrefix(provider.mails[0], "X-Homing-Id: ") || it.Deliveries[0].Attempts != 2 {
		t.Errorf("after %+v the provider has %q", it, provider.mails)
	}
	h.awaitMetric(t, `homing_deliveries_total{result="retry"}`, 1)
}
