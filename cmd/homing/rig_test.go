package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/homing-mail/homing/internal/kmstest"
	"github.com/homing-mail/homing/internal/s3test"
	"github.com/homing-mail/homing/internal/snstest"
	"github.com/homing-mail/homing/spool"
)

const (
	testBucket    = "mail"
	foreignBucket = "foreign" // there, but not configured
	testAddress   = "alice@example.com"
)

var testTopic = snstest.Topic("mail")

// transcript is what a program writes, to be read while it writes.
type transcript struct {
	mu   sync.Mutex
	text strings.Builder
}

func (tr *transcript) Write(p []byte) (int, error) {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	return tr.text.Write(p)
}

func (tr *transcript) String() string {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	return tr.text.String()
}

// lines returns what a JSON log says, a record each.
func (tr *transcript) lines(t *testing.T) (records []map[string]any) {
	t.Helper()
	for line := range strings.Lines(tr.String()) {
		record := map[string]any{}
		if err := json.Unmarshal([]byte(line), &record); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		records = append(records, record)
	}
	return records
}

// said counts the records of a JSON log with this text.
func (tr *transcript) said(t *testing.T, text string) (n int) {
	t.Helper()
	for _, record := range tr.lines(t) {
		if record[slog.MessageKey] == text {
			n++
		}
	}
	return n
}

// await waits until done says so. Nothing that comes uses the time up.
func await(t *testing.T, what string, done func() bool) {
	t.Helper()
	ticker := time.NewTicker(10 * time.Millisecond)
	defer ticker.Stop()
	end := time.After(2 * time.Minute)
	for !done() {
		select {
		case <-end:
			t.Fatal("waited in vain for " + what)
		case <-ticker.C:
		}
	}
}

// rig is a whole homing between an SNS and an S3 of its own.
type rig struct {
	t      *testing.T
	sns    *snstest.Signer
	s3     *s3test.Server
	bucket *s3.Client                  // where homing looks for messages: in s3, unless a test says otherwise
	kms    *kmstest.Server             // nil unless a test asks for it
	free   func(string) (int64, error) // bytes on the spool's disk; nil: as the system says
	state  string                      // HOMING_STATE_DIR
	mail   string                      // below it are the Maildirs
	client *http.Client

	app *app
	log *transcript // JSON, of all levels
}

func newRig(t *testing.T) *rig {
	t.Helper()
	sns, err := snstest.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(sns.Close)
	store, err := s3test.New(testBucket, foreignBucket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	return &rig{t: t, sns: sns, s3: store, bucket: store.Client(), state: t.TempDir(), mail: t.TempDir(), client: &http.Client{Transport: transport}}
}

// config is what these variables and the rig's own, which come first, ask for.
func (r *rig) config(environ ...string) *Config {
	r.t.Helper()
	cfg, err := loadConfig(append([]string{
		"HOMING_BUCKETS=" + testBucket, "HOMING_SNS_TOPICS=" + testTopic,
		"HOMING_LISTEN=127.0.0.1:0", "HOMING_METRICS_LISTEN=127.0.0.1:0",
		"HOMING_DELIVER_TO=maildir:" + r.mail + "/%d/%n", "HOMING_STATE_DIR=" + r.state,
		"HOMING_LOG_LEVEL=debug", "HOMING_LOG_FORMAT=json", "HOMING_SWEEP_INTERVAL=0",
	}, environ...))
	if err != nil {
		r.t.Fatal(err)
	}
	return cfg
}

// prepare makes the app, which listens and does not run yet.
func (r *rig) prepare(environ ...string) {
	r.t.Helper()
	cfg := r.config(environ...)
	r.log = &transcript{}
	var err error
	r.app, err = newApp(r.t.Context(), cfg, r.neighbours(), newLogger(cfg, r.log))
	if err != nil {
		r.t.Fatal(err)
	}
}

// run runs the app until stop is called, or the test ends.
func (r *rig) run() (stop func()) {
	ctx, cancel := context.WithCancel(r.t.Context())
	ended := make(chan error, 1)
	go func() { ended <- r.app.run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		r.client.CloseIdleConnections()
		if err := <-ended; err != nil {
			r.t.Errorf("homing ended with %v", err)
		}
	})
	r.t.Cleanup(stop)
	return stop
}

func (r *rig) start(environ ...string) (stop func()) {
	r.t.Helper()
	r.prepare(environ...)
	return r.run()
}

// post sends an SNS message to the webhook.
func (r *rig) post(body []byte) (code int, answer string) {
	r.t.Helper()
	code, answer, err := snstest.Post(r.t.Context(), r.client, "http://"+r.app.webhookAddress()+"/sns", body)
	if err != nil {
		r.t.Fatal(err)
	}
	return code, answer
}

// notify sends a genuine notification, which must be taken.
func (r *rig) notify(message string) {
	r.t.Helper()
	if code, answer := r.post(r.sns.Notification(testTopic, nil, message, "2")); code != http.StatusOK {
		r.t.Fatalf("answered %d %s", code, answer)
	}
}

// put stores a message.
func (r *rig) put(key, octets string) {
	r.t.Helper()
	if err := r.s3.Put(testBucket, key, []byte(octets), nil); err != nil {
		r.t.Fatal(err)
	}
}

// receipt is of a message in the bucket.
func receipt(id string, recipients ...string) snstest.Receipt {
	return snstest.Receipt{MessageID: id, Sender: "s@example.org", Recipients: recipients, Bucket: testBucket, Prefix: "in/"}
}

// inline is the notification of a message that it holds.
func inline(id, octets string, recipients ...string) string {
	return snstest.SESReceived(snstest.Receipt{MessageID: id, Sender: "s@example.org", Recipients: recipients,
		Content: []byte(octets), Encoding: "BASE64"})
}

// get asks for a page and returns the status and the text.
func (r *rig) get(address, path string) (code int, text string) {
	r.t.Helper()
	return fetch(r.t, r.client, "http://"+address+path)
}

func fetch(t *testing.T, client *http.Client, url string) (code int, text string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(body)
}

// samples reads all of homing's series from /metrics.
func (r *rig) samples() map[string]float64 {
	r.t.Helper()
	code, text := r.get(r.app.metricsAddress(), "/metrics")
	if code != http.StatusOK {
		r.t.Fatalf("/metrics: %d %s", code, text)
	}
	all := map[string]float64{}
	for line := range strings.Lines(text) {
		if !strings.HasPrefix(line, "homing_") {
			continue
		}
		line = strings.TrimSpace(line)
		space := strings.LastIndexByte(line, ' ')
		var value float64
		if _, err := fmt.Sscan(line[space+1:], &value); err != nil {
			r.t.Fatalf("%q: %v", line, err)
		}
		all[line[:space]] = value
	}
	return all
}

// box returns the messages in the Maildir of an address.
func (r *rig) box(address string) []string {
	r.t.Helper()
	local, domain, _ := strings.Cut(address, "@")
	return maildirOf(r.t, filepath.Join(r.mail, domain, local))
}

// maildirOf returns the messages in a Maildir, none where there is no such.
func maildirOf(t *testing.T, dir string) (messages []string) {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(dir, "new", "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		messages = append(messages, string(text))
	}
	return messages
}

// awaitState waits until the item with this id is in a state.
func (r *rig) awaitState(id string, state spool.State) *spool.Item {
	r.t.Helper()
	var item *spool.Item
	await(r.t, fmt.Sprintf("%s to be %s", id, state), func() bool {
		var err error
		if item, err = r.app.spool.Find(r.t.Context(), id); err != nil {
			r.t.Fatal(err)
		}
		return item.State == state
	})
	return item
}

// command runs the whole program and returns what came of it.
func command(t *testing.T, environ []string, stdin string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, err transcript
	code = run(t.Context(), args, environ, streams{strings.NewReader(stdin), &out, &err})
	return code, out.String(), err.String()
}

// queue runs a queue command on the rig's spool.
func (r *rig) queue(stdin string, args ...string) (code int, stdout, stderr string) {
	r.t.Helper()
	return command(r.t, []string{"HOMING_STATE_DIR=" + r.state}, stdin, append([]string{"queue"}, args...)...)
}
