package system

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/homing-mail/homing/internal/dovecot"
	"github.com/homing-mail/homing/internal/neighbour"
)

// secureConfig has Dovecot speak TLS on one more LMTP port, from the first octet.
func secureConfig(version dovecot.Version, port string) string {
	listen, files := "address", "ssl_cert = <@DIR@/cert.pem\nssl_key = <@DIR@/key.pem"
	if version == dovecot.V24 {
		listen, files = "listen", "ssl_server_cert_file = @DIR@/cert.pem\nssl_server_key_file = @DIR@/key.pem"
	}
	return fmt.Sprintf("ssl = yes\n%s\nservice lmtp {\n  inet_listener lmtps {\n    %s = 127.0.0.1\n    port = %s\n    ssl = yes\n  }\n}\n", files, listen, port)
}

// LMTP over TLS, with a certificate that homing trusts, and with one it does not.
func TestDeliverOverTLS(t *testing.T) {
	versions(t, func(t *testing.T, version dovecot.Version) {
		dir := t.TempDir()
		cert, key := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
		certificate := writeCertificate(t, cert, key, 1)
		roots := filepath.Join(dir, "roots.pem")
		// SNS is still to be trusted, too.
		both := slices.Concat(site.signer.CAPEM(), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate.Raw}))
		if err := os.WriteFile(roots, both, 0o644); err != nil {
			t.Fatal(err)
		}
		_, port, err := net.SplitHostPort(neighbour.Address(t))
		if err != nil {
			t.Fatal(err)
		}
		server := dovecot.Start(t, dovecot.Options{
			Version: version, Users: users("alice"), Config: secureConfig(version, port),
			Files: map[string]string{"cert.pem": read(t, cert), "key.pem": read(t, key)},
		})
		h := &home{tb: t, dovecot: server, s3: memoryS3(t)}
		h.env = bare(t, "lmtps://localhost:"+port).with("AWS_ENDPOINT_URL_S3", h.s3.URL())
		h.daemon = serve(t, h.env)
		h.send(letter("sealed"), "ann@far.test", address("alice"))
		line := h.await(t, "the destination does not answer; mail is taken and kept meanwhile")
		if text := fmt.Sprint(line["error"]); !strings.Contains(text, x509.UnknownAuthorityError{}.Error()) {
			t.Errorf("the log does not say that the certificate is not trusted: %q", text)
		}
		if code, _ := h.stop(t); code != 0 {
			t.Errorf("homing ended with %d", code)
		}
		h.env["SSL_CERT_FILE"] = roots
		h.restart()
		sameMessage(t, h.one(address("alice"), "INBOX").message, letter("sealed"))
		h.awaitIdle()
	})
}

// Where Dovecot only shares the disk, homing writes Maildirs that Dovecot reads,
// as the user whom the mail belongs to.
func TestMaildirOfDovecot(t *testing.T) {
	versions(t, func(t *testing.T, version dovecot.Version) {
		server := dovecot.Start(t, dovecot.Options{Version: version, Users: users("alice", "bob")})
		h := &home{tb: t, dovecot: server, s3: memoryS3(t)}
		h.env = bare(t, "maildir:"+server.MailRoot+"/%d/%n/Maildir").with("AWS_ENDPOINT_URL_S3", h.s3.URL())
		h.daemon = launchAs(t, h.mailUser(), h.env)
		h.awaitListeners(t)
		messages := [][]byte{letter("plain"), []byte(plain + smuggled), attachment(2_000_000)}
		for _, message := range messages {
			h.send(message, "ann@far.test", "alice@home.test", "ALICE@home.test", "bob@home.test")
			h.awaitIdle() // so that they come in this order
		}
		for _, user := range []string{"alice", "bob"} {
			for i, got := range h.dovecot.WaitMessages(t, address(user), "INBOX", len(messages)) {
				// Without LMTP the lines that Dovecot would write are homing's.
				rest, ok := bytes.CutPrefix(got, []byte("Return-Path: <ann@far.test>\r\nDelivered-To: "+address(user)+"\r\n"))
				lines := homings.Find(rest)
				if !ok || lines == nil || i >= len(messages) {
					t.Fatalf("message %d of %s begins with %.500q", i, user, got)
				}
				sameMessage(t, rest[len(lines):], messages[i])
			}
		}
	})
}

// mailUser is whom the mail belongs to, where that is not ourselves. It makes
// him homes of his own for the state and the rest.
func (h *home) mailUser() *syscall.Credential {
	h.tb.Helper()
	info, err := os.Stat(h.dovecot.MailRoot)
	if err != nil {
		h.tb.Fatal(err)
	}
	owner, ok := info.Sys().(*syscall.Stat_t)
	if !ok || int(owner.Uid) == os.Geteuid() {
		return nil
	}
	// A test's own directories are closed to others; Dovecot's is not.
	for _, name := range []string{"HOMING_STATE_DIR", "HOME"} {
		h.env[name] = filepath.Join(filepath.Dir(h.dovecot.MailRoot), strings.ToLower(name))
		err := errors.Join(os.Mkdir(h.env[name], 0o700), os.Chown(h.env[name], int(owner.Uid), int(owner.Gid)))
		if err != nil {
			h.tb.Fatal(err)
		}
	}
	return &syscall.Credential{Uid: owner.Uid, Gid: owner.Gid}
}

func read(tb testing.TB, path string) string {
	tb.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		tb.Fatal(err)
	}
	return string(text)
}
