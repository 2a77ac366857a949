package notice

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"
)

// The types of an SNS message.
const (
	TypeNotification             = "Notification"
	TypeSubscriptionConfirmation = "SubscriptionConfirmation"
	TypeUnsubscribeConfirmation  = "UnsubscribeConfirmation"
)

// Envelope is one SNS message as it is posted to a subscriber, or put into a
// queue. Only what Verify has accepted is to be believed, and of that only what
// the signature covers: Message, MessageID, Subject, Timestamp, TopicARN and
// Type, with SubscribeURL and Token in the two confirmations.
// https://docs.aws.amazon.com/sns/latest/dg/sns-message-and-json-formats.html
type Envelope struct {
	Type, MessageID, TopicARN string
	Subject                   *string // nil when absent or null: both are signed alike
	Message                   string
	Timestamp                 string // ISO 8601, see Time
	SignatureVersion          string // "1" or "2"
	Signature                 string // base64, perhaps with line breaks
	SigningCertURL            string
	Token, SubscribeURL       string // of a confirmation
	UnsubscribeURL            string // of a notification
}

var (
	// ErrNotJSON says that a body is not one JSON value.
	ErrNotJSON = errors.New("the body is not JSON")
	// ErrNotEnvelope says that a body is JSON, but no SNS message: most likely
	// the subscription has raw message delivery switched on, which also removes
	// the signature.
	ErrNotEnvelope = errors.New("the body is JSON, but not an SNS message")
)

// ParseEnvelope reads an SNS message. The caller limits the size of body. Errors
// are ErrNotJSON or ErrNotEnvelope, with the particulars.
//
// Members are matched by their exact names and may come only once; package json
// would match any case and let the last one win, so that another reader of the
// same body could see another message.
func ParseEnvelope(body []byte) (*Envelope, error) {
	values, err := members(body)
	if err != nil {
		return nil, err
	}
	value := func(name string) string {
		if v := values[name]; v != nil {
			return *v
		}
		return ""
	}
	e := &Envelope{
		Type: value("Type"), MessageID: value("MessageId"), TopicARN: value("TopicArn"),
		Subject: values["Subject"], Message: value("Message"), Timestamp: value("Timestamp"),
		SignatureVersion: value("SignatureVersion"), Signature: value("Signature"),
		SigningCertURL: value("SigningCertURL"), Token: value("Token"),
		SubscribeURL: value("SubscribeURL"), UnsubscribeURL: value("UnsubscribeURL"),
	}
	if e.Type == "" {
		return nil, fmt.Errorf("%w: it has no Type", ErrNotEnvelope)
	}
	return e, nil
}

// memberName returns the name by which a member of the envelope is known, ""
// for one that does not matter. What passed through Lambda spells the URLs
// differently.
func memberName(name string) string {
	switch name {
	case "SigningCertUrl":
		return "SigningCertURL"
	case "SubscribeUrl":
		return "SubscribeURL"
	case "UnsubscribeUrl":
		return "UnsubscribeURL"
	case "Type", "MessageId", "TopicArn", "Subject", "Message", "Timestamp",
		"SignatureVersion", "Signature", "SigningCertURL", "Token", "SubscribeURL", "UnsubscribeURL":
		return name
	}
	return ""
}

// members returns the known members of the JSON object in body; null is nil.
func members(body []byte) (map[string]*string, error) {
	dec := json.NewDecoder(bytes.NewReader(body))
	open, err := dec.Token()
	if err != nil {
		return nil, jsonError(err)
	}
	if open != json.Delim('{') {
		if !json.Valid(body) {
			return nil, ErrNotJSON
		}
		return nil, fmt.Errorf("%w: it is no object", ErrNotEnvelope)
	}
	values := make(map[string]*string)
	for dec.More() {
		if err := member(dec, values); err != nil {
			return nil, err
		}
	}
	if _, err := dec.Token(); err != nil {
		return nil, jsonError(err)
	}
	if _, err := dec.Token(); err != io.EOF {
		return nil, fmt.Errorf("%w: something follows the object", ErrNotJSON)
	}
	return values, nil
}

// member reads the next member of the object into values.
func member(dec *json.Decoder, values map[string]*string) error {
	key, err := dec.Token()
	if err != nil {
		return jsonError(err)
	}
	spelling, _ := key.(string)
	name := memberName(spelling)
	if name == "" {
		var skipped json.RawMessage
		return jsonError(dec.Decode(&skipped))
	}
	if _, repeated := values[name]; repeated {
		return fmt.Errorf("%w: it has two members %s", ErrNotEnvelope, name)
	}
	var v *string
	if err := dec.Decode(&v); err != nil {
		return jsonError(err)
	}
	values[name] = v
	return nil
}

// jsonError tells a value of the wrong type from broken JSON.
func jsonError(err error) error {
	if err == nil {
		return nil
	}
	if wrong, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		return fmt.Errorf("%w: a member is a %s instead of a string", ErrNotEnvelope, wrong.Value)
	}
	return fmt.Errorf("%w: %w", ErrNotJSON, err)
}

// Time returns the time at which the message was published.
func (e *Envelope) Time() (time.Time, error) {
	t, err := time.Parse(time.RFC3339, e.Timestamp)
	if err != nil {
		return time.Time{}, fmt.Errorf("the Timestamp %.40q is not ISO 8601", e.Timestamp)
	}
	return t.UTC(), nil
}

// field is one line pair of the string that SNS signs.
type field struct{ name, value string }

// signed returns the fields under the signature in the order of their names;
// nil if the type is none of the three. An UnsubscribeConfirmation signs Token
// and SubscribeURL like its counterpart: AWS's validator for JavaScript leaves
// Token out, and refuses genuine ones.
// https://docs.aws.amazon.com/sns/latest/dg/sns-verify-signature-of-message.html
func (e *Envelope) signed() []field {
	switch e.Type {
	case TypeNotification:
		fields := []field{{"Message", e.Message}, {"MessageId", e.MessageID}}
		if e.Subject != nil {
			fields = append(fields, field{"Subject", *e.Subject})
		}
		return append(fields, field{"Timestamp", e.Timestamp}, field{"TopicArn", e.TopicARN}, field{"Type", e.Type})
	case TypeSubscriptionConfirmation, TypeUnsubscribeConfirmation:
		return []field{
			{"Message", e.Message}, {"MessageId", e.MessageID}, {"SubscribeURL", e.SubscribeURL},
			{"Timestamp", e.Timestamp}, {"Token", e.Token}, {"TopicArn", e.TopicARN}, {"Type", e.Type},
		}
	}
	return nil
}
