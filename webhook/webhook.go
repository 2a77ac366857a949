// Package webhook takes what Amazon SNS posts: it verifies who speaks, hands
// genuine notifications to the intake, confirms subscriptions, and answers only
// when the mail is safe.
//
// SNS tries again after a 5xx and never after a 4xx, so 4xx is kept for what
// will never become right.
// https://docs.aws.amazon.com/sns/latest/dg/sns-message-delivery-retries.html
package webhook

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"golang.org/x/time/rate"

	"github.com/homing-mail/homing/body"
	"github.com/homing-mail/homing/notice"
)

const (
	// maxBody is four times what SNS can send.
	maxBody = 1 << 20
	// maxMemory bounds the bodies that are in memory at a time.
	maxMemory = 32 << 20
	// bodyTime is how long a body may take to arrive.
	bodyTime = 10 * time.Second
	// patience is how long one notification may take; SNS hangs up after 15 s.
	patience = 12 * time.Second
	// retryAfter is what a 503 asks the sender to wait, in seconds.
	retryAfter = "30"
	// source is the name of this way in, for metrics and the queue.
	source = "webhook"
)

// Verifier says whether an SNS message is genuine. Its errors are
// *notice.SignatureError for a forged one and *notice.UnavailableError where it
// cannot be told just now.
type Verifier interface {
	Verify(ctx context.Context, e *notice.Envelope) error
	// Confirm confirms the subscription that e offers.
	Confirm(ctx context.Context, e *notice.Envelope) error
}

// Intake takes a verified notification and returns nil when it is on disk.
type Intake interface {
	Take(ctx context.Context, source string, e *notice.Envelope) error
}

// Observer counts.
type Observer interface {
	WebhookRequest(code int)
	SignatureFailure(reason string)
	Notification(source, kind, result string)
}

// Config says what a webhook works with.
type Config struct {
	Path     string   // where SNS posts to
	Topics   []string // ARNs that may speak to us
	Confirm  bool     // confirm subscriptions of these topics
	Verifier Verifier
	Intake   Intake
	Observer Observer
	Log      *slog.Logger
}

type webhook struct {
	Config
	topics      map[string]bool
	bodies      *body.Reader
	quiet, loud rate.Sometimes
}

// New returns the handler of a webhook. It answers 404 outside its path.
func New(c Config) http.Handler {
	h := &webhook{Config: c, topics: make(map[string]bool, len(c.Topics)), bodies: body.New(maxBody, bodyTime, maxMemory)}
	h.quiet.Interval, h.loud.Interval = time.Second, time.Second
	for _, topic := range c.Topics {
		h.topics[topic] = true
	}
	return h
}

// answer is what the sender is told: a status and one line that says what to do.
type answer struct {
	code int
	text string
}

// ServeHTTP answers one request.
func (h *webhook) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a := h.handle(w, r)
	h.Observer.WebhookRequest(a.code)
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	switch a.code {
	case http.StatusServiceUnavailable:
		w.Header().Set("Retry-After", retryAfter)
	case http.StatusMethodNotAllowed:
		w.Header().Set("Allow", http.MethodPost)
	}
	if a.code >= http.StatusBadRequest {
		// To a proxy that counts otherwise what follows may be the rest of this
		// request, and its answer another's (RFC 9112 6.3).
		w.Header().Set("Connection", "close")
	}
	w.WriteHeader(a.code)
	// The sender may be gone; it then comes again, and is recognised.
	_, _ = io.WriteString(w, a.text+"\n")
}

func (h *webhook) handle(w http.ResponseWriter, r *http.Request) answer {
	switch {
	case r.URL.Path != h.Path:
		return answer{http.StatusNotFound, "nothing here: SNS posts to the path that HOMING_WEBHOOK_PATH names"}
	case r.Method != http.MethodPost:
		return answer{http.StatusMethodNotAllowed, "SNS posts to this address; other methods are not answered"}
	case strings.EqualFold(r.Header.Get("x-amz-sns-rawdelivery"), "true"):
		return h.refuse(answer{http.StatusBadRequest, rawDelivery})
	}
	octets, release, err := h.bodies.Read(w, r)
	if err != nil {
		return h.unread(err)
	}
	defer release()
	e, err := notice.ParseEnvelope(octets)
	if err != nil {
		return h.refuse(malformed(err))
	}
	// The sender hanging up must not undo what is nearly committed.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), patience)
	defer cancel()
	return h.receive(ctx, r.Header, e)
}

// unread answers a request without a proper body.
func (h *webhook) unread(err error) answer {
	switch {
	case errors.Is(err, body.ErrTooLarge):
		return h.refuse(answer{http.StatusRequestEntityTooLarge, "larger than 1 MiB, which SNS never sends"})
	case errors.Is(err, body.ErrBusy):
		return h.later("too many requests at a time: try again later", err)
	}
	return h.later("the body did not arrive whole: send it again", err)
}

const rawDelivery = "raw message delivery is on, which removes the signature: switch \"Enable raw message delivery\" off on this SNS subscription"

func malformed(err error) answer {
	if errors.Is(err, notice.ErrNotEnvelope) {
		return answer{http.StatusBadRequest, "JSON, but not an SNS message; if it comes from SNS, " + rawDelivery}
	}
	return answer{http.StatusBadRequest, "not JSON: only SNS messages are taken here"}
}

// receive answers a well-formed message, once it is known who sent it.
func (h *webhook) receive(ctx context.Context, header http.Header, e *notice.Envelope) answer {
	if name := contradiction(header, e); name != "" {
		return h.forged("header", "the header "+name+" contradicts the body")
	}
	if !h.topics[e.TopicARN] {
		return h.forged("topic", "this topic is not among HOMING_SNS_TOPICS")
	}
	err := h.Verifier.Verify(ctx, e)
	if forged, ok := errors.AsType[*notice.SignatureError](err); ok {
		return h.forged(forged.Reason, forged.Error())
	}
	if err != nil {
		h.Observer.SignatureFailure("unavailable")
		return h.later("the signature cannot be verified just now: try again later", err)
	}
	switch e.Type {
	case notice.TypeNotification:
		if err := h.Intake.Take(ctx, source, e); err != nil {
			return h.later("the notification cannot be stored just now: try again later", err)
		}
		return answer{http.StatusOK, "taken"}
	case notice.TypeSubscriptionConfirmation:
		return h.confirm(ctx, e)
	}
	h.Observer.Notification(source, "unsubscribe", "ignored")
	h.Log.Warn("a subscription was removed; mail no longer arrives by it until it is made again", "topic", e.TopicARN)
	return answer{http.StatusOK, "noted"}
}

// contradiction returns the first SNS header that says other than the body,
// which is what the signature covers.
func contradiction(header http.Header, e *notice.Envelope) string {
	for _, pair := range [...][2]string{
		{"x-amz-sns-message-type", e.Type},
		{"x-amz-sns-message-id", e.MessageID},
		{"x-amz-sns-topic-arn", e.TopicARN},
	} {
		if v := header.Values(pair[0]); len(v) > 1 || len(v) == 1 && v[0] != pair[1] {
			return pair[0]
		}
	}
	return ""
}

// confirm answers a SubscriptionConfirmation.
func (h *webhook) confirm(ctx context.Context, e *notice.Envelope) answer {
	if !h.Confirm {
		h.Observer.Notification(source, "confirmation", "ignored")
		h.Log.Warn("a subscription waits to be confirmed: open its URL, or set HOMING_SNS_CONFIRM=true and let SNS send it again",
			"topic", e.TopicARN, "url", e.SubscribeURL)
		return answer{http.StatusOK, "noted; HOMING_SNS_CONFIRM is false, so a person confirms the subscription"}
	}
	err := h.Verifier.Confirm(ctx, e)
	if forged, ok := errors.AsType[*notice.SignatureError](err); ok {
		return h.forged(forged.Reason, forged.Error())
	}
	if err != nil {
		h.Observer.Notification(source, "confirmation", "failed")
		return h.later("the subscription cannot be confirmed just now: try again later", err)
	}
	h.Observer.Notification(source, "confirmation", "accepted")
	h.Log.Info("subscription confirmed", "topic", e.TopicARN)
	return answer{http.StatusOK, "subscription confirmed"}
}

// forged refuses a message that is not from whom it claims.
func (h *webhook) forged(reason, text string) answer {
	h.Observer.SignatureFailure(reason)
	return h.refuse(answer{http.StatusForbidden, text})
}

// refuse counts what is turned away for good. Anybody can cause it, so it is
// logged only now and then.
func (h *webhook) refuse(a answer) answer {
	h.Observer.Notification(source, "none", "refused")
	h.quiet.Do(func() { h.Log.Warn("a request was refused", "code", a.code, "why", a.text) })
	return a
}

// later asks the sender to come back, and logs why.
func (h *webhook) later(text string, err error) answer {
	h.loud.Do(func() { h.Log.Error("a notification was put off; SNS sends it again", "why", text, "error", err) })
	return answer{http.StatusServiceUnavailable, text}
}
