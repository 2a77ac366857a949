// Package poller is the pull side of homing: what is not posted to the webhook
// is fetched here. [Queue] works an SQS queue, [DeadLetters] brings back what a
// webhook has missed, [Sweeper] finds in the bucket what nobody told us of.
//
// An SQS queue is a spool of its own: a message stays in it until everyone it is
// for has the mail or it is held, and waiting is its visibility timeout, so any
// replica may take it next. Here is only the ledger, and what is held.
package poller

import (
	"context"

	"github.com/homing-mail/homing/notice"
	"github.com/homing-mail/homing/spool"
)

// Trust says what is believed of a queue's messages.
type Trust struct {
	Topics  []string // ARNs of the topics that may speak to us
	Confirm bool     // confirm subscriptions of these topics
	// Raw takes unsigned bodies too. Of these, references to objects are
	// believed, without verdicts; a message inside such a body never is.
	Raw      bool
	Verifier Verifier
}

// Verifier says whether an SNS message is genuine. Its errors are
// *notice.SignatureError for a forged one; any other means that it cannot be
// told just now.
type Verifier interface {
	Verify(ctx context.Context, e *notice.Envelope) error
	// Confirm confirms the subscription that e offers.
	Confirm(ctx context.Context, e *notice.Envelope) error
}

// Intake knows what notifications mean.
type Intake interface {
	// Read says what a verified notification announces.
	Read(source string, e *notice.Envelope) (notice.Kind, []spool.Arrival)
	// Take returns nil when what it announces is on disk, or no mail. It counts
	// the notification.
	Take(ctx context.Context, source string, e *notice.Envelope) error
}

// Observer counts. Its methods are called concurrently.
type Observer interface {
	// Notification hears where a notification came from, what it is and what
	// became of it: accepted, repeated, ignored, held, refused or failed.
	Notification(source, kind, result string)
	SignatureFailure(reason string)
	// QueueError hears of each request to SQS that failed: receive, delete,
	// visibility, send or attributes.
	QueueError(operation string)
}
