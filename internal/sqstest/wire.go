package sqstest

import (
	"crypto/md5"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path"
	"strconv"
	"strings"
	"time"
)

// Request is what matters of a request's body; batches have Entries.
type Request struct {
	QueueURL          string  `json:"QueueUrl"`
	MessageBody       string  `json:"MessageBody"`
	Delay             int     `json:"DelaySeconds"`
	Most              int     `json:"MaxNumberOfMessages"`
	Wait              int     `json:"WaitTimeSeconds"`
	VisibilityTimeout *int    `json:"VisibilityTimeout"`
	ReceiptHandle     string  `json:"ReceiptHandle"`
	Entries           []Entry `json:"Entries"`
}

// Entry is one of a batch.
type Entry struct {
	ID                string `json:"Id"`
	ReceiptHandle     string `json:"ReceiptHandle"`
	VisibilityTimeout *int   `json:"VisibilityTimeout"`
}

// refusal is an error of SQS: https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/CommonErrors.html
type refusal struct {
	status     int
	code, text string
}

func (e *refusal) Error() string { return e.code + ": " + e.text }

func invalid(format string, args ...any) error {
	return &refusal{http.StatusBadRequest, "InvalidParameterValue", fmt.Sprintf(format, args...)}
}

// maxRequest is above the 1 MiB that SQS takes.
const maxRequest = 4 << 20

func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	operation := strings.TrimPrefix(r.Header.Get("X-Amz-Target"), "AmazonSQS.")
	text, err := io.ReadAll(io.LimitReader(r.Body, maxRequest))
	if err != nil {
		return
	}
	linger(r)
	var request Request
	if err := json.Unmarshal(text, &request); err != nil {
		answer(w, nil, &refusal{http.StatusBadRequest, "MalformedInput", err.Error()})
		return
	}
	s.mu.Lock()
	s.calls[operation]++
	hook := s.hook
	s.mu.Unlock()
	if hook != nil {
		if fault := hook(operation, request); fault != nil {
			s.fail(w, r, operation, &request, fault)
			return
		}
	}
	result, err := s.work(r, operation, &request)
	answer(w, result, err)
}

// leastTime is how long every request takes. The SDK closes a request's body
// when the answer comes, and the connection is lost if that is before the
// client has found the body's end: over a pipe it often would be.
const leastTime = time.Millisecond

func linger(r *http.Request) {
	timer := time.NewTimer(leastTime)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-r.Context().Done():
	}
}

func answer(w http.ResponseWriter, result any, err error) {
	w.Header().Set("Content-Type", "application/x-amz-json-1.0")
	if refused, ok := errors.AsType[*refusal](err); ok {
		w.Header().Set("x-amzn-RequestId", "00000000-test")
		w.WriteHeader(refused.status)
		result = map[string]string{"__type": "com.amazonaws.sqs#" + refused.code, "message": refused.text}
	}
	// The client may have gone.
	_ = json.NewEncoder(w).Encode(result)
}

func (s *Server) work(r *http.Request, operation string, request *Request) (any, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	q := s.queues[path.Base(request.QueueURL)]
	if q == nil {
		return nil, &refusal{http.StatusBadRequest, "QueueDoesNotExist", "The specified queue does not exist."}
	}
	switch operation {
	case "SendMessage":
		return q.sendMessage(request)
	case "ReceiveMessage":
		return s.receiveMessage(r, q, request)
	case "DeleteMessageBatch":
		return q.batch(request, func(e Entry) error {
			q.forget(e.ReceiptHandle)
			return nil
		})
	case "ChangeMessageVisibilityBatch":
		return q.batch(request, func(e Entry) error { return q.change(e.ReceiptHandle, e.VisibilityTimeout) })
	case "ChangeMessageVisibility":
		return struct{}{}, q.change(request.ReceiptHandle, request.VisibilityTimeout)
	case "GetQueueAttributes":
		return q.attributes(), nil
	}
	return nil, &refusal{http.StatusBadRequest, "InvalidAction", operation + " is not known here"}
}

func (q *queue) attributes() any {
	all := map[string]string{"MessageRetentionPeriod": "345600", "ApproximateNumberOfMessages": strconv.Itoa(len(q.messages))}
	if q.retention > 0 {
		all["MessageRetentionPeriod"] = strconv.Itoa(int(q.retention.Seconds()))
	}
	if q.most > 0 {
		all["RedrivePolicy"] = fmt.Sprintf(`{"deadLetterTargetArn":"arn:aws:sqs:us-east-1:%s:%s","maxReceiveCount":%d}`, account, q.deadLetters, q.most)
	}
	return map[string]any{"Attributes": all}
}

func (q *queue) sendMessage(request *Request) (any, error) {
	switch {
	case request.MessageBody == "" || len(request.MessageBody) > 1<<20:
		return nil, invalid("a body of %d bytes", len(request.MessageBody))
	case request.Delay < 0 || request.Delay > 900:
		return nil, invalid("DelaySeconds %d", request.Delay)
	}
	m := q.send(request.MessageBody, nil, time.Time{}, time.Duration(request.Delay)*time.Second)
	return map[string]string{"MessageId": m.ID, "MD5OfMessageBody": digest(m.Body)}, nil
}

// receiveMessage waits for messages; it gives the lock up meanwhile.
func (s *Server) receiveMessage(r *http.Request, q *queue, request *Request) (any, error) {
	if request.Most < 0 || request.Most > 10 || request.Wait < 0 || request.Wait > 20 {
		return nil, invalid("MaxNumberOfMessages %d, WaitTimeSeconds %d", request.Most, request.Wait)
	}
	hidden := 30 * time.Second
	if request.VisibilityTimeout != nil {
		hidden = time.Duration(*request.VisibilityTimeout) * time.Second
	}
	end := time.Now().Add(time.Duration(request.Wait) * time.Second)
	for r.Context().Err() == nil {
		taken, next := s.receive(q, max(request.Most, 1), hidden)
		if len(taken) > 0 || !time.Now().Before(end) {
			return received(taken), nil
		}
		if next.IsZero() || next.After(end) {
			next = end
		}
		s.await(r, q.changed, time.Until(next))
	}
	return received(nil), nil
}

func (s *Server) await(r *http.Request, changed <-chan struct{}, most time.Duration) {
	s.mu.Unlock()
	defer s.mu.Lock()
	timer := time.NewTimer(most)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-changed:
	case <-r.Context().Done():
	}
}

func received(messages []Message) any {
	all := []any{}
	for _, m := range messages {
		one := map[string]any{
			"MessageId": m.ID, "ReceiptHandle": m.handle, "Body": m.Body, "MD5OfBody": digest(m.Body),
			"Attributes": map[string]string{
				"SentTimestamp":           strconv.FormatInt(m.Sent.UnixMilli(), 10),
				"ApproximateReceiveCount": strconv.Itoa(m.Receives),
			},
		}
		if len(m.Attributes) > 0 {
			given := map[string]any{}
			for name, value := range m.Attributes {
				given[name] = map[string]string{"DataType": "String", "StringValue": value}
			}
			one["MessageAttributes"] = given
		}
		all = append(all, one)
	}
	return map[string]any{"Messages": all}
}

func (q *queue) change(handle string, seconds *int) error {
	if seconds == nil || *seconds < 0 || *seconds > 43200 {
		return invalid("a visibility timeout that is none")
	}
	if !q.hide(handle, time.Duration(*seconds)*time.Second) {
		return &refusal{http.StatusBadRequest, "MessageNotInflight", "The specified message isn't in flight."}
	}
	return nil
}

// batch does one for each entry and answers which succeeded.
func (q *queue) batch(request *Request, one func(Entry) error) (any, error) {
	if len(request.Entries) == 0 || len(request.Entries) > 10 {
		return nil, invalid("a batch of %d entries", len(request.Entries))
	}
	done, failed, seen := []any{}, []any{}, map[string]bool{}
	for _, e := range request.Entries {
		if seen[e.ID] || e.ID == "" {
			return nil, &refusal{http.StatusBadRequest, "BatchEntryIdsNotDistinct", e.ID}
		}
		seen[e.ID] = true
		if refused, ok := errors.AsType[*refusal](one(e)); ok {
			failed = append(failed, failure(e.ID, refused.code))
			continue
		}
		done = append(done, map[string]string{"Id": e.ID})
	}
	return map[string]any{"Successful": done, "Failed": failed}, nil
}

func failure(id, code string) any {
	return map[string]any{"Id": id, "SenderFault": true, "Code": code, "Message": "it is refused"}
}

// digest is what the client compares the body with.
func digest(text string) string {
	sum := md5.Sum([]byte(text))
	return hex.EncodeToString(sum[:])
}
