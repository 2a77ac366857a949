package edge_test

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"github.com/homing-mail/homing/internal/dovecot"
	"github.com/homing-mail/homing/internal/gnupg"
	"github.com/homing-mail/homing/internal/neighbour"
)

const (
	secret  = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
	mailbox = "contact@home.test"
)

// built is the program, made by the first test that wants it.
var built struct {
	dir  string // only TestMain writes it
	once sync.Once
	err  error
}

func TestMain(m *testing.M) {
	flag.Parse()
	code, err := run(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func run(m *testing.M) (code int, err error) {
	if built.dir, err = os.MkdirTemp("", "homing-edge-"); err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(built.dir)) }()
	return m.Run(), nil
}

func homing(tb testing.TB) (program string) {
	tb.Helper()
	program = filepath.Join(built.dir, "homing")
	built.once.Do(func() {
		out, err := exec.Command("go", "build", "-o", program, "github.com/homing-mail/homing/cmd/homing").CombinedOutput()
		if err != nil {
			built.err = fmt.Errorf("building homing: %w\n%s", err, out)
		}
	})
	if built.err != nil {
		tb.Fatal(built.err)
	}
	return program
}

// home is what stands at home: a homing, a Dovecot, and who reads the mail.
type home struct {
	*process
	dovecot *dovecot.Server
	gpg     *gnupg.Home
	key     key
	url     string // of the form's receiver
	env     []string
}

// key is an OpenPGP key pair, of which gpg has the secret part.
type key struct {
	fingerprint string
	file        string // the public part, armored
}

// household says what the programs are like; the zero value will do.
type household struct {
	dovecot dovecot.Version
	gpg     gnupg.Version
	signs   string
	reads   string
	noKey   bool // homing expects another key than the page's
}

// settle starts them.
func settle(tb testing.TB, like household) *home {
	tb.Helper()
	if like == (household{noKey: like.noKey}) {
		like.dovecot, like.gpg, like.signs, like.reads = dovecot.V23, gnupg.V22, "ed25519", "cv25519"
	}
	h := &home{gpg: gnupg.New(tb, like.gpg)}
	h.dovecot = dovecot.Start(tb, dovecot.Options{Version: like.dovecot, Users: []dovecot.User{{Name: mailbox}}})
	h.key = h.makeKey(tb, "Contact form <"+mailbox+">", like.signs, like.reads)
	expected := h.key
	if like.noKey {
		expected = h.makeKey(tb, "The new one <"+mailbox+">", like.signs, like.reads)
	}
	// Its address stays the same after a restart.
	address := neighbour.Address(tb)
	h.url = "http://" + address + "/form"
	h.env = []string{
		"HOME=" + tb.TempDir(), "HOMING_LISTEN=" + address, "HOMING_METRICS_LISTEN=127.0.0.1:0",
		"HOMING_STATE_DIR=" + tb.TempDir(), "HOMING_DELIVER_TO=lmtp:" + h.dovecot.UnixSocket,
		"HOMING_FORM_PATH=/form", "HOMING_FORM_SECRET=" + secret, "HOMING_FORM_MAILBOX=" + mailbox,
		"HOMING_FORM_KEY_FILE=" + expected.file,
	}
	h.serve(tb)
	return h
}

// serve starts homing, again too, and waits until it listens.
func (h *home) serve(tb testing.TB) {
	tb.Helper()
	cmd := exec.Command(homing(tb))
	cmd.Env = h.env
	h.process = start(tb, cmd)
	h.await(tb, "homing to listen", func() error {
		answer, err := http.Get(h.url)
		if err != nil {
			return err
		}
		defer answer.Body.Close()
		if answer.StatusCode != http.StatusMethodNotAllowed {
			return final{fmt.Errorf("GET %s is answered %s", h.url, answer.Status)}
		}
		return nil
	})
}

func (h *home) makeKey(tb testing.TB, user, signs, reads string) key {
	tb.Helper()
	k := key{fingerprint: h.gpg.Key(tb, user, signs, reads, "")}
	k.file = filepath.Join(tb.TempDir(), k.fingerprint+".asc")
	if err := os.WriteFile(k.file, h.armored(tb, k.fingerprint), 0o644); err != nil {
		tb.Fatal(err)
	}
	return k
}

// armored exports a public key.
func (h *home) armored(tb testing.TB, fingerprint string) []byte {
	tb.Helper()
	return h.gpg.Run(tb, nil, "--armor", "--export", fingerprint)
}

// letters waits for so many letters, wants no more, and reads them.
func (h *home) letters(tb testing.TB, want int) []letter {
	tb.Helper()
	var letters []letter
	mails := h.dovecot.WaitMessages(tb, mailbox, "INBOX", want)
	if len(mails) != want {
		tb.Fatalf("%d mails arrived, want %d", len(mails), want)
	}
	for _, mail := range mails {
		letters = append(letters, h.read(tb, mail))
	}
	return letters
}

// queued returns how many messages homing has, by its own queue.
func (h *home) queued(tb testing.TB) int {
	tb.Helper()
	cmd := exec.CommandContext(tb.Context(), h.cmd.Path, "queue", "list", "--json", "--all")
	cmd.Env = h.env
	out, err := cmd.Output()
	if err != nil {
		tb.Fatalf("homing queue list: %v\n%s", err, out)
	}
	return bytes.Count(out, []byte("\n")) // a line each
}

// environment returns what a worker is told, for pages of this origin; pairs are
// more of it: name, value, name, value. Eight bits spare the tests the work of a
// proof; one test has it all.
func (h *home) environment(origin string, pairs ...string) map[string]string {
	env := map[string]string{
		"HOMING_FORM_URL": h.url, "HOMING_FORM_SECRET": secret, "ALLOWED_ORIGINS": origin, "PROOF_BITS": "8", "RATE": "100",
	}
	for i := 0; i+1 < len(pairs); i += 2 {
		env[pairs[i]] = pairs[i+1]
	}
	return env
}
