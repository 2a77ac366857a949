package webhook

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/homing-mail/homing/internal/slowpost"
	"github.com/homing-mail/homing/internal/snstest"
	"github.com/homing-mail/homing/notice"
)

// inbox is an Intake that keeps what it takes, unless it is told to fail.
type inbox struct {
	mu    sync.Mutex
	taken []*notice.Envelope
	err   error
}

func (in *inbox) Take(_ context.Context, source string, e *notice.Envelope) error {
	in.mu.Lock()
	defer in.mu.Unlock()
	if source != "webhook" {
		return errors.New("a foreign source: " + source)
	}
	if in.err == nil {
		in.taken = append(in.taken, e)
	}
	return in.err
}

// tally is an Observer.
type tally struct {
	mu       sync.Mutex
	codes    map[int]int
	failures map[string]int
	kinds    map[string]int
}

func (t *tally) WebhookRequest(code int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.codes[code]++
}

func (t *tally) SignatureFailure(reason string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.failures[reason]++
}

func (t *tally) Notification(_, kind, result string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.kinds[kind+" "+result]++
}

// rig is a webhook in front of a real verifier and an SNS of our own.
type rig struct {
	sns    *snstest.Signer
	inbox  *inbox
	tally  *tally
	config Config
	topic  string
	server *httptest.Server
}

func newRig(t *testing.T, change func(*Config)) *rig {
	t.Helper()
	sns, err := snstest.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(sns.Close)
	r := &rig{sns: sns, inbox: &inbox{}, topic: snstest.Topic("mail"),
		tally: &tally{codes: map[int]int{}, failures: map[string]int{}, kinds: map[string]int{}}}
	r.config = Config{
		Path: "/sns", Topics: []string{r.topic}, Confirm: true, Intake: r.inbox, Observer: r.tally,
		Verifier: notice.NewVerifier(notice.VerifierConfig{Transport: sns.Transport()}),
		Log:      slog.New(slog.NewTextHandler(t.Output(), nil)),
	}
	if change != nil {
		change(&r.config)
	}
	r.server = httptest.NewServer(New(r.config))
	t.Cleanup(r.server.Close)
	return r
}

// request posts a body with the headers that SNS would send, changed by edit.
func (r *rig) request(t *testing.T, method, path string, body []byte, edit func(http.Header)) (int, string, http.Header) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, r.server.URL+path, strings.NewReader(string(body)))
	if err != nil {
		t.Fatal(err)
	}
	request.Header = snstest.Header(body)
	if edit != nil {
		edit(request.Header)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(text), response.Header
}

func (r *rig) post(t *testing.T, body []byte) (int, string) {
	t.Helper()
	code, text, _ := r.request(t, http.MethodPost, "/sns", body, nil)
	if strings.Count(text, "\n") != 1 || len(text) < 5 {
		t.Errorf("the answer is not one line: %q", text)
	}
	return code, text
}

func TestTakesWhatIsGenuine(t *testing.T) {
	r := newRig(t, nil)
	subject := "Amazon SES Email Receipt Notification"
	for _, version := range []string{"1", "2"} {
		for _, s := range []*string{nil, &subject} {
			if code, text := r.post(t, r.sns.Notification(r.topic, s, "hello "+version, version)); code != http.StatusOK {
				t.Errorf("version %s: %d %s", version, code, text)
			}
		}
	}
	if len(r.inbox.taken) != 4 || r.inbox.taken[0].Message != "hello 1" || r.sns.CertFetches() != 1 {
		t.Errorf("taken %d, with %d certificate fetches", len(r.inbox.taken), r.sns.CertFetches())
	}
}

func TestRefusals(t *testing.T) {
	r := newRig(t, nil)
	genuine := r.sns.Notification(r.topic, nil, "hello", "2")
	tampered := []byte(strings.Replace(string(genuine), "hello", "hellO", 1))
	set := func(name, value string) func(http.Header) {
		return func(h http.Header) { h.Set(name, value) }
	}
	for name, c := range map[string]struct {
		method, path string
		body         []byte
		edit         func(http.Header)
		code         int
		says, reason string
	}{
		"another path":        {"POST", "/", genuine, nil, 404, "HOMING_WEBHOOK_PATH", ""},
		"GET":                 {"GET", "/sns", nil, nil, 405, "posts", ""},
		"not JSON":            {"POST", "/sns", []byte("hello"), nil, 400, "not JSON", ""},
		"empty":               {"POST", "/sns", nil, nil, 400, "not JSON", ""},
		"raw delivery":        {"POST", "/sns", []byte(`{"notificationType":"Received"}`), set("x-amz-sns-rawdelivery", "true"), 400, "raw message delivery", ""},
		"raw, header missing": {"POST", "/sns", []byte(`{"notificationType":"Received"}`), nil, 400, "raw message delivery", ""},
		"too large":           {"POST", "/sns", []byte(`{"x":"` + strings.Repeat("x", 1<<20) + `"}`), nil, 413, "1 MiB", ""},
		"tampered":            {"POST", "/sns", tampered, nil, 403, "signature", "signature"},
		"foreign topic":       {"POST", "/sns", r.sns.Notification(snstest.Topic("other"), nil, "x", "2"), nil, 403, "HOMING_SNS_TOPICS", "topic"},
		"type contradicted":   {"POST", "/sns", genuine, set("x-amz-sns-message-type", "SubscriptionConfirmation"), 403, "contradicts", "header"},
		"id contradicted":     {"POST", "/sns", genuine, set("x-amz-sns-message-id", "other"), 403, "contradicts", "header"},
		"topic contradicted":  {"POST", "/sns", genuine, set("x-amz-sns-topic-arn", "other"), 403, "contradicts", "header"},
		"header twice":        {"POST", "/sns", genuine, func(h http.Header) { h.Add("x-amz-sns-message-id", "other") }, 403, "contradicts", "header"},
		"foreign certificate": {"POST", "/sns", r.sns.Notification(r.topic, nil, "x", "2", snstest.After(func(f snstest.Fields) {
			f["SigningCertURL"] = "https://sns.us-east-1.amazonaws.com.evil.test/SimpleNotificationService-aa.pem"
		})), nil, 403, "", "host"},
		"no signature version": {"POST", "/sns", r.sns.Notification(r.topic, nil, "x", "2", snstest.After(func(f snstest.Fields) { f["SignatureVersion"] = "3" })), nil, 403, "", "version"},
	} {
		t.Run(name, func(t *testing.T) {
			before := r.tally.failures[c.reason]
			code, text, header := r.request(t, c.method, c.path, c.body, c.edit)
			if code != c.code || !strings.Contains(text, c.says) {
				t.Errorf("%d %q, want %d and %q", code, text, c.code, c.says)
			}
			if c.reason != "" && r.tally.failures[c.reason] != before+1 {
				t.Errorf("the reason %q was not counted: %v", c.reason, r.tally.failures)
			}
			if c.code == 405 && header.Get("Allow") != "POST" {
				t.Errorf("Allow: %q", header.Get("Allow"))
			}
		})
	}
	if len(r.inbox.taken) != 0 {
		t.Errorf("%d were taken", len(r.inbox.taken))
	}
}

// The 200 leaves only after the intake has returned: "failed" here, and "failed,
// but it happened" in the spool's own tests.
func TestNothingIsAcknowledgedThatWasNotTaken(t *testing.T) {
	r := newRig(t, nil)
	r.inbox.err = errors.New("disk full")
	code, text, header := r.request(t, "POST", "/sns", r.sns.Notification(r.topic, nil, "x", "2"), nil)
	if code != 503 || header.Get("Retry-After") == "" || strings.Contains(text, "disk") {
		t.Errorf("%d %q, Retry-After %q", code, text, header.Get("Retry-After"))
	}
}

func TestCertificateOutOfReachIs503(t *testing.T) {
	r := newRig(t, nil)
	r.sns.FailCertificate(snstest.Fault{Status: 500})
	code, _, header := r.request(t, "POST", "/sns", r.sns.Notification(r.topic, nil, "x", "2"), nil)
	if code != 503 || header.Get("Retry-After") == "" || r.tally.failures["unavailable"] != 1 {
		t.Errorf("%d, %v", code, r.tally.failures)
	}
}

func TestSubscriptions(t *testing.T) {
	r := newRig(t, nil)
	if code, text := r.post(t, r.sns.SubscriptionConfirmation(r.topic, "1")); code != 200 || !strings.Contains(text, "confirmed") {
		t.Errorf("%d %s", code, text)
	}
	if n := len(r.sns.Confirmed()); n != 1 {
		t.Errorf("%d confirmations", n)
	}
	if code, _ := r.post(t, r.sns.SubscriptionConfirmation(snstest.Topic("other"), "2")); code != 403 {
		t.Errorf("a foreign topic's: %d", code)
	}
	if code, _ := r.post(t, r.sns.UnsubscribeConfirmation(r.topic, "2")); code != 200 {
		t.Errorf("unsubscribe: %d", code)
	}
	r.sns.FailConfirmation(snstest.Fault{Status: 500})
	if code, _ := r.post(t, r.sns.SubscriptionConfirmation(r.topic, "2")); code != 503 {
		t.Errorf("a confirmation that fails: %d", code)
	}
	for kind, want := range map[string]int{"confirmation accepted": 1, "confirmation failed": 1, "unsubscribe ignored": 1} {
		if r.tally.kinds[kind] != want {
			t.Errorf("%s counted %d times", kind, r.tally.kinds[kind])
		}
	}
}

func TestConfirmationIsLeftToAPerson(t *testing.T) {
	r := newRig(t, func(c *Config) { c.Confirm = false })
	if code, text := r.post(t, r.sns.SubscriptionConfirmation(r.topic, "2")); code != 200 || !strings.Contains(text, "HOMING_SNS_CONFIRM") {
		t.Errorf("%d %s", code, text)
	}
	if n := len(r.sns.Confirmed()); n != 0 {
		t.Errorf("%d confirmations", n)
	}
}

// Bodies that promise much and bring little do not shut SNS out; those that bring
// much hold no more memory than they may, and others are asked to come back.
func TestBodiesWithoutEndAreBounded(t *testing.T) {
	r := newRig(t, nil)
	handler := New(r.config)
	var stalled sync.WaitGroup
	var ends []*io.PipeWriter
	stall := func(length int64, octets int) {
		body, end := io.Pipe()
		ends = append(ends, end)
		request := httptest.NewRequestWithContext(t.Context(), "POST", "/sns", body)
		request.ContentLength = length
		stalled.Go(func() {
			handler.ServeHTTP(httptest.NewRecorder(), request)
			body.Close() // nobody reads on
		})
		if _, err := end.Write(make([]byte, octets)); err != nil { // they are being read
			t.Fatal(err)
		}
	}
	for range 2 * maxMemory / maxBody {
		stall(maxBody, 1)
		stall(-1, 1)
	}
	little := httptest.NewRecorder()
	first := r.sns.Notification(r.topic, nil, "x", "2")
	handler.ServeHTTP(little, httptest.NewRequestWithContext(t.Context(), "POST", "/sns", strings.NewReader(string(first))))
	if little.Code != 200 {
		t.Errorf("beside those that bring little: %d %s", little.Code, little.Body)
	}
	for range maxMemory/maxBody - 1 {
		stall(-1, maxBody-1)
	}
	for range maxBody/4096 - len(ends) + maxMemory/maxBody - 1 { // what is left of it
		stall(maxBody, 1)
	}
	w := httptest.NewRecorder()
	body := r.sns.Notification(r.topic, nil, "x", "2")
	handler.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), "POST", "/sns", strings.NewReader(string(body))))
	if w.Code != 503 || w.Header().Get("Retry-After") == "" {
		t.Errorf("one more: %d", w.Code)
	}
	for _, end := range ends {
		end.Close()
	}
	stalled.Wait()
	w = httptest.NewRecorder()
	handler.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), "POST", "/sns", strings.NewReader(string(body))))
	if w.Code != 200 {
		t.Errorf("afterwards: %d %s", w.Code, w.Body)
	}
}

// Whoever sends an octet now and then is not waited for.
func TestSlowBodyIsCutOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		handler := New(Config{Path: "/sns", Log: slog.New(slog.DiscardHandler), Observer: &tally{codes: map[int]int{}, kinds: map[string]int{}}})
		status, after := slowpost.Post(t, handler, "/sns", http.Header{})
		if status != 503 || after != bodyTime {
			t.Errorf("answered %d after %v, want 503 after %v", status, after, bodyTime)
		}
	})
}

// Half a body is none, even if it could be read as one: whoever was cut off is to
// come again.
func TestBodyCutOff(t *testing.T) {
	r := newRig(t, nil)
	body := string(r.sns.Notification(r.topic, nil, "x", "2"))
	for _, rest := range []string{
		fmt.Sprintf("Content-Length: %d\r\n\r\n%s", len(body)+1, body),
		fmt.Sprintf("Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n", len(body), body),
	} {
		conn, err := net.Dial("tcp", r.server.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if _, err := io.WriteString(conn, "POST /sns HTTP/1.1\r\nHost: x\r\n"+rest); err != nil {
			t.Fatal(err)
		}
		if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
			t.Fatal(err)
		}
		response, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatal(err)
		}
		if response.Body.Close(); response.StatusCode != http.StatusServiceUnavailable || len(r.inbox.taken) != 0 {
			t.Errorf("%.30q: %d, %d taken", rest, response.StatusCode, len(r.inbox.taken))
		}
	}
}

// A sender that hangs up does not undo what it has sent whole.
func TestSenderThatHangsUp(t *testing.T) {
	r := newRig(t, nil)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	body := r.sns.Notification(r.topic, nil, "x", "2")
	request := httptest.NewRequestWithContext(ctx, "POST", "/sns", strings.NewReader(string(body)))
	w := httptest.NewRecorder()
	New(r.config).ServeHTTP(w, request)
	if w.Code != 200 || len(r.inbox.taken) != 1 {
		t.Errorf("%d, %d taken", w.Code, len(r.inbox.taken))
	}
}
