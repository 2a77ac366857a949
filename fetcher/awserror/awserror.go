// Package awserror takes the errors of AWS's SDK apart: what a service answered,
// without what the SDK puts round it, or that no answer came.
package awserror

import (
	"errors"
	"fmt"
	"io"
	"net"
	"strings"

	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"
)

// maxText is how many octets are shown of what a service answered: it is kept
// with each message and logged with each attempt.
const maxText = 1000

// Text is what the service, called by this name, answered, or why it did not, in
// at most 1,000 octets. An error that is not the SDK's stays as it is.
func Text(service string, err error) string {
	if _, sdk := err.(*smithy.OperationError); !sdk {
		return err.Error()
	}
	if unsent, ok := errors.AsType[*smithyhttp.RequestSendError](err); ok {
		return fmt.Sprintf("no answer: %v", unsent.Err)
	}
	response, ok1 := errors.AsType[*awshttp.ResponseError](err)
	api, ok2 := errors.AsType[smithy.APIError](err)
	if !ok1 || !ok2 {
		return err.Error()
	}
	text := fmt.Sprintf("%s answered %d %s", service, response.HTTPStatusCode(), api.ErrorCode())
	if message := api.ErrorMessage(); message != "" {
		text += ": " + message
	}
	if response.RequestID != "" {
		text += ", request " + response.RequestID // AWS's support asks for it
	}
	return strings.ToValidUTF8(text[:min(len(text), maxText)], "")
}

// Code is the service's code of the error; empty where it sent none.
func Code(err error) string {
	if api, ok := errors.AsType[smithy.APIError](err); ok {
		return api.ErrorCode()
	}
	return ""
}

// Lost reports that no answer came, or not all of it.
func Lost(err error) bool {
	if _, ok := errors.AsType[net.Error](err); ok || errors.Is(err, io.ErrUnexpectedEOF) {
		return true
	}
	connection, ok := errors.AsType[interface {
		error
		ConnectionError() bool
	}](err)
	return ok && connection.ConnectionError()
}
