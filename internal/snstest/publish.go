package snstest

import (
	"encoding/xml"
	"fmt"
	"net/http"
	"strings"
)

// maxMessage is what SNS takes.
// https://docs.aws.amazon.com/sns/latest/api/API_Publish.html
const maxMessage = 256 << 10

// Published is what somebody published to a topic.
type Published struct {
	Topic, Subject, Message string
	MessageID               string // what SNS named it
}

// Publisher answers the API's Publish for one topic, and hands what is published
// to deliver before it answers; an error of deliver is SNS's own failure.
func (s *Signer) Publisher(topic string, deliver func(Published, []byte) error) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p := Published{MessageID: newID()}
		if err := r.ParseForm(); err != nil {
			publishError(w, http.StatusBadRequest, "MalformedQueryString", err.Error())
			return
		}
		p.Topic, p.Subject, p.Message = r.PostForm.Get("TopicArn"), r.PostForm.Get("Subject"), r.PostForm.Get("Message")
		switch {
		case r.Method != http.MethodPost || r.PostForm.Get("Action") != "Publish" || r.PostForm.Get("Version") != "2010-03-31":
			publishError(w, http.StatusBadRequest, "InvalidAction", "only Publish is known here")
		case !strings.Contains(r.Header.Get("Authorization"), "/"+Region+"/sns/aws4_request"):
			publishError(w, http.StatusForbidden, "InvalidClientTokenId", "not signed for SNS in "+Region)
		case p.Topic != topic:
			publishError(w, http.StatusNotFound, "NotFound", "Topic does not exist")
		case p.Message == "" || len(p.Message) > maxMessage || len(p.Subject) > 100:
			publishError(w, http.StatusBadRequest, "InvalidParameter", "the message or the subject is empty or too long")
		default:
			subject := p.Subject
			if err := deliver(p, s.Notification(topic, &subject, p.Message, "2")); err != nil {
				publishError(w, http.StatusInternalServerError, "InternalError", err.Error())
				return
			}
			w.Header().Set("Content-Type", "text/xml")
			// A client that went away is none of our business.
			_, _ = fmt.Fprintf(w, `<PublishResponse xmlns="http://sns.amazonaws.com/doc/2010-03-31/"><PublishResult><MessageId>%s</MessageId></PublishResult><ResponseMetadata><RequestId>%s</RequestId></ResponseMetadata></PublishResponse>`,
				p.MessageID, newID())
		}
	})
}

func publishError(w http.ResponseWriter, status int, code, message string) {
	w.Header().Set("Content-Type", "text/xml")
	w.WriteHeader(status)
	_ = xml.NewEncoder(w).Encode(struct {
		XMLName xml.Name `xml:"ErrorResponse"`
		Type    string   `xml:"Error>Type"`
		Code    string   `xml:"Error>Code"`
		Message string   `xml:"Error>Message"`
	}{Type: "Sender", Code: code, Message: message})
}
