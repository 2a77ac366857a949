package poller

import (
	"bytes"
	"encoding/json"
	"strings"
	"time"
)

// part is a notification and some of its recipients. homing sends it to its own
// queue when only these still wait, or when a message has been there for long.
// Nothing in it need be believed: the notification is verified as if it had come
// by itself, and the recipients must be among its own.
type part struct {
	notification string
	sent         time.Time // when it first came to the queue
	recipients   []string  // nil: all
}

// partBody is a part in a message.
type partBody struct {
	Homing struct {
		Recipients   []string  `json:"recipients,omitempty"`
		Sent         time.Time `json:"sent"`
		Notification string    `json:"notification"`
	} `json:"homing"`
}

// partMark begins the body of every part.
const partMark = `{"homing":`

// openPart returns the part in a message; of one that homing did not send it is
// the whole.
func openPart(m *message) (part, error) {
	if !strings.HasPrefix(m.body, partMark) {
		return part{notification: m.body, sent: m.sent}, nil
	}
	var body partBody
	if err := json.Unmarshal([]byte(m.body), &body); err != nil {
		return part{}, refuse("it looks like homing's own, but %v", err)
	}
	p := part{notification: body.Homing.Notification, sent: body.Homing.Sent, recipients: body.Homing.Recipients}
	if p.sent.IsZero() || p.sent.After(m.sent) {
		p.sent = m.sent
	}
	return p, nil
}

// only returns the part for some of the recipients, nil for all of them.
func (p part) only(recipients []string) part {
	if recipients != nil {
		p.recipients = recipients
	}
	return p
}

func (p part) body() (string, error) {
	var body partBody
	body.Homing.Recipients, body.Homing.Sent, body.Homing.Notification = p.recipients, p.sent.UTC(), p.notification
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false) // it has to fit into a message
	err := encoder.Encode(body)
	return strings.TrimSuffix(text.String(), "\n"), err
}
