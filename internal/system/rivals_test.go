package system

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/homing-mail/homing/internal/dovecot"
	"github.com/homing-mail/homing/internal/neighbour"
	"github.com/homing-mail/homing/internal/postfix"
	"github.com/homing-mail/homing/internal/usage"
)

// mailing is one message as often as is wanted, for the mailboxes of a domain in turn.
type mailing struct {
	domain  string
	message []byte
	n       int
}

// rival is a way for mail to reach a Dovecot: homing's, or what one might have
// instead.
type rival interface {
	// prepare puts the mail where it waits to be brought home.
	prepare(m *mailing)
	// carry brings it home. It may return before the last message has arrived.
	carry(m *mailing)
	// used is the processor time that it has used for all that it has carried.
	used() time.Duration
	// processes are those that it has now. It may be called while carry runs.
	processes() ([]int, error)
}

// rivals are all of them, homing first, by name.
func rivals(tb testing.TB, server *dovecot.Server) (names []string, all map[string]rival) {
	tb.Helper()
	bare := &source{tool: newTool(tb, "smtp-source"), target: []string{"-L", "unix:" + server.UnixSocket}}
	source := dovecot.Start(tb, dovecot.Options{Version: dovecot.V23, AnyUser: true})
	return []string{"homing", "smtp-source", "postfix", "getmail", "fetchmail"}, map[string]rival{
		"homing":      newHoming(tb, server),
		"smtp-source": bare,
		"postfix":     newRelay(tb, server),
		"getmail":     &fetcher{newTool(tb, "getmail"), source, server, getmail},
		"fetchmail":   &fetcher{newTool(tb, "fetchmail"), source, server, fetchmail},
	}
}

// destination is a Dovecot without Sieve scripts, so that it does the same for
// every message, whoever brings it. Its users' names are numbers before a letter,
// as smtp-source makes them; those with the same last digit share a mailbox.
func destination(tb testing.TB) *dovecot.Server {
	tb.Helper()
	return dovecot.Start(tb, dovecot.Options{Version: dovecot.V23, Config: `
passdb {
  driver = static
  args = password=` + dovecot.Password + `
}
userdb {
  driver = static
  args = home=@DIR@/mail/%d/%-2.1n allow_all_users=yes
}
`})
}

// courier is homing.
type courier struct {
	*home
	batch *batch
}

// newHoming starts a homing before a Dovecot, between an SNS and an S3 that are
// in this process: they cost the machine what a client on the other side of the
// world does, and no more.
func newHoming(tb testing.TB, server *dovecot.Server) *courier {
	tb.Helper()
	h := &home{tb: tb, dovecot: server, s3: memoryS3(tb)}
	h.env = bare(tb, "lmtp:"+server.UnixSocket).with("AWS_ENDPOINT_URL_S3", h.s3.URL())
	h.daemon = serve(tb, h.env)
	return &courier{home: h}
}

func (c *courier) prepare(m *mailing) {
	if c.batch != nil {
		c.forget(c.batch)
	}
	messages := make([][]byte, m.n)
	for i := range messages {
		messages[i] = m.message
	}
	c.batch = c.prepareThese(m.domain, messages)
}

func (c *courier) carry(*mailing)            { c.announce(c.batch, 16) }
func (c *courier) used() time.Duration       { return c.cpu(c.tb) }
func (c *courier) processes() ([]int, error) { return []int{c.cmd.Process.Pid}, nil }

// tool is a program that is run for each mailing, and ends.
type tool struct {
	tb      testing.TB
	path    string
	dir     string // its own
	spent   time.Duration
	running atomic.Int64 // its process, and process group
}

func newTool(tb testing.TB, name string) *tool {
	tb.Helper()
	return &tool{tb: tb, path: neighbour.Program(tb, name), dir: tb.TempDir()}
}

func (t *tool) run(args ...string) {
	t.tb.Helper()
	ctx, cancel := context.WithTimeout(t.tb.Context(), 10*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, t.path, args...)
	cmd.Env = []string{"PATH=/usr/bin:/bin", "HOME=" + t.dir, "FETCHMAILHOME=" + t.dir, "LC_ALL=C.UTF-8"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	neighbour.DieWithParent(cmd.SysProcAttr, syscall.SIGKILL)
	var output bytes.Buffer
	cmd.Stdout, cmd.Stderr = &output, &output
	if err := cmd.Start(); err != nil {
		t.tb.Fatal(err)
	}
	t.running.Store(int64(cmd.Process.Pid))
	err := cmd.Wait()
	t.running.Store(0)
	if err != nil {
		t.tb.Fatalf("%v: %v\n%s", cmd, err, output.Bytes())
	}
	t.spent += cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
}

func (t *tool) used() time.Duration { return t.spent }

func (t *tool) processes() ([]int, error) {
	group := int(t.running.Load())
	if group == 0 {
		return nil, nil
	}
	return usage.Group(group)
}

// file writes a file of its own, and returns the path.
func (t *tool) file(name, text string) string {
	t.tb.Helper()
	path := filepath.Join(t.dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.tb.Fatal(err)
	}
	return path
}

// source is Postfix's load generator.
type source struct {
	*tool
	target  []string
	message string // path
}

func (s *source) prepare(m *mailing) {
	// It ends each line of the file by CR LF, and adds an empty one.
	s.message = s.file("message", strings.TrimSuffix(strings.ReplaceAll(string(m.message), "\r\n", "\n"), "\n"))
}

func (s *source) carry(m *mailing) {
	s.run(append([]string{"-d", "-s", "4", "-m", strconv.Itoa(m.n), "-f", "ann@far.test", "-F", s.message, "-N", "-t", "u@" + m.domain}, s.target...)...)
}

// relay is a Postfix that passes on what it is sent by SMTP. What sends to it
// costs it nothing.
type relay struct {
	source
	master int
}

func newRelay(tb testing.TB, server *dovecot.Server) *relay {
	tb.Helper()
	mta := postfix.Start(tb, postfix.Options{Main: "default_transport = lmtp:unix:" + server.UnixSocket + "\n"})
	return &relay{source{tool: newTool(tb, "smtp-source"), target: []string{"inet:" + mta.Address}}, mta.Master(tb)}
}

func (r *relay) processes() ([]int, error) { return usage.Group(r.master) }

func (r *relay) used() time.Duration {
	r.tb.Helper()
	pids, err := r.processes()
	if err != nil {
		r.tb.Fatal(err)
	}
	used, err := usage.Processor(pids...)
	if err != nil {
		r.tb.Fatal(err)
	}
	return used
}

// fetcher empties mailboxes of another Dovecot by IMAP.
type fetcher struct {
	*tool
	from, to *dovecot.Server
	// order says, for one mailing, with what arguments the program is to be run.
	order func(f *fetcher, m *mailing) (args []string)
}

func (f *fetcher) prepare(m *mailing) {
	for i := range m.n {
		f.from.Put(f.tb, mailboxOf(i, batchUsers, m.domain), m.message)
	}
}

func (f *fetcher) carry(m *mailing) { f.run(f.order(f, m)...) }

// getmail delivers with its own LMTP client; all that is not needed is left at
// its default, but that it deletes what it has delivered.
func getmail(f *fetcher, m *mailing) []string {
	host, port, _ := strings.Cut(f.from.IMAPAddr, ":")
	args := []string{"--getmaildir", f.dir, "--quiet"}
	for i := range min(m.n, batchUsers) {
		user := mailboxOf(i, batchUsers, m.domain)
		args = append(args, "--rcfile", f.file(fmt.Sprintf("getmailrc%d", i), fmt.Sprintf(`[retriever]
type = SimpleIMAPRetriever
server = %s
port = %s
username = %s
password = %s
[destination]
type = MDA_lmtp
host = %s
override = %s
[options]
delete = true
`, host, port, user, dovecot.Password, f.to.UnixSocket, user)))
	}
	return args
}

// fetchmail delivers to Dovecot's socket, where it is six times as fast as over
// TCP; all that is not needed is left at its default.
func fetchmail(f *fetcher, m *mailing) []string {
	host, port, _ := strings.Cut(f.from.IMAPAddr, ":")
	var rc strings.Builder
	fmt.Fprintf(&rc, "poll %s protocol imap service %s auth password\n", host, port)
	for i := range min(m.n, batchUsers) {
		user := mailboxOf(i, batchUsers, m.domain)
		fmt.Fprintf(&rc, "user %q password %q is %q here sslproto '' lmtp smtphost %q\n", user, dovecot.Password, user, f.to.UnixSocket)
	}
	return []string{"--silent", "--nodetach", "--nosyslog", "--fetchmailrc", f.file("fetchmailrc", rc.String())}
}

// postcard begins a message that all of them leave as it is, but for headers of their
// own: Postfix would add an absent Date, and getmail quotes lines with From.
const postcard = "From: Ann <ann@far.test>\r\nTo: Bob <bob@home.test>\r\nSubject: twelve\r\n" +
	"Date: Sun, 22 Nov 2026 08:00:00 +0000\r\nMessage-ID: <twelve@far.test>\r\n"

// What is compared does the same: each brings every message home as it is.
func TestRivals(t *testing.T) {
	t.Parallel()
	server := destination(t)
	names, all := rivals(t, server)
	const body = "\r\nHello,\r\n.\r\n..a\r\n\r\n\r\nend\r\n\r\n"
	for _, name := range names {
		t.Run(name, func(t *testing.T) {
			m := &mailing{domain: name + "." + domain, message: []byte(postcard + body), n: 12}
			all[name].prepare(m)
			all[name].carry(m)
			awaitFiles(t, server, m.domain, m.n)
			arrived := 0
			for i := range batchUsers {
				for _, message := range server.Mailbox(t, mailboxOf(i, batchUsers, m.domain), "INBOX") {
					arrived++
					header, whole := strings.CutSuffix(string(message), body)
					if !whole || !strings.Contains(header, "\r\n"+postcard) || strings.Contains(header, "\r\n\r\n") {
						t.Errorf("got %q, want %q with more headers", message, m.message)
					}
				}
			}
			if arrived != m.n {
				t.Errorf("%d messages arrived, want %d", arrived, m.n)
			}
		})
	}
}
