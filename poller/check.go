package poller

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	awsmiddleware "github.com/aws/aws-sdk-go-v2/aws/middleware"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"
)

// FewReceives are too few for a queue's maxReceiveCount: each waiting mail is
// received again and again.
const FewReceives = fewReceives

// QueueState is what SQS says about a queue. It has the times also where there
// is an error.
type QueueState struct {
	Messages   int64         // in it, visible or not; about
	Visibility time.Duration // how long a received message is hidden; homing asks for its own
	Retention  time.Duration
	Receives   int64     // then a message goes to a dead-letter queue; 0: never
	Date       time.Time // by SQS's clock, to the second; zero: it did not say
	Heard      time.Time // the same moment by ours
}

// InspectError says why SQS did not answer, and what to do about it.
type InspectError struct {
	err  error
	mend string
}

// Error is what SQS said, or why it said nothing.
func (e *InspectError) Error() string {
	answer, ok1 := errors.AsType[*awshttp.ResponseError](e.err)
	api, ok2 := errors.AsType[smithy.APIError](e.err)
	if unsent, ok := errors.AsType[*smithyhttp.RequestSendError](e.err); ok {
		return fmt.Sprintf("no answer: %v", unsent.Err)
	}
	if !ok1 || !ok2 {
		return e.err.Error()
	}
	return fmt.Sprintf("SQS answered %d %s: %s", answer.HTTPStatusCode(), api.ErrorCode(), api.ErrorMessage())
}

// Unwrap returns the cause.
func (e *InspectError) Unwrap() error { return e.err }

// Mend says what a person can do about it.
func (e *InspectError) Mend() string { return e.mend }

// Inspect asks SQS about a queue and takes nothing from it. Its error is an
// *InspectError.
func Inspect(ctx context.Context, client SQS, queueURL string) (QueueState, error) {
	out, err := client.GetQueueAttributes(ctx, &sqs.GetQueueAttributesInput{QueueUrl: &queueURL,
		AttributeNames: []types.QueueAttributeName{types.QueueAttributeNameAll}})
	if err != nil {
		mend := strings.TrimPrefix(explain(err).Error(), err.Error())
		if mend = strings.TrimPrefix(mend, "; "); mend == "" {
			mend = "check the queue's URL, and see what SQS says"
		}
		return dated(err), &InspectError{err, mend}
	}
	number := func(name string) int64 {
		n, err := strconv.ParseInt(out.Attributes[name], 10, 32)
		if err != nil {
			return 0
		}
		return n
	}
	state := QueueState{
		Messages: number("ApproximateNumberOfMessages") + number("ApproximateNumberOfMessagesNotVisible") +
			number("ApproximateNumberOfMessagesDelayed"),
		Visibility: time.Duration(number("VisibilityTimeout")) * time.Second,
		Retention:  time.Duration(number("MessageRetentionPeriod")) * time.Second,
		Receives:   maxReceives(out.Attributes["RedrivePolicy"]),
	}
	state.Date, _ = awsmiddleware.GetServerTime(out.ResultMetadata)
	state.Heard, _ = awsmiddleware.GetResponseAt(out.ResultMetadata)
	return state, nil
}

// maxReceives reads a redrive policy; 0: it has none.
func maxReceives(policy string) int64 {
	var redrive struct {
		MaxReceiveCount json.Number `json:"maxReceiveCount"` // a string where an older tool wrote it
	}
	if err := json.Unmarshal([]byte(policy), &redrive); err != nil {
		return 0
	}
	most, err := redrive.MaxReceiveCount.Int64()
	if err != nil {
		return 0
	}
	return most
}

// dated takes the time from an answer that was an error.
func dated(err error) (state QueueState) {
	answer, ok := errors.AsType[*awshttp.ResponseError](err)
	if !ok {
		return state
	}
	date, err := http.ParseTime(answer.Response.Header.Get("Date"))
	if err != nil {
		return state
	}
	return QueueState{Date: date, Heard: time.Now()}
}
