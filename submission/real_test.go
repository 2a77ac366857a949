package submission

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/homing-mail/homing/internal/dovecot"
	"github.com/homing-mail/homing/internal/neighbour"
	"github.com/homing-mail/homing/internal/sessmtp"
)

// A provider that speaks like Amazon SES's endpoint, on both ports.
func TestSES(t *testing.T) {
	for _, implicit := range []bool{false, true} {
		ses := sessmtp.Start(t, sessmtp.Config{User: "AKIA", Password: "secret/+=", Verified: []string{"home.test"}, Implicit: implicit})
		roots := x509.NewCertPool()
		roots.AppendCertsFromPEM(ses.Authority)
		config := Config{Address: net.JoinHostPort(ses.Host, ses.Port), Implicit: implicit, User: "AKIA", Password: "secret/+=", Sender: "form@home.test", TLS: &tls.Config{RootCAs: roots}}
		client, stranger := New(config), config
		stranger.Sender = "form@other.test"
		if err := client.Deliver(t.Context(), "", "me@far.test", message); err != nil {
			t.Fatal(err)
		}
		mails := ses.Messages()
		if len(mails) != 1 || string(mails[0].Octets) != string(message[0])+string(message[1]) || mails[0].Sender != "form@home.test" || mails[0].Recipients[0] != "me@far.test" {
			t.Errorf("it has %+v", mails)
		}
		refused, ok := errors.AsType[*ReplyError](New(stranger).Deliver(t.Context(), "form@home.test", "me@far.test", message))
		if !ok || refused.Code != 554 {
			t.Errorf("an unverified sender: %v", refused)
		}
	}
}

// dovecotAsProvider is a Dovecot that takes submissions with STARTTLS on one port
// and TLS on another, and relays them.
func dovecotAsProvider(t *testing.T, version dovecot.Version, relay *sessmtp.Server) (starttls, implicit string, roots *x509.CertPool) {
	t.Helper()
	s := httptest.NewTLSServer(nil) // for its certificate
	defer s.Close()
	certificate := s.TLS.Certificates[0]
	key, err := x509.MarshalPKCS8PrivateKey(certificate.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	roots = x509.NewCertPool()
	roots.AddCert(s.Certificate())
	starttls, implicit = neighbour.Address(t), neighbour.Address(t)
	port := func(address string) string { return address[strings.LastIndexByte(address, ':')+1:] }
	files, mechanisms := "ssl_cert = <@DIR@/cert.pem\nssl_key = <@DIR@/key.pem", "auth_mechanisms = plain login"
	if version == dovecot.V24 {
		files, mechanisms = "ssl_server_cert_file = @DIR@/cert.pem\nssl_server_key_file = @DIR@/key.pem", "auth_mechanisms {\n  plain = yes\n  login = yes\n}"
	}
	dovecot.Start(t, dovecot.Options{
		Version: version, Users: []dovecot.User{{Name: "form@home.test"}},
		Config: fmt.Sprintf(`
protocols = lmtp imap submission
ssl = yes
%s
%s
ssl_client_ca_file = @DIR@/authority.pem
submission_relay_host = %s
submission_relay_port = %s
submission_relay_ssl = starttls
submission_relay_user = AKIA
submission_relay_password = secret
service submission-login {
  inet_listener submission {
    port = %s
  }
  inet_listener submissions {
    port = %s
    ssl = yes
  }
}
`, files, mechanisms, relay.Host, relay.Port, port(starttls), port(implicit)),
		Files: map[string]string{
			"authority.pem": string(relay.Authority),
			"cert.pem":      string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate.Certificate[0]})),
			"key.pem":       string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key})),
		},
	})
	return starttls, implicit, roots
}

func TestDovecotSubmission(t *testing.T) {
	for _, version := range dovecot.Versions() {
		t.Run(string(version), func(t *testing.T) {
			relay := sessmtp.Start(t, sessmtp.Config{User: "AKIA", Password: "secret", Verified: []string{"home.test"}})
			starttls, implicit, roots := dovecotAsProvider(t, version, relay)
			right := Config{Address: starttls, User: "form@home.test", Password: dovecot.Password, Sender: "form@home.test", TLS: &tls.Config{RootCAs: roots}}
			overTLS, wrong, strange, foreign := right, right, right, right
			foreign.Sender = "form@other.test"
			overTLS.Address, overTLS.Implicit = implicit, true
			for _, config := range []Config{right, overTLS} {
				if err := New(config).Deliver(t.Context(), "", "me@far.test", message); err != nil {
					t.Error(err)
				}
			}
			mails := relay.Messages()
			if len(mails) != 2 || !strings.HasSuffix(string(mails[0].Octets), string(message[1])) || !strings.HasSuffix(string(mails[1].Octets), string(message[1])) {
				t.Errorf("the relay has %+v", mails)
			}

			wrong.Password = "another"
			if away, ok := errors.AsType[*AwayError](New(wrong).Probe(t.Context())); !ok || !away.Refused {
				t.Errorf("a wrong password: %v", away)
			}
			strange.TLS = nil
			if away, ok := errors.AsType[*AwayError](New(strange).Probe(t.Context())); !ok || away.Refused || !strings.Contains(away.Error(), "certificate") {
				t.Errorf("a certificate of nobody: %v", away)
			}
			// What the relay refuses comes through as its refusal.
			refused, ok := errors.AsType[*ReplyError](New(foreign).Deliver(t.Context(), "", "me@far.test", message))
			if !ok || refused.Code != 554 {
				t.Errorf("a foreign sender: %v", refused)
			}
			trial, err := New(right).Try(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			defer trial.Close()
			if err := trial.Recipient(t.Context(), "me@far.test"); err != nil || len(relay.Messages()) != 2 {
				t.Errorf("a trial: %v, %d messages", err, len(relay.Messages()))
			}
		})
	}
}
