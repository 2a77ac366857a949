package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/homing-mail/homing/courier"
)

// cow is mailcow's API with aliases that a test may change.
type cow struct {
	*httptest.Server
	aliases string // JSON
	status  int    // of the list of aliases; 0: 200
}

func newCow(t *testing.T) *cow {
	c := &cow{}
	mux := http.NewServeMux()
	for kind, text := range map[string]string{
		"domain":       `[{"domain_name":"example.com","active":1}]`,
		"alias-domain": `{}`,
		"mailbox":      `[{"username":"alice@example.com","domain":"example.com","active":1},{"username":"bob@example.com","domain":"example.com","active":"1"}]`,
	} {
		mux.HandleFunc("GET /api/v1/get/"+kind+"/all", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, text) })
	}
	mux.HandleFunc("GET /api/v1/get/alias/all", func(w http.ResponseWriter, _ *http.Request) {
		if c.status != 0 {
			w.WriteHeader(c.status)
		}
		fmt.Fprint(w, c.aliases)
	})
	c.Server = httptest.NewServer(mux)
	t.Cleanup(c.Close)
	return c
}

// holds sets the aliases, each given as address=goto.
func (c *cow) holds(aliases ...string) {
	list := make([]string, len(aliases))
	for i, alias := range aliases {
		address, to, _ := strings.Cut(alias, "=")
		_, domain, _ := strings.Cut(address, "@")
		list[i] = fmt.Sprintf(`{"address":%q,"goto":%q,"domain":%q,"active":1}`, address, to, domain)
	}
	c.aliases = "[" + strings.Join(list, ",") + "]"
}

// write runs the command as a timer would.
func (c *cow) write(t *testing.T, file string, flags ...string) (code int, stdout, stderr string) {
	t.Helper()
	environ := []string{"MAILCOW_URL=" + c.URL, "MAILCOW_API_KEY=A-1", "HOMING_RECIPIENTS_FILE=" + file}
	return command(t, environ, "", append([]string{"mailcow-aliases"}, flags...)...)
}

func fileOf(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func inode(t *testing.T, path string) uint64 {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info.Sys().(*syscall.Stat_t).Ino
}

func TestMailcowAliases(t *testing.T) {
	c := newCow(t)
	file := filepath.Join(t.TempDir(), "recipients")
	c.holds("info@example.com=alice@example.com,bob@example.com", "far@example.com=x@far.example")

	code, out, warned := c.write(t, file)
	if code != exitDone || !strings.Contains(out, "domains: 1, alias domains: 0, mailboxes: 2, aliases: 2\n") ||
		!strings.HasSuffix(out, file+": 1 rules, 1 of them new; 0 gone\n") || !strings.HasPrefix(warned, "warning: far@example.com: ") {
		t.Fatalf("code %d, said %q and %q", code, out, warned)
	}
	rules, err := courier.ParseRules(fileOf(t, file))
	if err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(rules.Map("Info+x@example.com")); got != "[alice+x@example.com bob+x@example.com]" {
		t.Errorf("info+x goes to %s", got)
	}

	before := inode(t, file)
	if code, out, _ := c.write(t, file); code != exitDone || !strings.HasSuffix(out, "unchanged, 1 rules\n") {
		t.Errorf("again: code %d, said %q", code, out)
	}
	if inode(t, file) != before {
		t.Error("the file was replaced although nothing is new")
	}

	c.holds("info@example.com=alice@example.com", "shop@example.com=bob@example.com")
	if code, out, _ := c.write(t, file); code != exitDone || !strings.HasSuffix(out, "2 rules, 2 of them new; 1 gone\n") {
		t.Errorf("changed: code %d, said %q", code, out)
	}
	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(file), ".*")); len(left) > 0 {
		t.Errorf("left behind: %s", left)
	}
}

// What does not look right leaves the file alone.
func TestMailcowAliasesRefuses(t *testing.T) {
	full := []string{"a@example.com=alice@example.com", "b@example.com=alice@example.com", "c@example.com=alice@example.com", "d@example.com=bob@example.com"}
	for _, test := range []struct {
		name   string
		change func(c *cow, file string)
		flags  []string
		code   int
		said   string
	}{
		{"mailcow fails", func(c *cow, _ string) { c.status = http.StatusInternalServerError }, nil, exitFailed, "the rules stay as they were"},
		{"mailcow is away", func(c *cow, _ string) { c.Close() }, nil, exitFailed, "the rules stay as they were"},
		{"half an answer", func(c *cow, _ string) { c.aliases = c.aliases[:40] }, nil, exitFailed, "a list was expected"},
		{"half an answer, forced", func(c *cow, _ string) { c.aliases = c.aliases[:40] }, []string{"--force"}, exitFailed, "a list was expected"},
		{"no aliases any more", func(c *cow, _ string) { c.aliases = "{}" }, nil, exitFailed, "it has 4 rules and mailcow would leave 0"},
		{"few aliases", func(c *cow, _ string) { c.holds(full[0]) }, nil, exitFailed, "run this once with --force"},
		{"a person's file", func(_ *cow, file string) { replace(t, file, "me@example.com=alice\n") }, nil, exitFailed, "not written by this command"},
		{"no file", func(_ *cow, file string) { os.Remove(file); os.Mkdir(file, 0o700) }, nil, exitFailed, "no file of recipient rules"},
		{"only shown", func(c *cow, _ string) { c.holds(full[1:]...) }, []string{"--dry-run"}, exitDone, ""},
		{"too many", func(c *cow, _ string) {
			var all []string
			for i := range 20000 {
				all = append(all, fmt.Sprintf("long-enough-%030d@example.com=alice@example.com", i))
			}
			c.holds(all...)
		}, nil, exitFailed, "homing reads 1048576 of a file"},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := newCow(t)
			file := filepath.Join(t.TempDir(), "recipients")
			c.holds(full...)
			if code, _, said := c.write(t, file); code != exitDone {
				t.Fatal(said)
			}
			test.change(c, file)
			before := inode(t, file)
			code, _, said := c.write(t, file, test.flags...)
			if code != test.code || !strings.Contains(said, test.said) {
				t.Errorf("code %d, said %q", code, said)
			}
			if inode(t, file) != before {
				t.Error("the file was replaced")
			}
		})
	}
}

func TestMailcowAliasesForced(t *testing.T) {
	c := newCow(t)
	file := writeFile(t, "me@example.com=alice\nyou@example.com=bob\n")
	c.aliases = "{}"
	if code, _, said := c.write(t, file, "--force"); code != exitDone {
		t.Fatal(said)
	}
	if got := ruleLines(fileOf(t, file)); len(got) != 0 {
		t.Errorf("rules are left: %q", got)
	}
}

// Rules of one's own come first.
func TestMailcowAliasesBefore(t *testing.T) {
	c := newCow(t)
	file := filepath.Join(t.TempDir(), "recipients")
	c.holds("info@example.com=alice@example.com")
	own := writeFile(t, "# mine\nnoreply@example.com=trash@example.com, info@example.com=bob@example.com")
	if code, _, said := c.write(t, file, "--before", own); code != exitDone {
		t.Fatal(said)
	}
	rules, err := courier.ParseRules(fileOf(t, file))
	if err != nil {
		t.Fatal(err)
	}
	for address, want := range map[string]string{"noreply@example.com": "trash@example.com", "info@example.com": "bob@example.com"} {
		if got := rules.Map(address); len(got) != 1 || got[0] != want {
			t.Errorf("%s goes to %q, want %s", address, got, want)
		}
	}
	if code, _, said := c.write(t, file, "--before", writeFile(t, "nonsense")); code != exitUsage || !strings.Contains(said, "want pattern=mailbox") {
		t.Errorf("wrong rules: code %d, %s", code, said)
	}
}

// A file keeps its mode, and stays where a link to it leads.
func TestMailcowAliasesKeepsTheFile(t *testing.T) {
	c := newCow(t)
	c.holds("info@example.com=alice@example.com")
	dir := t.TempDir()
	file, link := filepath.Join(dir, "real"), filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(file, link); err != nil {
		t.Fatal(err)
	}
	replace(t, file, recipientsMark+"\n")
	if err := os.Chmod(file, 0o640); err != nil {
		t.Fatal(err)
	}
	other := os.Geteuid() == 0
	if other {
		if err := os.Chown(file, 4711, 4712); err != nil {
			t.Fatal(err)
		}
	}
	if code, _, said := c.write(t, link); code != exitDone {
		t.Fatal(said)
	}
	if target, err := os.Readlink(link); err != nil || target != file {
		t.Errorf("the link leads to %q, %v", target, err)
	}
	info, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	owner := info.Sys().(*syscall.Stat_t)
	if info.Mode() != 0o640 || other && (owner.Uid != 4711 || owner.Gid != 4712) {
		t.Errorf("the file is %s of %d:%d", info.Mode(), owner.Uid, owner.Gid)
	}
	if len(ruleLines(fileOf(t, file))) != 1 {
		t.Errorf("it holds %q", fileOf(t, file))
	}
}

func TestMailcowAliasesUsage(t *testing.T) {
	key := writeFile(t, "A-1\n")
	url := "MAILCOW_URL=https://mail.example.com"
	for _, test := range []struct {
		name    string
		environ []string
		flags   []string
		said    string
	}{
		{"nothing", nil, nil, "needs mailcow's address and a key"},
		{"no key", []string{url}, nil, "needs mailcow's address and a key"},
		{"no such key", []string{url, "MAILCOW_API_KEY_FILE=/nonexistent"}, nil, "MAILCOW_API_KEY_FILE=\"/nonexistent\": no such file"},
		{"two keys", []string{url, "MAILCOW_API_KEY=a", "MAILCOW_API_KEY_FILE=" + key}, nil, "both set"},
		{"no file", []string{url}, []string{"--key-file", key}, "needs a file to write to"},
		{"no TLS", nil, []string{"--key-file", key, "--to", "x", "--url", "http://mail.example.com"}, "must begin with https://"},
		{"an argument", nil, []string{"x"}, "unknown command"},
	} {
		t.Run(test.name, func(t *testing.T) {
			code, _, said := command(t, test.environ, "", append([]string{"mailcow-aliases"}, test.flags...)...)
			if code != exitUsage || !strings.Contains(said, test.said) {
				t.Errorf("code %d, said %q", code, said)
			}
		})
	}
}
