package edge_test

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/homing-mail/homing/internal/gnupg"
)

// What goes wrong on the way: in each case the visitor is told what to do and
// keeps the text, and what was sent arrives once.
func TestTrouble(t *testing.T) {
	b := openBrowser(t)
	onDeno := platform{"deno", startDeno}
	for _, trouble := range []struct {
		name string
		test func(t *testing.T, b *browser, on platform)
	}{
		{"two clicks", twoClicks},
		{"answer lost before the page", answerLostBeforePage},
		{"answer lost before the worker", answerLostBeforeWorker},
		{"something else for the worker", notTheWorker},
		{"homing away", homingAway},
		{"worker away", workerAway},
		{"key rotated", keyRotated},
		{"key that is not the one shown", keyNotShown},
		{"key that has expired", keyExpired},
		{"encryption not loaded", encryptionNotLoaded},
		{"script blocked", scriptBlocked},
		{"wrong origin", wrongOrigin},
		{"attachment too large", attachmentTooLarge},
		{"too large for the worker", tooLargeForWorker},
		{"too many messages", tooMany},
		{"proof too old", proofTooOld},
		{"attachment gone", attachmentGone},
	} {
		t.Run(trouble.name, func(t *testing.T) { trouble.test(t, b, onDeno) })
	}
}

func twoClicks(t *testing.T, b *browser, on platform) {
	s := rise(t, on, household{})
	tab := b.visit(t, s.page.origin, nil)
	tab.write(question)
	tab.do("click", map[string]any{"selector": "[data-submit]", "times": 2})
	tab.press("Enter")
	tab.evaluate(`document.querySelector("form").requestSubmit()`)
	tab.state("sent")
	s.letters(t, 1)
	if n, _, _ := s.wire.posted(); n != 1 || s.queued(t) != 1 {
		t.Errorf("%d requests, %d messages at homing; want one", n, s.queued(t))
	}
}

func answerLostBeforePage(t *testing.T, b *browser, on platform) {
	s := rise(t, on, household{})
	tab := b.visit(t, s.page.origin, nil)
	tab.write(question)
	s.wire.next(swallow, 0)
	tab.send()
	tab.failure("No connection could be made")
	s.wire.next(pass, 0)
	tab.send()
	tab.state("sent")
	s.letters(t, 1)
	// Chromium, too, tries again where a connection that it kept was closed.
	if n, _, _ := s.wire.posted(); n < 2 || s.queued(t) != 1 {
		t.Errorf("%d requests, %d messages at homing; want 2 or more, and one", n, s.queued(t))
	}
}

func answerLostBeforeWorker(t *testing.T, b *browser, on platform) {
	s := &stage{home: settle(t, household{}), page: newPage(t)}
	s.wire = lay(t, s.url)
	s.page.build(t, s.key.file, on.start(t, s.environment(s.page.origin, "HOMING_FORM_URL", s.wire.url)))
	tab := b.visit(t, s.page.origin, nil)
	tab.write(question)
	s.wire.next(swallow, 1)
	tab.send()
	tab.state("sent")
	s.letters(t, 1)
	if n, _, _ := s.wire.posted(); n != 2 || s.queued(t) != 1 {
		t.Errorf("%d requests, %d messages at homing; want 2, and one", n, s.queued(t))
	}
	if first, second := s.wire.requests[0].Header, s.wire.requests[1].Header; first.Get("X-Homing-Signature") != second.Get("X-Homing-Signature") {
		t.Errorf("the second try is another request: %v, %v", first, second)
	}
}

func homingAway(t *testing.T, b *browser, on platform) {
	s := rise(t, on, household{})
	s.kill()
	tab := b.visit(t, s.page.origin, nil)
	tab.write(question)
	tab.send()
	tab.failure("mailbox cannot be reached just now")
	s.serve(t)
	tab.send()
	tab.state("sent")
	s.letters(t, 1)
}

func workerAway(t *testing.T, b *browser, on platform) {
	s := rise(t, on, household{})
	s.wire.next(cut, 0)
	tab := b.visit(t, s.page.origin, nil)
	tab.write(question)
	tab.send()
	tab.failure("No connection could be made")
	s.wire.next(pass, 0)
	tab.send()
	tab.state("sent")
	s.letters(t, 1)
}

// A page's owner who mistyped the worker's address.
func notTheWorker(t *testing.T, b *browser, _ platform) {
	for body, reason := range map[string]string{
		`{"time":1800000000,"bits":99,"most":1000000}`: "(bad_terms)",
		`{"hello":"world"}`:                            "(bad_terms)",
		`<h1>hello</h1>`:                               "No connection could be made",
	} {
		other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Access-Control-Allow-Origin", "*")
			io.WriteString(w, body)
		}))
		t.Cleanup(other.Close)
		h := &home{gpg: gnupg.New(t, gnupg.V22)}
		page := newPage(t)
		page.build(t, h.makeKey(t, "me", "ed25519", "cv25519").file, other.URL+"/")
		tab := b.visit(t, page.origin, nil)
		tab.write(question)
		tab.send()
		tab.failure(reason)
		if posts := tab.requests("POST"); len(posts) > 0 {
			t.Errorf("it sent %q", posts)
		}
	}
}

func keyRotated(t *testing.T, b *browser, on platform) {
	s := rise(t, on, household{noKey: true})
	tab := b.visit(t, s.page.origin, nil)
	tab.write(question)
	tab.send()
	tab.failure("old key, which is not accepted any more")
	s.nothing(t)
}

func keyNotShown(t *testing.T, b *browser, on platform) {
	s := rise(t, on, household{})
	other := s.makeKey(t, "somebody else", "ed25519", "cv25519")
	s.page.rekey(t, other.fingerprint, s.armored(t, s.key.fingerprint))
	s.unusable(t, b)
}

func keyExpired(t *testing.T, b *browser, on platform) {
	s := rise(t, on, household{})
	then := []string{"--faked-system-time", "20240101T000000!", "--passphrase", ""}
	s.gpg.Run(t, nil, append(then, "--quick-generate-key", "expired", "ed25519", "sign,cert", "1y")...)
	listed := s.gpg.Run(t, nil, "--with-colons", "--fingerprint", "=expired")
	fingerprint := regexp.MustCompile(`(?m)^fpr:.*:([0-9A-F]{40}):$`).FindSubmatch(listed)
	if fingerprint == nil {
		t.Fatalf("no fingerprint in %s", listed)
	}
	s.gpg.Run(t, nil, append(then, "--quick-add-key", string(fingerprint[1]), "cv25519", "encr", "1y")...)
	s.page.rekey(t, string(fingerprint[1]), s.armored(t, string(fingerprint[1])))
	s.unusable(t, b)
}

// unusable checks that nothing is sent with the page's key.
func (s *stage) unusable(t *testing.T, b *browser) {
	t.Helper()
	tab := b.visit(t, s.page.origin, nil)
	tab.write(question)
	tab.send()
	tab.failure("The key on this page cannot be used")
	s.nothing(t)
}

// nothing checks that nothing came to homing or beyond.
func (s *stage) nothing(t *testing.T) {
	t.Helper()
	if n := s.queued(t); n != 0 {
		t.Errorf("%d messages are at homing, want none", n)
	}
	s.letters(t, 0)
}

func encryptionNotLoaded(t *testing.T, b *browser, on platform) {
	s := rise(t, on, household{})
	library, err := os.ReadFile(filepath.Join(s.page.dir, "openpgp.min.mjs"))
	if err != nil {
		t.Fatal(err)
	}
	for name, instead := range map[string]func(http.ResponseWriter){
		"/openpgp.min.mjs": missing,
		"/seal.js":         missing,
		"/./openpgp.min.mjs": func(w http.ResponseWriter) { // as a network that "optimises" it does
			w.Header().Set("Content-Type", "text/javascript")
			w.Write(append(bytes.Clone(library), "\n// smaller"...))
		},
	} {
		path := strings.Replace(name, "/./", "/", 1)
		s.page.spoil(path, instead)
		tab := b.visit(t, s.page.origin, nil)
		tab.write(question)
		tab.state("failed") // at once: the visitor should not write for nothing
		if got := tab.evaluate(`document.activeElement.id`); got != "homing-text" {
			t.Errorf("%s: the focus went to %q while the visitor wrote", name, got)
		}
		tab.send()
		tab.failure("The encryption could not be loaded")
		if posts := tab.requests("POST"); len(posts) > 0 {
			t.Errorf("%s: it sent %q", name, posts)
		}
		s.page.spoil(path, nil)
		tab.send()
		tab.state("sent")
	}
	s.letters(t, 3)
}

func scriptBlocked(t *testing.T, b *browser, on platform) {
	s := rise(t, on, household{})
	check := func(tab *tab) {
		t.Helper()
		await(t, "the notice", func() error {
			if !tab.visible("[data-fallback]") {
				return errNotYet
			}
			return nil
		})
		if got := tab.evaluate(`document.querySelector("[data-fallback]").innerText`); !strings.Contains(got, "needs JavaScript") || !strings.Contains(got, "mail@home.test") {
			t.Errorf("the visitor is told %q", got)
		}
		if got := tab.evaluate(`document.querySelectorAll("form :enabled:is(input, textarea, button)").length`); got != "1" { // the one of "sent", which is hidden
			t.Errorf("%s fields can be filled in", got)
		}
		tab.click("summary")
		if !tab.visible("[data-key]") {
			t.Error("the key cannot be seen")
		}
		if posts := tab.requests("POST"); len(posts) > 0 {
			t.Errorf("it sent %q", posts)
		}
	}
	tab := b.visit(t, s.page.origin, settings{"javaScriptEnabled": false})
	check(tab)
	tab.picture("blocked-light")
	check(b.visit(t, strings.Replace(s.page.origin, "127.0.0.1", "page.test", 1), nil)) // without HTTPS
	s.page.spoil("/form.js", missing)
	check(b.visit(t, s.page.origin+"/index.html", nil))
}

func wrongOrigin(t *testing.T, b *browser, on platform) {
	s := rise(t, on, household{})
	tab := b.visit(t, strings.Replace(s.page.origin, "127.0.0.1", "localhost", 1), nil)
	tab.write(question)
	tab.send()
	tab.failure("not working as it should (wrong_origin)")
	s.nothing(t)
}

func attachmentTooLarge(t *testing.T, b *browser, on platform) {
	s := rise(t, on, household{})
	large := filepath.Join(t.TempDir(), "large.bin")
	if err := os.WriteFile(large, make([]byte, 5_000_001), 0o644); err != nil {
		t.Fatal(err)
	}
	tab := b.visit(t, s.page.origin, nil)
	tab.write(question)
	tab.attach(large)
	tab.send()
	if got := tab.evaluate(`document.activeElement.id + document.getElementById("homing-files-error").textContent`); !strings.HasPrefix(got, "homing-filesThe attachments are larger") {
		t.Errorf("focus and error: %q", got)
	}
	if n := len(tab.requests(s.wire.url)); n != 0 {
		t.Errorf("the worker was asked %d times", n)
	}
	// One octet less fits, all the way to the mailbox.
	if err := os.Truncate(large, 5_000_000); err != nil {
		t.Fatal(err)
	}
	tab.attach(large)
	tab.send()
	tab.state("sent")
	same(t, s.letters(t, 1)[0].attachments, []string{large})
}

func tooLargeForWorker(t *testing.T, b *browser, on platform) {
	s := rise(t, on, household{}, "MAX_BYTES", "1500")
	tab := b.visit(t, s.page.origin, nil)
	tab.write(strings.Repeat(question, 100))
	tab.send()
	tab.failure("It is too large")
	tab.fill("#homing-text", question)
	tab.send()
	tab.state("sent")
	s.letters(t, 1)
}

func tooMany(t *testing.T, b *browser, on platform) {
	s := rise(t, on, household{}, "RATE", "1")
	tab := b.visit(t, s.page.origin, nil)
	tab.write(question)
	tab.send()
	tab.state("sent")
	tab.click("[data-again]")
	tab.write(question)
	tab.send()
	tab.failure("send again in 10 minutes")
	s.letters(t, 1)
}

// The page makes another proof by itself.
func proofTooOld(t *testing.T, b *browser, on platform) {
	s := rise(t, on, household{})
	s.wire.change = func(request *http.Request) {
		if n, _, _ := s.wire.posted(); n == 1 && request.Method == http.MethodPost {
			request.Header.Set("X-Homing-Proof", "v1 1600000000 1")
		}
	}
	tab := b.visit(t, s.page.origin, nil)
	tab.write(question)
	tab.send()
	tab.state("sent")
	s.letters(t, 1)
	if n, _, _ := s.wire.posted(); n != 2 {
		t.Errorf("%d requests, want 2", n)
	}
}

func attachmentGone(t *testing.T, b *browser, on platform) {
	s := rise(t, on, household{})
	path := filepath.Join(t.TempDir(), "gone.txt")
	if err := os.WriteFile(path, []byte("here"), 0o644); err != nil {
		t.Fatal(err)
	}
	tab := b.visit(t, s.page.origin, nil)
	tab.write(question)
	tab.attach(path)
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	tab.send()
	tab.failure("An attachment cannot be read")
	s.nothing(t)
}
