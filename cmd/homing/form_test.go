package main

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"net/mail"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp/armor"

	"github.com/homing-mail/homing/fetcher/pgp"
	"github.com/homing-mail/homing/form"
	"github.com/homing-mail/homing/metrics"
	"github.com/homing-mail/homing/spool"
)

const formText = "Content-Type: text/plain; charset=utf-8\r\n\r\nGr\u00fc\u00dfe, sagt ein Besucher.\r\n"

// sealed encrypts and armors a text to a key.
func sealed(t *testing.T, public []byte, text string) []byte {
	t.Helper()
	to, err := pgp.ReadRecipients(public)
	if err != nil {
		t.Fatal(err)
	}
	octets, err := to.Encrypt([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	w, err := armor.Encode(&b, "PGP MESSAGE", nil)
	if err != nil {
		t.Fatal(err)
	}
	_, err = w.Write(octets)
	if err != nil || w.Close() != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// submit posts a message as the edge worker does.
func (r *rig) submit(nonce int, body []byte) (status int, answer map[string]string) {
	r.t.Helper()
	req, err := http.NewRequestWithContext(r.t.Context(), http.MethodPost, "http://"+r.app.webhookAddress()+"/form", bytes.NewReader(body))
	if err != nil {
		r.t.Fatal(err)
	}
	sum, seconds, name := sha256.Sum256(body), strconv.FormatInt(time.Now().Unix(), 10), fmt.Sprintf("%032x", nonce)
	mac := hmac.New(sha256.New, []byte(testSecret))
	io.WriteString(mac, "v1\n"+seconds+"\n"+name+"\n"+hex.EncodeToString(sum[:]))
	for header, value := range map[string]string{"Content-Type": "application/pgp-encrypted", "X-Homing-Timestamp": seconds,
		"X-Homing-Nonce": name, "X-Homing-Signature": "v1=" + hex.EncodeToString(mac.Sum(nil))} {
		req.Header.Set(header, value)
	}
	response, err := r.client.Do(req)
	if err != nil {
		r.t.Fatal(err)
	}
	defer response.Body.Close()
	if err := json.NewDecoder(response.Body).Decode(&answer); err != nil {
		r.t.Fatal(err)
	}
	return response.StatusCode, answer
}

// decrypted returns what is encrypted in a mail made as RFC 3156 says.
func decrypted(t *testing.T, keys *pgp.Keys, message string) string {
	t.Helper()
	m, err := mail.ReadMessage(strings.NewReader(message))
	if err != nil {
		t.Fatal(err)
	}
	kind, params, err := mime.ParseMediaType(m.Header.Get("Content-Type"))
	if err != nil || kind != "multipart/encrypted" || params["protocol"] != "application/pgp-encrypted" {
		t.Fatal(kind, params, err)
	}
	parts := multipart.NewReader(m.Body, params["boundary"])
	control, err := parts.NextPart()
	if err != nil || control.Header.Get("Content-Type") != "application/pgp-encrypted" {
		t.Fatal(control, err)
	}
	content, err := parts.NextPart()
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(content)
	if err != nil {
		t.Fatal(err)
	}
	plain, err := keys.Decrypt(text, 1<<20, nil)
	if err != nil {
		t.Fatal(err)
	}
	return string(plain)
}

// TestFormToMaildir: a message of the form comes beside other mail, which rules
// map and the form's not.
func TestFormToMaildir(t *testing.T) {
	pair, err := pgp.Generate("me", "me@example.com", "")
	if err != nil {
		t.Fatal(err)
	}
	keys, err := pgp.ReadKeys(pair.Secret, "")
	if err != nil {
		t.Fatal(err)
	}
	r := newRig(t)
	r.start("HOMING_FORM_PATH=/form", "HOMING_FORM_SECRET="+testSecret, "HOMING_FORM_KEY="+string(pair.Public),
		"HOMING_FORM_MAILBOX=me@example.com", "HOMING_FORM_FROM=form@example.com", "HOMING_RECIPIENTS=*=alice@example.com")
	status, answer := r.submit(1, sealed(t, pair.Public, formText))
	if status != http.StatusAccepted {
		t.Fatalf("answered %d %v", status, answer)
	}
	r.awaitState(answer["id"], spool.Done)
	r.notify(inline("m1", testMail, testAddress))
	r.awaitState("m1", spool.Done)
	box := r.box("me@example.com")
	if len(box) != 1 || len(r.box(testAddress)) != 1 {
		t.Fatalf("the mailbox has %q", box)
	}
	if !strings.HasPrefix(box[0], "Return-Path: <form@example.com>\r\nDelivered-To: me@example.com\r\nX-Homing-Id: ") {
		t.Errorf("the mail begins %.300s", box[0])
	}
	if got := decrypted(t, keys, box[0]); got != formText {
		t.Errorf("the message is %q", got)
	}
	other, err := pgp.Generate("other", "other@example.com", "")
	if err != nil {
		t.Fatal(err)
	}
	if status, answer := r.submit(2, sealed(t, other.Public, formText)); status != http.StatusBadRequest || answer["error"] != "wrong_key" {
		t.Errorf("another key is answered %d %v", status, answer)
	}
	samples := r.samples()
	for series, want := range map[string]float64{
		`homing_notifications_total{kind="form",result="accepted",source="form"}`: 1,
		`homing_notifications_total{kind="none",result="refused",source="form"}`:  1,
		`homing_form_requests_total{result="accepted"}`:                           1,
		`homing_form_requests_total{result="wrong_key"}`:                          1,
		`homing_deliveries_total{result="delivered"}`:                             2,
	} {
		if samples[series] != want {
			t.Errorf("%s is %v, want %v", series, samples[series], want)
		}
	}
	if strings.Contains(r.log.String(), "Besucher") || strings.Contains(r.log.String(), "PGP MESSAGE") {
		t.Error("the log has a message's content")
	}
}

// TestFormAlone: without anything of AWS, whose region nobody has set.
func TestFormWithoutAWS(t *testing.T) {
	for _, name := range []string{"AWS_REGION", "AWS_DEFAULT_REGION", "AWS_ACCESS_KEY_ID", "AWS_PROFILE"} {
		t.Setenv(name, "")
	}
	t.Setenv("HOME", t.TempDir())
	r := newRig(t)
	r.bucket = nil
	pair, err := pgp.Generate("me", "me@example.com", "")
	if err != nil {
		t.Fatal(err)
	}
	environ := []string{"HOMING_BUCKETS=", "HOMING_SNS_TOPICS=", "HOMING_SWEEP_INTERVAL=15m", "HOMING_FORM_PATH=/form",
		"HOMING_FORM_SECRET=" + testSecret, "HOMING_FORM_KEY=" + string(pair.Public), "HOMING_FORM_MAILBOX=me@example.com"}
	r.start(environ...)
	status, answer := r.submit(1, sealed(t, pair.Public, formText))
	if status != http.StatusAccepted {
		t.Fatalf("answered %d %v", status, answer)
	}
	r.awaitState(answer["id"], spool.Done)
	if code, _ := r.post([]byte("{}")); code != http.StatusNotFound {
		t.Errorf("the webhook answers %d without a topic", code)
	}
	lines, err := tried(t, neighbours{}, r.checkVariables(environ...)...)
	if err != nil {
		t.Errorf("%v\n%s", err, lines)
	}
	wantWell(t, lines.one(t, "form"), "encrypted to "+pair.Subkey+", for me@example.com")
	wantWell(t, lines.one(t, "webhook"), "taken by a homing that runs")
	if aws := append(lines.find("aws credentials"), lines.find("clock")...); len(aws) != 0 {
		t.Errorf("AWS was asked:\n%s", aws)
	}
}

// TestFormCodesAreCounted: each code of an error has a series of its own.
func TestFormCodesAreCounted(t *testing.T) {
	for _, row := range metrics.New("").Table() {
		if row.Name != "homing_form_requests_total" {
			continue
		}
		for _, code := range form.Codes() {
			if !strings.Contains(row.Labels[0].String(), "|"+code+"|") {
				t.Errorf("no series for %q in %s", code, row.Labels[0])
			}
		}
		return
	}
	t.Error("there is no such metric")
}
