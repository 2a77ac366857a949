package notice

// The parts of a receiving notification that matter here. Of the addresses in
// it only mail.source and receipt.recipients are the envelope: mail.destination
// and commonHeaders come from the message's own To and Cc.
// https://docs.aws.amazon.com/ses/latest/dg/receiving-email-notifications-contents.html
type sesMail struct {
	MessageID string `json:"messageId"`
	Source    string `json:"source"`
	Timestamp string `json:"timestamp"`
}

type sesReceipt struct {
	Timestamp  string     `json:"timestamp"`
	Recipients []string   `json:"recipients"`
	Spam       sesVerdict `json:"spamVerdict"`
	Virus      sesVerdict `json:"virusVerdict"`
	SPF        sesVerdict `json:"spfVerdict"`
	DKIM       sesVerdict `json:"dkimVerdict"`
	DMARC      sesVerdict `json:"dmarcVerdict"`
	Action     sesAction  `json:"action"`
}

type sesVerdict struct {
	Status string `json:"status"`
}

// sesAction tells where the message went. ObjectKey includes the rule's prefix.
type sesAction struct {
	Type       string `json:"type"`
	BucketName string `json:"bucketName"`
	ObjectKey  string `json:"objectKey"`
	Encoding   string `json:"encoding"`
}

// isSESEvent reports whether SES speaks of mail on its way out. A name that is
// not known yet is taken for one only where nothing could be delivered.
// https://docs.aws.amazon.com/ses/latest/dg/event-publishing-retrieving-sns-contents.html
func (p *payload) isSESEvent() bool {
	name := p.NotificationType
	if name == "" {
		name = p.EventType
	}
	switch name {
	case "":
		return false
	case "Bounce", "Complaint", "Delivery", "Send", "Reject", "Open", "Click",
		"Rendering Failure", "DeliveryDelay", "Subscription", "AmazonSnsSubscriptionSucceeded":
		return true
	}
	return p.Mail != nil && p.Receipt == nil && p.Content == ""
}

// received turns a receiving notification into its notice.
func (p *payload) received() (Kind, []Notice) {
	if p.Mail == nil || p.Receipt == nil {
		return KindUnknown, nil
	}
	action := p.Receipt.Action
	if p.Mail.MessageID == setupID || lastSegment(action.ObjectKey) == setupID {
		return KindSESSetup, nil
	}
	switch {
	case action.BucketName != "" && action.ObjectKey != "":
		return p.reference()
	case p.Content != "":
		return p.inline()
	}
	switch action.Type {
	case "AddHeader", "Bounce", "Lambda", "Stop", "WorkMail":
		// Told that the rule ran; whatever stores the message speaks for itself.
		return KindSESEvent, nil
	}
	return KindUnknown, nil
}

func (p *payload) reference() (Kind, []Notice) {
	n := p.envelope()
	n.Bucket, n.Key = p.Receipt.Action.BucketName, p.Receipt.Action.ObjectKey
	if n.MessageID == "" {
		n.MessageID = MessageID(n.Bucket, n.Key, "")
	}
	return KindSESS3, []Notice{n}
}

func (p *payload) inline() (Kind, []Notice) {
	n := p.envelope()
	content, ok := decodeContent(p.Receipt.Action.Encoding, p.Content)
	if !ok || n.MessageID == "" {
		return KindUnknown, nil
	}
	n.Content = content
	return KindSESSNS, []Notice{n}
}

// envelope returns a notice with everything the receipt says but the message.
func (p *payload) envelope() Notice {
	r := p.Receipt
	received := parseTime(p.Mail.Timestamp)
	if received.IsZero() {
		received = parseTime(r.Timestamp) // when the rule ran, a moment later
	}
	return Notice{
		MessageID:  p.Mail.MessageID,
		Receipt:    true,
		Sender:     p.Mail.Source,
		Recipients: distinct(r.Recipients),
		Verdicts: "spam=" + r.Spam.word() + " virus=" + r.Virus.word() +
			" spf=" + r.SPF.word() + " dkim=" + r.DKIM.word() + " dmarc=" + r.DMARC.word(),
		Received: received,
	}
}

// word returns the verdict for a header line. SES leaves verdicts out (DMARC in
// older payloads) and has other words (DISABLED where scanning is off).
func (v sesVerdict) word() string {
	switch v.Status {
	case "PASS", "FAIL", "GRAY", "PROCESSING_FAILED":
		return v.Status
	}
	return "none"
}

// distinct drops exact repeats and keeps the order. Addresses that differ only
// in case are the recipient rules' business.
func distinct(addresses []string) []string {
	seen := make(map[string]bool, len(addresses))
	var kept []string
	for _, a := range addresses {
		if !seen[a] {
			seen[a] = true
			kept = append(kept, a)
		}
	}
	return kept
}
