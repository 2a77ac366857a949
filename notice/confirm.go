package notice

import (
	"context"
	"net/url"
	"strings"
)

// Confirm confirms the subscription that a SubscriptionConfirmation offers, by a
// GET of its SubscribeURL. The message must have passed Verify, and its topic
// must be one the caller wants. A repetition is harmless. An
// UnsubscribeConfirmation is refused: its SubscribeURL would subscribe again.
//
// Errors are *SignatureError if the message does not ask for what it should, and
// *UnavailableError if SNS did not answer 2xx: SNS offers it again when it is
// told so.
// https://docs.aws.amazon.com/sns/latest/dg/SendMessageToHttp.prepare.html
func (v *Verifier) Confirm(ctx context.Context, e *Envelope) error {
	if e.Type != TypeSubscriptionConfirmation {
		return refuse(reasonType, "its Type is %.40q", e.Type)
	}
	if err := e.checkSubscribeURL(); err != nil {
		return err
	}
	if _, err := v.get(ctx, e.SubscribeURL); err != nil {
		return unavailable("the subscription to %.256q cannot be confirmed: %w", e.TopicARN, err)
	}
	return nil
}

// checkSubscribeURL makes sure that the URL leads to SNS and does there what
// the message says, and nothing else.
func (e *Envelope) checkSubscribeURL() error {
	if !subscribeURL.MatchString(e.SubscribeURL) {
		return refuse(reasonHost, "its SubscribeURL %.60q is not SNS's", e.SubscribeURL)
	}
	_, rawQuery, _ := strings.Cut(e.SubscribeURL, "?")
	query, err := url.ParseQuery(rawQuery)
	if err != nil || !only(query, "Action", "ConfirmSubscription") || !only(query, "TopicArn", e.TopicARN) {
		return refuse(reasonHost, "its SubscribeURL does not confirm a subscription to its topic")
	}
	return nil
}

// only tells whether the query gives name exactly once, and with this value.
func only(query url.Values, name, value string) bool {
	return len(query[name]) == 1 && query[name][0] == value
}
