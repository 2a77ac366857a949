package notice

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"
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
	if !json.Valid(body) {
		var value json.RawMessage
		return nil, fmt.Errorf("%w: %w", ErrNotJSON, json.Unmarshal(body, &value))
	}
	rest, found := bytes.CutPrefix(bytes.TrimLeft(body, blank), []byte("{"))
	if !found {
		return nil, fmt.Errorf("%w: it is no object", ErrNotEnvelope)
	}
	values := make(map[string]*string, 12)
	for {
		var spelling, value []byte
		if spelling, rest = cut(rest); len(spelling) == 0 {
			return values, nil
		}
		value, rest = cut(rest)
		if err := member(spelling, value, values); err != nil {
			return nil, err
		}
	}
}

// blank is what JSON allows between values.
const blank = " \t\r\n"

// cut returns the first value in a part of valid JSON that is inside an object,
// and what follows it; at the object's end the value is empty. The name of a
// member is such a value, too.
func cut(text []byte) (value, rest []byte) {
	text = bytes.TrimLeft(text, blank+":,")
	depth, quoted := 0, false
	for i := 0; i < len(text); i++ {
		c := text[i]
		switch {
		case quoted && c == '\\':
			i++ // what it escapes ends nothing
		case c == '"':
			quoted = !quoted
		case quoted:
			continue
		case c == '{' || c == '[':
			depth++
			continue
		case depth == 0 && strings.IndexByte(blank+",}]", c) >= 0:
			return text[:i], text[i:] // it was a number, true, false or null
		case c == '}' || c == ']':
			depth--
		default:
			continue
		}
		if depth == 0 && !quoted {
			return text[:i+1], text[i+1:]
		}
	}
	return text, nil
}

// member adds one member of the object to values, if it is known.
func member(spelling, value []byte, values map[string]*string) error {
	written, err := stringOrNull(spelling)
	if err != nil {
		return err
	}
	name := memberName(*written)
	if name == "" {
		return nil
	}
	if _, repeated := values[name]; repeated {
		return fmt.Errorf("%w: it has two members %s", ErrNotEnvelope, name)
	}
	values[name], err = stringOrNull(value)
	return err
}

// stringOrNull reads a valid JSON value; null is nil.
func stringOrNull(value []byte) (*string, error) {
	if plain, ok := bytes.CutPrefix(value, []byte(`"`)); ok && bytes.IndexByte(value, '\\') < 0 && utf8.Valid(value) {
		s := string(plain[:len(plain)-1])
		return &s, nil
	}
	var s *string
	err := json.Unmarshal(value, &s)
	if wrong, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		return nil, fmt.Errorf("%w: a member is a %s instead of a string", ErrNotEnvelope, wrong.Value)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNotJSON, err)
	}
	return s, nil
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
