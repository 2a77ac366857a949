package main

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/emersion/go-smtp"
	"github.com/google/go-cmp/cmp"

	"github.com/homing-mail/homing/internal/lmtpsink"
	"github.com/homing-mail/homing/internal/s3test"
	"github.com/homing-mail/homing/poller"
	"github.com/homing-mail/homing/spool"
)

// mailbag is an LMTP server that keeps what it is given.
type mailbag struct {
	address string // HOMING_DELIVER_TO

	mu      sync.Mutex
	mails   map[string][]string // by recipient
	senders []string
	refuse  func(recipient string, n int) error // n mails have come; may be nil
	n       int
}

func newMailbag(t *testing.T) *mailbag {
	t.Helper()
	bag := &mailbag{mails: map[string][]string{}}
	socket := filepath.Join(t.TempDir(), "lmtp")
	sink, err := lmtpsink.New(t.Context(), lmtpsink.Config{Network: "unix", Address: socket,
		Deliver: func(_ context.Context, sender, recipient string, octets []byte) error {
			bag.mu.Lock()
			defer bag.mu.Unlock()
			if bag.refuse != nil {
				if err := bag.refuse(recipient, bag.n); err != nil {
					return err
				}
			}
			bag.n++
			bag.mails[recipient] = append(bag.mails[recipient], string(octets))
			bag.senders = append(bag.senders, sender)
			return nil
		}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { sink.Close() })
	bag.address = "lmtp:" + socket
	return bag
}

func (bag *mailbag) of(recipient string) []string {
	bag.mu.Lock()
	defer bag.mu.Unlock()
	return slices.Clone(bag.mails[recipient])
}

func (bag *mailbag) count() int {
	bag.mu.Lock()
	defer bag.mu.Unlock()
	return bag.n
}

// sesMail is a message as SES stores it.
func sesMail(from, to, subject string) string {
	return "Return-Path: <" + from + ">\r\nReceived: from mail.example.org (mail.example.org [192.0.2.25]) by inbound-smtp.us-east-1.amazonaws.com with SMTP id x for " +
		to + "; Sun, 22 Nov 2026 01:00:00 +0000 (UTC)\r\nFrom: Bob <bob@example.org>\r\nSubject: " + subject + "\r\n\r\nbody\r\n"
}

// sesKey is the key of message n, as SES makes them.
func sesKey(n int) string { return fmt.Sprintf("in/%040d", n) }

// filler is a backfill of a rig's bucket.
type filler struct {
	*rig
	bag     *mailbag
	environ []string
}

func newFiller(t *testing.T, environ ...string) *filler {
	t.Helper()
	bag := newMailbag(t)
	return &filler{newRig(t), bag, append([]string{"HOMING_DELIVER_TO=" + bag.address}, environ...)}
}

// fill stores n messages to alice.
func (f *filler) fill(n int) {
	f.t.Helper()
	for i := range n {
		f.put(sesKey(i), sesMail("bob@example.org", testAddress, fmt.Sprint(i)))
	}
}

// backfill runs the command's work with flags, in the place of a person.
func (f *filler) backfill(ctx context.Context, flags backfillFlags) (stdout, stderr string, err error) {
	f.t.Helper()
	cfg := f.config(append(f.environ, "HOMING_LOG_FORMAT=text", "HOMING_LOG_LEVEL=info")...)
	task, err := flags.task(cfg, time.Now())
	if err != nil {
		f.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	var out, errs transcript
	err = backfill(ctx, cfg, f.neighbours(), task, streams{strings.NewReader(""), &out, &errs})
	return out.String(), errs.String(), err
}

// want runs a backfill that succeeds, and compares its summary.
func (f *filler) want(flags backfillFlags, summary string) (stdout string) {
	f.t.Helper()
	stdout, stderr, err := f.backfill(f.t.Context(), flags)
	if err != nil {
		f.t.Errorf("%v\n%s%s", err, stdout, stderr)
	}
	if got := counts(stdout); got != summary {
		f.t.Errorf("the summary is %q, want %q", got, summary)
	}
	return stdout
}

var countLine = regexp.MustCompile(`(?m)^ +(\d+) (found|passed|are|delivered|held|could|still|would)`)

// counts reads a summary: "3 found, 1 passed, 2 delivered".
func counts(stdout string) string {
	var all []string
	for _, match := range countLine.FindAllStringSubmatch(stdout, -1) {
		all = append(all, match[1]+" "+match[2])
	}
	return strings.Join(all, ", ")
}

func TestBackfill(t *testing.T) {
	f := newFiller(t)
	f.fill(250)
	f.put("in/", "")
	f.put("in/\x01", sesMail("", testAddress, "XML cannot say where"))
	f.put("in/AMAZON_SES_SETUP_NOTIFICATION", "this is a test")
	f.put("elsewhere/odd name+%41", sesMail("", "carol@example.com", "odd"))
	dry := f.want(backfillFlags{dryRun: true}, "252 found, 1 are, 251 would")
	if strings.Count(dry, "s3://mail/in/") != 250 || !strings.Contains(dry, "s3://mail/elsewhere/odd name+%41  ") || f.bag.count() != 0 {
		t.Errorf("a dry run says %s", dry)
	}
	if _, err := os.Stat(filepath.Join(f.state, spool.FileName)); !os.IsNotExist(err) {
		t.Errorf("a dry run made a spool: %v", err)
	}
	f.want(backfillFlags{prefix: "nothing/"}, "0 found, 0 delivered")
	f.want(backfillFlags{prefix: "in/"}, "251 found, 1 are, 250 delivered")
	f.want(backfillFlags{}, "252 found, 250 passed, 1 are, 1 delivered")
	f.want(backfillFlags{dryRun: true}, "252 found, 251 passed, 1 are, 0 would")
	if alice, carol := f.bag.of(testAddress), f.bag.of("carol@example.com"); len(alice) != 250 || len(carol) != 1 || f.bag.senders[0] != "bob@example.org" || f.bag.senders[250] != "" {
		t.Errorf("%d and %d mails, the last from %q", len(alice), len(carol), f.bag.senders[250:])
	}
	f.again(250)
}

var homingIDLine = regexp.MustCompile(`X-Homing-Id: ([0-9a-f]{32})`)

// again delivers all of it once more, with ids of its own, twice under one run.
func (f *filler) again(known int) {
	f.want(backfillFlags{prefix: "in/", again: newRun}, fmt.Sprintf("%d found, 1 are, %d delivered", known+1, known))
	f.want(backfillFlags{prefix: "in/", again: "run1"}, fmt.Sprintf("%d found, 1 are, %d delivered", known+1, known))
	f.want(backfillFlags{prefix: "in/", again: "run1"}, fmt.Sprintf("%d found, %d passed, 1 are, 0 delivered", known+1, known))
	ids := map[string]bool{}
	for _, mail := range f.bag.of(testAddress) {
		ids[homingIDLine.FindStringSubmatch(mail)[1]] = true
	}
	if len(ids) != 3*known {
		f.t.Errorf("%d different ids, want %d", len(ids), 3*known)
	}
}

func TestBackfillTo(t *testing.T) {
	f := newFiller(t, "HOMING_RECIPIENTS=*=everybody@example.com")
	f.put(sesKey(1), sesMail("bob@example.org", testAddress, "one"))
	f.put(sesKey(2), "Return-Path: <>\r\nSubject: to nobody\r\n\r\n")
	f.want(backfillFlags{to: "Archive@example.com"}, "2 found, 2 delivered")
	if got := f.bag.of("archive@example.com"); len(got) != 2 {
		t.Errorf("the mailbox has %q", got)
	}
	slices.Sort(f.bag.senders)
	if diff := cmp.Diff([]string{"", "bob@example.org"}, f.bag.senders); diff != "" {
		t.Errorf("senders (-want +got):\n%s", diff)
	}
}

// TestBackfillTimes stores one message, waits until the clock has moved on, and
// stores another: what lies between is the limit.
func TestBackfillTimes(t *testing.T) {
	f := newFiller(t)
	f.fill(1)
	first := f.stored(sesKey(0))
	await(t, "a later second", func() bool {
		f.put(sesKey(1), sesMail("bob@example.org", testAddress, "later"))
		return f.stored(sesKey(1)).After(first.Add(time.Second))
	})
	limit := f.stored(sesKey(1)).Format(time.RFC3339Nano)
	f.want(backfillFlags{until: limit, dryRun: true}, "1 found, 1 would")
	f.want(backfillFlags{since: limit, dryRun: true}, "1 found, 1 would")
	f.want(backfillFlags{since: "1h", dryRun: true}, "2 found, 2 would")
	f.want(backfillFlags{until: "1h", dryRun: true}, "0 found, 0 would")
	if out := f.want(backfillFlags{since: limit}, "1 found, 1 delivered"); f.bag.count() != 1 || !strings.Contains(f.bag.of(testAddress)[0], "later") {
		t.Errorf("not the later one: %s", out)
	}
}

func (f *filler) stored(key string) time.Time {
	f.t.Helper()
	bucket := testBucket
	out, err := f.bucket.HeadObject(f.t.Context(), &s3.HeadObjectInput{Bucket: &bucket, Key: &key})
	if err != nil {
		f.t.Fatal(err)
	}
	return *out.LastModified
}

// TestBackfillInterrupted: a run that is stopped half-way, and one after it that
// does the rest; nothing comes twice.
func TestBackfillInterrupted(t *testing.T) {
	const all = 1500 // more than are put into the spool at once
	f := newFiller(t)
	f.fill(all)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	f.bag.refuse = func(_ string, n int) error {
		if n == 200 {
			cancel()
		}
		return nil
	}
	stdout, _, err := f.backfill(ctx, backfillFlags{})
	if err == nil || !strings.Contains(err.Error(), "interrupted") || !strings.Contains(stdout, "Run it again: what is done is passed over") {
		t.Errorf("%v\n%s", err, stdout)
	}
	before := f.bag.count()
	if before < 200 || before >= all || !strings.Contains(stdout, fmt.Sprintf("%9d delivered\n", before)) {
		t.Errorf("%d of %d mails have come, and it says\n%s", before, all, stdout)
	}
	stdout, stderr, err := f.backfill(t.Context(), backfillFlags{})
	// What the first run left in the spool may be delivered before the listing
	// comes to it, and is passed over then.
	var found, passed, delivered int
	_, scan := fmt.Sscanf(counts(stdout), "%d found, %d passed, %d delivered", &found, &passed, &delivered)
	if err != nil || scan != nil || found != all || passed < before || passed+delivered != all {
		t.Errorf("%v, %v: %d had come before\n%s%s", err, scan, before, stdout, stderr)
	}
	subjects := map[string]bool{}
	for _, mail := range f.bag.of(testAddress) {
		subjects[mail[strings.Index(mail, "Subject: "):]] = true
	}
	if len(subjects) != all || f.bag.count() != all {
		t.Errorf("%d different mails of %d, want %d", len(subjects), f.bag.count(), all)
	}
}

// TestBackfillWhileHomingRuns: the daemon delivers, and no more than the limit
// waits in its spool.
func TestBackfillWhileHomingRuns(t *testing.T) {
	const all = 2300
	f := newFiller(t)
	f.fill(all)
	f.start(f.environ...)
	var most atomic.Int64
	f.bag.refuse = func(_ string, n int) error {
		if n%100 == 0 {
			if counts, err := f.app.spool.Counts(t.Context()); err == nil {
				most.Store(max(most.Load(), counts.Due+counts.Active+counts.Waiting))
			}
		}
		return nil
	}
	stdout, stderr, err := f.backfill(t.Context(), backfillFlags{})
	if err != nil || counts(stdout) != fmt.Sprintf("%d found, %d delivered", all, all) || !strings.Contains(stderr, "homing runs: it delivers") {
		t.Errorf("%v\n%s%s", err, stdout, stderr)
	}
	if f.bag.count() != all || most.Load() > unfinished || most.Load() == 0 {
		t.Errorf("%d mails, up to %d in the spool at once; want %d, at most %d", f.bag.count(), most.Load(), all, unfinished)
	}
}

func TestBackfillHeld(t *testing.T) {
	f := newFiller(t, "HOMING_MAX_MESSAGE=10KB")
	f.fill(2)
	for i := range 7 {
		f.put(fmt.Sprintf("in/large%d\u202e", i), sesMail("", testAddress, strings.Repeat("x", 20000)))
	}
	if dry, _, err := f.backfill(t.Context(), backfillFlags{dryRun: true}); err != nil || !strings.Contains(dry, "in/large0\uFFFD") || strings.Contains(dry, "\u202e") {
		t.Errorf("%v\n%q", err, dry)
	}
	stdout, _, err := f.backfill(t.Context(), backfillFlags{})
	if err == nil || !strings.HasPrefix(err.Error(), "7 messages are held") || counts(stdout) != "9 found, 2 delivered, 7 held" {
		t.Errorf("%v\n%s", err, stdout)
	}
	if strings.Count(stdout, "more than 10000") != mostReasons || !strings.Contains(stdout, "and 2 more\n") || strings.Contains(stdout, "\u202e") {
		t.Errorf("the reasons are %q", stdout)
	}
	if out := f.want(backfillFlags{}, "9 found, 9 passed, 0 delivered"); !strings.Contains(out, "(7 are held from before)") {
		t.Errorf("a second run says %s", out)
	}
}

// TestBackfillFaults: S3 fails in the middle of the listing.
func TestBackfillFaults(t *testing.T) {
	f := newFiller(t)
	f.fill(1200) // two pages
	var lists atomic.Int64
	f.s3.Inject(func(r *http.Request) *s3test.Fault {
		if r.URL.Query().Has("continuation-token") && lists.Add(1) < 100 {
			return &s3test.Fault{Status: http.StatusForbidden, Code: "AccessDenied"}
		}
		return nil
	})
	stdout, _, err := f.backfill(t.Context(), backfillFlags{})
	if err == nil || !strings.Contains(err.Error(), `list "" of bucket "mail": S3 answered 403 AccessDenied`) || !strings.Contains(stdout, "Run it again") {
		t.Errorf("%v\n%s", err, stdout)
	}
	f.s3.Inject(nil)
	stdout, _, err = f.backfill(t.Context(), backfillFlags{})
	if err != nil || f.bag.count() != 1200 {
		t.Errorf("%v, %d mails\n%s", err, f.bag.count(), stdout)
	}
}

func TestBackfillFlags(t *testing.T) {
	cfg, err := loadConfig(enough("HOMING_BUCKETS=mail/in/,other"))
	if err != nil {
		t.Fatal(err)
	}
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	in, other := poller.Place{Bucket: "mail", Prefix: "in/"}, poller.Place{Bucket: "other"}
	for _, test := range []struct {
		flags backfillFlags
		want  backfillTask
		wrong string
	}{
		{want: backfillTask{places: []poller.Place{in, other}}},
		{flags: backfillFlags{bucket: "mail"}, want: backfillTask{places: []poller.Place{in}}},
		{flags: backfillFlags{prefix: "in/20"}, want: backfillTask{places: []poller.Place{{Bucket: "mail", Prefix: "in/20"}, {Bucket: "other", Prefix: "in/20"}}}},
		{flags: backfillFlags{bucket: "mail", prefix: "i"}, want: backfillTask{places: []poller.Place{in}}},
		{flags: backfillFlags{bucket: "mail", prefix: "out/"}, wrong: "no place of HOMING_BUCKETS"},
		{flags: backfillFlags{bucket: "third"}, wrong: "no place of HOMING_BUCKETS"},
		{flags: backfillFlags{bucket: "other", since: "2026-11-01", until: "36h"}, want: backfillTask{places: []poller.Place{other},
			since: time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC), until: now.Add(-36 * time.Hour)}},
		{flags: backfillFlags{bucket: "other", since: "2026-11-01T10:00:00+01:00"}, want: backfillTask{places: []poller.Place{other},
			since: time.Date(2026, 11, 1, 9, 0, 0, 0, time.UTC)}},
		{flags: backfillFlags{since: "1d", until: "2d"}, wrong: "--since is not before --until"},
		{flags: backfillFlags{since: "yesterday"}, wrong: `--since "yesterday": want a date`},
		{flags: backfillFlags{until: "22.11.2026"}, wrong: `--until "22.11.2026": want a date`},
		{flags: backfillFlags{bucket: "other", to: "Me@Example.com"}, want: backfillTask{places: []poller.Place{other}, to: "me@example.com"}},
		{flags: backfillFlags{to: "a b"}, wrong: `--to "a b": want one mailbox`},
		{flags: backfillFlags{bucket: "other", again: "abc123", dryRun: true}, want: backfillTask{places: []poller.Place{other}, run: "abc123", dryRun: true}},
		{flags: backfillFlags{again: strings.Repeat("a", 33)}, wrong: `--again="aaa`},
		{flags: backfillFlags{again: "#1"}, wrong: `--again="#1": want the id`},
	} {
		got, err := test.flags.task(cfg, now)
		if test.wrong != "" {
			if err == nil || !strings.HasPrefix(err.Error(), test.wrong) {
				t.Errorf("%+v: got %v, want %s", test.flags, err, test.wrong)
			}
			continue
		}
		got.since, got.until = got.since.UTC(), got.until.UTC()
		if diff := cmp.Diff(test.want, got, cmp.AllowUnexported(backfillTask{})); err != nil || diff != "" {
			t.Errorf("%+v: %v (-want +got):\n%s", test.flags, err, diff)
		}
	}
}

// TestBackfillCommand goes through the whole program.
func TestBackfillCommand(t *testing.T) {
	f := newFiller(t)
	f.fill(3)
	for name, value := range map[string]string{"AWS_ENDPOINT_URL_S3": f.s3.URL(), "AWS_ACCESS_KEY_ID": "demo", "AWS_SECRET_ACCESS_KEY": "demo", "AWS_REGION": "us-east-1"} {
		t.Setenv(name, value)
	}
	environ := append([]string{"HOMING_BUCKETS=mail", "HOMING_S3_PATH_STYLE=true", "HOMING_STATE_DIR=" + f.state}, f.environ...)
	for _, test := range []struct {
		environ []string
		args    []string
		code    int
		stdout  string
		stderr  string
	}{
		{nil, nil, exitUsage, "", "homing: HOMING_BUCKETS is required"},
		{environ, []string{"--bucket", "nosuch"}, exitUsage, "", "homing: no place of HOMING_BUCKETS"},
		{environ, []string{"--until", "never"}, exitUsage, "", `homing: --until "never": want a date`},
		{environ, []string{"in/"}, exitUsage, "", "homing: unknown command"},
		{environ, []string{"--prefix", "in/"}, exitDone, "3 found, 3 delivered", "homing does not run on this state directory"},
		{environ, []string{"--again"}, exitDone, "3 found, 3 delivered", "--again="},
	} {
		code, stdout, stderr := command(t, test.environ, "", append([]string{"backfill"}, test.args...)...)
		if code != test.code || counts(stdout) != test.stdout || !strings.Contains(stderr, test.stderr) {
			t.Errorf("%q: exit code %d\n%s%s", test.args, code, stdout, stderr)
		}
	}
}

// TestMeter: lines every ten seconds, with the rate of the last minute.
// Why something waits is in a neighbour's words, and there is one line for it.
func TestTallyIsHarmlessOnATerminal(t *testing.T) {
	waits := &tally{waiting: 1, reason: "\u202e\x1b[2J\n" + strings.Repeat("x", 1000)}
	if text := waits.String(); strings.ContainsFunc(text, unprintable) || len(text) > 200 {
		t.Errorf("%q", text)
	}
}

func TestMeter(t *testing.T) {
	var out transcript
	now := time.Unix(1e9, 0)
	m := newMeter(&out)
	m.now = func() time.Time { return now }
	show := func(after time.Duration, passed, delivered int64) {
		now = now.Add(after)
		m.show(tally{found: 1000, passed: passed, delivered: delivered, waiting: 7})
	}
	show(0, 0, 0)
	show(9*time.Second, 900, 10)
	show(time.Second, 900, 10)
	m.total.Store(2000)
	show(time.Minute, 900, 70)
	show(50*time.Second, 900, 120)
	m.end(tally{})
	want := "1000 found, 900 passed over, 10 delivered, 0 held, 7 waiting; 91.0/s, not all counted yet\n" +
		"1000 found, 900 passed over, 70 delivered, 0 held, 7 waiting; 1.0/s, 1030 of 2000 left, about 17m10s\n" +
		"1000 found, 900 passed over, 120 delivered, 0 held, 7 waiting; 1.0/s, 980 of 2000 left, about 16m20s\n"
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestMeterBar: on a terminal a bar, which says nothing before all is counted.
func TestMeterBar(t *testing.T) {
	var out transcript
	m := newMeter(&out)
	m.terminal = true
	m.show(tally{delivered: 5})
	if out.String() != "" {
		t.Errorf("before the count it says %q", out.String())
	}
	m.total.Store(50)
	m.show(tally{delivered: 20, held: 5})
	m.end(tally{delivered: 60, reason: "451 later"}) // more than were counted
	for _, want := range []string{"20 delivered, 5 held ", "/50, ", "100% |", "60 delivered, 0 held (451 later)", "50/50"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in %q", want, out.String())
		}
	}
	if !strings.HasSuffix(out.String(), "\n") {
		t.Error("the line does not end")
	}
}

// TestBackfillWaitsForMailbox: what is tried again is waited for.
func TestBackfillWaitsForMailbox(t *testing.T) {
	f := newFiller(t)
	f.fill(1)
	var tries atomic.Int64
	f.bag.refuse = func(string, int) error {
		if tries.Add(1) == 1 {
			return &smtp.SMTPError{Code: 451, EnhancedCode: smtp.EnhancedCode{4, 3, 0}, Message: "Too many concurrent deliveries for user"}
		}
		return nil
	}
	f.want(backfillFlags{}, "1 found, 1 delivered")
	if tries.Load() != 2 {
		t.Errorf("%d tries, want 2", tries.Load())
	}
}

// TestBackfillEmptyFlag: --to "$NOBODY" must not deliver to everybody.
func TestBackfillEmptyFlag(t *testing.T) {
	for _, name := range []string{"bucket", "since", "until", "to"} {
		code, _, stderr := command(t, nil, "", "backfill", "--"+name, "")
		if want := "homing: --" + name + " is empty: give it a value, or leave it out\n"; code != exitUsage || stderr != want {
			t.Errorf("exit code %d, %q; want %d, %q", code, stderr, exitUsage, want)
		}
	}
}
