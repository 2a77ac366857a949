package poller

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/homing-mail/homing/notice"
	"github.com/homing-mail/homing/spool"
)

// news is what a message says, once it is known who says it.
type news struct {
	part     part // the notification, and for whom of it this message is
	envelope *notice.Envelope
	kind     notice.Kind
	arrivals []spool.Arrival
	raw      bool
}

// since is when the notification was published: from then on patience runs.
func (n *news) since() time.Time {
	if !n.raw {
		if at, err := n.envelope.Time(); err == nil {
			return at
		}
	}
	for _, a := range n.arrivals {
		if !a.Received.IsZero() {
			return a.Received
		}
	}
	return n.part.sent
}

// refusal is why a message is left where it is.
type refusal struct {
	reason string // of a signature's failure; empty: it came so far not
	text   string
}

func (r *refusal) Error() string { return r.text }

func refuse(format string, args ...any) error { return &refusal{text: fmt.Sprintf(format, args...)} }

// reader understands messages.
type reader struct {
	Trust
	intake Intake
	source string
}

// read says what a message says. A *refusal means that it never will say
// anything, any other error that this cannot be told just now.
func (r *reader) read(ctx context.Context, m *message) (*news, error) {
	p, err := openPart(m)
	if err != nil {
		return nil, err
	}
	n := &news{part: p}
	if n.envelope, err = notice.ParseEnvelope([]byte(p.notification)); err == nil {
		err = r.verify(ctx, n.envelope)
	} else {
		err = r.takeRaw(n, m, err)
	}
	if err != nil || n.envelope.Type != notice.TypeNotification {
		return n, err
	}
	n.kind, n.arrivals = r.intake.Read(r.source, n.envelope)
	if n.raw {
		err = n.distrust()
	}
	if err == nil {
		err = n.narrow()
	}
	return n, err
}

// takeRaw makes an envelope for a body that came without one.
func (r *reader) takeRaw(n *news, m *message, err error) error {
	if !errors.Is(err, notice.ErrNotEnvelope) {
		return refuse("it is not JSON")
	}
	if !r.Raw {
		return refuse("JSON, but not a signed SNS message: switch raw message delivery off on the subscription, or set HOMING_SQS_RAW=true")
	}
	n.raw = true
	n.envelope = &notice.Envelope{
		Type: notice.TypeNotification, MessageID: "sqs-" + m.id, Message: n.part.notification,
		Timestamp: n.part.sent.UTC().Format(time.RFC3339),
	}
	return nil
}

func (r *reader) verify(ctx context.Context, e *notice.Envelope) error {
	if !slices.Contains(r.Topics, e.TopicARN) {
		return &refusal{"topic", fmt.Sprintf("its topic %.300q is not among HOMING_SNS_TOPICS", e.TopicARN)}
	}
	err := r.Verifier.Verify(ctx, e)
	if forged, ok := errors.AsType[*notice.SignatureError](err); ok {
		return &refusal{forged.Reason, forged.Error()}
	}
	return err
}

// distrust takes from an unsigned body only where the object lies and for whom.
func (n *news) distrust() error {
	for i := range n.arrivals {
		if n.kind != notice.KindUnknown && n.arrivals[i].Content != nil {
			return refuse("it holds a message and is not signed: let SES store messages in S3, or switch raw message delivery off")
		}
		n.arrivals[i].Verdicts = ""
	}
	return nil
}

// narrow leaves of a receipt's recipients those whom the message is for.
func (n *news) narrow() error {
	if n.part.recipients == nil {
		return nil
	}
	if len(n.arrivals) != 1 || !n.arrivals[0].Receipt {
		return refuse("it names recipients of a notification that has none")
	}
	for _, address := range n.part.recipients {
		if !slices.Contains(n.arrivals[0].Recipients, address) {
			return refuse("it names the recipient %.300q, whom the notification in it does not", address)
		}
	}
	n.arrivals[0].Recipients = n.part.recipients
	return nil
}
