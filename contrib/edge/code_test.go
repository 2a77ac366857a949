package edge_test

import (
	"crypto/sha512"
	"encoding/base64"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/homing-mail/homing/internal/gnupg"
)

// The worker's and the page's own tests, which need no other program.
func TestJavaScript(t *testing.T) {
	t.Log(deno(t, ".", "", "test", "--no-check", "--no-prompt", "--allow-read=testdata", "worker", "form"))
}

// Types, style and format.
func TestJavaScriptIsTidy(t *testing.T) {
	scripts := func(pattern string) []string {
		t.Helper()
		found, err := filepath.Glob(pattern)
		if err != nil || len(found) == 0 {
			t.Fatalf("%s: %q, %v", pattern, found, err)
		}
		return found
	}
	deno(t, ".", "", append([]string{"check"}, scripts("worker/*.js")...)...)
	deno(t, "form", "", "check", "form.js", "seal.js")
	deno(t, ".", "", "lint")
	deno(t, ".", "", "fmt", "--check")
}

// The page's hash of OpenPGP.js is that of the copy it is given.
func TestIntegrity(t *testing.T) {
	library, err := os.ReadFile(inModules(t, "openpgp/dist/openpgp.min.mjs"))
	if err != nil {
		t.Fatal(err)
	}
	seal, err := os.ReadFile("form/seal.js")
	if err != nil {
		t.Fatal(err)
	}
	sum := sha512.Sum384(library)
	if want := "sha384-" + base64.StdEncoding.EncodeToString(sum[:]); !strings.Contains(string(seal), want) {
		t.Errorf("form/seal.js lacks the hash of OpenPGP.js as package-lock.json pins it: %s", want)
	}
}

// Every text that the form may show is in its page, and its words are nowhere else.
func TestTexts(t *testing.T) {
	page, err := os.ReadFile("form/index.html")
	if err != nil {
		t.Fatal(err)
	}
	for _, code := range []string{
		"encrypting", "sending", "kept", "files", "load", "key", "file", "offline", "refused",
		"wrong_key", "too_large", "unavailable", "rate_limited",
	} {
		if strings.Count(string(page), `data-text="`+code+`"`) != 1 {
			t.Errorf("index.html has not one text for %s", code)
		}
	}
}

func TestSite(t *testing.T) {
	gpg := gnupg.New(t, gnupg.V22)
	file := func(name string, content []byte) string {
		t.Helper()
		path := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(path, content, 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	one := gpg.Key(t, "one@home.test", "ed25519", "cv25519", "")
	gpg.Run(t, nil, "--passphrase", "", "--quick-generate-key", "two@home.test", "ed25519", "sign", "never")
	then := []string{"--faked-system-time", "20240101T000000!", "--passphrase", ""}
	gpg.Run(t, nil, append(then, "--quick-generate-key", "three@home.test", "rsa2048", "encr,cert", "1y")...)
	export := func(what ...string) []byte { return gpg.Run(t, nil, append([]string{"--export"}, what...)...) }
	good := []string{"--endpoint", "https://edge.test/form", "--address", "mail@home.test"}
	for _, c := range []struct {
		name, key string
		args      []string
		want      string // in what it says; empty: it does it
	}{
		{"armored", file("k", export("--armor", one)), good, ""},
		{"binary", file("k", export(one)), good, ""},
		{"a secret key", file("k", gpg.Run(t, nil, "--armor", "--export-secret-keys", one)), good, "holds a secret key"},
		{"a binary secret key", file("k", gpg.Run(t, nil, "--export-secret-keys", one)), good, "holds a secret key"},
		{"two keys", file("k", export("--armor", one, "two@home.test")), good, "holds 2 keys"},
		{"a key that only signs", file("k", export("two@home.test")), good, "nothing can be encrypted"},
		{"an expired key", file("k", export("three@home.test")), good, "nothing can be encrypted"},
		{"no key", file("k", []byte("hello")), good, "is not an OpenPGP key"},
		{"no file", "/nowhere", good, "/nowhere"},
		{"no URL", file("k", export(one)), []string{"--endpoint", "edge.test", "--address", "a@b.test"}, "is not a URL"},
		{"no address", file("k", export(one)), []string{"--endpoint", "https://edge.test", "--address", "me"}, "is not an address"},
		{"nothing", file("k", export(one)), nil, "--endpoint, --address missing"},
	} {
		out := filepath.Join(t.TempDir(), "site")
		said, err := makeSite(t, append([]string{"--key", c.key, "--out", out}, c.args...)...)
		if c.want != "" {
			if err == nil || !strings.Contains(said, c.want) || strings.Contains(said, "node_modules") {
				t.Errorf("%s: %v, it says\n%s, want %q", c.name, err, said, c.want)
			}
			if left, err := os.ReadDir(out); err == nil {
				t.Errorf("%s: it made %v", c.name, left)
			}
			continue
		}
		page, readErr := os.ReadFile(filepath.Join(out, "index.html"))
		if err != nil || readErr != nil {
			t.Fatalf("%s: %v, %v\n%s", c.name, err, readErr, said)
		}
		for _, want := range []string{`data-endpoint="https://edge.test/form"`, "mailto:mail@home.test", one[:4] + " " + one[4:8]} {
			if !strings.Contains(string(page), want) {
				t.Errorf("%s: the page has no %s", c.name, want)
			}
		}
		if strings.Contains(string(page), "@KEY@") || strings.Contains(string(page), "PRIVATE") {
			t.Errorf("%s: the page is not filled in", c.name)
		}
	}
}

// wrangler.toml and the README name each variable of the worker, and no other.
func TestVariables(t *testing.T) {
	out := deno(t, ".", "", "eval", `import { variables } from "./worker/config.js"; console.log(variables.join(" "))`)
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	for name := range strings.FieldsSeq(out) {
		if !strings.Contains(string(readme), "| `"+name+"` |") {
			t.Errorf("README.md does not explain %s", name)
		}
	}
}
