package system

import (
	"context"
	"testing"
	"time"

	"github.com/homing-mail/homing/internal/dovecot"
	"github.com/homing-mail/homing/internal/sqstest"
)

// nothing is left anywhere else.
func nothing() int { return 0 }

// overlapping bounds what the rule from contrib/dovecot cannot turn away: at most
// one copy too many, and one more for so many kills and cuts; none came in 1,000
// kills and 93 cuts with 2.3.19. Dovecot goes on with the messages that were in
// flight on a connection that has ended. When another connection delivers to the
// same mailbox meanwhile, its duplicate database forgets an entry, for
// lmtp_user_concurrency_limit counts a delivery a moment late.
const overlapping = 200

// Whatever fails, every acknowledged message is in its mailbox, octet for octet,
// or held with a reason: never lost, and but for the overlaps once. With replicas
// these are more, and are counted.
func TestTorture(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: it takes a minute and a half")
	}
	t.Parallel()
	for i, version := range dovecot.Versions() {
		t.Run("alone/"+string(version), func(t *testing.T) {
			t.Parallel()
			tt := newTorture(t, version, i, 1)
			if tt.disk = newSmallDisk(t); tt.disk != nil {
				tt.replicas[0].env["HOMING_STATE_DIR"] = tt.disk.dir
			}
			tt.mostlyOnce(tt.overWebhooks())
		})
		t.Run("beside another/"+string(version), func(t *testing.T) {
			t.Parallel()
			tt := newTorture(t, version, 4+i, 1)
			tt.beside = newOther(t, tt.dovecot.UnixSocket)
			tt.mostlyOnce(tt.overWebhooks())
		})
	}
	t.Run("webhook replicas", func(t *testing.T) {
		t.Parallel()
		newTorture(t, dovecot.V24, 2, 2).once((*torture).overWebhooks)
	})
	t.Run("SQS replicas", func(t *testing.T) {
		t.Parallel()
		tt := newTorture(t, dovecot.V23, 3, 3)
		tt.calm /= 2 // for at the end what a killed replica had in hand stays hidden for a minute
		tt.once((*torture).overQueue)
	})
}

// mostlyOnce checks that hardly a message came twice.
func (tt *torture) mostlyOnce(v verdict) {
	tt.t.Helper()
	if most := 1 + (tt.counts["kills"]+tt.counts["LMTP replies lost"])/overlapping; v.duplicates > most {
		tt.t.Errorf("%d deliveries were stored twice, want at most %d", v.duplicates, most)
	}
}

// once checks that no message came twice.
func (tt *torture) once(run func(*torture) verdict) {
	tt.t.Helper()
	if v := run(tt); v.duplicates > 0 {
		tt.t.Errorf("%d deliveries were stored twice", v.duplicates)
	}
}

func (tt *torture) overWebhooks() verdict {
	tt.t.Helper()
	tt.hooks = newHooks(tt.seed, len(tt.replicas))
	for i := range tt.replicas {
		tt.start(i)
	}
	a := newAnnouncer(tt.t, tt.seed, tt.s3, *tortureRate, tt.hooks.post)
	defer a.done.Wait()
	defer a.stop()
	tt.strain(a)
	v := tt.finish(a, nothing)
	tt.report(a, v)
	return v
}

func (tt *torture) overQueue() verdict {
	tt.t.Helper()
	server, err := sqstest.New("mail")
	if err != nil {
		tt.t.Fatal(err)
	}
	tt.t.Cleanup(func() {
		if err := server.Close(); err != nil {
			tt.t.Error(err)
		}
	})
	for i, r := range tt.replicas {
		r.env = r.env.with("HOMING_LISTEN", "", "HOMING_SQS_QUEUES", server.URL("mail"), "AWS_REGION", "us-east-1")
		tt.start(i)
	}
	a := newAnnouncer(tt.t, tt.seed, tt.s3, *tortureRate, func(_ context.Context, notification []byte) bool {
		server.Send("mail", string(notification), nil, time.Time{})
		return true
	})
	defer a.done.Wait()
	defer a.stop()
	bad := newBadQueue(tt.seed)
	server.Inject(bad.fault)
	tt.strain(a)
	server.Inject(nil)
	v := tt.finish(a, func() int { return len(server.Messages("mail")) })
	tt.counts["SQS faults"] = int(bad.faults.Load())
	tt.report(a, v)
	return v
}
