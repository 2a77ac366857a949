package spool

import (
	"strings"
	"time"
)

// State says where an item stands.
type State string

// The states of an item.
const (
	Pending  State = "pending"  // some mailbox still waits for it
	Settling State = "settling" // delivered; something remains to be done with its object
	Held     State = "held"     // set aside for a person; never expires
	Done     State = "done"     // delivered; kept as the ledger
	Dropped  State = "dropped"  // a person said so; kept as the ledger
	Queued   State = "queued"   // an SQS queue keeps it; here it is only the ledger
)

// DeliveryState says where one delivery stands.
type DeliveryState string

// The states of a delivery.
const (
	Waiting   DeliveryState = "pending"
	Delivered DeliveryState = "delivered" // answered 2xx
	FellBack  DeliveryState = "fallback"  // refused for good; the fallback mailbox gets the message instead
	HeldBack  DeliveryState = "held"      // set aside for a person
)

// SourceBackfill is the Source of what a person asked for: there, objects that
// homing wrote itself are wanted too.
const SourceBackfill = "backfill"

// SourceForm is the Source of messages of the contact form. They have a way out
// of their own where one is configured, and so a lane of their own: see [Part].
const SourceForm = "form"

// Message is what a notice says of one message. Everything in it comes from
// outside; only the signature of the notification has been verified.
type Message struct {
	ID       string // identity: SES's message id, or where the object lies
	Source   string // what told us: webhook, ..., or SourceBackfill
	Kind     string // the notice's kind
	Bucket   string // with Key: the object; empty for inline content
	Key      string
	Version  string    // empty: the object has none, or it is not known
	ETag     string    // of the object that was delivered; empty: not read yet
	Size     int64     // bytes; 0: not known
	Receipt  bool      // SES gave sender and recipients
	Direct   bool      // a person named the mailboxes: the recipients are these, and no rule maps them
	Sender   string    // empty: the null sender
	Verdicts string    // SES's verdicts as one header value, empty without a receipt
	Received time.Time // by SES's clock; zero: not known
}

// Recipient is one envelope address of an item.
type Recipient struct {
	Address string
	Settled bool // every mailbox behind it has the message
}

// Delivery is one line of the ledger: one message, one mailbox.
type Delivery struct {
	Mailbox  string
	State    DeliveryState
	Attempts int           // failed ones that count
	Refusals int           // those of them answered 5yz
	Wait     time.Duration // until it is tried again; negative: it is due
	Reply    string        // what the last try was answered
}

// Item is one message that homing has taken responsibility for.
type Item struct {
	Message
	Number     int64 // the row's, for people
	State      State
	Generation int64         // to be handed back to Record
	Attempts   int           // failed tries of the item itself: fetch, settle
	Age        time.Duration // since it was taken
	Noticed    time.Duration // since it was last announced
	Tried      time.Duration // since it was taken, got new recipients, or a person said to try again
	Wait       time.Duration // until it is tried again; negative: it is due
	Missing    time.Duration // how long the object is known to be gone; 0: it is not
	Reason     string        // what the last try failed with
	Inline     bool          // the message came inside its notification; Size is known
	Lane       string        // names the mailbox whose turn it waits for
	Recipients []Recipient
	Deliveries []Delivery
}

// Delivery returns the ledger's line for mailbox.
func (it *Item) Delivery(mailbox string) (Delivery, bool) {
	for _, d := range it.Deliveries {
		if d.Mailbox == mailbox {
			return d, true
		}
	}
	return Delivery{}, false
}

// lane names the queue in which an item waits: its first recipient's mailbox
// without +detail. Items of one lane are handed out a few at a time, so that one
// slow mailbox does not hold up the others. An item of which nobody has said
// whom it is for waits in the lane without a name.
func (s *Spool) lane(source string, recipients []string) string {
	switch {
	case source == SourceForm:
		return formLane
	case len(recipients) == 0:
		return ""
	}
	address := strings.ToLower(s.opts.Mailbox(recipients[0]))
	local, domain, _ := strings.Cut(address, "@")
	local, _, _ = strings.Cut(local, "+")
	return local + "@" + domain
}
