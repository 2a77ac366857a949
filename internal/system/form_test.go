package system

import (
	"bytes"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	mrand "math/rand/v2"
	"mime"
	"mime/multipart"
	"net"
	"net/http"
	"net/mail"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/homing-mail/homing/internal/dovecot"
	"github.com/homing-mail/homing/internal/gnupg"
)

const formSecret = "a secret of the edge worker's, and of homing's"

// owner is whom a contact form is for.
type owner struct {
	gpg *gnupg.Home
	id  string // fingerprint of the key
	key string // path of the public key
}

func newOwner(t *testing.T, version gnupg.Version) *owner {
	t.Helper()
	o := &owner{gpg: gnupg.New(t, version), key: filepath.Join(t.TempDir(), "form.asc")}
	o.id = o.gpg.Key(t, "alice@home.test", "ed25519", "cv25519", "")
	if err := os.WriteFile(o.key, o.gpg.Run(t, nil, "--export", "--armor", o.id), 0o644); err != nil {
		t.Fatal(err)
	}
	return o
}

// variables are what homing needs for the form.
func (o *owner) variables(more ...string) []string {
	return append([]string{"HOMING_FORM_PATH", "/form", "HOMING_FORM_SECRET", formSecret, "HOMING_FORM_KEY_FILE", o.key,
		"HOMING_FORM_MAILBOX", address("alice")}, more...)
}

// written is what a visitor writes: a MIME entity, as a page makes it.
func written(text string, attachment []byte) []byte {
	return []byte(strings.ReplaceAll(`Content-Type: multipart/mixed; boundary="part"

--part
Content-Type: text/plain; charset=utf-8
Content-Transfer-Encoding: base64

`+base64.StdEncoding.EncodeToString([]byte(text))+`
--part
Content-Type: application/octet-stream; name="attachment"
Content-Transfer-Encoding: base64

`+base64.StdEncoding.EncodeToString(attachment)+`
--part--
`, "\n", "\r\n"))
}

// seal encrypts as a browser does.
func (o *owner) seal(t *testing.T, entity []byte) []byte {
	t.Helper()
	return o.gpg.Run(t, entity, "--armor", "--encrypt", "--recipient", o.id)
}

// opened decrypts a PGP/MIME mail, whose last lines are the message's.
func (o *owner) opened(t *testing.T, message []byte) []byte {
	t.Helper()
	m, err := mail.ReadMessage(bytes.NewReader(message))
	if err != nil {
		t.Fatal(err)
	}
	kind, params, err := mime.ParseMediaType(m.Header.Get("Content-Type"))
	if err != nil || kind != "multipart/encrypted" || params["protocol"] != "application/pgp-encrypted" {
		t.Fatalf("it is %s %v, %v", kind, params, err)
	}
	parts := multipart.NewReader(m.Body, params["boundary"])
	var texts []string
	for {
		part, err := parts.NextPart()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(part)
		if err != nil {
			t.Fatal(err)
		}
		texts = append(texts, part.Header.Get("Content-Type")+"\n"+string(text))
	}
	if len(texts) != 2 || !strings.HasPrefix(texts[0], "application/pgp-encrypted\nVersion: 1") || !strings.HasPrefix(texts[1], "application/octet-stream") {
		t.Fatalf("the parts are %q", texts)
	}
	_, sealed, _ := strings.Cut(texts[1], "\n")
	return o.gpg.Run(t, []byte(sealed), "--decrypt")
}

// envelope is a signed request of the edge worker, to be sent any number of times.
type envelope struct {
	header http.Header
	body   []byte
}

func signed(body []byte) envelope {
	nonce := make([]byte, 16)
	rand.Read(nonce)
	sum, seconds := sha256.Sum256(body), strconv.FormatInt(time.Now().Unix(), 10)
	mac := hmac.New(sha256.New, []byte(formSecret))
	io.WriteString(mac, "v1\n"+seconds+"\n"+hex.EncodeToString(nonce)+"\n"+hex.EncodeToString(sum[:]))
	header := http.Header{}
	header.Set("Content-Type", "application/pgp-encrypted")
	header.Set("X-Homing-Timestamp", seconds)
	header.Set("X-Homing-Nonce", hex.EncodeToString(nonce))
	header.Set("X-Homing-Signature", "v1="+hex.EncodeToString(mac.Sum(nil)))
	return envelope{header, body}
}

// submit posts it to homing.
func submit(t *testing.T, host string, e envelope) (status int, answer map[string]string, err error) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+host+"/form", bytes.NewReader(e.body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header = e.header
	response, err := site.poster.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer response.Body.Close()
	err = json.NewDecoder(response.Body).Decode(&answer)
	return response.StatusCode, answer, err
}

// accept posts it, and wants it taken.
func (h *home) accept(t *testing.T, e envelope) (id string) {
	t.Helper()
	status, answer, err := submit(t, h.webhook, e)
	if err != nil || status != http.StatusAccepted || answer["status"] != "accepted" || answer["id"] == "" {
		t.Fatalf("the form answered %d %v, %v\n%s", status, answer, err, h.log.tail())
	}
	return answer["id"]
}

// A message that a visitor writes comes home: GnuPG decrypts it, and nobody else
// could read a word of it on the way.
func TestForm(t *testing.T) {
	versions(t, func(t *testing.T, version dovecot.Version) {
		gpg := map[dovecot.Version]gnupg.Version{dovecot.V23: gnupg.V22, dovecot.V24: gnupg.V24}[version]
		o := newOwner(t, gpg)
		h := settle(t, shipped(t, version, users("alice")), o.variables("HOMING_FORM_FROM", "form@home.test")...)
		attachment := make([]byte, 300_000)
		rand.Read(attachment)
		entity := written("Grüße 👋 aus dem Formular", attachment)
		id := h.accept(t, signed(o.seal(t, entity)))
		got := h.one(address("alice"), "INBOX")
		if got.sender != "form@home.test" || !bytes.Contains(got.message, []byte("\r\nMessage-ID: <"+id+"@home.test>\r\n")) {
			t.Errorf("from <%s>: %.600s", got.sender, got.message)
		}
		for _, word := range []string{"Formular", "attachment"} {
			if bytes.Contains(got.message, []byte(word)) || bytes.Contains(h.log.all(), []byte(word)) {
				t.Errorf("%q is to be read in the mail or the log", word)
			}
		}
		sameOctets(t, o.opened(t, got.message), entity)

		// What the page or the worker does wrong is told them.
		for code, e := range map[string]envelope{
			"not_openpgp": signed([]byte("hello")),
			"wrong_key":   signed(newOwner(t, gpg).seal(t, entity)),
			"bad_header":  {http.Header{}, nil},
		} {
			if status, answer, err := submit(t, h.webhook, e); err != nil || status != http.StatusBadRequest || answer["error"] != code {
				t.Errorf("answered %d %v, %v; want 400 %s", status, answer, err, code)
			}
		}
		h.awaitIdle()
		h.sameMetric(t, `homing_form_requests_total{result="accepted"}`, 1)
		h.sameMetric(t, `homing_form_requests_total{result="wrong_key"}`, 1)
	})
}

// forgetful passes requests on until it is told to lose an answer: then it kills
// homing as soon as the answer has come, and hangs up.
type forgetful struct {
	listener net.Listener
	serving  sync.WaitGroup

	mu   sync.Mutex
	to   string
	lose func() // called once; nil: pass answers on
}

func newForgetful(t *testing.T) *forgetful {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := &forgetful{listener: listener}
	l.serving.Go(func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			l.serving.Go(func() { l.pass(client) })
		}
	})
	t.Cleanup(func() {
		listener.Close()
		l.serving.Wait()
	})
	return l
}

func (l *forgetful) pointTo(to string, lose func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.to, l.lose = to, lose
}

func (l *forgetful) pass(client net.Conn) {
	defer client.Close()
	l.mu.Lock()
	to, lose := l.to, l.lose
	l.lose = nil
	l.mu.Unlock()
	server, err := net.Dial("tcp", to)
	if err != nil {
		return
	}
	defer server.Close()
	go func() {
		io.Copy(server, client)
		server.(*net.TCPConn).CloseWrite()
	}()
	first := make([]byte, 1)
	if _, err := io.ReadFull(server, first); err != nil {
		return
	}
	if lose != nil {
		lose()
		return
	}
	io.Copy(client, io.MultiReader(bytes.NewReader(first), server))
}

// "Failed, but it happened": homing is killed when it has answered, and the
// answer does not arrive. The worker sends the same again; it is one mail.
func TestFormAnswerIsLost(t *testing.T) {
	t.Parallel()
	o := newOwner(t, gnupg.V22)
	h := settle(t, shipped(t, dovecot.V23, users("alice")), o.variables()...)
	l := newForgetful(t)
	e := signed(o.seal(t, written("once", nil)))
	l.pointTo(h.webhook, h.kill)
	if status, answer, err := submit(t, l.listener.Addr().String(), e); err == nil {
		t.Fatalf("the answer arrived: %d %v", status, answer)
	}
	<-h.exited
	h.restart()
	l.pointTo(h.webhook, nil)
	status, answer, err := submit(t, l.listener.Addr().String(), e)
	if err != nil || status != http.StatusAccepted {
		t.Fatalf("the second time it is answered %d %v, %v", status, answer, err)
	}
	h.sameMetric(t, `homing_form_requests_total{result="repeated"}`, 1)
	h.awaitIdle()
	if got := h.one(address("alice"), "INBOX"); !bytes.Contains(got.message, []byte(answer["id"])) {
		t.Errorf("the mail does not have the id %s", answer["id"])
	}
	// And under its nonce nothing else passes.
	other := signed(o.seal(t, written("twice", nil)))
	other.header.Set("X-Homing-Nonce", e.header.Get("X-Homing-Nonce"))
	if status, answer, err := submit(t, h.webhook, other); err != nil || status != http.StatusUnauthorized {
		t.Errorf("a foreign nonce is answered %d %v, %v", status, answer, err)
	}
}

// homing is killed at any instant while messages come. The worker repeats each
// until it is taken; each arrives, and once.
func TestFormKilledAtAnyInstant(t *testing.T) {
	t.Parallel()
	o := newOwner(t, gnupg.V22)
	h := settle(t, shipped(t, dovecot.V23, users("alice")), o.variables()...)
	kills := 10
	if testing.Short() {
		kills = 3
	}
	ids := map[string]bool{}
	for n := range kills {
		e := signed(o.seal(t, written("message "+strconv.Itoa(n), nil)))
		var killing sync.WaitGroup
		killing.Go(func() {
			<-time.After(mrand.N(15 * time.Millisecond))
			h.kill()
		})
		status, answer, err := submit(t, h.webhook, e)
		killing.Wait()
		h.restart()
		again := h.accept(t, e)
		if err == nil && (status != http.StatusAccepted || answer["id"] != again) {
			t.Errorf("before the kill it was answered %d %v, afterwards %s", status, answer, again)
		}
		ids[again] = true
	}
	h.awaitIdle()
	for _, got := range h.folder(address("alice"), "INBOX", kills) {
		m, err := mail.ReadMessage(bytes.NewReader(got.message))
		if err != nil {
			t.Fatal(err)
		}
		id, _, _ := strings.Cut(strings.Trim(m.Header.Get("Message-ID"), "<>"), "@")
		if !ids[id] {
			t.Errorf("a mail %s nobody sent, or twice", id)
		}
		delete(ids, id)
		if text := o.opened(t, got.message); !bytes.Contains(text, []byte("multipart/mixed")) {
			t.Errorf("it decrypts to %q", text)
		}
	}
}
