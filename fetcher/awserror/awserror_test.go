package awserror

import (
	"net/http"
	"strings"
	"testing"
	"unicode/utf8"

	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"
)

// refused is what the SDK makes of a refusal.
func refused(message string) error {
	answer := &smithyhttp.Response{Response: &http.Response{StatusCode: http.StatusForbidden}}
	return &smithy.OperationError{ServiceID: "S3", OperationName: "GetObject", Err: &awshttp.ResponseError{
		RequestID:     "R1",
		ResponseError: &smithyhttp.ResponseError{Response: answer, Err: &smithy.GenericAPIError{Code: "AccessDenied", Message: message}},
	}}
}

func TestText(t *testing.T) {
	if got, want := Text("S3", refused("no")), "S3 answered 403 AccessDenied: no, request R1"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if got := Text("S3", refused(strings.Repeat("\u00e9", 1<<20))); len(got) > maxText || len(got) < maxText/2 || !utf8.ValidString(got) {
		t.Errorf("%d octets: %.60q", len(got), got)
	}
}
