package notice

import (
	"bytes"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/homing-mail/homing/internal/snstest"
)

func TestConfirm(t *testing.T) {
	s := newSigner(t)
	v := NewVerifier(VerifierConfig{Transport: s.Transport()})
	e := mustParse(t, s.SubscriptionConfirmation(topic, "2"))
	if err := v.Confirm(t.Context(), e); err != nil {
		t.Fatal(err)
	}
	got := s.Confirmed()
	if len(got) != 1 || got[0].Get("TopicArn") != topic || got[0].Get("Token") != e.Token {
		t.Errorf("SNS saw %v, want one confirmation of %s", got, topic)
	}
}

func TestConfirmRefuses(t *testing.T) {
	s := newSigner(t)
	v := NewVerifier(VerifierConfig{Transport: refusing{t}})
	const sns = "https://" + snstest.Host
	query := "Action=ConfirmSubscription&TopicArn=" + topic + "&Token=abc"
	escaped := "Action=ConfirmSubscription&TopicArn=" + url.QueryEscape(topic) + "&Token=abc"
	if err := (&Envelope{SubscribeURL: sns + "/?" + escaped, TopicARN: topic}).checkSubscribeURL(); err != nil {
		t.Errorf("an escaped topic: %v", err)
	}
	for _, bad := range []string{
		"",
		"http://" + snstest.Host + "/?" + query,
		"HTTPS://" + snstest.Host + "/?" + query,
		"https://sns.us-east-1.amazonaws.com.evil.com/?" + query,
		"https://sns.us-east-1.amazonaws.com@evil.com/?" + query,
		"https://u:p@sns.us-east-1.amazonaws.com/?" + query,
		"https://SNS.us-east-1.amazonaws.com/?" + query,
		"https://s3.amazonaws.com/?" + query,
		"https://sns.s3.amazonaws.com/?" + query,
		sns + ":443/?" + query,
		sns + "/x/../?" + query,
		sns + "//evil.com/?" + query,
		sns + "?" + query,
		sns + "/?" + query + "#x",
		sns + "/?" + query + "#",
		sns + "/?" + query + "\n",
		sns + "/?" + query + " HTTP/1.1",
		sns + "/",
		sns + "/?",
		sns + "/?TopicArn=" + topic + "&Token=abc",
		sns + "/?Action=Subscribe&TopicArn=" + topic,
		sns + "/?Action=ConfirmSubscription&Token=abc",
		sns + "/?Action=ConfirmSubscription&TopicArn=" + topic + "x",
		sns + "/?Action=ConfirmSubscription&Action=Publish&TopicArn=" + topic,
		sns + "/?" + query + "&TopicArn=" + topic + "x",
		sns + "/?action=ConfirmSubscription&TopicArn=" + topic,
		sns + "/?" + query + ";Action=Publish",
		sns + "/?" + query + "&x=%zz",
	} {
		e := mustParse(t, s.SubscriptionConfirmation(topic, "2", snstest.Before(set("SubscribeURL", bad))))
		if err := v.Confirm(t.Context(), e); reason(err) != reasonHost {
			t.Errorf("%q: got %v, want it refused for its host", bad, err)
		}
	}
	for _, body := range [][]byte{
		s.UnsubscribeConfirmation(topic, "2"),
		s.Notification(topic, nil, "x", "2", snstest.After(set("SubscribeURL", sns+"/?"+query))),
	} {
		if err := v.Confirm(t.Context(), mustParse(t, body)); reason(err) != reasonType {
			t.Errorf("got %v, want it refused for its type", err)
		}
	}
}

func TestConfirmFaults(t *testing.T) {
	s := newSigner(t)
	v := NewVerifier(VerifierConfig{Transport: s.Transport()})
	tests := map[string]snstest.Fault{
		"expired token": {Status: http.StatusBadRequest},
		"redirect":      {Status: http.StatusFound, Location: "/?Action=ConfirmSubscription"},
		"down":          {Status: http.StatusServiceUnavailable},
		"endless":       {Body: bytes.Repeat([]byte("x"), maxBody+1)},
	}
	for name, fault := range tests {
		t.Run(name, func(t *testing.T) {
			s.FailConfirmation(fault)
			before := len(s.Confirmed())
			e := mustParse(t, s.SubscriptionConfirmation(topic, "1"))
			err := v.Confirm(t.Context(), e)
			if reason(err) != "unavailable" {
				t.Errorf("got %v, want unavailable", err)
			}
			if strings.Contains(err.Error(), e.Token) {
				t.Error("the error shows the token")
			}
			if n := len(s.Confirmed()) - before; n != 1 {
				t.Errorf("%d requests, want 1", n)
			}
		})
	}
	s.FailConfirmation(snstest.Fault{})
	e := mustParse(t, s.SubscriptionConfirmation(topic, "1"))
	if err := v.Confirm(t.Context(), e); err != nil {
		t.Error(err)
	}
}

// TestConfirmHidesToken: not even a connection that fails puts the token into an error.
func TestConfirmHidesToken(t *testing.T) {
	s := newSigner(t)
	e := mustParse(t, s.SubscriptionConfirmation(topic, "1"))
	s.Close()
	err := NewVerifier(VerifierConfig{Transport: s.Transport()}).Confirm(t.Context(), e)
	if reason(err) != "unavailable" || strings.Contains(err.Error(), e.Token) {
		t.Errorf("got %v", err)
	}
}
