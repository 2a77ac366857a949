package notice

import (
	"context"
	"testing"
	"time"
)

func TestHost(t *testing.T) {
	for arn, want := range map[string]string{
		"arn:aws:sns:us-east-1:123456789012:mail":            "sns.us-east-1.amazonaws.com",
		"arn:aws:sns:eu-west-1:123456789012:mail":            "sns.eu-west-1.amazonaws.com",
		"arn:aws-us-gov:sns:us-gov-west-1:123456789012:mail": "sns.us-gov-west-1.amazonaws.com",
		"arn:aws-cn:sns:cn-north-1:123456789012:mail":        "sns.cn-north-1.amazonaws.com.cn",
		"arn:aws-iso:sns:us-iso-east-1:123456789012:mail":    "",
		"arn:aws:sns:s3:123456789012:mail":                   "",
		"arn:aws:sns:us-east-1.evil.test/:123456789012:mail": "",
		"mail": "",
	} {
		got, err := Host(arn)
		if got != want || (err == nil) != (want != "") {
			t.Errorf("%s: %q, %v, want %q", arn, got, err, want)
		}
		// What homing verifies with comes from such a host, and from no other.
		if err == nil && !certURL.MatchString("https://"+got+"/SimpleNotificationService-0.pem") {
			t.Errorf("%s: no certificate would be fetched from %s", arn, got)
		}
	}
}

func TestReach(t *testing.T) {
	s := newSigner(t)
	v := NewVerifier(VerifierConfig{Transport: s.Transport()})
	// The Signer has no such page, which is an answer all the same.
	date, err := v.Reach(t.Context(), "sns.us-east-1.amazonaws.com")
	if off := time.Since(date); err != nil || off < -time.Minute || off > time.Minute {
		t.Errorf("answered at %v, %v", date, err)
	}
	// It has no certificate for this name.
	if _, err := v.Reach(t.Context(), "sns.ap-south-1.amazonaws.com"); err == nil {
		t.Error("reached in spite of its certificate")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := v.Reach(ctx, "sns.us-east-1.amazonaws.com"); err == nil {
		t.Error("reached in no time")
	}
}
