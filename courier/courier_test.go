package courier

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/homing-mail/homing/spool"
)

// failure is an error with every marker that a courier looks for.
type failure struct {
	text                        string
	permanent, gone, away, busy bool
	code                        int
}

func (f *failure) Error() string   { return f.text }
func (f *failure) Permanent() bool { return f.permanent }
func (f *failure) Gone() bool      { return f.gone }
func (f *failure) Away() bool      { return f.away }
func (f *failure) Busy() bool      { return f.busy }
func (f *failure) ReplyCode() int  { return f.code }

func reply(code int, text string) error {
	return &failure{text: fmt.Sprintf("%d %s", code, text), code: code}
}

var errAway = &failure{text: "connection refused", away: true}

// bucket is a Source in memory.
type bucket struct {
	mu      sync.Mutex
	objects map[string]*Object
	fail    func(key string) error
	fetches int
	deleted []string
	tagged  []string
	moved   map[string]string
	sealed  map[string]*Envelope

	locked              bool  // there is no key
	swells              int64 // octets that a message takes when it is decrypted
	swelling            int64 // how much that grows each time
	decrypted, released int
}

func (b *bucket) Fetch(_ context.Context, m spool.Message, _ string, room int64) (*Object, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.fetches++
	if b.fail != nil {
		if err := b.fail(m.Key); err != nil {
			return nil, err
		}
	}
	object, ok := b.objects[m.Key]
	if !ok {
		return nil, &failure{text: "NoSuchKey", gone: true}
	}
	return &Object{Octets: bytes.Clone(object.Octets), Size: int64(len(object.Octets)), Metadata: object.Metadata, Own: object.Own,
		Version: object.Version, Memory: &memory{b, max(int64(len(object.Octets)), room)}}, nil
}

func (b *bucket) Reserve(_ context.Context, _ string, octets int64) (Memory, error) {
	return &memory{b, octets}, nil
}

// memory is what one object holds. It never grows.
type memory struct {
	bucket *bucket
	held   int64
}

func (m *memory) Resize(octets int64) bool {
	if octets > m.held {
		return false
	}
	m.held = octets
	return true
}

func (m *memory) Release() {
	m.bucket.mu.Lock()
	defer m.bucket.mu.Unlock()
	m.bucket.released++
}

// Decrypt has an encryption of its own: "encrypted:" before the message.
func (b *bucket) Decrypt(_ context.Context, m spool.Message, object *Object) error {
	plain, encrypted := bytes.CutPrefix(object.Octets, []byte("encrypted:"))
	if !encrypted {
		return nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.decrypted++
	if b.locked {
		return &failure{text: "no key", permanent: true}
	}
	if b.swells > 0 && !object.Resize(b.swells) {
		b.swells += b.swelling
		return noRoom(b.swells - b.swelling)
	}
	object.Octets = plain
	if stored := b.objects[m.Key]; stored != nil {
		object.Envelope = stored.Envelope
	}
	return nil
}

// noRoom is how much memory a message would have taken.
type noRoom int64

func (n noRoom) Error() string { return "no room" }
func (n noRoom) Room() int64   { return int64(n) }

func (b *bucket) Delete(_ context.Context, m spool.Message) error {
	return b.after(m.Key, func() { b.deleted = append(b.deleted, m.Key) })
}

func (b *bucket) Tag(_ context.Context, m spool.Message) error {
	return b.after(m.Key, func() { b.tagged = append(b.tagged, m.Key) })
}

func (b *bucket) Move(_ context.Context, m spool.Message, prefix, id string) (string, error) {
	return prefix + m.Key, b.after(m.Key, func() { b.moved[m.Key] = prefix + m.Key + " " + id })
}

// Encrypt puts the encrypted object in the plain one's place, with a prefix or
// without; one that is encrypted already stays.
func (b *bucket) Encrypt(_ context.Context, m spool.Message, e *Envelope, prefix, id string) (key string, err error) {
	err = b.after(m.Key, func() {
		object := b.objects[m.Key]
		if b.sealed[m.Key] = e; bytes.HasPrefix(object.Octets, []byte("encrypted:")) {
			return
		}
		key = prefix + m.Key
		delete(b.objects, m.Key)
		b.objects[key] = &Object{Octets: append([]byte("encrypted:"), object.Octets...), Own: id == deliveryID(m.ID, ""), Envelope: e}
	})
	return key, err
}

func (b *bucket) after(key string, work func()) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.fail != nil {
		if err := b.fail("after:" + key); err != nil {
			return err
		}
	}
	work()
	return nil
}

// dovecot is a Destination that keeps what it accepts. answer, if set, decides
// about each delivery; an error with happened true means that it was kept all
// the same.
type dovecot struct {
	mu      sync.Mutex
	boxes   map[string][]string
	senders []string
	tries   map[string]int
	answer  func(mailbox string, try int) (happened bool, err error)
	away    bool
	probes  int
}

func (d *dovecot) Deliver(ctx context.Context, sender, mailbox string, octets [][]byte) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.away {
		return errAway
	}
	d.tries[mailbox]++
	d.senders = append(d.senders, sender)
	if d.answer != nil {
		if happened, err := d.answer(mailbox, d.tries[mailbox]); err != nil {
			if happened {
				d.boxes[mailbox] = append(d.boxes[mailbox], string(bytes.Join(octets, nil)))
			}
			return err
		}
	}
	d.boxes[mailbox] = append(d.boxes[mailbox], string(bytes.Join(octets, nil)))
	return nil
}

func (d *dovecot) Probe(context.Context) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.probes++
	if d.away {
		return errAway
	}
	return nil
}

// answers sets what decides about deliveries from now on.
func (d *dovecot) answers(answer func(mailbox string, try int) (happened bool, err error)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.answer = answer
}

func (d *dovecot) triesOf(mailbox string) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.tries[mailbox]
}

func (d *dovecot) box(mailbox string) []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.boxes[mailbox])
}

// tally is an Observer.
type tally struct {
	mu     sync.Mutex
	counts map[string]int
	up     bool
}

func (t *tally) Delivery(result string, _, latency time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.counts[result]++
	if latency > 0 {
		t.counts["latency"]++
	}
}

func (t *tally) DestinationUp(up bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.up = up
}

func (t *tally) AfterDelivery(action, result string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.counts[action+" "+result]++
}

// rig is a courier between a real spool and doubles of its neighbours, in a
// bubble where time is fake.
type rig struct {
	t       *testing.T
	spool   *spool.Spool
	bucket  *bucket
	dovecot *dovecot
	tally   *tally

	config Config
}

const mail = "From: a@example.org\r\nSubject: hello\r\n\r\nbody\r\n"

// inBubble runs a test in fake time; the courier runs from rig.start to the end.
func inBubble(t *testing.T, test func(r *rig)) {
	t.Helper()
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		s, err := spool.Open(t.Context(), spool.Options{Dir: dir, History: 30 * 24 * time.Hour, Free: func(string) (int64, error) { return 1 << 40, nil }})
		if err != nil {
			t.Fatal(err)
		}
		r := &rig{
			t: t, spool: s,
			bucket:  &bucket{objects: map[string]*Object{}, moved: map[string]string{}, sealed: map[string]*Envelope{}},
			dovecot: &dovecot{boxes: map[string][]string{}, tries: map[string]int{}},
			tally:   &tally{counts: map[string]int{}},
		}
		r.config = Config{
			Spool: s, Source: r.bucket, Destination: r.dovecot, Observer: r.tally,
			Log:      slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug})),
			RetryFor: 5 * 24 * time.Hour, Grace: 10 * time.Second,
		}
		test(r)
	})
}

// start runs the courier and returns what stops it and closes the spool.
func (r *rig) start() (stop func()) {
	_, stop = r.run()
	return stop
}

func (r *rig) run() (_ *Courier, stop func()) {
	ctx, cancel := context.WithCancel(r.t.Context())
	var wg sync.WaitGroup
	courier := New(r.config)
	wg.Go(func() {
		if err := courier.Run(ctx); err != nil {
			r.t.Error(err)
		}
	})
	return courier, func() {
		cancel()
		wg.Wait()
		if err := r.spool.Close(); err != nil {
			r.t.Error(err)
		}
	}
}

// take accepts a message for the recipients.
func (r *rig) take(id, text string, recipients ...string) {
	r.t.Helper()
	r.bucket.mu.Lock()
	r.bucket.objects["in/"+id] = &Object{Octets: []byte(text)}
	r.bucket.mu.Unlock()
	_, err := r.spool.Accept(r.t.Context(), spool.Arrival{
		Message: spool.Message{ID: id, Source: "webhook", Kind: "ses_s3", Bucket: "mail", Key: "in/" + id, Receipt: true,
			Sender: "s@example.org", Verdicts: "spam=PASS", Received: time.Now()},
		Recipients: recipients,
	})
	if err != nil {
		r.t.Fatal(err)
	}
}

// pass lets fake time go by, and what is due happen.
func (r *rig) pass(d time.Duration) {
	r.fence()
	timer := time.NewTimer(d)
	<-timer.C
	synctest.Wait()
	r.fence()
}

// fence tells the race detector what the bubble guarantees: that between two
// passes nobody but the test looks at the doubles.
func (r *rig) fence() {
	for _, mu := range []*sync.Mutex{&r.bucket.mu, &r.dovecot.mu, &r.tally.mu} {
		mu.Lock()
		mu.Unlock() //nolint:staticcheck // an empty critical section is the purpose
	}
}

func (r *rig) item(id string) *spool.Item {
	r.t.Helper()
	item, err := r.spool.Find(r.t.Context(), id)
	if err != nil {
		r.t.Fatal(err)
	}
	return item
}

func (r *rig) wantState(id string, state spool.State) *spool.Item {
	r.t.Helper()
	item := r.item(id)
	if item.State != state {
		r.t.Errorf("%s is %s (%s), want %s", id, item.State, item.Reason, state)
	}
	return item
}

func (r *rig) wantCopies(mailbox string, n int) {
	r.t.Helper()
	if got := len(r.dovecot.box(mailbox)); got != n {
		r.t.Errorf("%s has %d copies, want %d", mailbox, got, n)
	}
}

func TestDelivers(t *testing.T) {
	inBubble(t, func(r *rig) {
		rules, err := ParseRules("b@example.org=a@example.org, c@example.org=c@example.org d@example.org")
		if err != nil {
			t.Fatal(err)
		}
		r.config.Rules = rules
		defer r.start()()
		r.take("m1", "X-Original-To: forged\r\n"+mail, "a@example.org", "B@example.org", "c@example.org")
		r.pass(time.Second)
		item := r.wantState("m1", spool.Done)
		for _, mailbox := range []string{"a@example.org", "c@example.org", "d@example.org"} {
			r.wantCopies(mailbox, 1)
			if line, _ := item.Delivery(mailbox); line.State != spool.Delivered {
				t.Errorf("the ledger says %+v", line)
			}
		}
		want := "X-Homing-Id: " + deliveryID("m1", "a@example.org") + "\r\nX-Original-To: B@example.org\r\nX-Original-To: a@example.org\r\n" +
			"X-Homing-Verdict: spam=PASS\r\n" + mail
		if got := r.dovecot.box("a@example.org")[0]; got != want {
			t.Errorf("a@example.org got\n%s\nwant\n%s", got, want)
		}
		if got := r.dovecot.box("d@example.org")[0]; !strings.Contains(got, "X-Original-To: c@example.org\r\n") || strings.Contains(got, "a@example.org\r\nX-Homing-Verdict") {
			t.Errorf("d@example.org got\n%s", got)
		}
		if r.bucket.fetches != 1 || r.tally.counts["delivered"] != 3 || r.tally.counts["latency"] != 3 || !r.tally.up {
			t.Errorf("%d fetches, %v", r.bucket.fetches, r.tally.counts)
		}
	})
}

func TestLaterNoticeAddsOnlyItsRecipients(t *testing.T) {
	inBubble(t, func(r *rig) {
		defer r.start()()
		r.take("m1", mail, "a@example.org")
		r.pass(time.Second)
		r.take("m1", mail, "a@example.org", "b@example.org")
		r.pass(time.Second)
		r.take("m1", mail, "b@example.org")
		r.pass(time.Second)
		r.wantCopies("a@example.org", 1)
		r.wantCopies("b@example.org", 1)
		r.wantState("m1", spool.Done)
	})
}

func TestRetriesOnlyThoseThatLackIt(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.dovecot.answer = func(mailbox string, try int) (bool, error) {
			if mailbox == "b@example.org" && try < 4 {
				return false, reply(451, "4.2.0 later")
			}
			return false, nil
		}
		defer r.start()()
		r.take("m1", mail, "a@example.org", "b@example.org")
		r.pass(5 * time.Second)
		r.wantState("m1", spool.Pending)
		r.wantCopies("a@example.org", 1)
		r.pass(10*time.Second + 30*time.Second + time.Minute)
		r.wantCopies("a@example.org", 1)
		r.wantCopies("b@example.org", 1)
		item := r.wantState("m1", spool.Done)
		if line, _ := item.Delivery("b@example.org"); line.Attempts != 4 {
			t.Errorf("%+v", line)
		}
	})
}

func TestOverQuotaIsTriedForDaysThenHeld(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.config.Fallback = "fallback"
		r.dovecot.answer = func(mailbox string, _ int) (bool, error) { return false, reply(552, "5.2.2 Quota exceeded") }
		defer r.start()()
		r.take("m1", mail, "a@example.org")
		r.pass(4 * 24 * time.Hour)
		r.wantState("m1", spool.Pending)
		tries := r.dovecot.triesOf("a@example.org")
		if tries < 4*24 || tries > 120 {
			t.Errorf("%d tries in four days", tries)
		}
		r.pass(25 * time.Hour)
		item := r.wantState("m1", spool.Held)
		if !strings.Contains(item.Reason, "Quota") {
			t.Errorf("held because %q", item.Reason)
		}
		r.pass(30 * 24 * time.Hour)
		r.wantState("m1", spool.Held)
		r.dovecot.answers(nil)
		if _, err := r.spool.Retry(r.t.Context(), item.Number); err != nil {
			t.Fatal(err)
		}
		r.pass(time.Second)
		r.wantState("m1", spool.Done)
		r.wantCopies("a@example.org", 1)
		r.wantCopies("fallback", 0)
	})
}

func TestUnknownUserIsAskedThreeTimesMore(t *testing.T) {
	for _, fallback := range []string{"", "fallback@example.org"} {
		inBubble(t, func(r *rig) {
			r.config.Fallback = fallback
			r.dovecot.answer = func(mailbox string, _ int) (bool, error) {
				if mailbox == "nobody@example.org" {
					return false, reply(550, "5.1.1 User doesn't exist")
				}
				return false, nil
			}
			defer r.start()()
			r.take("m1", mail, "nobody@example.org", "a@example.org")
			r.pass(20*time.Minute - 2*time.Minute)
			r.wantState("m1", spool.Pending)
			r.pass(5 * time.Minute)
			if tries := r.dovecot.triesOf("nobody@example.org"); tries != 4 {
				t.Errorf("%d tries", tries)
			}
			r.wantCopies("a@example.org", 1)
			if fallback == "" {
				item := r.wantState("m1", spool.Held)
				if !strings.Contains(item.Reason, "550 5.1.1") || r.tally.counts["held"] != 1 {
					t.Errorf("held because %q, %v", item.Reason, r.tally.counts)
				}
				return
			}
			r.wantState("m1", spool.Done)
			r.wantCopies(fallback, 1)
			if got := r.dovecot.box(fallback); !strings.Contains(got[0], "X-Original-To: nobody@example.org\r\n") {
				t.Errorf("the fallback got %q", got)
			}
		})
	}
}

func TestKnownUserIsNotDoubted(t *testing.T) {
	inBubble(t, func(r *rig) {
		defer r.start()()
		r.take("m1", mail, "a@example.org")
		r.pass(time.Second)
		r.dovecot.answers(func(string, int) (bool, error) { return false, reply(550, "5.1.1 User doesn't exist") })
		r.take("m2", mail, "a@example.org")
		r.pass(3 * time.Hour)
		r.wantState("m2", spool.Pending)
		r.dovecot.answers(nil)
		r.pass(time.Hour)
		r.wantState("m2", spool.Done)
	})
}

func TestAwayCountsNoAttempts(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.dovecot.away = true
		courier, stop := r.run()
		defer stop()
		for i := range 10 {
			r.take(fmt.Sprintf("m%d", i), mail, "a@example.org")
		}
		r.pass(48 * time.Hour)
		for i := range 10 {
			if it := r.wantState(fmt.Sprintf("m%d", i), spool.Pending); it.Attempts != 0 || len(it.Deliveries) != 0 {
				t.Errorf("%+v", it)
			}
		}
		if r.tally.up || r.dovecot.probes < 48*360 || r.bucket.fetches > 10 {
			t.Errorf("up %v, %d probes, %d fetches", r.tally.up, r.dovecot.probes, r.bucket.fetches)
		}
		r.dovecot.mu.Lock()
		r.dovecot.away = false
		r.dovecot.mu.Unlock()
		r.pass(11 * time.Second)
		r.wantCopies("a@example.org", 10)
		// It goes away again in mid-run.
		r.dovecot.mu.Lock()
		r.dovecot.away = true
		r.dovecot.mu.Unlock()
		r.take("late", mail, "a@example.org")
		r.pass(time.Minute)
		if err := func() error {
			ctx, cancel := context.WithTimeout(r.t.Context(), time.Second)
			defer cancel()
			return courier.Present(ctx)
		}(); err == nil {
			t.Error("Present returned while the destination is away")
		}
		if it := r.wantState("late", spool.Pending); it.Attempts != 0 || r.tally.up {
			t.Errorf("%+v, up %v", it, r.tally.up)
		}
		r.dovecot.mu.Lock()
		r.dovecot.away = false
		r.dovecot.mu.Unlock()
		r.pass(11 * time.Second)
		r.wantState("late", spool.Done)
	})
}

func TestBusyMailboxCountsNoAttempt(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.dovecot.answer = func(_ string, try int) (bool, error) {
			if try <= 5 {
				return false, &failure{text: "451 4.3.0 Too many concurrent deliveries", busy: true, code: 451}
			}
			return false, nil
		}
		defer r.start()()
		r.take("m1", mail, "a@example.org")
		r.pass(5 * time.Second)
		if line, _ := r.wantState("m1", spool.Done).Delivery("a@example.org"); line.Attempts != 1 {
			t.Errorf("%+v", line)
		}
	})
}

func TestLostReplyDeliversAgainWithTheSameID(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.dovecot.answer = func(_ string, try int) (bool, error) {
			if try == 1 {
				return true, errors.New("the reply was lost")
			}
			return false, nil
		}
		defer r.start()()
		r.take("m1", mail, "a@example.org")
		r.pass(15 * time.Second)
		copies := r.dovecot.box("a@example.org")
		if len(copies) != 2 || copies[0] != copies[1] {
			t.Errorf("got %q", copies)
		}
		r.wantState("m1", spool.Done)
	})
}

func TestFetchFailures(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.config.Fallback = "fallback"
		fails := map[string]error{
			"in/large":  &failure{text: "too large", permanent: true},
			"in/denied": errors.New("AccessDenied"),
		}
		r.bucket.fail = func(key string) error { return fails[key] }
		defer r.start()()
		r.take("large", mail, "a@example.org")
		r.take("denied", mail, "a@example.org")
		r.take("gone", mail, "a@example.org")
		r.bucket.mu.Lock()
		delete(r.bucket.objects, "in/gone")
		r.bucket.mu.Unlock()
		r.pass(time.Second)
		r.wantState("large", spool.Held)
		r.pass(time.Hour)
		r.wantState("gone", spool.Pending)
		r.pass(time.Hour)
		r.wantState("gone", spool.Held)
		r.wantState("denied", spool.Pending)
		r.bucket.mu.Lock()
		delete(fails, "in/denied")
		r.bucket.mu.Unlock()
		r.pass(time.Hour)
		r.wantState("denied", spool.Done)
		r.wantCopies("a@example.org", 1)
	})
}

func TestGoneObjectSettlesWhatWasDelivered(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.config.After = After{Action: Delete, Delay: time.Hour}
		rules, _ := ParseRules("alias@example.org=a@example.org")
		r.config.Rules = rules
		defer r.start()()
		r.take("m1", mail, "a@example.org")
		r.pass(2 * time.Hour)
		r.bucket.mu.Lock()
		delete(r.bucket.objects, "in/m1")
		r.bucket.mu.Unlock()
		// Another rule's notice, late, for an address of the same mailbox.
		if _, err := r.spool.Accept(r.t.Context(), spool.Arrival{
			Message:    spool.Message{ID: "m1", Kind: "ses_s3", Bucket: "mail", Key: "in/m1", Receipt: true},
			Recipients: []string{"alias@example.org"},
		}); err != nil {
			t.Fatal(err)
		}
		r.pass(2 * time.Hour)
		r.wantState("m1", spool.Done)
		r.wantCopies("a@example.org", 1)
	})
}

func TestAfterDelivery(t *testing.T) {
	for _, action := range []Action{Keep, Delete, Tag, Move, Encrypt} {
		t.Run(string(action), func(t *testing.T) {
			inBubble(t, func(r *rig) {
				r.config.After = After{Action: action, Prefix: "old/", Delay: 24 * time.Hour}
				failures := 2
				r.bucket.fail = func(key string) error {
					if strings.HasPrefix(key, "after:") && failures > 0 {
						failures--
						return errors.New("SlowDown")
					}
					return nil
				}
				r.dovecot.answer = func(mailbox string, _ int) (bool, error) {
					if mailbox == "full@example.org" {
						return false, reply(452, "4.2.2 full")
					}
					return false, nil
				}
				defer r.start()()
				r.take("m1", mail, "a@example.org")
				r.take("m2", mail, "a@example.org", "full@example.org")
				r.pass(23 * time.Hour)
				if n := len(r.bucket.deleted) + len(r.bucket.tagged) + len(r.bucket.moved) + len(r.bucket.sealed); n != 0 {
					t.Errorf("%d objects were touched too early", n)
				}
				r.pass(3 * time.Hour)
				r.wantState("m1", spool.Done)
				r.wantState("m2", spool.Pending)
				want := map[Action]int{Delete: len(r.bucket.deleted), Tag: len(r.bucket.tagged), Move: len(r.bucket.moved), Encrypt: len(r.bucket.sealed), Keep: 1}[action]
				if want != 1 {
					t.Errorf("%d objects settled by %s, want the delivered one", want, action)
				}
				if (action == Move || action == Encrypt) && r.item("m1").Key != "old/in/m1" {
					t.Errorf("the spool thinks it lies at %s", r.item("m1").Key)
				}
				if action != Keep && r.tally.counts[string(action)+" ok"] != 1 {
					t.Errorf("counted %v", r.tally.counts)
				}
			})
		})
	}
}

func TestHostileAddressesAreHeld(t *testing.T) {
	inBubble(t, func(r *rig) {
		rules, _ := ParseRules("*=me@example.org")
		r.config.Rules = rules
		defer r.start()()
		r.take("m1", mail, "x@example.org\r\nBcc: evil@example.org", "ok@example.org")
		r.pass(time.Second)
		item := r.wantState("m1", spool.Held)
		if !strings.Contains(item.Reason, "cannot be expressed") {
			t.Errorf("held because %q", item.Reason)
		}
		r.wantCopies("me@example.org", 1)
		if got := r.dovecot.box("me@example.org")[0]; strings.Contains(got, "Bcc") {
			t.Errorf("delivered %q", got)
		}
	})
}

func TestHostileSenderIsHeld(t *testing.T) {
	inBubble(t, func(r *rig) {
		defer r.start()()
		r.bucket.objects["k"] = &Object{Octets: []byte(mail)}
		if _, err := r.spool.Accept(r.t.Context(), spool.Arrival{
			Message:    spool.Message{ID: "m1", Bucket: "mail", Key: "k", Receipt: true, Sender: "x>\r\nRCPT TO:<evil"},
			Recipients: []string{"a@example.org"},
		}); err != nil {
			t.Fatal(err)
		}
		r.pass(time.Second)
		r.wantState("m1", spool.Held)
		r.wantCopies("a@example.org", 0)
	})
}

func TestWithoutReceipt(t *testing.T) {
	for name, c := range map[string]struct {
		text, fallback, mailbox, sender string
		own                             bool
		state                           spool.State
	}{
		"SES's own line":    {text: "Return-Path: <bob@example.net>\r\n" + sesLine + mail, mailbox: "alice@example.com", sender: "bob@example.net", state: spool.Done},
		"nothing, fallback": {text: mail, fallback: "fb@example.org", mailbox: "fb@example.org", state: spool.Done},
		"nothing":           {text: mail, state: spool.Held},
		"homing's own copy": {text: sesLine + mail, own: true, state: spool.Done},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(r *rig) {
				r.config.Fallback = c.fallback
				defer r.start()()
				r.bucket.objects["k"] = &Object{Octets: []byte(c.text), Own: c.own}
				if _, err := r.spool.Accept(r.t.Context(), spool.Arrival{Message: spool.Message{ID: "m1", Bucket: "mail", Key: "k"}}); err != nil {
					t.Fatal(err)
				}
				r.pass(time.Second)
				r.wantState("m1", c.state)
				if c.mailbox == "" {
					if n := len(r.dovecot.senders); n != 0 {
						t.Errorf("%d deliveries", n)
					}
					return
				}
				r.wantCopies(c.mailbox, 1)
				if r.dovecot.senders[0] != c.sender {
					t.Errorf("sender %q", r.dovecot.senders[0])
				}
				if got := r.dovecot.box(c.mailbox)[0]; strings.Contains(got, "X-Homing-Verdict") {
					t.Errorf("verdicts without a receipt: %q", got)
				}
			})
		})
	}
}

// While the mailbox is busy the message is kept in memory, not fetched again.
func TestBusyMailboxCostsNoFetches(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.dovecot.answer = func(string, int) (bool, error) {
			return false, &failure{text: "451 4.3.0 Too many concurrent deliveries", busy: true, code: 451}
		}
		defer r.start()()
		r.take("m1", mail, "a@example.org")
		r.pass(10 * time.Minute)
		if r.bucket.fetches > 25 {
			t.Errorf("%d fetches in ten minutes", r.bucket.fetches)
		}
	})
}

func TestInlineForOneObjectForAnother(t *testing.T) {
	inBubble(t, func(r *rig) {
		defer r.start()()
		r.bucket.objects["in/m"] = &Object{Octets: []byte(mail)}
		m := spool.Message{ID: "m", Kind: "ses_sns", Receipt: true, Sender: "s@example.org"}
		if _, err := r.spool.Accept(r.t.Context(), spool.Arrival{Message: m, Recipients: []string{"a@example.org"}, Content: []byte(mail)}); err != nil {
			t.Fatal(err)
		}
		r.pass(time.Second)
		m.Bucket, m.Key = "mail", "in/m"
		if _, err := r.spool.Accept(r.t.Context(), spool.Arrival{Message: m, Recipients: []string{"b@example.org"}}); err != nil {
			t.Fatal(err)
		}
		r.pass(time.Second)
		r.wantState("m", spool.Done)
		r.wantCopies("a@example.org", 1)
		r.wantCopies("b@example.org", 1)
	})
}

// A delivered message whose object has gone since needs no object.
func TestGoneObjectWithoutReceiptIsSettled(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.config.After = After{Action: Tag}
		r.bucket.objects["k"] = &Object{Octets: []byte(sesLine + mail)}
		fails := true
		r.bucket.fail = func(key string) error {
			if fails && strings.HasPrefix(key, "after:") {
				return &failure{text: "too many tags", permanent: true}
			}
			return nil
		}
		defer r.start()()
		if _, err := r.spool.Accept(r.t.Context(), spool.Arrival{Message: spool.Message{ID: "m", Bucket: "mail", Key: "k"}}); err != nil {
			t.Fatal(err)
		}
		r.pass(time.Second)
		item := r.wantState("m", spool.Held)
		r.bucket.mu.Lock()
		delete(r.bucket.objects, "k")
		fails = false
		r.bucket.mu.Unlock()
		if _, err := r.spool.Retry(r.t.Context(), item.Number); err != nil {
			t.Fatal(err)
		}
		r.pass(time.Minute)
		r.wantState("m", spool.Done)
		r.wantCopies("alice@example.com", 1)
	})
}

// A payload that nobody understands is no mail, whatever a person says.
func TestUnknownPayloadIsNeverDelivered(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.config.Fallback = "fallback@example.org"
		defer r.start()()
		if _, err := r.spool.Accept(r.t.Context(), spool.Arrival{
			Message: spool.Message{ID: "sns:1", Kind: "unknown"}, Content: []byte("{}"), Hold: "what is it",
		}); err != nil {
			t.Fatal(err)
		}
		if _, err := r.spool.Retry(r.t.Context(), r.item("sns:1").Number); err != nil {
			t.Fatal(err)
		}
		r.pass(time.Second)
		if it := r.wantState("sns:1", spool.Held); !it.Inline || !strings.Contains(it.Reason, "understand") {
			t.Errorf("%+v", it)
		}
		r.wantCopies("fallback@example.org", 0)
	})
}

func TestMailLoopIsHeld(t *testing.T) {
	inBubble(t, func(r *rig) {
		defer r.start()()
		r.take("m50", strings.Repeat("Received: x\r\n", 50)+mail, "a@example.org")
		r.take("m51", strings.Repeat("Received: x\r\n", 51)+mail, "a@example.org")
		r.pass(time.Second)
		r.wantState("m50", spool.Done)
		if it := r.wantState("m51", spool.Held); !strings.Contains(it.Reason, "loop") {
			t.Errorf("held because %q", it.Reason)
		}
	})
}

func TestReceiptWithoutRecipientsIsHeldNotLost(t *testing.T) {
	inBubble(t, func(r *rig) {
		defer r.start()()
		r.take("m1", mail)
		r.pass(time.Second)
		r.wantState("m1", spool.Held)
	})
}

func TestRulesChangeWhileMailWaits(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.dovecot.answer = func(mailbox string, _ int) (bool, error) {
			if mailbox == "old@example.org" {
				return false, reply(550, "5.1.1 no")
			}
			return false, nil
		}
		ctx, cancel := context.WithCancel(r.t.Context())
		courier := New(r.config)
		var wg sync.WaitGroup
		wg.Go(func() { _ = courier.Run(ctx) })
		r.take("m1", mail, "old@example.org")
		r.pass(2 * time.Second)
		rules, _ := ParseRules("old@example.org=new@example.org")
		courier.SetRules(rules)
		r.pass(2 * time.Minute)
		r.wantState("m1", spool.Done)
		r.wantCopies("new@example.org", 1)
		cancel()
		wg.Wait()
		r.spool.Close()
	})
}

func TestPauseBeforeTheFirstDelivery(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.config.Pause = 2 * time.Second
		defer r.start()()
		r.take("m1", mail, "a@example.org")
		r.pass(1900 * time.Millisecond)
		r.wantCopies("a@example.org", 0)
		r.pass(200 * time.Millisecond)
		r.wantCopies("a@example.org", 1)
	})
}

func TestStopLetsFinishWhatIsInFlight(t *testing.T) {
	inBubble(t, func(r *rig) {
		release := make(chan struct{})
		r.config.Destination = &slow{dovecot: r.dovecot, release: release}
		stop := r.start()
		r.take("m1", mail, "a@example.org")
		r.pass(time.Second)
		time.AfterFunc(5*time.Second, func() { close(release) })
		began := time.Now()
		stop()
		if took := time.Since(began); took != 5*time.Second {
			t.Errorf("stopping took %v", took)
		}
		r.wantCopies("a@example.org", 1)
	})
}

func TestStopDoesNotWaitForEver(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.config.Destination = &slow{dovecot: r.dovecot, release: make(chan struct{})}
		stop := r.start()
		r.take("m1", mail, "a@example.org")
		r.pass(time.Second)
		began := time.Now()
		stop()
		if took := time.Since(began); took != 10*time.Second {
			t.Errorf("stopping took %v", took)
		}
	})
}

// slow delivers when it is released.
type slow struct {
	*dovecot
	release chan struct{}
}

func (s *slow) Deliver(ctx context.Context, sender, mailbox string, octets [][]byte) error {
	select {
	case <-s.release:
		return s.dovecot.Deliver(ctx, sender, mailbox, octets)
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Messages of the contact form leave by their own way: whether the one or the
// other destination is away does not matter to what does not go there.
func TestFormLeavesByItsOwnWay(t *testing.T) {
	inBubble(t, func(r *rig) {
		provider := &dovecot{boxes: map[string][]string{}, tries: map[string]int{}, away: true}
		formUp := true
		r.config.Form, r.config.FormUp = provider, func(up bool) { formUp = up }
		set := func(d *dovecot, away bool) {
			d.mu.Lock()
			defer d.mu.Unlock()
			d.away = away
		}
		defer r.start()()
		r.takeForm("f1")
		r.take("m1", mail, "me@example.org")
		r.pass(time.Minute)
		r.wantState("m1", spool.Done)
		if it := r.wantState("f1", spool.Pending); it.Attempts != 0 || len(it.Deliveries) != 0 || formUp {
			t.Errorf("%+v, up %v", it, formUp)
		}
		r.wantCopies("me@example.org", 1)
		set(provider, false)
		set(r.dovecot, true)
		r.take("m2", mail, "me@example.org")
		r.pass(time.Minute)
		r.wantState("f1", spool.Done)
		r.takeForm("f2") // while the other is away
		r.pass(time.Second)
		r.wantState("f2", spool.Done)
		r.wantState("m2", spool.Pending)
		if got := provider.box("me@example.org"); len(got) != 2 || !strings.HasSuffix(got[0], mail) || !formUp || r.tally.up {
			t.Errorf("the provider has %q; up %v and %v", got, formUp, r.tally.up)
		}
		set(r.dovecot, false)
		r.pass(time.Minute)
		r.wantState("m2", spool.Done)
		r.wantCopies("me@example.org", 2)
	})
}

// The fallback mailbox is Dovecot's: what a provider refuses for good is held.
func TestFormHasNoFallbackElsewhere(t *testing.T) {
	for _, elsewhere := range []bool{true, false} {
		inBubble(t, func(r *rig) {
			refusing := &dovecot{boxes: map[string][]string{}, tries: map[string]int{}}
			refusing.answer = func(mailbox string, _ int) (bool, error) {
				if mailbox != "me@example.org" {
					return false, nil
				}
				return false, reply(550, "5.7.1 not yours")
			}
			r.config.Fallback = "fallback@example.org"
			if elsewhere {
				r.config.Form, r.config.FormUp = refusing, func(bool) {}
			} else {
				r.dovecot.answer = refusing.answer
			}
			defer r.start()()
			r.takeForm("f1")
			r.pass(time.Hour)
			if elsewhere {
				r.wantState("f1", spool.Held)
			} else {
				r.wantState("f1", spool.Done)
				r.wantCopies("fallback@example.org", 1)
			}
			if len(refusing.box("fallback@example.org")) != 0 {
				t.Error("the provider was given the fallback mailbox")
			}
		})
	}
}

// slowDown is a destination that asks to be left alone for a while.
type slowDown struct{ *failure }

func (slowDown) ProbeAfter() time.Duration { return 15 * time.Minute }

// A server that refuses the password is not asked every few seconds.
func TestProbesWaitAsLongAsTheErrorAsks(t *testing.T) {
	inBubble(t, func(r *rig) {
		provider := &probed{answer: slowDown{errAway}}
		r.config.Form, r.config.FormUp = provider, func(bool) {}
		defer r.start()()
		r.takeForm("f1")
		r.pass(time.Hour)
		if n := provider.probes.Load(); n < 4 || n > 5 {
			t.Errorf("%d probes in an hour, want one each 15 minutes", n)
		}
	})
}

// probed is a destination that never answers.
type probed struct {
	answer error
	probes atomic.Int64
}

func (p *probed) Deliver(context.Context, string, string, [][]byte) error { return p.answer }

func (p *probed) Probe(context.Context) error {
	p.probes.Add(1)
	return p.answer
}

// takeForm accepts a message of the contact form.
func (r *rig) takeForm(id string) {
	r.t.Helper()
	_, err := r.spool.Accept(r.t.Context(), spool.Arrival{
		Message:    spool.Message{ID: id, Source: spool.SourceForm, Kind: "form", Receipt: true, Direct: true, Sender: "form@example.org"},
		Recipients: []string{"me@example.org"}, Content: []byte(mail),
	})
	if err != nil {
		r.t.Fatal(err)
	}
}
