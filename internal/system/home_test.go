package system

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/homing-mail/homing/internal/dovecot"
	"github.com/homing-mail/homing/internal/s3test"
	"github.com/homing-mail/homing/internal/snstest"
)

const (
	bucket = "mail"
	domain = "home.test"
)

// home is a homing between its neighbours, and a hand for each of them.
type home struct {
	*daemon
	tb      testing.TB
	env     environment
	dovecot *dovecot.Server // nil where the test has no Dovecot
	s3      *s3test.Server  // nil where the test has another
}

// bare returns the environment of a homing that delivers to a destination, with
// a state directory of its own. It lacks an S3 server.
func bare(tb testing.TB, deliverTo string) environment {
	tb.Helper()
	return environment{
		"HOME":                    tb.TempDir(),
		"HTTPS_PROXY":             site.proxy,
		"SSL_CERT_FILE":           site.caFile,
		"AWS_ACCESS_KEY_ID":       "test",
		"AWS_SECRET_ACCESS_KEY":   "test",
		"HOMING_DELIVER_TO":       deliverTo,
		"HOMING_LISTEN":           "127.0.0.1:0",
		"HOMING_METRICS_LISTEN":   "127.0.0.1:0",
		"HOMING_SNS_TOPICS":       topic(),
		"HOMING_BUCKETS":          bucket,
		"HOMING_STATE_DIR":        tb.TempDir(),
		"HOMING_S3_PATH_STYLE":    "true",
		"HOMING_LOG_FORMAT":       "json",
		"HOMING_LMTP_CONNECTIONS": "4",
		"HOMING_SWEEP_INTERVAL":   "0", // faults are injected for what the test asks of S3
	}
}

func topic() string { return snstest.Topic("mail") }

// settle starts a Dovecot, an S3 server and a homing between them; pairs are
// more of its environment.
func settle(tb testing.TB, options dovecot.Options, pairs ...string) *home {
	tb.Helper()
	return settleOver(tb, "unix", options, pairs...)
}

// settleOver is settle with homing's way to Dovecot: unix or tcp.
func settleOver(tb testing.TB, network string, options dovecot.Options, pairs ...string) *home {
	tb.Helper()
	h := &home{tb: tb, dovecot: dovecot.Start(tb, options), s3: memoryS3(tb)}
	to := "lmtp:" + h.dovecot.UnixSocket
	if network == "tcp" {
		to = "lmtp://" + h.dovecot.TCPAddr
	}
	h.env = bare(tb, to).with("AWS_ENDPOINT_URL_S3", h.s3.URL()).with(pairs...)
	h.daemon = serve(tb, h.env)
	return h
}

// withoutDovecot starts a homing that delivers to Maildirs, with an S3 server:
// for what is not about delivery.
func withoutDovecot(tb testing.TB, pairs ...string) *home {
	tb.Helper()
	h := &home{tb: tb, s3: memoryS3(tb)}
	h.env = bare(tb, "maildir:"+tb.TempDir()+"/%n").with("AWS_ENDPOINT_URL_S3", h.s3.URL()).with(pairs...)
	h.daemon = serve(tb, h.env)
	return h
}

// memoryS3 starts an S3 server that ends with the test.
func memoryS3(tb testing.TB) *s3test.Server {
	tb.Helper()
	s3, err := s3test.New(bucket)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := s3.Close(); err != nil {
			tb.Error(err)
		}
	})
	return s3
}

// restart starts homing again on the same state directory.
func (h *home) restart() {
	h.tb.Helper()
	h.daemon = serve(h.tb, h.env)
}

// newID returns a message id that looks like one of SES's.
func newID() string { return strings.ToLower(rand.Text()) + "0123456789" }

// store puts a message where SES would, and returns its id.
func (h *home) store(message []byte) (id string) {
	h.tb.Helper()
	id = newID()
	if err := h.s3.Put(bucket, id, message, nil); err != nil {
		h.tb.Fatal(err)
	}
	return id
}

// notify posts a payload as a signed notification, and wants it taken.
func (h *home) notify(payload string) {
	h.tb.Helper()
	status, answer, err := h.post(payload)
	if err != nil || status != http.StatusOK {
		h.tb.Fatalf("the webhook answered %d %q, %v; want 200\n%s", status, answer, err, h.log.tail())
	}
}

func (h *home) post(payload string) (status int, answer string, err error) {
	return h.postSigned(sign(payload))
}

// sign makes an SNS notification of a payload.
func sign(payload string) []byte {
	subject := "Amazon SES Email Receipt Notification"
	return site.signer.Notification(topic(), &subject, payload, "2")
}

func (h *home) postSigned(notification []byte) (status int, answer string, err error) {
	return snstest.Post(h.tb.Context(), site.poster, "http://"+h.webhook+"/sns", notification)
}

// send stores a message and announces it with a receipt for these recipients.
func (h *home) send(message []byte, sender string, recipients ...string) (id string) {
	h.tb.Helper()
	id = h.store(message)
	h.notify(receipt(id, sender, recipients...))
	return id
}

// receipt is SES's notification of a message in the bucket.
func receipt(id, sender string, recipients ...string) string {
	return snstest.SESReceived(snstest.Receipt{MessageID: id, Sender: sender, Recipients: recipients, Bucket: bucket})
}

// item is what `homing queue list --json` says of one.
type item struct {
	Item       int64
	ID         string
	State      string
	Next       *float64 `json:"next_try_seconds"`
	Sender     string
	Recipients []string
	Attempts   int
	Reason     string
	Kind       string
	Deliveries []struct {
		Mailbox, State, Reply string
		Attempts              int
	}
}

// queue returns the items that `homing queue list` lists.
func (h *home) queue(args ...string) (items []item) {
	h.tb.Helper()
	list := h.run(append([]string{"queue", "list", "--json", "--limit", "0"}, args...)...)
	for line := range strings.Lines(list) {
		var it item
		if err := json.Unmarshal([]byte(line), &it); err != nil {
			h.tb.Fatalf("queue list printed %q: %v", line, err)
		}
		items = append(items, it)
	}
	return items
}

// run runs one of homing's commands in its environment, and wants it to succeed.
func (h *home) run(args ...string) (stdout string) {
	h.tb.Helper()
	code, stdout, stderr := command(h.tb, h.env, args...)
	if code != 0 {
		h.tb.Fatalf("homing %s ended with %d: %s", strings.Join(args, " "), code, stderr)
	}
	return stdout
}

// awaitItem waits until the queue's entry for a message is as wanted, and returns it.
func (h *home) awaitItem(id, what string, wanted func(item) bool) item {
	h.tb.Helper()
	var found item
	await(h.tb, "item "+id+" to be "+what, func() error {
		for _, it := range h.queue("--all") {
			if it.ID == id {
				found = it
			}
		}
		if found.ID == "" || !wanted(found) {
			return fmt.Errorf("it is %+v", found)
		}
		return nil
	})
	return found
}

// awaitIdle waits until nothing is left to be delivered, and wants nothing held.
func (h *home) awaitIdle() {
	h.tb.Helper()
	await(h.tb, "the queue to run empty", func() error {
		_, body, err := h.get("/metrics")
		if err != nil {
			return err
		}
		for _, state := range []string{"due", "waiting", "active", "held"} {
			if !strings.Contains(body, `homing_messages{state="`+state+`"} 0`) {
				err := fmt.Errorf("some are %s: %+v", state, h.queue())
				if state == "held" {
					return final{err}
				}
				return err
			}
		}
		return nil
	})
}

// address is a mailbox's address.
func address(local string) string { return local + "@" + domain }

// versions runs a test over each version of Dovecot.
func versions(t *testing.T, test func(t *testing.T, version dovecot.Version)) {
	t.Helper()
	t.Parallel()
	for _, version := range dovecot.Versions() {
		t.Run(string(version), func(t *testing.T) {
			t.Parallel()
			test(t, version)
		})
	}
}
