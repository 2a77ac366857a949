// Package notice reads what AWS says about mail: it checks that an SNS message
// is genuine, and turns the SES, S3 and EventBridge payloads inside it into
// notices of mail that has arrived.
package notice

import (
	"encoding/json"
	"regexp"
	"strings"
	"time"
)

// Kind says what a notification turned out to be. Its values are metric labels.
type Kind string

// The kinds that announce mail: Parse returns at least one notice with each of them.
const (
	KindSESS3       Kind = "ses_s3"      // SES stored a message and says where
	KindSESSNS      Kind = "ses_sns"     // SES sent the message itself
	KindS3Event     Kind = "s3_event"    // S3 says that objects were created
	KindEventBridge Kind = "eventbridge" // the same by way of EventBridge
)

// The kinds that are known not to be mail, and KindUnknown, which may be.
const (
	KindSESEvent Kind = "ses_event" // bounce, delivery, ..., or a receipt without mail
	KindS3Test   Kind = "s3_test"   // S3 tries a new event configuration
	KindSESSetup Kind = "ses_setup" // SES tries a new receipt rule
	KindS3Other  Kind = "s3_other"  // an object was removed, tagged, restored, ..., or is a folder
	KindText     Kind = "text"      // not JSON: "Successfully validated SNS topic ..."
	KindUnknown  Kind = "unknown"   // JSON that is not understood: keep it for a person
)

// Kinds returns every kind there is.
func Kinds() []Kind {
	return []Kind{
		KindSESS3, KindSESSNS, KindS3Event, KindEventBridge,
		KindSESEvent, KindS3Test, KindSESSetup, KindS3Other, KindText, KindUnknown,
	}
}

// setupID is the message id, and the object name, of the message SES writes
// when a receipt rule is created.
const setupID = "AMAZON_SES_SETUP_NOTIFICATION"

// asideFolder is the folder where homing keeps an encrypted object while another
// takes its place: see Encrypt of package fetcher.
const asideFolder = "homing-encrypting/"

// IsAside reports whether homing keeps an object under this key for a moment,
// which is no mail.
func IsAside(key string) bool { return strings.Contains(key, asideFolder) }

// IsFolder reports whether the object is the empty one that consoles make for a
// folder. Size is in bytes.
func IsFolder(key string, size int64) bool { return size == 0 && strings.HasSuffix(key, "/") }

// Notice announces one message: by reference to an object (Bucket and Key), or
// with its octets (Content). Apart from Verdicts its strings are as AWS sent
// them, and may hold any character: whoever writes them into a command, a
// header or a path checks them first.
type Notice struct {
	// MessageID is the message's identity: SES's id where it is known, else
	// what the function MessageID makes of the object. Never empty.
	MessageID string

	Bucket, Key string
	Version     string // empty: the bucket has no versions, or the payload does not say
	Size        int64  // bytes; 0 when the payload does not say

	Content []byte // the whole message with CRLF line ends; nil for a reference

	Receipt    bool     // the envelope below is SES's; without it both are unset
	Sender     string   // MAIL FROM; empty for a bounce
	Recipients []string // RCPT TO as the receipt rule matched it, exact repeats dropped

	// Verdicts is "spam=PASS virus=PASS spf=PASS dkim=PASS dmarc=PASS", each
	// PASS, FAIL, GRAY, PROCESSING_FAILED or none; empty without a receipt.
	Verdicts string

	Received time.Time // when SES or S3 took the message; zero when it does not say
}

// payload holds the parts of all known payloads that matter here. The shapes
// share no member name with different types.
type payload struct {
	NotificationType string       `json:"notificationType"`
	EventType        string       `json:"eventType"`
	Mail             *sesMail     `json:"mail"`
	Receipt          *sesReceipt  `json:"receipt"`
	Content          string       `json:"content"`
	Event            string       `json:"Event"`
	Records          []s3Record   `json:"Records"`
	Source           string       `json:"source"`
	DetailType       string       `json:"detail-type"`
	Time             string       `json:"time"`
	Detail           bridgeDetail `json:"detail"`
}

// Parse reads the Message of a verified notification, or a body that came
// without an envelope. It never fails: what it does not understand completely
// is KindUnknown without notices, to be kept for a person. A copy that homing
// made itself is reported like any other object, since only the object's
// metadata can tell.
func Parse(message string) (Kind, []Notice) {
	var p payload
	if err := json.Unmarshal([]byte(message), &p); err != nil {
		return unreadable(message), nil
	}
	switch {
	case p.NotificationType == "Received":
		return p.received()
	case p.isSESEvent():
		return KindSESEvent, nil
	case p.Event == "s3:TestEvent":
		return KindS3Test, nil
	case len(p.Records) > 0:
		return stored(p.Records)
	case p.Source == "aws.s3":
		return p.bridged()
	}
	return KindUnknown, nil
}

// unreadable tells plain text from JSON of a foreign shape. Damaged JSON counts
// as JSON: it may have been mail.
func unreadable(message string) Kind {
	text := strings.TrimLeft(message, " \t\r\n\ufeff")
	if strings.HasPrefix(text, "{") || strings.HasPrefix(text, "[") || json.Valid([]byte(text)) {
		return KindUnknown
	}
	return KindText
}

var (
	sesID     = regexp.MustCompile(`^[a-z0-9]{20,}$`)
	escapeKey = strings.NewReplacer("%", "%25", "?", "%3F")
)

// MessageID returns the identity of the message in an object of which no
// receipt is known: the last segment of the key where that looks like an SES
// message id, so that all sources agree on it, else "bucket/key" and, in a
// bucket with versions, "?version".
func MessageID(bucket, key, version string) string {
	if name := lastSegment(key); sesID.MatchString(name) {
		return name
	}
	// Two objects must never get one identity, or one of them would be taken for
	// a repetition of the other: a "?" in the key is escaped.
	id := bucket + "/" + escapeKey.Replace(key)
	// S3 says "null" for what was stored while versioning was off.
	if version != "" && version != "null" {
		id += "?" + version
	}
	return id
}

func lastSegment(key string) string {
	return key[strings.LastIndexByte(key, '/')+1:]
}

// parseTime reads AWS's ISO 8601; the zero time stands for what is not one.
func parseTime(s string) time.Time {
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		return time.Time{}
	}
	return t.UTC()
}
