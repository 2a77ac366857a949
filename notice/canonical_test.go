package notice

import (
	"testing"

	"github.com/homing-mail/homing/internal/snstest"
)

// TestVerifyCutElsewhere takes genuine messages apart in another way that has
// the same signed string.
func TestVerifyCutElsewhere(t *testing.T) {
	s := newSigner(t)
	v := NewVerifier(VerifierConfig{Transport: s.Transport()})
	const id = "11111111-2222-4333-8444-555555555555"
	subject := "hello"
	fixed := snstest.Before(set("MessageId", id))
	tests := map[string][]byte{
		"Message ends early": s.Notification(topic, nil, "short\nMessageId\nlong", "2", fixed,
			snstest.After(set("Message", "short")), snstest.After(set("MessageId", "long\nMessageId\n"+id))),
		"Subject hidden in MessageId": s.Notification(topic, &subject, "x", "2", fixed,
			snstest.After(drop("Subject")), snstest.After(set("MessageId", id+"\nSubject\nhello"))),
		"MessageId hidden in Message": s.Notification(topic, nil, "x", "2", fixed,
			snstest.After(set("Message", "x\nMessageId\n"+id)), snstest.After(drop("MessageId"))),
		"Token hidden in Timestamp": s.SubscriptionConfirmation(topic, "2", snstest.After(func(f snstest.Fields) {
			f["Timestamp"] = f["Timestamp"].(string) + "\nToken\n" + f["Token"].(string)
			f["Token"] = ""
		})),
	}
	for name, body := range tests {
		t.Run(name, func(t *testing.T) {
			if err := v.Verify(t.Context(), mustParse(t, body)); err == nil {
				t.Error("accepted")
			}
		})
	}
	// The same members, genuinely signed, are refused for their line breaks alone:
	// without that check the first case above would pass.
	e := mustParse(t, s.Notification(topic, nil, "short", "2", snstest.Before(set("MessageId", "long\nMessageId\n"+id))))
	if got := reason(v.Verify(t.Context(), e)); got != reasonSignature {
		t.Errorf("line break in a signed MessageId: got %q, want %q", got, reasonSignature)
	}
}

func TestCanonical(t *testing.T) {
	subject := "s"
	tests := []struct {
		e    Envelope
		want string
	}{
		{
			Envelope{Type: TypeNotification, Message: "m\nn", MessageID: "i", Timestamp: "t", TopicARN: "a", Token: "k", SubscribeURL: "u"},
			"Message\nm\nn\nMessageId\ni\nTimestamp\nt\nTopicArn\na\nType\nNotification\n",
		}, {
			Envelope{Type: TypeNotification, Message: "m", MessageID: "i", Subject: &subject, Timestamp: "t", TopicARN: "a"},
			"Message\nm\nMessageId\ni\nSubject\ns\nTimestamp\nt\nTopicArn\na\nType\nNotification\n",
		}, {
			Envelope{Type: TypeSubscriptionConfirmation, Message: "m", MessageID: "i", Timestamp: "t", TopicARN: "a", Token: "k", SubscribeURL: "u"},
			"Message\nm\nMessageId\ni\nSubscribeURL\nu\nTimestamp\nt\nToken\nk\nTopicArn\na\nType\nSubscriptionConfirmation\n",
		}, {
			Envelope{Type: TypeUnsubscribeConfirmation, Message: "m", MessageID: "i", Timestamp: "t", TopicARN: "a", Token: "k", SubscribeURL: "u"},
			"Message\nm\nMessageId\ni\nSubscribeURL\nu\nTimestamp\nt\nToken\nk\nTopicArn\na\nType\nUnsubscribeConfirmation\n",
		},
	}
	for _, tt := range tests {
		got, err := tt.e.canonical()
		if err != nil || string(got) != tt.want {
			t.Errorf("got %q, %v, want %q", got, err, tt.want)
		}
	}
}
