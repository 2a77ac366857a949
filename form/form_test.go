package form

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/homing-mail/homing/internal/slowpost"
	"github.com/homing-mail/homing/spool"
)

const (
	secret  = "0123456789abcdef0123456789abcdef"
	mailbox = "me@home.test"
	from    = "form@home.test"
	keyName = "0102030405060708"
)

// key is the ID that keyName names.
var key = []byte{1, 2, 3, 4, 5, 6, 7, 8}

// sessionKey is a session key's packet for a key, in the format of RFC 9580 or
// the legacy one.
func sessionKey(id []byte, legacy bool) []byte {
	body := append(append([]byte{3}, id...), bytes.Repeat([]byte{0x5a}, 90)...)
	if legacy {
		return append([]byte{0x84, byte(len(body))}, body...)
	}
	return append([]byte{0xc1, byte(len(body))}, body...)
}

// data is an encrypted data packet.
func data(text string) []byte {
	body := append([]byte{1}, text+strings.Repeat("\xee", 60)...)
	return append([]byte{0xd2, 0xff, 0, byte(len(body) >> 16), byte(len(body) >> 8), byte(len(body))}, body...)
}

// message is a message for the expected key.
func message(text string) []byte { return append(sessionKey(key, false), data(text)...) }

// armored is a message as a browser sends it.
func armored(octets []byte) []byte {
	text := base64.StdEncoding.EncodeToString(octets)
	var b strings.Builder
	b.WriteString(beginLine + "\n\n")
	for i := 0; i < len(text); i += 60 {
		b.WriteString(text[i:min(i+60, len(text))] + "\n")
	}
	return []byte(b.String() + endLine + "\n")
}

// request is what an edge worker sends.
type request struct {
	method, nonce, kind string
	at                  time.Time
	body                []byte
	secret              string
	edit                func(http.Header)
}

func (r *rig) genuine(nonce int, body []byte) request {
	return request{method: http.MethodPost, nonce: fmt.Sprintf("%032x", nonce), kind: "application/pgp-encrypted", at: r.now(), body: body, secret: secret}
}

func (q request) sign() http.Header {
	sum := sha256.Sum256(q.body)
	seconds := strconv.FormatInt(q.at.Unix(), 10)
	mac := hmac.New(sha256.New, []byte(q.secret))
	io.WriteString(mac, "v1\n"+seconds+"\n"+q.nonce+"\n"+hex.EncodeToString(sum[:]))
	header := http.Header{}
	header.Set("Content-Type", q.kind)
	header.Set("X-Homing-Timestamp", seconds)
	header.Set("X-Homing-Nonce", q.nonce)
	header.Set("X-Homing-Signature", "v1="+hex.EncodeToString(mac.Sum(nil)))
	if q.edit != nil {
		q.edit(header)
	}
	return header
}

// tally is an Observer.
type tally struct {
	mu      sync.Mutex
	results map[string]int
}

func (t *tally) FormRequest(result string) { t.count(result) }

func (t *tally) Notification(source, kind, result string) {
	t.count(source + " " + kind + " " + result)
}

func (t *tally) count(what string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.results[what]++
}

// rig is a receiver over a real spool.
type rig struct {
	t       *testing.T
	spool   *spool.Spool
	config  Config
	handler http.Handler
	tally   *tally
	log     *bytes.Buffer

	mu   sync.Mutex
	time time.Time
}

func newRig(t *testing.T) *rig {
	t.Helper()
	r := &rig{t: t, tally: &tally{results: map[string]int{}}, log: &bytes.Buffer{}, time: time.Date(2026, 5, 4, 3, 2, 1, 0, time.UTC)}
	var err error
	r.spool, err = spool.Open(t.Context(), spool.Options{Dir: t.TempDir(), History: 30 * 24 * time.Hour, Free: func(string) (int64, error) { return 1 << 40, nil }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.spool.Close() })
	r.config = Config{
		Secret: []byte(secret), Keys: []string{keyName}, Mailbox: mailbox, From: from,
		Spool: r.spool, Observer: r.tally, Log: slog.New(slog.NewTextHandler(r.log, &slog.HandlerOptions{Level: slog.LevelDebug})), Now: r.now,
	}
	r.fresh()
	return r
}

// fresh makes the receiver anew, as a restart does.
func (r *rig) fresh() {
	r.t.Helper()
	var err error
	if r.handler, err = New(r.config); err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) now() time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.time
}

func (r *rig) pass(d time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.time = r.time.Add(d)
}

// send hands a request in and returns the answer.
func (r *rig) send(q request) (status int, content map[string]string, header http.Header) {
	r.t.Helper()
	w := httptest.NewRecorder()
	req := httptest.NewRequestWithContext(r.t.Context(), q.method, "/form", bytes.NewReader(q.body))
	req.Header = q.sign()
	r.handler.ServeHTTP(w, req)
	if err := json.Unmarshal(w.Body.Bytes(), &content); err != nil || w.Header().Get("Content-Type") != "application/json" {
		r.t.Fatalf("the answer is no JSON: %q, %v", w.Body, err)
	}
	return w.Code, content, w.Header()
}

// want sends a request that is to be answered with a status, and an error's code
// where there is one.
func (r *rig) want(q request, status int, code string) (content map[string]string, header http.Header) {
	r.t.Helper()
	got, content, header := r.send(q)
	if got != status || content["error"] != code || (code != "" && len(content["message"]) < 10) {
		r.t.Errorf("answered %d %v, want %d %q", got, content, status, code)
	}
	return content, header
}

// mails returns what waits in the spool.
func (r *rig) mails() (items []*spool.Item) {
	r.t.Helper()
	items, err := r.spool.List(r.t.Context(), spool.Filter{})
	if err != nil {
		r.t.Fatal(err)
	}
	return items
}

func (r *rig) content(item *spool.Item) string {
	r.t.Helper()
	octets, err := r.spool.Content(r.t.Context(), item.Number)
	if err != nil {
		r.t.Fatal(err)
	}
	return string(octets)
}

func TestTakesWhatIsGenuine(t *testing.T) {
	r := newRig(t)
	q := r.genuine(1, armored(message("hello")))
	content, _ := r.want(q, http.StatusAccepted, "")
	mails := r.mails()
	if len(mails) != 1 || content["status"] != "accepted" || content["id"] != mails[0].ID {
		t.Fatalf("%v, %d mails", content, len(mails))
	}
	it := mails[0]
	if it.State != spool.Pending || it.Source != "form" || it.Sender != from || !it.Direct || !it.Receipt || it.Recipients[0].Address != mailbox || !it.Inline {
		t.Errorf("the item is %+v", it)
	}
	want := strings.ReplaceAll(`From: Contact form <form@home.test>
To: <me@home.test>
Subject: Message from the contact form
Date: Mon, 04 May 2026 03:02:01 +0000
Message-ID: <form-00000000000000000000000000000001@home.test>
Auto-Submitted: auto-generated
MIME-Version: 1.0
Content-Type: multipart/encrypted; protocol="application/pgp-encrypted";
	boundary="homing-form-00000000000000000000000000000001"

This is an OpenPGP/MIME encrypted message (RFC 3156).

--homing-form-00000000000000000000000000000001
Content-Type: application/pgp-encrypted
Content-Description: PGP/MIME version identification

Version: 1

--homing-form-00000000000000000000000000000001
Content-Type: application/octet-stream; name="encrypted.asc"
Content-Description: OpenPGP encrypted message
Content-Disposition: inline; filename="encrypted.asc"

`, "\n", "\r\n") + string(appendArmor(nil, message("hello"), true)) + "\r\n--homing-form-00000000000000000000000000000001--\r\n"
	if got := r.content(it); got != want {
		t.Errorf("the mail is\n%s\nwant\n%s", got, want)
	}
	if r.tally.results["accepted"] != 1 || r.tally.results["form form accepted"] != 1 {
		t.Errorf("counted %v", r.tally.results)
	}
	if log := r.log.String(); !strings.Contains(log, it.ID) || strings.Contains(log, "PGP MESSAGE") {
		t.Errorf("logged %q", log)
	}
}

func TestMailboxWithoutDomain(t *testing.T) {
	r := newRig(t)
	r.config.Mailbox = "me"
	r.fresh()
	r.want(r.genuine(1, armored(message("hello"))), http.StatusAccepted, "")
	it := r.mails()[0]
	if it.Recipients[0].Address != "me" || !strings.Contains(r.content(it), "\r\nTo: <me@home.test>\r\n") {
		t.Errorf("for %v: %s", it.Recipients, r.content(it))
	}
}

func TestRefusals(t *testing.T) {
	r := newRig(t)
	good := armored(message("hello"))
	set := func(name, value string) func(*request) {
		return func(q *request) { q.edit = func(h http.Header) { h.Set(name, value) } }
	}
	body := func(b []byte) func(*request) { return func(q *request) { q.body = b } }
	upper := func(name string) func(*request) {
		return func(q *request) { q.edit = func(h http.Header) { h.Set(name, strings.ToUpper(h.Get(name))) } }
	}
	for name, c := range map[string]struct {
		change func(*request)
		status int
		code   string
	}{
		"GET":                   {func(q *request) { q.method = http.MethodGet }, 405, "method_not_allowed"},
		"no kind":               {set("Content-Type", ""), 400, "bad_header"},
		"another kind":          {set("Content-Type", "application/json"), 400, "bad_header"},
		"encoded":               {set("Content-Encoding", "gzip"), 400, "bad_header"},
		"no time":               {set("X-Homing-Timestamp", ""), 400, "bad_header"},
		"time in words":         {set("X-Homing-Timestamp", "now"), 400, "bad_header"},
		"negative time":         {set("X-Homing-Timestamp", "-1"), 400, "bad_header"},
		"long time":             {set("X-Homing-Timestamp", "1234567890123"), 400, "bad_header"},
		"nonce missing":         {func(q *request) { q.edit = func(h http.Header) { h.Del("X-Homing-Nonce") } }, 400, "bad_header"},
		"nonce twice":           {func(q *request) { q.edit = func(h http.Header) { h.Add("X-Homing-Nonce", q.nonce) } }, 400, "bad_header"},
		"short nonce":           {set("X-Homing-Nonce", "abc"), 400, "bad_header"},
		"upper-case nonce":      {set("X-Homing-Nonce", strings.Repeat("A", 32)), 400, "bad_header"},
		"another version":       {set("X-Homing-Signature", "v2="+strings.Repeat("0", 64)), 400, "bad_header"},
		"short signature":       {set("X-Homing-Signature", "v1=00"), 400, "bad_header"},
		"upper-case signature":  {upper("X-Homing-Signature"), 400, "bad_header"},
		"wrong signature":       {set("X-Homing-Signature", "v1="+strings.Repeat("0", 64)), 401, "bad_signature"},
		"another secret":        {func(q *request) { q.secret += "x" }, 401, "bad_signature"},
		"another time":          {func(q *request) { set("X-Homing-Timestamp", strconv.FormatInt(q.at.Unix()+1, 10))(q) }, 401, "bad_signature"},
		"another nonce":         {set("X-Homing-Nonce", strings.Repeat("0", 31)+"9"), 401, "bad_signature"},
		"too old":               {func(q *request) { q.at = q.at.Add(-window - time.Second) }, 401, "stale"},
		"too new":               {func(q *request) { q.at = q.at.Add(window + time.Second) }, 401, "stale"},
		"year one":              {func(q *request) { q.at = time.Unix(0, 0) }, 401, "stale"},
		"far future":            {func(q *request) { q.at = time.Unix(999999999999, 0) }, 401, "stale"},
		"empty":                 {body(nil), 400, "not_openpgp"},
		"plain text":            {body([]byte("hello")), 400, "not_openpgp"},
		"binary":                {body(message("hello")), 400, "not_openpgp"},
		"text before":           {body(append([]byte("hello\n"), good...)), 400, "not_openpgp"},
		"text after":            {body(append(bytes.Clone(good), "hello\n"...)), 400, "not_openpgp"},
		"two messages":          {body(append(bytes.Clone(good), good...)), 400, "not_openpgp"},
		"a key in place of one": {body([]byte("-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nmQ==\n-----END PGP PUBLIC KEY BLOCK-----\n")), 400, "not_openpgp"},
		"text before packets":   {body(armored(append([]byte("hello"), message("x")...))), 400, "not_openpgp"},
		"text after packets":    {body(armored(append(message("x"), "hello"...))), 400, "not_openpgp"},
		"data alone":            {body(armored(data("x"))), 400, "not_openpgp"},
		"no data":               {body(armored(sessionKey(key, false))), 400, "not_openpgp"},
		"another's key":         {body(armored(append(sessionKey([]byte("strangER"), false), data("x")...))), 400, "wrong_key"},
		"another's key too":     {body(armored(append(sessionKey([]byte("strangER"), false), message("x")...))), 400, "wrong_key"},
		"hidden recipient":      {body(armored(append(sessionKey(make([]byte, 8), false), data("x")...))), 400, "wrong_key"},
		"too large":             {body(bytes.Repeat([]byte("x"), maxBody+1)), 413, "too_large"},
	} {
		t.Run(name, func(t *testing.T) {
			r.t = t
			r.pass(time.Hour) // the rate is another test's matter
			q := r.genuine(1, good)
			c.change(&q)
			_, header := r.want(q, c.status, c.code)
			if c.status == 405 && header.Get("Allow") != "POST" || c.status == 401 && header.Get("WWW-Authenticate") == "" {
				t.Errorf("the header is %v", header)
			}
		})
	}
	r.t = t
	if n := len(r.mails()); n != 0 {
		t.Errorf("%d mails were taken", n)
	}
	if r.tally.results["form none refused"] == 0 || r.tally.results["form form accepted"] != 0 || r.tally.results["wrong_key"] != 3 {
		t.Errorf("counted %v", r.tally.results)
	}
}

// The armor's own lines and what else could carry text do not come through.
func TestNothingReadableComesThrough(t *testing.T) {
	r := newRig(t)
	text := string(armored(message("hello")))
	text = strings.Replace(text, "\n\n", "\nVersion: SMUGGLED 1\nComment: SMUGGLED text\n\n", 1)
	text = strings.Replace(text, endLine, "=SMUG\n"+endLine, 1)
	r.want(r.genuine(1, []byte(" \r\n"+strings.ReplaceAll(text, "\n", "\r\n")+"\r\n \n")), http.StatusAccepted, "")
	r.want(r.genuine(2, armored(message("hello"))), http.StatusAccepted, "")
	mails := r.mails()
	first, second := r.content(mails[0]), r.content(mails[1])
	if strings.Contains(first, "SMUG") || strings.ReplaceAll(first, "0000001", "0000002") != second {
		t.Errorf("the mails differ:\n%s\n%s", first, second)
	}
}

// A repetition is answered as the first time, also after a restart, an hour of
// the ledger, and the delivery; it gives no second mail. Another body does not
// pass under a known nonce.
func TestRepetitionsAndReplays(t *testing.T) {
	r := newRig(t)
	q := r.genuine(1, armored(message("hello")))
	first, _ := r.want(q, http.StatusAccepted, "")
	for name, change := range map[string]func(){
		"at once":          func() {},
		"signed anew":      func() { q.at = q.at.Add(time.Minute) },
		"after a restart":  r.fresh,
		"after its end":    func() { r.finish() },
		"after the window": func() { r.pass(20 * time.Minute); q.at = r.now() },
	} {
		change()
		if again, _ := r.want(q, http.StatusAccepted, ""); again["id"] != first["id"] {
			t.Errorf("%s it has the id %s, first it was %s", name, again["id"], first["id"])
		}
	}
	q.body = armored(message("other"))
	r.want(q, http.StatusConflict, "replay")
	r.want(r.genuine(1, armored(message("third"))), http.StatusConflict, "replay")
	if mails := r.mails(); len(mails) != 1 || r.tally.results["repeated"] != 5 || r.tally.results["replay"] != 2 {
		t.Errorf("%d mails, counted %v", len(mails), r.tally.results)
	}
}

// finish has the message delivered.
func (r *rig) finish() {
	r.t.Helper()
	items, err := r.spool.Due(r.t.Context(), spool.All, 10, 10)
	if err != nil {
		r.t.Fatal(err)
	}
	for _, it := range items {
		err := r.spool.Record(r.t.Context(), &spool.Outcome{Item: it, State: spool.Done, Settled: []string{mailbox},
			Deliveries: []spool.Delivery{{Mailbox: mailbox, State: spool.Delivered}}})
		if err != nil {
			r.t.Fatal(err)
		}
		r.spool.Release(it.Number)
	}
}

// The same request at the same time gives one mail, whoever comes first.
func TestConcurrentRepetitions(t *testing.T) {
	r := newRig(t)
	q := r.genuine(1, armored(message("hello")))
	other := r.genuine(1, armored(message("other")))
	var wg sync.WaitGroup
	statuses := make([]int, 20)
	for i := range statuses {
		wg.Go(func() {
			if i%2 == 0 {
				statuses[i], _, _ = r.send(q)
			} else {
				statuses[i], _, _ = r.send(other)
			}
		})
	}
	wg.Wait()
	counts := map[int]int{}
	for _, status := range statuses {
		counts[status]++
	}
	if counts[http.StatusAccepted] != 10 || counts[http.StatusConflict] != 10 || len(r.mails()) != 1 {
		t.Errorf("answered %v, %d mails", counts, len(r.mails()))
	}
}

func TestRate(t *testing.T) {
	r := newRig(t)
	n := 0
	for ; ; n++ {
		if status, content, header := r.send(r.genuine(n, armored(message("hello")))); status == http.StatusTooManyRequests {
			if wait, err := strconv.Atoi(header.Get("Retry-After")); err != nil || wait < 1 || wait > 6 || content["error"] != "rate_limited" {
				t.Errorf("%v, Retry-After %q", content, header.Get("Retry-After"))
			}
			break
		}
	}
	if n != burst {
		t.Errorf("%d passed at once, want %d", n, burst)
	}
	// A repetition takes no token, and what was refused may come again.
	r.want(r.genuine(0, armored(message("hello"))), http.StatusAccepted, "")
	r.pass(refill)
	r.want(r.genuine(n, armored(message("hello"))), http.StatusAccepted, "")
	r.want(r.genuine(n+1, armored(message("hello"))), http.StatusTooManyRequests, "rate_limited")
	// The largest takes most of the tokens.
	r.pass(time.Hour)
	large := armored(message(strings.Repeat("x", maxBody*7/10)))
	r.want(r.genuine(n+2, large), http.StatusAccepted, "")
	r.pass(time.Minute)
	r.want(r.genuine(n+3, large), http.StatusTooManyRequests, "rate_limited")
	r.pass(10 * time.Minute)
	r.want(r.genuine(n+3, large), http.StatusAccepted, "")
}

// A stranger's requests take no tokens from the worker.
func TestStrangersTakeNoTokens(t *testing.T) {
	r := newRig(t)
	for n := range 3 * burst {
		q := r.genuine(n, armored(message("hello")))
		q.secret = "a guess"
		r.want(q, http.StatusUnauthorized, "bad_signature")
	}
	r.want(r.genuine(1, armored(message("hello"))), http.StatusAccepted, "")
}

// broken is a Spool that fails before or after it has done its work.
type broken struct {
	*spool.Spool
	before, after, find error
}

func (b *broken) Accept(ctx context.Context, arrivals ...spool.Arrival) ([]spool.Taken, error) {
	if b.before != nil {
		return nil, b.before
	}
	taken, err := b.Spool.Accept(ctx, arrivals...)
	return taken, errors.Join(err, b.after)
}

func (b *broken) Find(ctx context.Context, name string) (*spool.Item, error) {
	if b.find != nil {
		return nil, b.find
	}
	return b.Spool.Find(ctx, name)
}

// Nothing is acknowledged that is not on disk; and what is there though the
// commit seemed to fail is there once.
func TestSpoolThatFails(t *testing.T) {
	r := newRig(t)
	spool := &broken{Spool: r.spool}
	r.config.Spool = spool
	r.fresh()
	q := r.genuine(1, armored(message("hello")))
	fails := func() {
		t.Helper()
		content, header := r.want(q, http.StatusServiceUnavailable, "unavailable")
		if header.Get("Retry-After") == "" || strings.Contains(content["message"], "disk") {
			t.Errorf("%v, Retry-After %q", content, header.Get("Retry-After"))
		}
	}
	spool.find = errors.New("the disk fails")
	fails()
	spool.find, spool.before = nil, errors.New("the disk is full")
	fails()
	spool.before, spool.after = nil, errors.New("the disk failed, but it happened")
	fails()
	spool.after = nil
	r.want(q, http.StatusAccepted, "")
	if n := len(r.mails()); n != 1 {
		t.Errorf("%d mails", n)
	}
}

// small is a Spool in which little may wait.
type small struct{ *spool.Spool }

func (s small) Accept(ctx context.Context, arrivals ...spool.Arrival) ([]spool.Taken, error) {
	for i := range arrivals {
		arrivals[i].MaxOfKind = min(arrivals[i].MaxOfKind, 2)
	}
	return s.Spool.Accept(ctx, arrivals...)
}

// Whoever passes the worker cannot fill the spool while nobody takes the mail.
func TestWaitingMessagesAreBounded(t *testing.T) {
	r := newRig(t)
	r.config.Spool = small{r.spool}
	r.fresh()
	for i := range 2 {
		r.want(r.genuine(i, armored(message("hello"))), http.StatusAccepted, "")
	}
	r.want(r.genuine(2, armored(message("hello"))), http.StatusServiceUnavailable, "unavailable")
}

// A sender that hangs up does not undo what it has sent whole.
func TestSenderThatHangsUp(t *testing.T) {
	r := newRig(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	q := r.genuine(1, armored(message("hello")))
	req := httptest.NewRequestWithContext(ctx, q.method, "/form", bytes.NewReader(q.body))
	req.Header = q.sign()
	w := httptest.NewRecorder()
	r.handler.ServeHTTP(w, req)
	if w.Code != http.StatusAccepted || len(r.mails()) != 1 {
		t.Errorf("%d, %d mails", w.Code, len(r.mails()))
	}
}

// Bodies that promise much and bring little do not shut others out; when memory
// is short others are asked to come back.
func TestBodiesAreBounded(t *testing.T) {
	r := newRig(t)
	var stalled sync.WaitGroup
	var ends []*io.PipeWriter
	stall := func(octets int) {
		body, end := io.Pipe()
		ends = append(ends, end)
		req := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/form", body)
		req.Header = r.genuine(1, nil).sign()
		stalled.Go(func() { r.handler.ServeHTTP(httptest.NewRecorder(), req) })
		if _, err := end.Write(make([]byte, octets)); err != nil {
			t.Fatal(err)
		}
	}
	for range 100 {
		stall(1)
	}
	r.want(r.genuine(1, armored(message("hello"))), http.StatusAccepted, "")
	for range maxMemory/maxBody - 1 {
		stall(maxBody - 1)
	}
	r.want(r.genuine(2, armored(message(strings.Repeat("x", maxBody*7/10)))), http.StatusServiceUnavailable, "unavailable")
	for _, end := range ends {
		end.Close()
	}
	stalled.Wait()
	r.want(r.genuine(2, armored(message(strings.Repeat("x", maxBody*7/10)))), http.StatusAccepted, "")
}

// A body that does not say how long it is, and is too long, is not read on.
func TestTooLargeWithoutLength(t *testing.T) {
	r := newRig(t)
	read := 0
	body := readerFunc(func(p []byte) (int, error) {
		read += len(p)
		return len(p), nil
	})
	req := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/form", body)
	req.Header = r.genuine(1, nil).sign()
	w := httptest.NewRecorder()
	r.handler.ServeHTTP(w, req)
	if w.Code != http.StatusRequestEntityTooLarge || read > maxBody+maxBody/8 {
		t.Errorf("answered %d, %d octets were read; want 413 after little more than %d", w.Code, read, maxBody)
	}
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// Whoever sends an octet now and then is not waited for.
func TestSlowBodyIsCutOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &rig{time: time.Now()}
		handler, err := New(Config{
			Observer: &tally{results: map[string]int{}}, Log: slog.New(slog.DiscardHandler), Now: r.now,
		})
		if err != nil {
			t.Fatal(err)
		}
		status, after := slowpost.Post(t, handler, "/form", r.genuine(1, nil).sign())
		if status != http.StatusServiceUnavailable || after != bodyTime {
			t.Errorf("answered %d after %v, want 503 after %v", status, after, bodyTime)
		}
	})
}

func TestKeysThatAreNone(t *testing.T) {
	for _, name := range []string{"", "0", "me@home.test", "0102030405060708090a"} {
		if _, err := New(Config{Keys: []string{name}}); err == nil {
			t.Errorf("%q passes for a key's ID", name)
		}
	}
}
