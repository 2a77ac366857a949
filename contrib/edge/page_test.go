package edge_test

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/homing-mail/homing/internal/neighbour"
)

// page is a site with the form, as `npm run site` makes it, served with a policy
// that allows nothing inline and no other host but the worker.
type page struct {
	dir    string
	origin string

	mu     sync.Mutex
	policy string
	spoilt map[string]func(http.ResponseWriter) // what is served instead, by path
}

func newPage(tb testing.TB) *page {
	tb.Helper()
	p := &page{dir: tb.TempDir(), spoilt: map[string]func(http.ResponseWriter){}}
	server := httptest.NewServer(p)
	tb.Cleanup(server.Close)
	p.origin = server.URL
	return p
}

// build makes the site, for a key and a worker.
func (p *page) build(tb testing.TB, keyFile, endpoint string) {
	tb.Helper()
	if out, err := makeSite(tb, "--key", keyFile, "--endpoint", endpoint, "--address", "mail@home.test", "--out", p.dir); err != nil {
		tb.Fatalf("%v\n%s", err, out)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.policy = "default-src 'none'; script-src 'self'; style-src 'self'; worker-src 'self'; connect-src 'self' " + endpoint +
		"; form-action 'none'; base-uri 'none'; frame-ancestors 'none'"
}

// makeSite runs site.js as npm does, where the packages are.
func makeSite(tb testing.TB, args ...string) (out string, err error) {
	tb.Helper()
	// Packages are found from where the script is.
	dir := tb.TempDir()
	if err := os.CopyFS(filepath.Join(dir, "form"), os.DirFS("form")); err != nil {
		tb.Fatal(err)
	}
	script, err := os.ReadFile("site.js")
	if err != nil {
		tb.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "site.js"), script, 0o644); err != nil {
		tb.Fatal(err)
	}
	// As an ES module, which it is by package.json.
	if err := os.WriteFile(filepath.Join(dir, "package.json"), []byte(`{"type":"module"}`), 0o644); err != nil {
		tb.Fatal(err)
	}
	if err := os.Symlink(filepath.Join(modules(tb), "node_modules"), filepath.Join(dir, "node_modules")); err != nil {
		tb.Fatal(err)
	}
	cmd := exec.CommandContext(tb.Context(), neighbour.Program(tb, "node"), append([]string{filepath.Join(dir, "site.js")}, args...)...)
	text, err := cmd.CombinedOutput()
	return string(text), err
}

func (p *page) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	spoilt, policy := p.spoilt[r.URL.Path], p.policy
	p.mu.Unlock()
	if spoilt != nil {
		spoilt(w)
		return
	}
	w.Header().Set("Content-Security-Policy", policy)
	w.Header().Set("Cache-Control", "max-age=3600")
	http.FileServer(http.Dir(p.dir)).ServeHTTP(w, r)
}

// spoil serves something else at a path; nil: what belongs there.
func (p *page) spoil(path string, instead func(http.ResponseWriter)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.spoilt[path] = instead
}

// rekey puts another key, or another fingerprint, into the page's HTML.
func (p *page) rekey(tb testing.TB, fingerprint string, armored []byte) {
	tb.Helper()
	name := filepath.Join(p.dir, "index.html")
	text, err := os.ReadFile(name)
	if err != nil {
		tb.Fatal(err)
	}
	groups := strings.Join(fingerprintGroups.FindAllString(fingerprint, -1), " ")
	text = shownFingerprint.ReplaceAll(text, []byte("<code data-fingerprint>"+groups+"<"))
	text = shownKey.ReplaceAll(text, armored)
	if err := os.WriteFile(name, text, 0o644); err != nil {
		tb.Fatal(err)
	}
}

var (
	fingerprintGroups = regexp.MustCompile(`.{4}`)
	shownFingerprint  = regexp.MustCompile(`<code data-fingerprint>[^<]*<`)
	shownKey          = regexp.MustCompile(`(?s)-----BEGIN.*-----END PGP PUBLIC KEY BLOCK-----`)
)

func missing(w http.ResponseWriter) { http.Error(w, "not found", http.StatusNotFound) }

// wire is the network between two programs, which can fail.
type wire struct {
	url string
	to  string

	mu       sync.Mutex
	fate     fate
	left     int             // messages that meet it; 0 or less: all
	requests []*http.Request // as they passed, with their bodies
	bodies   [][]byte
	change   func(request *http.Request) // nil: none
}

type fate int

const (
	pass    fate = iota
	cut          // before anything arrives
	swallow      // the request arrives, its answer is lost
	hold         // until the visitor is gone
)

// lay lays a wire to a server that need not listen yet.
func lay(tb testing.TB, to string) *wire {
	tb.Helper()
	w := &wire{to: to}
	server := httptest.NewServer(w)
	tb.Cleanup(server.Close)
	w.url = server.URL + "/"
	return w
}

// next decides what becomes of the next n messages; of all where n is 0.
func (w *wire) next(f fate, n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.fate, w.left = f, n
}

// posted returns how many messages came by, and the last of them.
func (w *wire) posted() (n int, last *http.Request, body []byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if n = len(w.requests); n == 0 {
		return 0, nil, nil
	}
	return n, w.requests[n-1], w.bodies[n-1]
}

func (w *wire) ServeHTTP(out http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	w.mu.Lock()
	fate, change := w.fate, w.change
	if r.Method == http.MethodPost {
		w.requests, w.bodies = append(w.requests, r), append(w.bodies, body)
		if w.left--; w.left == 0 {
			w.fate = pass
		}
	}
	w.mu.Unlock()
	switch {
	case fate == cut:
		panic(http.ErrAbortHandler)
	case fate == hold && r.Method == http.MethodPost:
		<-r.Context().Done()
		return
	}
	to, err := url.Parse(w.to)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	r = r.Clone(r.Context())
	r.Body = io.NopCloser(bytes.NewReader(body))
	if change != nil {
		change(r)
	}
	proxy := &httputil.ReverseProxy{
		Rewrite: func(p *httputil.ProxyRequest) {
			p.Out.URL, p.Out.Host = to, to.Host
		},
		ModifyResponse: func(*http.Response) error {
			if fate == swallow && r.Method == http.MethodPost {
				panic(http.ErrAbortHandler)
			}
			return nil
		},
	}
	proxy.ServeHTTP(out, r)
}
