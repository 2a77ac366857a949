package system

import (
	"bytes"
	"encoding/base64"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/homing-mail/homing/internal/dovecot"
	"github.com/homing-mail/homing/internal/snstest"
)

const plain = "From: ann@far.test\r\nSubject: octets\r\n\r\n"

// smuggled is what a message says that tries to become two. Dovecot ends DATA
// at a dot between bare LFs, too.
const smuggled = "one\n.\nRSET\nMAIL FROM:<evil@far.test>\nRCPT TO:<bob@home.test>\nDATA\nSubject: smuggled\n\nhaha\n.\n" +
	"two\r\n.\r\nthree\n.\r\nfour\r\n.\nRSET\r\nMAIL FROM:<>\r\nRCPT TO:<bob@home.test>\r\nDATA\r\nhaha\r\n.\r\n"

// Every message arrives as it was stored, whatever is in it.
func TestOctetsAreKept(t *testing.T) {
	messages := map[string][]byte{
		"plain":       []byte(plain + "Hello.\r\n"),
		"no line end": []byte(plain + "Hello."),
		"dots":        []byte(plain + ".\r\n..\r\n.a\r\n..b\r\n"),
		"smuggling":   []byte(plain + smuggled),
		"bare LF":     []byte(strings.ReplaceAll(plain+"Hello\r\n.dot\r\n\r\nend\r\n", "\r\n", "\n")),
		"8 bit":       append([]byte(plain), bytes.Repeat(everyOctet(1), 40)...),
		"NUL":         []byte(plain + "a\x00b\x00\x00\r\n\x00\r\n"),
		"long line":   []byte(plain + strings.Repeat("x", 250_000) + "\r\n"),
		"long header": []byte("Subject: " + strings.Repeat("y ", 40_000) + "\r\n\r\nHello.\r\n"),
		"folded":      []byte("Subject: a\r\n b\r\n\tc\r\nX-Homing\r\n X-Homing-Id: no field\r\n\r\nX-Homing-Id: body\r\n"),
		"empty line":  []byte("\r\nNo header, a body.\r\n"),
		"no header":   []byte("Just text, no colon anywhere\r\nin it.\r\n"),
		"header only": []byte("Subject: no body\r\n"),
		"mbox":        []byte("From ann@far.test Sat Nov 22 01:00:00 2025\r\nSubject: mbox\r\n\r\nHello.\r\n"),
		"2 MB":        attachment(2_000_000),
		"20 MB":       attachment(20_000_000),
	}
	versions(t, func(t *testing.T, version dovecot.Version) {
		for _, network := range []string{"unix", "tcp"} {
			t.Run(network, func(t *testing.T) {
				t.Parallel()
				testOctetsAreKept(t, version, network, messages)
			})
		}
	})
}

func testOctetsAreKept(t *testing.T, version dovecot.Version, network string, messages map[string][]byte) {
	h := settleOver(t, network, dovecot.Options{
		Version: version, SaveToDetail: true,
		Users: []dovecot.User{{Name: address("alice")}, {Name: address("bob")}},
	})
	// Each in its own folder, by its detail.
	folder := func(name string) string { return "m-" + strings.ToLower(strings.ReplaceAll(name, " ", "-")) }
	for name, message := range messages {
		h.send(message, "ann@far.test", "alice+"+folder(name)+"@home.test")
	}
	for name, message := range messages {
		got := h.one(address("alice"), folder(name))
		t.Run(name, func(t *testing.T) {
			sameMessage(t, got.message, message)
			sameFile(t, h.file(folder(name)), message)
		})
	}
	if smuggled := h.dovecot.Mailbox(t, address("bob"), "INBOX"); len(smuggled) > 0 {
		t.Errorf("bob got what nobody sent him: %q", smuggled)
	}
}

// file reads the one message in a folder of alice's as it lies on the disk.
func (h *home) file(folder string) []byte {
	h.tb.Helper()
	// The folder's file names tell where it lies; 2.3 and 2.4 agree on ".name".
	root := filepath.Join(h.dovecot.MailRoot, domain, "alice", "Maildir", "."+folder)
	var messages [][]byte
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		in := filepath.Base(filepath.Dir(path))
		if err != nil || entry.IsDir() || in != "cur" && in != "new" {
			return err
		}
		octets, err := os.ReadFile(path)
		messages = append(messages, octets)
		return err
	})
	if err != nil || len(messages) != 1 {
		h.tb.Fatalf("%s has %d messages, want 1: %v", root, len(messages), err)
	}
	return messages[0]
}

// sameFile checks a file that Dovecot stored: below the header lines it is what
// was sent, but for CR LF, which Dovecot keeps as LF.
func sameFile(tb testing.TB, file, sent []byte) {
	tb.Helper()
	want := bytes.ReplaceAll(sent, []byte("\r\n"), []byte("\n"))
	sameOctets(tb, file[max(0, len(file)-len(want)):], want)
}

// everyOctet returns the octets from first to 255, in lines.
func everyOctet(first int) (all []byte) {
	for octet := first; octet < 256; octet++ {
		if octet != '\r' && octet != '\n' {
			all = append(all, byte(octet))
		}
	}
	return append(all, "\r\n"...)
}

// attachment returns a message with an attachment of noise, of about this size.
func attachment(size int) []byte {
	noise := make([]byte, size/78*57)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(noise) // never fails
	message := []byte("From: ann@far.test\r\nSubject: photograph\r\nMIME-Version: 1.0\r\n" +
		"Content-Type: image/jpeg\r\nContent-Transfer-Encoding: base64\r\n\r\n")
	for ; len(noise) > 0; noise = noise[57:] {
		message = base64.StdEncoding.AppendEncode(message, noise[:57])
		message = append(message, "\r\n"...)
	}
	return message
}

// What came inside the notification needs no S3 at all.
func TestContentInsideTheNotification(t *testing.T) {
	versions(t, func(t *testing.T, version dovecot.Version) {
		h := settle(t, dovecot.Options{Version: version, Users: []dovecot.User{{Name: address("alice")}, {Name: address("bob")}}},
			"AWS_ENDPOINT_URL_S3", "http://127.0.0.1:1")
		text := "From: ann@far.test\r\nSubject: Größe\r\n\r\nGrüße\r\n.\r\n"
		for _, c := range []struct {
			encoding string
			content  []byte
			want     string
		}{
			{"UTF8", []byte(text), text},
			{"", []byte(text), text},
			// AWS's own example has bare LFs. They become CR LF.
			{"BASE64", []byte("Subject: bin\n\n\xff\xfe\x00\n"), "Subject: bin\r\n\r\n\xff\xfe\x00\r\n"},
		} {
			id := newID()
			h.notify(snstest.SESReceived(snstest.Receipt{
				MessageID: id, Sender: "ann@far.test", Recipients: []string{address("alice"), address("bob")}, Content: c.content, Encoding: c.encoding,
			}))
			h.awaitItem(id, "done", func(it item) bool { return it.State == "done" })
			for _, user := range []string{"alice", "bob"} {
				all := h.dovecot.Mailbox(t, address(user), "INBOX")
				got := open(t, all[len(all)-1])
				sameMessage(t, got.message, []byte(c.want))
				sameOriginals(t, got, address(user))
				if want := verdicts(nil); got.verdicts != want {
					t.Errorf("the verdicts are %q, want %q", got.verdicts, want)
				}
			}
		}
	})
}
