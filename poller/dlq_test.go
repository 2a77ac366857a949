package poller

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/homing-mail/homing/internal/snstest"
	"github.com/homing-mail/homing/internal/sqstest"
	"github.com/homing-mail/homing/spool"
)

// letters adds a reader of the queue "dead" to a replica, and runs both.
func (r *replica) letters(server *sqstest.Server, change func(*DeadLettersConfig)) (letters *DeadLetters, stop func()) {
	c := DeadLettersConfig{Client: server.Client(), URL: server.URL("dead"), Trust: r.queue.Trust, Intake: r.queue.config.Intake,
		Spool: r.spool, Report: true, Observer: r.tally, Log: slog.New(slog.NewTextHandler(r.log, nil))}
	if change != nil {
		change(&c)
	}
	ctx, cancel := context.WithCancel(r.t.Context())
	var reading sync.WaitGroup
	letters = NewDeadLetters(c)
	reading.Go(func() { letters.Run(ctx) })
	end := r.run()
	return letters, func() {
		cancel()
		reading.Wait()
		end()
	}
}

func TestDeadLetters(t *testing.T) {
	bubble(t, func(t *testing.T, server *sqstest.Server, to *boxes) {
		began := time.Now()
		published := began.Add(-3 * time.Hour)
		why := map[string]string{"RequestID": "1", "ErrorCode": "503", "ErrorMessage": "Service Unavailable"}
		for i := range 25 {
			server.Send("dead", envelope(receipt(fmt.Sprintf("m%d", i), "a@example.com"), published.Add(time.Duration(i)*time.Minute)), why, time.Time{})
		}
		part := partOf(envelope(receipt("part", "a@example.com", "b@example.com"), began), "b@example.com")
		server.Send("dead", part, nil, time.Time{})
		server.Send("dead", envelope(snstest.S3TestEvent("mail"), began), nil, time.Time{})
		server.Send("dead", "not JSON", nil, time.Time{})
		r := newReplica(t, server, to, nil)
		letters, stop := r.letters(server, nil)
		defer stop()
		if err := letters.Quiet(t.Context()); err != nil || len(server.Messages("dead")) != 1 {
			t.Errorf("quiet with %d messages, %v", len(server.Messages("dead")), err)
		}
		until(t, time.Minute, "what cannot be read alone", func() bool { return len(server.Messages("dead")) == 1 })
		same(t, "left", server.Messages("dead")[0].Body, "not JSON")
		until(t, time.Minute, "the mails", func() bool { return to.got()["a@example.com"] == 25 && to.got()["b@example.com"] == 1 })
		same(t, "counted", fmt.Sprint(r.tally.of("dlq ses_s3 accepted"), r.tally.of("dlq s3_test ignored"), r.tally.of("dead recovered"), r.tally.of("dead left")), "26 1 27 1")
		if log := r.log.String(); !strings.Contains(log, "a message is left in the dead-letter queue until") || strings.Contains(log, "redrive") {
			t.Errorf("the log says %s", log)
		}

		d, err := r.spool.Recoveries(t.Context(), 10)
		if err != nil {
			t.Fatal(err)
		}
		same(t, "digest", fmt.Sprint(d.Total, d.Waiting, len(d.Items), d.Published.Equal(published)), "26 0 10 true")
		same(t, "causes", d.Causes, map[string]int64{"": 1, "ErrorCode 503, ErrorMessage Service Unavailable": 25})

		// Later ones are found too, and the one that is left is looked at again.
		pause(t.Context(), time.Minute)
		server.Send("dead", envelope(receipt("late", "late@example.com"), time.Now()), nil, time.Time{})
		until(t, 6*time.Minute, "a later one", func() bool { return to.got()["late@example.com"] == 1 })
		pause(t.Context(), time.Minute)
		if r.tally.of("dead left") < 2 || r.tally.of("read") < 2 {
			t.Errorf("left %d, read %d", r.tally.of("dead left"), r.tally.of("read"))
		}
	})
}

// A spool that takes nothing leaves all where it is; without a postmaster
// nothing is noted.
func TestDeadLettersStay(t *testing.T) {
	bubble(t, func(t *testing.T, server *sqstest.Server, to *boxes) {
		var mu sync.Mutex
		free := int64(0)
		r := newReplica(t, server, to, func(_ *QueueConfig, o *spool.Options) {
			o.Free = func(string) (int64, error) {
				mu.Lock()
				defer mu.Unlock()
				return free, nil
			}
		})
		for i := range 3 {
			server.Send("dead", envelope(receipt(fmt.Sprintf("m%d", i), "a@example.com"), time.Now()), nil, time.Time{})
		}
		_, stop := r.letters(server, func(c *DeadLettersConfig) { c.Report = false })
		defer stop()
		pause(t.Context(), 10*time.Minute)
		same(t, "left", len(server.Messages("dead")), 3)
		if !strings.Contains(r.log.String(), "the dead-letter queue cannot be read") || r.tally.of("dead failed") < 3 {
			t.Error("neither log nor metrics tell")
		}
		mu.Lock()
		free = 1 << 40
		mu.Unlock()
		until(t, 5*time.Minute, "the mails", func() bool { return to.got()["a@example.com"] == 3 && len(server.Messages("dead")) == 0 })
		d, err := r.spool.Recoveries(t.Context(), 10)
		if err != nil || d.Total != 0 {
			t.Errorf("noted %+v, %v", d, err)
		}
	})
}

func TestDeadLettersFaultPairs(t *testing.T) {
	for _, operation := range []string{"ReceiveMessage", "DeleteMessageBatch"} {
		for _, happens := range []bool{false, true} {
			t.Run(fmt.Sprint(operation, " happens: ", happens), func(t *testing.T) {
				bubble(t, func(t *testing.T, server *sqstest.Server, to *boxes) {
					mended := time.Now().Add(7 * time.Minute)
					server.Inject(func(asked string, r sqstest.Request) *sqstest.Fault {
						if asked == operation && strings.HasSuffix(r.QueueURL, "dead") && time.Now().Before(mended) {
							return &sqstest.Fault{Status: 500, Code: "InternalError", Happens: happens}
						}
						return nil
					})
					for i := range 12 {
						server.Send("dead", envelope(receipt(fmt.Sprintf("m%d", i), "a@example.com"), time.Now()), nil, time.Time{})
					}
					r := newReplica(t, server, to, nil)
					_, stop := r.letters(server, nil)
					defer stop()
					until(t, time.Hour, "an empty queue", func() bool { return len(server.Messages("dead")) == 0 })
					until(t, time.Minute, "the mails", func() bool { return to.got()["a@example.com"] == 12 })
					d, err := r.spool.Recoveries(t.Context(), 10)
					same(t, "noted", fmt.Sprint(d.Total, err), "12 <nil>")
				})
			})
		}
	}
}

func TestCause(t *testing.T) {
	for _, test := range []struct {
		attributes map[string]string
		want       string
	}{
		{nil, ""},
		{map[string]string{"ErrorMessage": "b", "ErrorCode": "a", "RequestID": "c"}, "ErrorCode a, ErrorMessage b"},
		{map[string]string{"Other": "x", "RequestID": "c"}, "Other x"},
		{map[string]string{"ErrorCode": strings.Repeat("\xff\u00e4", 300)}, "ErrorCode " + strings.Repeat("?\u00e4", 96) + "?"},
	} {
		if got := cause(&message{attributes: test.attributes}); got != test.want {
			t.Errorf("%v: got %q, want %q", test.attributes, got, test.want)
		}
	}
}
