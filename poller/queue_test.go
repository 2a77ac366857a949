package poller

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/homing-mail/homing/courier"
	"github.com/homing-mail/homing/internal/snstest"
	"github.com/homing-mail/homing/internal/sqstest"
	"github.com/homing-mail/homing/spool"
)

func TestDelivered(t *testing.T) {
	bubble(t, func(t *testing.T, server *sqstest.Server, to *boxes) {
		r := newReplica(t, server, to, nil)
		stop := r.run()
		defer stop()
		now := time.Now()
		server.Send("mail", envelope(receipt("m1", "alice@example.com"), now), nil, time.Time{})
		server.Send("mail", envelope(snstest.SESReceived(snstest.Receipt{MessageID: "m2", Recipients: []string{"bob@example.com"}, Content: []byte("Subject: x\r\n\r\nhi\r\n")}), now), nil, time.Time{})
		server.Send("mail", envelope(snstest.S3Event(snstest.Object{Bucket: "mail", Key: "in/a"}, snstest.Object{Bucket: "mail", Key: "in/b"}), now), nil, time.Time{})
		server.Send("mail", envelope(snstest.S3TestEvent("mail"), now), nil, time.Time{})
		server.Send("mail", envelope("Successfully validated SNS topic", now), nil, time.Time{})
		for i := range 200 {
			server.Send("mail", envelope(receipt(fmt.Sprintf("many%d", i), "many@example.com"), now), nil, time.Time{})
		}
		until(t, 10*time.Second, "an empty queue", func() bool { return len(server.Messages("mail")) == 0 })
		same(t, "mails", to.got(), map[string]int{"alice@example.com": 1, "bob@example.com": 1, "found@example.com": 2, "many@example.com": 200})
		same(t, "accepted", r.tally.of("sqs ses_s3 accepted"), 201)
		same(t, "ignored", r.tally.of("sqs s3_test ignored")+r.tally.of("sqs text ignored"), 2)
		if calls := server.Calls(); calls["DeleteMessageBatch"] > 60 {
			t.Errorf("%d requests for 205 deletions", calls["DeleteMessageBatch"])
		}
		item, err := r.spool.Find(t.Context(), "m1")
		if err != nil || item.State != spool.Done || item.Source != "sqs" {
			t.Errorf("the ledger has %+v, %v", item, err)
		}
	})
}

// A repetition, from SNS or because a deletion failed, is recognised.
func TestRepeated(t *testing.T) {
	bubble(t, func(t *testing.T, server *sqstest.Server, to *boxes) {
		r := newReplica(t, server, to, nil)
		defer r.run()()
		for range 5 {
			server.Send("mail", envelope(receipt("m1", "alice@example.com"), time.Now()), nil, time.Time{})
		}
		until(t, time.Minute, "an empty queue", func() bool { return len(server.Messages("mail")) == 0 })
		same(t, "mails", to.got(), map[string]int{"alice@example.com": 1})
	})
}

// What waits, waits in the queue: hidden until its time, and seen by any replica.
func TestWaiting(t *testing.T) {
	bubble(t, func(t *testing.T, server *sqstest.Server, to *boxes) {
		to.say(func(string) error { return reply(451) })
		first := newReplica(t, server, to, nil)
		stop := first.run()
		began := time.Now()
		server.Send("mail", envelope(receipt("m1", "alice@example.com"), began), nil, time.Time{})
		until(t, 5*time.Minute, "five tries", func() bool { return to.tried("alice@example.com") == 5 })
		// 10 s, 30 s, 1 m, 2 m, less up to a tenth, and up to a second more.
		if took := time.Since(began); took < 195*time.Second || took > 230*time.Second {
			t.Errorf("the fifth try came after %v", took)
		}
		same(t, "left in the queue", len(server.Messages("mail")), 1)
		if c, err := first.spool.Counts(t.Context()); err != nil || c.Due+c.Waiting+c.Held != 0 {
			t.Errorf("the spool has taken it: %+v, %v", c, err)
		}
		stop()
		to.say(nil)
		second := newReplica(t, server, to, nil)
		defer second.run()()
		until(t, 6*time.Minute, "the mail, by the other replica", func() bool { return len(server.Messages("mail")) == 0 })
		same(t, "mails", to.got(), map[string]int{"alice@example.com": 1})
	})
}

func TestHeldAfterRetryFor(t *testing.T) {
	bubble(t, func(t *testing.T, server *sqstest.Server, to *boxes) {
		to.say(func(string) error { return reply(451) })
		r := newReplica(t, server, to, nil)
		defer r.run()()
		server.Send("mail", envelope(receipt("old", "alice@example.com"), time.Now().Add(-6*24*time.Hour)), nil, time.Time{})
		until(t, time.Minute, "an empty queue", func() bool { return len(server.Messages("mail")) == 0 })
		item, err := r.spool.Find(t.Context(), "old")
		if err != nil || item.State != spool.Held {
			t.Errorf("got %+v, %v", item, err)
		}
	})
}

// Patience holds across messages sent anew, which must be before SQS drops the
// old ones.
func TestHeldAfterDays(t *testing.T) {
	const retryFor, retention = 26 * time.Hour, 12 * time.Hour
	bubble(t, func(t *testing.T, server *sqstest.Server, to *boxes) {
		server.Redrive("mail", "dead", 1000, retention)
		to.say(func(mailbox string) error {
			if mailbox == "b@example.com" {
				return reply(452)
			}
			return nil
		})
		r := newReplica(t, server, to, nil, func(c *courier.Config) { c.RetryFor = retryFor })
		defer r.run()()
		pause(t.Context(), time.Second) // the limits are learnt
		began := time.Now()
		server.Send("mail", envelope(receipt("m1", "a@example.com", "b@example.com"), began), nil, time.Time{})
		until(t, 2*retryFor, "an empty queue", func() bool {
			pause(t.Context(), 10*time.Minute)
			for _, m := range server.Messages("mail") {
				if age := time.Since(m.Sent); age > retention {
					t.Fatalf("SQS would have dropped a message after %v", age)
				}
			}
			return len(server.Messages("mail")) == 0
		})
		if took := time.Since(began); took < retryFor {
			t.Errorf("given up after %v", took)
		}
		item, err := r.spool.Find(t.Context(), "m1")
		if err != nil || item.State != spool.Held {
			t.Errorf("got %+v, %v", item, err)
		}
		same(t, "mails", to.got(), map[string]int{"a@example.com": 1})
	})
}

// A partial success leaves a message in the queue that names only who waits, so
// that another replica, whose ledger knows nothing, doubles nothing.
func TestPartialSuccess(t *testing.T) {
	bubble(t, func(t *testing.T, server *sqstest.Server, to *boxes) {
		to.say(func(mailbox string) error {
			if mailbox != "a@example.com" {
				return reply(451)
			}
			return nil
		})
		first := newReplica(t, server, to, nil)
		stop := first.run()
		original := envelope(receipt("m1", "a@example.com", "b@example.com", "c@example.com"), time.Now())
		server.Send("mail", original, nil, time.Time{})
		until(t, time.Minute, "a part", func() bool {
			all := bodies(server, "mail")
			return len(all) == 1 && strings.HasPrefix(all[0], partMark)
		})
		p, err := openPart(&message{body: bodies(server, "mail")[0], sent: time.Now()})
		same(t, "part", fmt.Sprint(p.recipients, p.notification == original, err), "[b@example.com c@example.com] true <nil>")
		stop()

		to.say(func(mailbox string) error {
			if mailbox == "c@example.com" {
				return reply(451)
			}
			return nil
		})
		second := newReplica(t, server, to, nil)
		stop = second.run()
		until(t, time.Minute, "a smaller part", func() bool {
			p, err := openPart(&message{body: strings.Join(bodies(server, "mail"), "")})
			return err == nil && fmt.Sprint(p.recipients) == "[c@example.com]" && p.notification == original
		})
		stop()

		to.say(nil)
		third := newReplica(t, server, to, nil)
		defer third.run()()
		until(t, 2*time.Minute, "an empty queue", func() bool { return len(server.Messages("mail")) == 0 })
		same(t, "mails", to.got(), map[string]int{"a@example.com": 1, "b@example.com": 1, "c@example.com": 1})
	})
}

// Two receipt rules announce one message to different people.
func TestTwoNotificationsOfOneMessage(t *testing.T) {
	bubble(t, func(t *testing.T, server *sqstest.Server, to *boxes) {
		to.takes = 3 * time.Second
		r := newReplica(t, server, to, nil)
		defer r.run()()
		server.Send("mail", envelope(receipt("m1", "a@example.com"), time.Now()), nil, time.Time{})
		server.Send("mail", envelope(receipt("m1", "b@example.com"), time.Now()), nil, time.Time{})
		until(t, time.Minute, "an empty queue", func() bool { return len(server.Messages("mail")) == 0 })
		same(t, "mails", to.got(), map[string]int{"a@example.com": 1, "b@example.com": 1})
	})
}

// One of them is held while the other is on its way: the hold must be on disk
// before its message goes.
func TestHeldWhileNamedAgain(t *testing.T) {
	bubble(t, func(t *testing.T, server *sqstest.Server, to *boxes) {
		to.takes = 3 * time.Second
		to.say(func(mailbox string) error {
			if mailbox == "a@example.com" {
				return permanent{}
			}
			return nil
		})
		r := newReplica(t, server, to, nil)
		defer r.run()()
		server.Send("mail", envelope(receipt("m1", "a@example.com"), time.Now()), nil, time.Time{})
		pause(t.Context(), time.Second)
		second := server.Send("mail", envelope(receipt("m1", "b@example.com"), time.Now()), nil, time.Time{})
		until(t, 2*time.Minute, "an empty queue", func() bool {
			left := server.Messages("mail")
			item, err := r.spool.Find(t.Context(), "m1")
			if len(left) == 1 && left[0].ID == second && (err != nil || item.State != spool.Held) {
				t.Fatalf("the message of what is held has gone, and the spool has %+v, %v", item, err)
			}
			return len(left) == 0
		})
		same(t, "mails", to.got(), map[string]int{"b@example.com": 1})
	})
}

// Who has a message of their own in the queue does not keep that of others.
func TestOthersWait(t *testing.T) {
	bubble(t, func(t *testing.T, server *sqstest.Server, to *boxes) {
		to.say(func(mailbox string) error {
			if mailbox == "a@example.com" {
				return reply(451)
			}
			return nil
		})
		r := newReplica(t, server, to, nil)
		defer r.run()()
		first := server.Send("mail", envelope(receipt("m1", "a@example.com"), time.Now()), nil, time.Time{})
		until(t, 5*time.Minute, "a few tries", func() bool { return to.tried("a@example.com") == 4 })
		server.Send("mail", envelope(receipt("m1", "b@example.com"), time.Now()), nil, time.Time{})
		until(t, 10*time.Second, "b's message to go", func() bool {
			left := server.Messages("mail")
			return len(left) == 1 && left[0].ID == first
		})
		same(t, "mails", to.got(), map[string]int{"b@example.com": 1})
	})
}

type permanent struct{}

func (permanent) Error() string   { return "it cannot be" }
func (permanent) Permanent() bool { return true }

// Messages that say nothing to be believed stay, and are named in the log.
func TestLeft(t *testing.T) {
	good := receipt("m1", "a@example.com")
	for name, test := range map[string]struct {
		body, why, count string
	}{
		"no JSON":             {"hello", "not JSON", "sqs none refused"},
		"raw delivery":        {good, "HOMING_SQS_RAW", "sqs none refused"},
		"forged":              {envelope(good, time.Now(), func(f map[string]string) { f["Signature"] = "x" }), "not a genuine SNS message", "signature signature"},
		"foreign topic":       {envelope(good, time.Now(), func(f map[string]string) { f["TopicArn"] = snstest.Topic("foreign") }), "HOMING_SNS_TOPICS", "signature topic"},
		"broken part":         {`{"homing":3}`, "looks like homing's own", "sqs none refused"},
		"part for a stranger": {partOf(envelope(good, time.Now()), "mallory@example.com"), "mallory@example.com", "sqs none refused"},
		"part of nothing":     {partOf(envelope(snstest.S3Event(snstest.Object{Bucket: "mail", Key: "k"}), time.Now()), "a@example.com"), "has none", "sqs none refused"},
		"part of a part":      {partOf(partOf(envelope(good, time.Now()))), "HOMING_SQS_RAW", "sqs none refused"},
		"forged part":         {partOf(envelope(good, time.Now(), func(f map[string]string) { f["Signature"] = "x" })), "not a genuine", "signature signature"},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, server *sqstest.Server, to *boxes) {
				server.Redrive("mail", "dead", 3, 0)
				r := newReplica(t, server, to, nil)
				defer r.run()()
				id := server.Send("mail", test.body, nil, time.Time{})
				until(t, 5*time.Minute, "the redrive policy", func() bool { return len(server.Messages("dead")) == 1 })
				same(t, "body", server.Messages("dead")[0].Body, test.body)
				same(t, "counted", r.tally.of(test.count) >= 3, true)
				line := ""
				for l := range strings.Lines(r.log.String()) {
					if strings.Contains(l, "message="+id) && strings.Contains(l, "queue="+server.URL("mail")) {
						line = l
					}
				}
				if !strings.Contains(line, test.why) {
					t.Errorf("the log says %q, want %q in it", line, test.why)
				}
				same(t, "mails", to.got(), map[string]int{})
			})
		})
	}
}

func partOf(notification string, recipients ...string) string {
	body, err := part{notification: notification, recipients: recipients, sent: time.Now()}.body()
	if err != nil {
		return err.Error()
	}
	return body
}

func TestUnverifiable(t *testing.T) {
	bubble(t, func(t *testing.T, server *sqstest.Server, to *boxes) {
		r := newReplica(t, server, to, nil)
		defer r.run()()
		r.seal.unavailable(true)
		server.Send("mail", envelope(receipt("m1", "a@example.com"), time.Now()), nil, time.Time{})
		until(t, time.Minute, "two tries", func() bool { return r.tally.of("signature unavailable") == 2 })
		same(t, "receives", server.Messages("mail")[0].Receives, 2)
		r.seal.unavailable(false)
		until(t, 2*time.Minute, "the mail", func() bool { return to.got()["a@example.com"] == 1 })
	})
}

func TestRaw(t *testing.T) {
	bubble(t, func(t *testing.T, server *sqstest.Server, to *boxes) {
		r := newReplica(t, server, to, func(c *QueueConfig, _ *spool.Options) { c.Trust.Raw = true })
		defer r.run()()
		server.Send("mail", receipt("m1", "a@example.com", "b@example.com"), nil, time.Time{})
		server.Send("mail", snstest.EventBridge(snstest.Object{Bucket: "mail", Key: "in/e"}), nil, time.Time{})
		server.Send("mail", snstest.S3TestEvent("mail"), nil, time.Time{})
		server.Send("mail", `{"what":"is this"}`, nil, time.Time{})
		server.Send("mail", envelope(receipt("signed", "c@example.com"), time.Now()), nil, time.Time{})
		inline := snstest.SESReceived(snstest.Receipt{MessageID: "m2", Recipients: []string{"d@example.com"}, Content: []byte("Subject: x\r\n\r\nhi\r\n")})
		server.Send("mail", inline, nil, time.Time{})
		until(t, time.Minute, "what is left", func() bool { return len(server.Messages("mail")) == 1 })
		same(t, "left", bodies(server, "mail")[0], inline)
		same(t, "mails", to.got(), map[string]int{"a@example.com": 1, "b@example.com": 1, "c@example.com": 1, "found@example.com": 1})
		same(t, "verdict of a raw body", strings.Contains(to.mail("a@example.com"), "X-Homing-Verdict"), false)
		same(t, "verdict of a signed one", strings.Contains(to.mail("c@example.com"), "X-Homing-Verdict"), true)
		c, err := r.spool.Counts(t.Context())
		same(t, "held", fmt.Sprint(c.Held, err), "1 <nil>")
	})
}

func TestUnknownIsHeld(t *testing.T) {
	bubble(t, func(t *testing.T, server *sqstest.Server, to *boxes) {
		r := newReplica(t, server, to, nil)
		defer r.run()()
		server.Send("mail", envelope(`{"what":"is this"}`, time.Now(), func(f map[string]string) { f["MessageId"] = "strange" }), nil, time.Time{})
		until(t, time.Minute, "an empty queue", func() bool { return len(server.Messages("mail")) == 0 })
		item, err := r.spool.Find(t.Context(), "sns:strange")
		if err != nil || item.State != spool.Held {
			t.Errorf("got %+v, %v", item, err)
		}
	})
}

func TestConfirmations(t *testing.T) {
	bubble(t, func(t *testing.T, server *sqstest.Server, to *boxes) {
		r := newReplica(t, server, to, nil)
		defer r.run()()
		for _, kind := range []string{"SubscriptionConfirmation", "UnsubscribeConfirmation"} {
			server.Send("mail", envelope("x", time.Now(), func(f map[string]string) { f["Type"], f["Token"] = kind, "t" }), nil, time.Time{})
		}
		until(t, time.Minute, "an empty queue", func() bool { return len(server.Messages("mail")) == 0 })
		same(t, "confirmed", r.tally.of("sqs confirmation accepted"), 1)
		same(t, "noted", r.tally.of("sqs unsubscribe ignored"), 1)
	})
}

// What a mailbox refuses for good goes to the fallback mailbox from the same
// hand: another replica would have to be refused all over again.
func TestFallback(t *testing.T) {
	bubble(t, func(t *testing.T, server *sqstest.Server, to *boxes) {
		to.say(func(mailbox string) error {
			if mailbox == "a@example.com" {
				return reply(550)
			}
			return nil
		})
		r := newReplica(t, server, to, nil, func(c *courier.Config) { c.Fallback = "fallback@example.com" })
		defer r.run()()
		server.Send("mail", envelope(receipt("m1", "a@example.com"), time.Now()), nil, time.Time{})
		until(t, 30*time.Minute, "an empty queue", func() bool { return len(server.Messages("mail")) == 0 })
		same(t, "mails", to.got(), map[string]int{"fallback@example.com": 1})
		same(t, "waits in the queue", server.Calls()["ChangeMessageVisibility"], to.tried("a@example.com")-1)
	})
}

// While the destination is away nothing is received, and nothing counts.
func TestAway(t *testing.T) {
	bubble(t, func(t *testing.T, server *sqstest.Server, to *boxes) {
		to.probing = away{}
		r := newReplica(t, server, to, nil)
		defer r.run()()
		pause(t.Context(), time.Second)
		before := server.Calls()["ReceiveMessage"]
		for i := range 30 {
			server.Send("mail", envelope(receipt(fmt.Sprintf("m%d", i), "a@example.com"), time.Now()), nil, time.Time{})
		}
		pause(t.Context(), time.Hour)
		if n := server.Calls()["ReceiveMessage"]; n > before+1 {
			t.Errorf("%d requests while the destination was away", n-before)
		}
		to.mu.Lock()
		to.probing = nil
		to.mu.Unlock()
		until(t, time.Minute, "an empty queue", func() bool { return len(server.Messages("mail")) == 0 })
		same(t, "mails", to.got(), map[string]int{"a@example.com": 30})
	})
}

// A full disk leaves messages to other replicas.
func TestSpoolFull(t *testing.T) {
	bubble(t, func(t *testing.T, server *sqstest.Server, to *boxes) {
		full := newReplica(t, server, to, func(_ *QueueConfig, o *spool.Options) {
			o.Free = func(string) (int64, error) { return 0, nil }
		})
		defer full.run()()
		for i := range 30 {
			server.Send("mail", envelope(receipt(fmt.Sprintf("m%d", i), "a@example.com"), time.Now()), nil, time.Time{})
		}
		pause(t.Context(), 5*time.Minute)
		same(t, "left", len(server.Messages("mail")), 30)
		if n := server.Calls()["ReceiveMessage"]; n > 60 {
			t.Errorf("%d requests in five minutes without a place to put anything", n)
		}
		if !strings.Contains(full.log.String(), "the spool cannot be written to") {
			t.Error("the log does not say so")
		}
		healthy := newReplica(t, server, to, nil)
		defer healthy.run()()
		until(t, 2*time.Minute, "an empty queue", func() bool { return len(server.Messages("mail")) == 0 })
		same(t, "mails", to.got(), map[string]int{"a@example.com": 30})
	})
}

// A message that is worked for long is not seen by others meanwhile.
func TestHiddenWhileWorked(t *testing.T) {
	bubble(t, func(t *testing.T, server *sqstest.Server, to *boxes) {
		to.takes = 10 * time.Minute
		first, second := newReplica(t, server, to, nil), newReplica(t, server, to, nil)
		defer first.run()()
		defer second.run()()
		for i := range 15 {
			server.Send("mail", envelope(receipt(fmt.Sprintf("m%d", i), "a@example.com"), time.Now()), nil, time.Time{})
		}
		until(t, 15*time.Minute, "an empty queue", func() bool { return len(server.Messages("mail")) == 0 })
		same(t, "mails", to.got(), map[string]int{"a@example.com": 15})
		same(t, "tries", to.tried("a@example.com"), 15)
	})
}

// What is not finished when homing stops is there for others at once.
func TestStop(t *testing.T) {
	bubble(t, func(t *testing.T, server *sqstest.Server, to *boxes) {
		to.takes = time.Hour
		r := newReplica(t, server, to, nil)
		stop := r.run()
		for i := range 15 {
			server.Send("mail", envelope(receipt(fmt.Sprintf("m%d", i), "a@example.com"), time.Now()), nil, time.Time{})
		}
		pause(t.Context(), time.Minute)
		began := time.Now()
		stop()
		if took := time.Since(began); took > 10*time.Second {
			t.Errorf("stopping took %v", took)
		}
		for _, m := range server.Messages("mail") {
			if m.Visible.After(time.Now()) {
				t.Errorf("%s is hidden for %v", m.ID, time.Until(m.Visible))
			}
		}
		same(t, "left", len(server.Messages("mail")), 15)
	})
}

// A queue that cannot be asked is asked less and less, and used again.
func TestQueueAway(t *testing.T) {
	for name, test := range map[string]struct {
		fault sqstest.Fault
		says  string
	}{
		"wrong URL":     {sqstest.Fault{Status: 400, Code: "QueueDoesNotExist"}, "check the queue's URL"},
		"no permission": {sqstest.Fault{Status: 403, Code: "AccessDeniedException"}, "allow sqs:ReceiveMessage"},
		"credentials":   {sqstest.Fault{Status: 403, Code: "InvalidClientTokenId"}, "check the AWS credentials"},
		"network":       {sqstest.Fault{}, "let this machine reach the host"},
		"server":        {sqstest.Fault{Status: 500, Code: "InternalError"}, "InternalError"},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, server *sqstest.Server, to *boxes) {
				server.Inject(func(operation string, _ sqstest.Request) *sqstest.Fault { return &test.fault })
				r := newReplica(t, server, to, nil)
				defer r.run()()
				pause(t.Context(), 10*time.Minute)
				if n := r.tally.of("error receive"); n < 12 || n > 18 {
					t.Errorf("%d requests in ten minutes", n)
				}
				log := r.log.String()
				if !strings.Contains(log, test.says) || !strings.Contains(log, server.URL("mail")) {
					t.Errorf("the log says %s", log)
				}
				server.Inject(nil)
				server.Send("mail", envelope(receipt("m1", "a@example.com"), time.Now()), nil, time.Time{})
				until(t, 2*time.Minute, "the mail", func() bool { return to.got()["a@example.com"] == 1 })
				if !strings.Contains(r.log.String(), "the queue answers again") {
					t.Error("the log does not say that the queue answers again")
				}
			})
		})
	}
}

// Each side effect fails, and fails although it happened: nothing is lost, and
// one replica doubles nothing.
func TestFaultPairs(t *testing.T) {
	for _, operation := range []string{"ReceiveMessage", "DeleteMessageBatch", "SendMessage", "ChangeMessageVisibility", "ChangeMessageVisibilityBatch"} {
		for _, fault := range []sqstest.Fault{
			{}, {Happens: true},
			{Status: 500, Code: "InternalError"}, {Status: 500, Code: "InternalError", Happens: true},
			{Status: 403, Code: "AccessDenied"}, {Status: 403, Code: "AccessDenied", Happens: true},
			{Entries: true, Code: "InternalError"}, {Entries: true, Code: "InternalError", Happens: true},
		} {
			if fault.Entries && !strings.HasSuffix(operation, "Batch") {
				continue
			}
			t.Run(fmt.Sprintf("%s %+v", operation, fault), func(t *testing.T) {
				bubble(t, func(t *testing.T, server *sqstest.Server, to *boxes) { failAndMend(t, server, to, operation, fault) })
			})
		}
	}
}

func failAndMend(t *testing.T, server *sqstest.Server, to *boxes, operation string, fault sqstest.Fault) {
	mended := time.Now().Add(5 * time.Minute)
	server.Inject(func(asked string, _ sqstest.Request) *sqstest.Fault {
		if asked == operation && time.Now().Before(mended) {
			return &fault
		}
		return nil
	})
	to.takes = 30 * time.Second // so that messages are hidden anew
	to.say(func(mailbox string) error {
		if mailbox == "b@example.com" && time.Now().Before(mended.Add(time.Minute)) {
			return reply(451)
		}
		return nil
	})
	r := newReplica(t, server, to, nil)
	defer r.run()()
	for i := range 3 {
		server.Send("mail", envelope(receipt(fmt.Sprintf("both%d", i), "a@example.com", "b@example.com"), time.Now()), nil, time.Time{})
		server.Send("mail", envelope(receipt(fmt.Sprintf("waits%d", i), "b@example.com"), time.Now()), nil, time.Time{})
	}
	until(t, 2*time.Hour, "an empty queue", func() bool { return len(server.Messages("mail")) == 0 })
	same(t, "mails", to.got(), map[string]int{"a@example.com": 3, "b@example.com": 6})
	if r.tally.of("error receive")+r.tally.of("error delete")+r.tally.of("error send")+r.tally.of("error visibility") == 0 {
		t.Error("no error was counted")
	}
}

// A redrive policy that gives up early does not get mail that waits.
func TestRedriveIsOutrun(t *testing.T) {
	bubble(t, func(t *testing.T, server *sqstest.Server, to *boxes) {
		server.Redrive("mail", "dead", 3, 24*time.Hour)
		to.say(func(string) error { return reply(451) })
		r := newReplica(t, server, to, nil)
		defer r.run()()
		pause(t.Context(), time.Second) // the limits are learnt
		server.Send("mail", envelope(receipt("m1", "a@example.com"), time.Now()), nil, time.Time{})
		pause(t.Context(), 20*time.Hour)
		same(t, "dead letters", len(server.Messages("dead")), 0)
		if len(server.Messages("mail")) != 1 || to.tried("a@example.com") < 20 {
			t.Errorf("%d messages are left after %d tries", len(server.Messages("mail")), to.tried("a@example.com"))
		}
		if !strings.Contains(r.log.String(), "maxReceiveCount=3") {
			t.Error("the log does not warn of the redrive policy")
		}
	})
}

// Two replicas share the work of one queue, and nothing is done twice.
func TestReplicas(t *testing.T) {
	bubble(t, func(t *testing.T, server *sqstest.Server, to *boxes) {
		to.takes = time.Second
		replicas := []*replica{newReplica(t, server, to, nil), newReplica(t, server, to, nil), newReplica(t, server, to, nil)}
		for _, r := range replicas {
			defer r.run()()
		}
		const many = 600
		for i := range many {
			server.Send("mail", envelope(receipt(fmt.Sprintf("m%d", i), "a@example.com"), time.Now()), nil, time.Time{})
		}
		until(t, 5*time.Minute, "an empty queue", func() bool { return len(server.Messages("mail")) == 0 })
		same(t, "mails", to.got(), map[string]int{"a@example.com": many})
		for i, r := range replicas {
			if n := r.tally.of("delivery delivered"); n < many/6 {
				t.Errorf("replica %d delivered %d of %d", i, n, many)
			}
		}
	})
}

func TestQuiet(t *testing.T) {
	bubble(t, func(t *testing.T, server *sqstest.Server, to *boxes) {
		r := newReplica(t, server, to, nil)
		began := time.Now()
		defer r.run()()
		if err := r.queue.Quiet(t.Context()); err != nil || time.Since(began) < longPoll {
			t.Errorf("quiet after %v: %v", time.Since(began), err)
		}
		same(t, "requests of an idle queue in ten minutes", idleRequests(t, server), 30)
	})
}

// A hundred messages that are refused come again every minute. They are no news,
// and the sweep, which may be all that finds their mail, does not wait for their end.
func TestQuietWhileOldMessagesComeBack(t *testing.T) {
	bubble(t, func(t *testing.T, server *sqstest.Server, to *boxes) {
		r := newReplica(t, server, to, nil)
		defer r.run()()
		for i := range 100 {
			server.Send("mail", envelope(receipt(fmt.Sprintf("m%d", i), "a@example.com"), time.Now(), func(fields map[string]string) { fields["Signature"] = "forged" }), nil, time.Time{})
			pause(t.Context(), 600*time.Millisecond)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
		defer cancel()
		before := server.Calls()["ReceiveMessage"]
		if err := r.queue.Quiet(ctx); err != nil {
			t.Errorf("not quiet after %d requests: %v", server.Calls()["ReceiveMessage"]-before, err)
		}
	})
}

// One old message alone in an answer does not show that nothing new is behind it.
func TestNotQuietAfterOneOldMessage(t *testing.T) {
	old := []*message{{receives: 2}}
	q := NewQueue(QueueConfig{})
	for _, c := range []struct {
		name   string
		answer []*message
		quiet  bool
	}{
		{"an old one", old, false},
		{"another", old, false},
		{"a new one", []*message{{receives: 3}, {receives: 1}}, false},
		{"an old one after it", old, false},
		{"another after it", old, false},
		{"a third", old, true},
		{"a fourth", old, true},
		{"as many as fit", slices.Repeat(old, batch), false},
		{"none", nil, true},
	} {
		heard := q.heard
		q.weigh(c.answer)
		select {
		case <-heard:
			same(t, c.name, true, c.quiet)
		default:
			same(t, c.name, false, c.quiet)
		}
	}
}

// One message has a second receiver listen for a while.
func TestReceiversJoin(t *testing.T) {
	bubble(t, func(t *testing.T, server *sqstest.Server, to *boxes) {
		r := newReplica(t, server, to, nil)
		defer r.run()()
		pause(t.Context(), time.Second)
		before := server.Calls()["ReceiveMessage"]
		server.Send("mail", envelope(receipt("m1", "a@example.com"), time.Now()), nil, time.Time{})
		pause(t.Context(), time.Second)
		same(t, "requests after a message", server.Calls()["ReceiveMessage"]-before, 2)
		pause(t.Context(), time.Minute)
		same(t, "requests of an idle queue in ten minutes", idleRequests(t, server), 30)
	})
}

func idleRequests(t *testing.T, server *sqstest.Server) int {
	before := server.Calls()["ReceiveMessage"]
	pause(t.Context(), 10*time.Minute)
	return server.Calls()["ReceiveMessage"] - before
}
