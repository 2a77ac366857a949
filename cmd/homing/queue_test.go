package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/homing-mail/homing/spool"
)

// TestWriteNew: a file that cannot be written whole is not left behind, to be taken
// for the message or to be in the way of the next try.
func TestWriteNew(t *testing.T) {
	const most = 1000
	path := filepath.Join(t.TempDir(), "1.eml")
	signal.Ignore(syscall.SIGXFSZ)
	defer signal.Reset(syscall.SIGXFSZ)
	var before syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &before); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: most, Max: before.Max}); err != nil {
		t.Fatal(err)
	}
	err := writeNew(path, make([]byte, most+1))
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &before); err != nil {
		t.Fatal(err)
	}
	if _, there := os.Stat(path); !errors.Is(err, syscall.EFBIG) || !errors.Is(there, fs.ErrNotExist) {
		t.Errorf("with too little room it ends with %v, and the file is there: %v", err, there == nil)
	}
	if err := writeNew(path, []byte(testMail)); err != nil || read(t, path) != testMail {
		t.Errorf("with room it ends with %v", err)
	}
}

// evil is what a terminal would obey: a colour, a title, an end of line, the
// C1 form of an escape, and a change of direction.
const evil = "\x1b[31m\x1b]0;title\x07\r\n\u009b2J\u202e"

const evilMade = "\uFFFD[31m\uFFFD]0;title\uFFFD\uFFFD\uFFFD\uFFFD2J\uFFFD"

// filled makes a spool without a daemon and returns its directory. Its items:
//
//	1 held      ses_sns, inline, for alice
//	2 held      unknown payload
//	3 pending   ses_s3, for bob and carol; carol has it
//	4 done      ses_sns, for alice
//	5 held      ses_s3 in another bucket, for an evil address
//	6 settling  ses_s3, for alice
func filled(t *testing.T) (dir string) {
	t.Helper()
	dir = t.TempDir()
	ctx := t.Context()
	s, err := spool.Open(ctx, spool.Options{Dir: dir, History: 30 * 24 * time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	message := func(id, kind string) spool.Message {
		return spool.Message{ID: id, Source: "webhook", Kind: kind, Receipt: true, Sender: "s@example.org",
			Verdicts: "spam=PASS", Received: time.Date(2026, 11, 22, 1, 2, 3, 0, time.UTC)}
	}
	inBucket := func(id, bucket string) spool.Message {
		m := message(id, "ses_s3")
		m.Bucket, m.Key, m.Size = bucket, "in/"+id, int64(len(testMail))
		return m
	}
	if _, err := s.Accept(ctx,
		spool.Arrival{Message: message("one", "ses_sns"), Recipients: []string{"Alice@example.com"}, Content: []byte(testMail), Hold: "published long ago"},
		spool.Arrival{Message: spool.Message{ID: "sns:two", Source: "webhook", Kind: "unknown"}, Content: []byte("{\n\t\"what\": \"" + evil + "\"}"), Hold: "not understood"},
		spool.Arrival{Message: inBucket("three", testBucket), Recipients: []string{"bob@example.com", "carol@example.com"}},
		spool.Arrival{Message: message("four", "ses_sns"), Recipients: []string{"alice@example.com"}, Content: []byte(testMail)},
		spool.Arrival{Message: inBucket("five", "foreign"), Recipients: []string{evil + "@example.com"}, Hold: "reason " + evil},
		spool.Arrival{Message: inBucket("six", testBucket), Recipients: []string{"alice@example.com"}},
	); err != nil {
		t.Fatal(err)
	}
	for id, o := range map[string]*spool.Outcome{
		"three": {State: spool.Pending, Wait: 7 * time.Minute, Reason: "lmtp: RCPT refused: 451 4.3.0 come back", Deliveries: []spool.Delivery{
			{Mailbox: "bob@example.com", State: spool.Waiting, Attempts: 4, Reply: "lmtp: RCPT refused: 451 4.3.0 come back", Wait: 7 * time.Minute},
			{Mailbox: "carol@example.com", State: spool.Delivered, Attempts: 1},
		}},
		"four": {State: spool.Done, Deliveries: []spool.Delivery{{Mailbox: "alice@example.com", State: spool.Delivered, Attempts: 1}}},
		"six":  {State: spool.Settling, Wait: 23 * time.Hour, Deliveries: []spool.Delivery{{Mailbox: "alice@example.com", State: spool.Delivered, Attempts: 1}}},
	} {
		if o.Item, err = s.Find(ctx, id); err != nil {
			t.Fatal(err)
		}
		if err := s.Record(ctx, o); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// queueOn runs a queue command on a directory and expects an exit code.
func queueOn(t *testing.T, dir string, want int, args ...string) (stdout, stderr string) {
	t.Helper()
	code, stdout, stderr := command(t, []string{"HOMING_STATE_DIR=" + dir}, "", append([]string{"queue"}, args...)...)
	if code != want {
		t.Errorf("queue %q: exit code %d, want %d: %s%s", args, code, want, stdout, stderr)
	}
	return stdout, stderr
}

func TestQueueList(t *testing.T) {
	stdout, _ := queueOn(t, filled(t), exitDone, "list", "--all")
	var got [][]string
	for line := range strings.Lines(stdout) {
		got = append(got, regexp.MustCompile(` {2,}`).Split(strings.TrimSpace(line), -1))
	}
	for _, row := range got[1:] {
		if !regexp.MustCompile(`^(now|\d+s)$`).MatchString(row[2]) {
			t.Errorf("age %q", row[2])
		}
		row[2] = "AGE"
	}
	want := [][]string{
		{"ITEM", "STATE", "AGE", "NEXT TRY", "FOR", "LAST REPLY", "MESSAGE"},
		{"1", "held", "AGE", "-", "Alice@example.com", "published long ago", "one"},
		{"2", "held", "AGE", "-", "not understood", "sns:two"},
		{"3", "pending", "AGE", "7m", "bob@example.com", "lmtp: RCPT refused: 451 4.3.0 come back", "three"},
		{"4", "done", "AGE", "-", "alice@example.com", "four"},
		{"5", "held", "AGE", "-", shorten(evilMade+"@example.com", 40), "reason " + evilMade, "five"},
		{"6", "settling", "AGE", "23h0m", "alice@example.com", "six"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s\n%s", diff, stdout)
	}
}

// TestQueueListChooses asks in table and JSON for the same.
func TestQueueListChooses(t *testing.T) {
	dir := filled(t)
	for _, test := range []struct {
		args []string
		want []int64
	}{
		{nil, []int64{1, 2, 3, 5, 6}},
		{[]string{"--all"}, []int64{1, 2, 3, 4, 5, 6}},
		{[]string{"--state", "held"}, []int64{1, 2, 5}},
		{[]string{"--state", "done,settling"}, []int64{4, 6}},
		{[]string{"--state", "done", "--state", "pending"}, []int64{3, 4}},
		{[]string{"--state", "dropped"}, nil},
		{[]string{"--mailbox", "ALICE@example.com"}, []int64{1, 6}},
		{[]string{"--mailbox", "alice@example.com", "--all"}, []int64{1, 4, 6}},
		{[]string{"--mailbox", "carol@example.com"}, []int64{3}},
		{[]string{"--mailbox", "nobody@example.com"}, nil},
		{[]string{"--reason", "LONG AGO"}, []int64{1}},
		{[]string{"--reason", "451", "--state", "pending"}, []int64{3}},
		{[]string{"--reason", "451", "--state", "held"}, nil},
		{[]string{"--limit", "2"}, []int64{1, 2}},
		{[]string{"--limit", "0"}, []int64{1, 2, 3, 5, 6}},
	} {
		table, _ := queueOn(t, dir, exitDone, append([]string{"list"}, test.args...)...)
		var inTable []int64
		for _, match := range regexp.MustCompile(`(?m)^\d+`).FindAllString(table, -1) {
			var n int64
			fmt.Sscan(match, &n)
			inTable = append(inTable, n)
		}
		if !slices.Equal(inTable, test.want) || test.want == nil && table != "there is no such item\n" {
			t.Errorf("%q: the table shows %v, want %v\n%s", test.args, inTable, test.want, table)
		}
		var inJSON []int64
		for _, view := range listed(t, dir, test.args...) {
			inJSON = append(inJSON, view.Item)
		}
		if !slices.Equal(inJSON, test.want) {
			t.Errorf("%q: JSON shows %v, want %v", test.args, inJSON, test.want)
		}
	}
	if _, stderr := queueOn(t, dir, exitUsage, "list", "--state", "hold"); !strings.Contains(stderr, `--state "hold": want one of [pending held settling done dropped queued]`) {
		t.Error(stderr)
	}
}

// listed runs list --json and decodes it strictly.
func listed(t *testing.T, dir string, args ...string) (views []itemView) {
	t.Helper()
	stdout, _ := queueOn(t, dir, exitDone, append([]string{"list", "--json"}, args...)...)
	for line := range strings.Lines(stdout) {
		decoder := json.NewDecoder(strings.NewReader(line))
		decoder.DisallowUnknownFields()
		var view itemView
		if err := decoder.Decode(&view); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		views = append(views, view)
	}
	return views
}

func TestQueueJSON(t *testing.T) {
	dir := filled(t)
	received := time.Date(2026, 11, 22, 1, 2, 3, 0, time.UTC)
	next := 420.0
	want := itemView{
		Item: 3, ID: "three", State: spool.Pending, Next: &next, Source: "webhook", Kind: "ses_s3", Bucket: testBucket, Key: "in/three",
		Size: int64(len(testMail)), Sender: "s@example.org", Recipients: []string{"bob@example.com", "carol@example.com"},
		Verdicts: "spam=PASS", Received: &received, Reason: "lmtp: RCPT refused: 451 4.3.0 come back",
		Deliveries: []deliveryView{
			{Mailbox: "bob@example.com", State: spool.Waiting, Attempts: 4, Reply: "lmtp: RCPT refused: 451 4.3.0 come back"},
			{Mailbox: "carol@example.com", State: spool.Delivered, Attempts: 1},
		},
	}
	stdout, _ := queueOn(t, dir, exitDone, "show", "--json", "three")
	var shown itemView
	if err := json.Unmarshal([]byte(stdout), &shown); err != nil {
		t.Fatal(err)
	}
	roughly := cmp.Options{cmpopts.IgnoreFields(itemView{}, "Age"), cmpopts.EquateApprox(0, 60)}
	for _, got := range []itemView{shown, listed(t, dir, "--state", "pending")[0]} {
		if diff := cmp.Diff(want, got, roughly); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	}
	// What has no recipients has empty lists, not null.
	if stdout, _ := queueOn(t, dir, exitDone, "show", "--json", "2"); !strings.Contains(stdout, `"recipients":[]`) || !strings.Contains(stdout, `"deliveries":[]`) {
		t.Error(stdout)
	}
}

func TestQueueEmpty(t *testing.T) {
	dir := t.TempDir()
	s, err := spool.Open(t.Context(), spool.Options{Dir: dir, History: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	s.Close()
	for _, test := range []struct {
		args []string
		want string
	}{
		{[]string{"list"}, "nothing waits and nothing is held\n"},
		{[]string{"list", "--json"}, ""},
		{[]string{"list", "--all"}, "there is no such item\n"},
		{[]string{"retry", "--all"}, "0 of 0 items tried again\n"},
		{[]string{"drop", "--all"}, "0 of 0 items dropped\n"},
	} {
		if stdout, _ := queueOn(t, dir, exitDone, test.args...); stdout != test.want {
			t.Errorf("%q says %q, want %q", test.args, stdout, test.want)
		}
	}
}

func TestQueueShow(t *testing.T) {
	dir := filled(t)
	for _, test := range []struct {
		name string
		want string
	}{
		{"three", "item         3\nmessage      three\nstate        pending\nage          AGE\nnext try     7m\n" +
			"reason       lmtp: RCPT refused: 451 4.3.0 come back\nannounced    by webhook as ses_s3, last AGE\nobject       s3://mail/in/three\n" +
			fmt.Sprintf("size         %d bytes\n", len(testMail)) +
			"sender       <s@example.org>\nverdicts     spam=PASS\nrecipient    bob@example.com\nrecipient    carol@example.com\n" +
			"mailbox      bob@example.com: pending after 4 tries lmtp: RCPT refused: 451 4.3.0 come back\n" +
			"mailbox      carol@example.com: delivered after 1 tries\n"},
		{"2", "item         2\nmessage      sns:two\nstate        held\nage          AGE\nreason       not understood\n" +
			"announced    by webhook as unknown, last AGE\nsize         38 bytes\n\n{\n\t\"what\": \"" + strings.Replace(evilMade, "\uFFFD\uFFFD2J", "\n\uFFFD2J", 1) + "\"}\n"},
	} {
		stdout, _ := queueOn(t, dir, exitDone, "show", test.name)
		stdout = regexp.MustCompile(`\b(now|just now|\d+s|\d+s ago)\n`).ReplaceAllString(stdout, "AGE\n")
		if diff := cmp.Diff(test.want, stdout); diff != "" {
			t.Errorf("show %s (-want +got):\n%s", test.name, diff)
		}
	}
}

// TestQueueIsHarmlessOnATerminal: nothing that came from outside is obeyed.
func TestQueueIsHarmlessOnATerminal(t *testing.T) {
	dir := filled(t)
	for _, args := range [][]string{{"list", "--all"}, {"list", "--all", "--json"}, {"show", "2"}, {"show", "5"}, {"drop", "5"}} {
		_, stdout, stderr := command(t, []string{"HOMING_STATE_DIR=" + dir}, "n\n", append([]string{"queue"}, args...)...)
		if strings.ContainsAny(stdout+stderr, "\x1b\x07\r\u009b\u202e") {
			t.Errorf("%q prints %q", args, stdout+stderr)
		}
		if !strings.Contains(stdout+stderr, "\uFFFD") && !slices.Contains(args, "--json") {
			t.Errorf("%q prints %q without a mark", args, stdout+stderr)
		}
	}
}

// An id is a key's last segment, and anybody's who may write objects.
func TestTableIsHarmlessOnATerminal(t *testing.T) {
	var table strings.Builder
	if err := writeTable(&table, []*spool.Item{{Message: spool.Message{ID: evil}}}); err != nil || !strings.Contains(table.String(), evilMade) {
		t.Errorf("%q, %v", table.String(), err)
	}
}

// TestQueueFindsNothing: a wrong name, a wrong directory.
func TestQueueFindsNothing(t *testing.T) {
	dir, empty := filled(t), t.TempDir()
	for _, args := range [][]string{{"show", "seven"}, {"retry", "1", "seven"}, {"drop", "--yes", "seven"}, {"export", "7"}} {
		if _, stderr := queueOn(t, dir, exitFailed, args...); !strings.HasPrefix(stderr, "homing: no such item: \"") {
			t.Errorf("%q: %s", args, stderr)
		}
	}
	for _, args := range [][]string{{"list"}, {"show", "1"}, {"retry", "--all"}, {"drop", "--all"}, {"export", "1"}} {
		if _, stderr := queueOn(t, empty, exitFailed, args...); !strings.HasPrefix(stderr, "homing: no spool here (is HOMING_STATE_DIR right?): ") {
			t.Errorf("%q: %s", args, stderr)
		}
	}
	if entries, err := os.ReadDir(empty); err != nil || len(entries) > 0 {
		t.Errorf("a queue command made %v, %v", entries, err)
	}
	if got := listed(t, dir, "--state", "held"); len(got) != 3 {
		t.Errorf("%d items are held after commands that failed, want 3", len(got))
	}
}

func TestQueueWrongUsage(t *testing.T) {
	dir := filled(t)
	for _, name := range []string{"retry", "drop"} {
		for _, test := range []struct {
			args []string
			want string
		}{
			{nil, "homing: name an item"},
			{[]string{"1", "--all"}, "homing: name items or choose them by flags, not both"},
			{[]string{"1", "--mailbox", "alice@example.com"}, "homing: name items or choose them by flags, not both"},
			{[]string{"--state", "stuck"}, `homing: --state "stuck": want one of`},
		} {
			if _, stderr := queueOn(t, dir, exitUsage, append([]string{name}, test.args...)...); !strings.HasPrefix(stderr, test.want) {
				t.Errorf("%s %q: %s, want %s", name, test.args, stderr, test.want)
			}
		}
	}
}

func TestQueueRetry(t *testing.T) {
	for _, test := range []struct {
		args []string
		says string
		want []int64 // what is due now
	}{
		{[]string{"one"}, "1 of 1 items tried again\n", []int64{1}},
		{[]string{"1", "three"}, "2 of 2 items tried again\n", []int64{1, 3}},
		{[]string{"--all"}, "3 of 3 items tried again\n", []int64{1, 2, 5}},
		{[]string{"--reason", "understood"}, "1 of 1 items tried again\n", []int64{2}},
		{[]string{"--reason", "come back"}, "1 of 1 items tried again\n", []int64{3}},
		{[]string{"--mailbox", "alice@example.com"}, "1 of 1 items tried again\n", []int64{1}},
		{[]string{"--all", "--mailbox", "bob@example.com"}, "0 of 0 items tried again\n", nil},
		{[]string{"--state", "pending,held"}, "4 of 4 items tried again\n", []int64{1, 2, 3, 5}},
	} {
		dir := filled(t)
		if stdout, _ := queueOn(t, dir, exitDone, append([]string{"retry"}, test.args...)...); stdout != test.says {
			t.Errorf("retry %q says %q, want %q", test.args, stdout, test.says)
		}
		var due []int64
		for _, view := range listed(t, dir, "--state", "pending") {
			if *view.Next == 0 {
				due = append(due, view.Item)
			}
		}
		if !slices.Equal(due, test.want) {
			t.Errorf("retry %q: %v are due, want %v", test.args, due, test.want)
		}
	}
}

func TestQueueDrop(t *testing.T) {
	for _, test := range []struct {
		args         []string
		stdin        string
		code         int
		says, asks   string
		dropped      []int64
		keepsMessage bool
	}{
		{args: []string{"1"}, code: exitFailed, says: "", asks: "Drop one item, for Alice@example.com, one? [y/N] homing: nothing was dropped; say --yes"},
		{args: []string{"1"}, stdin: "n\n", code: exitFailed, asks: "Drop one item,"},
		{args: []string{"1"}, stdin: "yellow\n", code: exitFailed, asks: "Drop one item,"},
		{args: []string{"1"}, stdin: strings.Repeat(" ", 200) + "y\n", code: exitFailed, asks: "Drop one item,"},
		{args: []string{"1"}, stdin: "y\n", code: exitDone, says: "1 of 1 items dropped\n", asks: "Drop one item,", dropped: []int64{1}},
		{args: []string{"--all"}, stdin: " Y \n", code: exitDone, says: "3 of 3 items dropped\n", asks: "Drop 3 items, the first for Alice@example.com, one? ", dropped: []int64{1, 2, 5}},
		{args: []string{"--yes", "1", "three"}, code: exitDone, says: "2 of 2 items dropped\n", dropped: []int64{1, 3}},
		{args: []string{"2"}, code: exitFailed, asks: "Drop one item, sns:two? "},
		{args: []string{"--yes", "4"}, code: exitFailed, says: "0 of 1 items dropped\n", asks: "homing: 1 passed over, delivered already\n"},
		{args: []string{"--yes", "--reason", "understood"}, code: exitDone, says: "1 of 1 items dropped\n", dropped: []int64{2}},
	} {
		dir := filled(t)
		code, stdout, stderr := command(t, []string{"HOMING_STATE_DIR=" + dir}, test.stdin, append([]string{"queue", "drop"}, test.args...)...)
		if code != test.code || stdout != test.says || !strings.HasPrefix(stderr, test.asks) || test.asks == "" && stderr != "" {
			t.Errorf("drop %q: exit code %d, %q, %q", test.args, code, stdout, stderr)
		}
		var dropped []int64
		for _, view := range listed(t, dir, "--state", "dropped") {
			dropped = append(dropped, view.Item)
		}
		if !slices.Equal(dropped, test.dropped) {
			t.Errorf("drop %q: %v are dropped, want %v", test.args, dropped, test.dropped)
		}
	}
}

// TestQueuePassesOver: who names an item in which nothing can be changed is told why.
func TestQueuePassesOver(t *testing.T) {
	dir := filled(t)
	queueOn(t, dir, exitDone, "drop", "--yes", "5")
	for _, test := range []struct {
		args       []string
		says, errs string
	}{
		{[]string{"retry", "4"}, "0 of 1 items tried again\n", "homing: 1 passed over, delivered already\n"},
		{[]string{"retry", "4", "1", "six"}, "1 of 3 items tried again\n", "homing: 2 passed over, delivered already\n"},
		{[]string{"retry", "5"}, "0 of 1 items tried again\n", "homing: 1 passed over, dropped before (`homing backfill --again` delivers what is still in the bucket)\n"},
		{[]string{"drop", "--yes", "five", "six"}, "0 of 2 items dropped\n",
			"homing: 1 passed over, delivered already; 1 passed over, dropped before (`homing backfill --again` delivers what is still in the bucket)\n"},
	} {
		if stdout, stderr := queueOn(t, dir, exitFailed, test.args...); stdout != test.says || stderr != test.errs {
			t.Errorf("%q says %q, %q; want %q, %q", test.args, stdout, stderr, test.says, test.errs)
		}
	}
}

// TestQueueOfSQS: mail that waits in its SQS queue is neither kept quiet nor promised
// a retry that only the queue can give.
func TestQueueOfSQS(t *testing.T) {
	dir := t.TempDir()
	s, err := spool.Open(t.Context(), spool.Options{Dir: dir, History: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	a := spool.Arrival{Message: spool.Message{ID: "m1", Source: "sqs", Kind: "ses_s3", Bucket: testBucket, Key: "m1", Receipt: true}, Recipients: []string{testAddress}}
	if _, _, err := s.Lease(t.Context(), a); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	const rest = "last seen in an SQS queue: 1, which --state queued lists\n"
	if stdout, _ := queueOn(t, dir, exitDone, "list"); stdout != "nothing waits here and nothing is held\n"+rest {
		t.Errorf("list says %q", stdout)
	}
	if stdout, _ := queueOn(t, dir, exitDone, "list", "--state", "queued"); !strings.Contains(stdout, "queued") || strings.Contains(stdout, rest) {
		t.Errorf("list --state queued says %q", stdout)
	}
	if stdout, _ := queueOn(t, dir, exitDone, "list", "--json"); stdout != "" {
		t.Errorf("list --json says %q", stdout)
	}
	for _, args := range [][]string{{"retry", "m1"}, {"drop", "--yes", "1"}, {"retry", "--state", "queued"}} {
		if _, stderr := queueOn(t, dir, exitFailed, args...); stderr != "homing: 1 passed over, in its SQS queue, which brings it again by itself\n" {
			t.Errorf("%q says %q", args, stderr)
		}
	}
}

// TestQueueDropInterrupted: Ctrl-C at the question is an answer.
func TestQueueDropInterrupted(t *testing.T) {
	dir := filled(t)
	r, w := io.Pipe()
	defer w.Close()
	ctx, cancel := context.WithCancel(t.Context())
	asked := writerFunc(func(p []byte) (int, error) {
		if strings.HasPrefix(string(p), "Drop one item") {
			cancel()
		}
		return len(p), nil
	})
	if code := run(ctx, []string{"queue", "drop", "1"}, []string{"HOMING_STATE_DIR=" + dir}, streams{r, io.Discard, asked}); code != exitFailed {
		t.Errorf("exit code %d", code)
	}
	if got := listed(t, dir, "--state", "dropped"); len(got) != 0 {
		t.Errorf("dropped: %v", got)
	}
}

type writerFunc func(p []byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

// TestQueueDropUnattended: an answer that was there before the question is none.
func TestQueueDropUnattended(t *testing.T) {
	dir := filled(t)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if _, err := w.WriteString("y\n"); err != nil {
		t.Fatal(err)
	}
	w.Close()
	var out, errs bytes.Buffer
	code := run(t.Context(), []string{"queue", "drop", "1"}, []string{"HOMING_STATE_DIR=" + dir}, streams{r, &out, &errs})
	if code != exitFailed || out.Len() > 0 || errs.String() != "homing: nothing was dropped: there is no terminal to ask at, so say --yes\n" {
		t.Errorf("exit code %d, %q, %q", code, &out, &errs)
	}
	if got := listed(t, dir, "--state", "dropped"); len(got) != 0 {
		t.Errorf("dropped: %v", got)
	}
}

// TestQueueDropKeeps: a message is on the disk before its item is dropped.
func TestQueueDropKeeps(t *testing.T) {
	dir, keep := filled(t), t.TempDir()
	stdout, _ := queueOn(t, dir, exitDone, "drop", "--yes", "--keep", keep, "1", "2")
	if stdout != "2 of 2 items dropped\n" {
		t.Error(stdout)
	}
	if got := read(t, filepath.Join(keep, "1.eml")); got != testMail {
		t.Errorf("1.eml holds %q", got)
	}
	if got := read(t, filepath.Join(keep, "2.eml")); !strings.HasPrefix(got, "{\n\t\"what\": \""+evil) {
		t.Errorf("2.eml holds %q", got)
	}

	// What cannot be kept is not dropped, and what was dropped before is said.
	dir = filled(t)
	replace(t, filepath.Join(keep, "2.eml"), "in the way")
	os.Remove(filepath.Join(keep, "1.eml"))
	_, stderr := queueOn(t, dir, exitFailed, "drop", "--yes", "--keep", keep, "1", "2")
	if !strings.HasPrefix(stderr, "homing: item 2 was not dropped (1 were): open "+keep+"/2.eml: file exists") {
		t.Error(stderr)
	}
	if got := listed(t, dir, "--state", "dropped"); len(got) != 1 || got[0].Item != 1 {
		t.Errorf("dropped: %v", got)
	}
	if got := read(t, filepath.Join(keep, "2.eml")); got != "in the way" {
		t.Errorf("2.eml was overwritten with %q", got)
	}
	_, stderr = queueOn(t, dir, exitFailed, "drop", "--yes", "--keep", filepath.Join(keep, "nowhere"), "2")
	if !strings.HasPrefix(stderr, "homing: item 2 was not dropped (0 were): open ") {
		t.Error(stderr)
	}
}

func TestQueueExportInline(t *testing.T) {
	dir := filled(t)
	if stdout, _ := queueOn(t, dir, exitDone, "export", "one"); stdout != testMail {
		t.Errorf("exported %q", stdout)
	}
	path := filepath.Join(t.TempDir(), "message.eml")
	if stdout, _ := queueOn(t, dir, exitDone, "export", "-o", path, "1"); stdout != "" {
		t.Errorf("with -o it prints %q", stdout)
	}
	if got := read(t, path); got != testMail {
		t.Errorf("exported %q", got)
	}
	if st, err := os.Stat(path); err != nil || st.Mode() != 0o600 {
		t.Errorf("mode %v, %v", st.Mode(), err)
	}
	replace(t, path, "mine")
	if _, stderr := queueOn(t, dir, exitFailed, "export", "--output", path, "1"); !strings.Contains(stderr, "file exists") {
		t.Error(stderr)
	}
	if got := read(t, path); got != "mine" {
		t.Errorf("the file was overwritten with %q", got)
	}
	queueOn(t, dir, exitDone, "drop", "--yes", "1")
	if _, stderr := queueOn(t, dir, exitFailed, "export", "1"); !strings.HasPrefix(stderr, "homing: item 1 no longer has its message") {
		t.Error(stderr)
	}
}

// TestQueueExportFromBucket reads the message with the SDK's own configuration,
// as it is in the environment of whoever runs the command.
func TestQueueExportFromBucket(t *testing.T) {
	r := newRig(t)
	r.put("in/three", testMail)
	alone(t)
	t.Setenv("AWS_ENDPOINT_URL_S3", r.s3.URL())
	dir := filled(t)
	export := func(buckets, item string) (code int, stdout, stderr string) {
		return command(t, []string{"HOMING_STATE_DIR=" + dir, "HOMING_BUCKETS=" + buckets, "HOMING_S3_PATH_STYLE=true"}, "", "queue", "export", item)
	}
	if code, stdout, stderr := export(testBucket+"/in/", "three"); code != exitDone || stdout != testMail {
		t.Errorf("exit code %d, %q, %s", code, stdout, stderr)
	}
	if code, _, stderr := export(testBucket, "six"); code != exitFailed || !strings.Contains(stderr, "in/six") || !strings.Contains(stderr, "NoSuchKey") {
		t.Errorf("an object that is gone: exit code %d, %s", code, stderr)
	}
	if code, _, stderr := export(testBucket, "five"); code != exitFailed || !strings.Contains(stderr, "objects are not fetched from there") {
		t.Errorf("an object elsewhere: exit code %d, %s", code, stderr)
	}
}

func TestSpan(t *testing.T) {
	for _, test := range []struct {
		span time.Duration
		want string
	}{
		{-time.Hour, "now"}, {0, "now"}, {400 * time.Millisecond, "now"}, {59 * time.Second, "59s"},
		{59600 * time.Millisecond, "1m"}, {time.Minute, "1m"},
		{10 * time.Minute, "10m"}, {90 * time.Second, "2m"}, {time.Hour, "1h0m"}, {47 * time.Hour, "47h0m"}, {48 * time.Hour, "2d"}, {100 * time.Hour, "4d"},
	} {
		if got := span(test.span); got != test.want {
			t.Errorf("%v is shown as %q, want %q", test.span, got, test.want)
		}
	}
}

func TestAgo(t *testing.T) {
	for d, want := range map[time.Duration]string{0: "just now", 2 * time.Second: "2s ago", 72 * time.Hour: "3d ago"} {
		if got := ago(d); got != want {
			t.Errorf("%v is %q, want %q", d, got, want)
		}
	}
}

func TestShorten(t *testing.T) {
	for text, want := range map[string]string{"": "", "Zürich": "Zürich", "Zürich!": "Zür...", "かしこかしこか": "かしこ..."} {
		if got := shorten(text, 6); got != want {
			t.Errorf("%q becomes %q, want %q", text, got, want)
		}
	}
}
