package poller

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/homing-mail/homing/courier"
	"github.com/homing-mail/homing/intake"
	"github.com/homing-mail/homing/internal/snstest"
	"github.com/homing-mail/homing/internal/sqstest"
	"github.com/homing-mail/homing/notice"
	"github.com/homing-mail/homing/spool"
)

var topic = snstest.Topic("mail")

// seal is a Verifier that believes what a message says of its own signature.
type seal struct {
	mu      sync.Mutex
	refuse  bool // nothing can be verified just now
	checked int
}

func (s *seal) Verify(_ context.Context, e *notice.Envelope) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.checked++
	switch {
	case s.refuse:
		return &notice.UnavailableError{Err: fmt.Errorf("no route to sns")}
	case e.Signature != "genuine":
		return &notice.SignatureError{Reason: "signature"}
	}
	return nil
}

func (s *seal) Confirm(ctx context.Context, e *notice.Envelope) error { return s.Verify(ctx, e) }

func (s *seal) unavailable(yes bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refuse = yes
}

// envelope is a notification published at a time, as it lies in a queue.
func envelope(message string, at time.Time, change ...func(map[string]string)) string {
	fields := map[string]string{
		"Type": "Notification", "MessageId": "n-" + at.Format("150405.000000000"), "TopicArn": topic, "Message": message,
		"Timestamp": at.UTC().Format("2006-01-02T15:04:05.000Z"), "SignatureVersion": "2", "Signature": "genuine",
		"SigningCertURL": "https://sns.us-east-1.amazonaws.com/x.pem",
	}
	for _, c := range change {
		c(fields)
	}
	text, _ := json.Marshal(fields)
	return string(text)
}

// receipt is SES's notification of a message in the bucket.
func receipt(id string, recipients ...string) string {
	return snstest.SESReceived(snstest.Receipt{MessageID: id, Sender: "s@example.org", Recipients: recipients, Bucket: "mail", Prefix: "in/"})
}

// bucket is a courier.Source with every message that it is asked for.
type bucket struct{}

func (bucket) Fetch(_ context.Context, m spool.Message, _ string, _ int64) (*courier.Object, error) {
	octets := "Received: from x by inbound-smtp.us-east-1.amazonaws.com with SMTP id y for found@example.com; Sat, 01 Jan 2000 00:00:00 +0000\r\nSubject: " + m.Key + "\r\n\r\nhello\r\n"
	return &courier.Object{Octets: []byte(octets), Size: int64(len(octets)), Memory: plenty{}}, nil
}

func (bucket) Reserve(context.Context, string, int64) (courier.Memory, error) { return plenty{}, nil }
func (bucket) Decrypt(context.Context, spool.Message, *courier.Object) error  { return nil }
func (bucket) Delete(context.Context, spool.Message) error                    { return nil }
func (bucket) Tag(context.Context, spool.Message) error                       { return nil }
func (bucket) Encrypt(context.Context, spool.Message, *courier.Envelope, string, string) (string, error) {
	return "", nil
}

func (bucket) Move(context.Context, spool.Message, string, string) (string, error) {
	return "", nil
}

// plenty is memory that never ends.
type plenty struct{}

func (plenty) Resize(int64) bool { return true }
func (plenty) Release()          {}

// boxes is a courier.Destination in memory, shared by replicas.
type boxes struct {
	mu      sync.Mutex
	mails   map[string][]string
	answer  func(mailbox string) error // nil: all is taken
	takes   time.Duration              // one delivery
	tries   map[string]int
	probing error
}

func newBoxes() *boxes { return &boxes{mails: map[string][]string{}, tries: map[string]int{}} }

func (b *boxes) Deliver(ctx context.Context, _, mailbox string, octets [][]byte) error {
	b.mu.Lock()
	answer, takes := b.answer, b.takes
	b.tries[mailbox]++
	b.mu.Unlock()
	if pause(ctx, takes); ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if answer != nil {
		if err := answer(mailbox); err != nil {
			return err
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.mails[mailbox] = append(b.mails[mailbox], string(bytes.Join(octets, nil)))
	return nil
}

func (b *boxes) Probe(context.Context) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.probing
}

// say sets what deliveries are answered.
func (b *boxes) say(answer func(mailbox string) error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.answer = answer
}

// got returns how many mails each mailbox has.
func (b *boxes) got() map[string]int {
	b.mu.Lock()
	defer b.mu.Unlock()
	counts := map[string]int{}
	for mailbox, mails := range b.mails {
		counts[mailbox] = len(mails)
	}
	return counts
}

// tried is how often a delivery to a mailbox was tried.
func (b *boxes) tried(mailbox string) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.tries[mailbox]
}

// mail is the first mail in a mailbox.
func (b *boxes) mail(mailbox string) string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.mails[mailbox][0]
}

// reply is an LMTP reply.
type reply int

func (r reply) Error() string  { return fmt.Sprintf("%d no", int(r)) }
func (r reply) ReplyCode() int { return int(r) }

// away is the error of a destination that is not there.
type away struct{}

func (away) Error() string { return "connection refused" }
func (away) Away() bool    { return true }

// tally is every Observer.
type tally struct {
	mu     sync.Mutex
	counts map[string]int
}

func (t *tally) add(words ...string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.counts[strings.Join(words, " ")]++
}

func (t *tally) of(name string) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.counts[name]
}

func (t *tally) Notification(source, kind, result string)                 { t.add(source, kind, result) }
func (t *tally) SignatureFailure(reason string)                           { t.add("signature", reason) }
func (t *tally) QueueError(operation string)                              { t.add("error", operation) }
func (t *tally) DeadLetter(result string)                                 { t.add("dead", result) }
func (t *tally) DeadLettersRead(time.Time)                                { t.add("read") }
func (t *tally) Delivery(result string, _ time.Duration, _ time.Duration) { t.add("delivery", result) }
func (t *tally) DestinationUp(bool)                                       {}
func (t *tally) AfterDelivery(string, string)                             {}

// log collects log lines.
type log struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// replica is a homing that pulls from the queue "mail".
type replica struct {
	t       *testing.T
	spool   *spool.Spool
	courier *courier.Courier
	queue   *Queue
	seal    *seal
	tally   *tally
	log     *log
}

// newReplica makes one with a state directory of its own. It must be within the
// bubble of the server.
func newReplica(t *testing.T, server *sqstest.Server, to courier.Destination, change func(*QueueConfig, *spool.Options), tune ...func(*courier.Config)) *replica {
	t.Helper()
	r := &replica{t: t, seal: &seal{}, tally: &tally{counts: map[string]int{}}, log: &log{}}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the log says\n%s", r.log)
		}
	})
	logger := slog.New(slog.NewTextHandler(r.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	options := spool.Options{Dir: t.TempDir(), History: 30 * 24 * time.Hour, Log: logger}
	c := QueueConfig{Client: server.Client(), URL: server.URL("mail"), Observer: r.tally, Log: logger, Grace: 5 * time.Second,
		Trust: Trust{Topics: []string{topic}, Confirm: true, Verifier: r.seal}}
	if change != nil {
		change(&c, &options)
	}
	var err error
	if r.spool, err = spool.Open(t.Context(), options); err != nil {
		t.Fatal(err)
	}
	delivering := courier.Config{Spool: r.spool, Source: bucket{}, Destination: to, Observer: r.tally, Log: logger,
		RetryFor: 5 * 24 * time.Hour, Grace: 5 * time.Second}
	for _, t := range tune {
		t(&delivering)
	}
	r.courier = courier.New(delivering)
	c.Intake = intake.New(intake.Config{Spool: r.spool, Observer: r.tally, Log: logger, History: 30 * 24 * time.Hour})
	c.Ledger, c.Courier = r.spool, r.courier
	r.queue = NewQueue(c)
	return r
}

// run runs the replica until the returned function is called.
func (r *replica) run() (stop func()) {
	ctx, cancel := context.WithCancel(r.t.Context())
	var running sync.WaitGroup
	running.Go(func() { r.courier.Run(ctx) })
	running.Go(func() { r.queue.Run(ctx) })
	return sync.OnceFunc(func() {
		cancel()
		running.Wait()
		if err := r.spool.Close(); err != nil {
			r.t.Error(err)
		}
	})
}

// bubble runs a test with one server and its mailboxes in fake time.
func bubble(t *testing.T, test func(t *testing.T, server *sqstest.Server, to *boxes)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		server := sqstest.NewInMemory("mail", "dead")
		defer server.Close()
		test(t, server, newBoxes())
	})
}

// until lets time pass until done, at most so long.
func until(t *testing.T, most time.Duration, what string, done func() bool) {
	t.Helper()
	end := time.Now().Add(most)
	for !done() {
		if time.Now().After(end) {
			t.Fatalf("waited %v in vain for %s", most, what)
		}
		pause(t.Context(), 100*time.Millisecond)
	}
}

func same(t *testing.T, what string, got, want any) {
	t.Helper()
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}

func bodies(server *sqstest.Server, queue string) (all []string) {
	for _, m := range server.Messages(queue) {
		all = append(all, m.Body)
	}
	slices.Sort(all)
	return all
}
