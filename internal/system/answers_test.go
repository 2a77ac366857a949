package system

import (
	"bytes"
	"cmp"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/homing-mail/homing/internal/snstest"
)

// Each kind of post is answered as SNS understands it: 200 when it is safe, 4xx
// when it will never become right, 5xx when SNS is to come again.
func TestAnswers(t *testing.T) {
	t.Parallel()
	h := withoutDovecot(t)
	id := h.store(letter("answered"))
	genuine := receipt(id, "ann@far.test", address("alice"))
	subject := "Amazon SES Email Receipt Notification"
	stranger, err := snstest.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stranger.Close)
	bounce := `{"notificationType":"Bounce","bounce":{},"mail":{"messageId":"x"}}`
	for _, c := range []struct {
		name   string
		body   []byte
		header []string
		code   int
		says   string // part of the answer
	}{
		{"version 2", site.signer.Notification(topic(), &subject, genuine, "2"), nil, 200, "taken"},
		{"repeated", site.signer.Notification(topic(), &subject, genuine, "2"), nil, 200, "taken"},
		{"version 1", site.signer.Notification(topic(), nil, genuine, "1"), nil, 200, "taken"},
		{"not mail", sign(bounce), nil, 200, ""},
		{"plain text", sign("Successfully validated SNS topic for Amazon SES event publishing."), nil, 200, ""},
		{"unknown JSON", sign(`{"never": "seen"}`), nil, 200, ""},
		{"changed after signing", site.signer.Notification(topic(), nil, genuine, "2", snstest.After(func(f snstest.Fields) {
			f["Message"] = strings.ReplaceAll(f["Message"].(string), "alice", "mallory")
		})), nil, 403, "signature"},
		{"signed by a stranger", stranger.Notification(topic(), nil, genuine, "2"), nil, 503, ""}, // SNS does not know the certificate
		{"another's certificate", site.signer.Notification(topic(), nil, genuine, "2", snstest.Before(func(f snstest.Fields) {
			f["SigningCertURL"] = "https://sns.us-east-1.amazonaws.com.evil.test/SimpleNotificationService-0.pem"
		})), nil, 403, ""},
		{"another topic", site.signer.Notification(snstest.Topic("other"), nil, genuine, "2"), nil, 403, "HOMING_SNS_TOPICS"},
		{"header contradicts", sign(genuine), []string{"x-amz-sns-topic-arn", snstest.Topic("other")}, 403, "x-amz-sns-topic-arn"},
		{"raw delivery", []byte(genuine), []string{"x-amz-sns-rawdelivery", "true"}, 400, "raw message delivery"},
		{"not JSON", []byte("hello"), nil, 400, ""},
		{"JSON of another kind", []byte(`{"a": 1}`), nil, 400, ""},
		{"nested too deeply", []byte(`{"Type":` + strings.Repeat("[", 1_000_000)), nil, 400, ""},
		{"nested too deeply inside", sign(strings.Repeat(`{"Records":[`, 60_000)), nil, 200, ""},
		{"a number without end", []byte(`{"Type":1` + strings.Repeat("0", 1_000_000) + "}"), nil, 400, ""},
		{"too large", bytes.Repeat([]byte(" "), 1<<20+1), nil, 413, ""},
		{"confirmation", site.signer.SubscriptionConfirmation(topic(), "2"), nil, 200, "confirmed"},
		{"farewell", site.signer.UnsubscribeConfirmation(topic(), "1"), nil, 200, ""},
	} {
		code, answer := h.postWith(c.body, c.header...)
		if code != c.code || !strings.Contains(answer, c.says) || strings.Count(answer, "\n") != 1 {
			t.Errorf("%s is answered %d %q, want %d and one line that says %q", c.name, code, answer, c.code, c.says)
		}
	}
	if status, _, err := (&daemon{metrics: h.webhook}).get("/sns"); status != http.StatusMethodNotAllowed || err != nil {
		t.Errorf("GET is answered %d, %v; want 405", status, err)
	}
	// Other tests share the signer.
	if !slices.ContainsFunc(site.signer.Confirmed(), func(query url.Values) bool { return query.Get("TopicArn") == topic() }) {
		t.Error("the subscription was not confirmed with SNS")
	}
	h.awaitItem(id, "done", func(it item) bool { return it.State == "done" })
	items := h.queue("--all")
	slices.SortFunc(items, func(a, b item) int { return cmp.Or(strings.Compare(a.Kind, b.Kind), int(a.Item-b.Item)) })
	if len(items) != 3 || items[0].Kind != "ses_s3" || items[1].Kind != "unknown" || items[1].State != "held" || items[2].State != "held" {
		t.Fatalf("the queue has %+v, want one message and the two unknown held", items)
	}
	if shown := h.run("queue", "show", items[1].ID); !strings.Contains(shown, `{"never": "seen"}`) {
		t.Errorf("`homing queue show` does not show what came: %s", shown)
	}
}

// postWith posts with other headers than SNS sends: name, value, name, value.
func (h *home) postWith(body []byte, header ...string) (status int, answer string) {
	h.tb.Helper()
	req, err := http.NewRequestWithContext(h.tb.Context(), http.MethodPost, "http://"+h.webhook+"/sns", bytes.NewReader(body))
	if err != nil {
		h.tb.Fatal(err)
	}
	if json.Valid(body) && len(header) == 0 {
		req.Header = snstest.Header(body)
	}
	for pair := range slices.Chunk(header, 2) {
		req.Header.Set(pair[0], pair[1])
	}
	resp, err := site.poster.Do(req)
	if err != nil {
		h.tb.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		h.tb.Fatal(err)
	}
	return resp.StatusCode, string(text)
}
