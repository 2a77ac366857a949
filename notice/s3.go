package notice

import (
	"net/url"
	"strings"
)

// s3Record is one element of an S3 event notification.
// https://docs.aws.amazon.com/AmazonS3/latest/userguide/notification-content-structure.html
type s3Record struct {
	EventSource string `json:"eventSource"`
	EventName   string `json:"eventName"`
	EventTime   string `json:"eventTime"`
	S3          struct {
		Bucket s3Bucket `json:"bucket"`
		Object struct {
			Key       string `json:"key"` // form-URL-encoded: "+" is a space
			Size      int64  `json:"size"`
			VersionID string `json:"versionId"`
		} `json:"object"`
	} `json:"s3"`
}

type s3Bucket struct {
	Name string `json:"name"`
}

// bridgeDetail is the detail of an EventBridge event from S3, whose key is plain.
// https://docs.aws.amazon.com/AmazonS3/latest/userguide/ev-events.html
type bridgeDetail struct {
	Bucket s3Bucket `json:"bucket"`
	Object struct {
		Key       string `json:"key"`
		Size      int64  `json:"size"`
		VersionID string `json:"version-id"`
	} `json:"object"`
}

// stored turns the records of an S3 event into notices, one for each object
// created. One record that is not understood makes the whole event unknown, so
// that a person sees it: half an event must not be acknowledged as if it were whole.
func stored(records []s3Record) (Kind, []Notice) {
	var notices []Notice
	none := KindS3Other
	for _, r := range records {
		if r.EventSource != "aws:s3" || r.EventName == "" {
			return KindUnknown, nil
		}
		// The event's name is "s3:ObjectCreated:Put" where rules are written, and
		// "ObjectCreated:Put" in the event itself.
		if !strings.HasPrefix(strings.TrimPrefix(r.EventName, "s3:"), "ObjectCreated:") {
			continue
		}
		n, ok := r.notice()
		if !ok {
			return KindUnknown, nil
		}
		if lastSegment(n.Key) == setupID {
			none = KindSESSetup
			continue
		}
		if IsAside(n.Key) || IsFolder(n.Key, n.Size) {
			continue
		}
		notices = append(notices, n)
	}
	if len(notices) == 0 {
		return none, nil
	}
	return KindS3Event, notices
}

func (r *s3Record) notice() (Notice, bool) {
	o := r.S3.Object
	key, err := url.QueryUnescape(o.Key)
	if err != nil {
		return Notice{}, false
	}
	return object(r.S3.Bucket.Name, key, o.VersionID, o.Size, r.EventTime)
}

// bridged turns an EventBridge event of source aws.s3 into its notice.
func (p *payload) bridged() (Kind, []Notice) {
	if p.DetailType != "Object Created" {
		// S3's own events are all called "Object ...". Others of this source
		// (CloudTrail's) may well speak of new objects.
		if strings.HasPrefix(p.DetailType, "Object ") {
			return KindS3Other, nil
		}
		return KindUnknown, nil
	}
	o := p.Detail.Object
	n, ok := object(p.Detail.Bucket.Name, o.Key, o.VersionID, o.Size, p.Time)
	switch {
	case !ok:
		return KindUnknown, nil
	case lastSegment(n.Key) == setupID:
		return KindSESSetup, nil
	case IsAside(n.Key), IsFolder(n.Key, n.Size):
		return KindS3Other, nil
	}
	return KindEventBridge, []Notice{n}
}

// object returns the notice of an object without a receipt; false if the event
// does not say which object it is.
func object(bucket, key, version string, size int64, at string) (Notice, bool) {
	return Notice{
		MessageID: MessageID(bucket, key, version),
		Bucket:    bucket,
		Key:       key,
		Version:   version,
		Size:      max(0, size),
		Received:  parseTime(at),
	}, bucket != "" && key != ""
}
