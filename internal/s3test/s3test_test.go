package s3test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// start returns a server that holds s3://mail/key, and a client that tries once.
func start(t *testing.T, body []byte) (*Server, *s3.Client) {
	t.Helper()
	server, err := New("mail")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Close(); err != nil {
			t.Error(err)
		}
	})
	if err := server.Put("mail", "key", body, map[string]string{"homing-id": "x1"}); err != nil {
		t.Fatal(err)
	}
	return server, s3.New(server.Client().Options(), func(o *s3.Options) { o.Retryer = aws.NopRetryer{} })
}

func get(ctx context.Context, client *s3.Client) ([]byte, *s3.GetObjectOutput, error) {
	out, err := client.GetObject(ctx, &s3.GetObjectInput{Bucket: aws.String("mail"), Key: aws.String("key")})
	if err != nil {
		return nil, nil, err
	}
	defer out.Body.Close()
	body, err := io.ReadAll(out.Body)
	return body, out, err
}

func TestPut(t *testing.T) {
	server, client := start(t, []byte("octets"))
	body, out, err := get(t.Context(), client)
	if err != nil || string(body) != "octets" {
		t.Fatalf("got %q, %v", body, err)
	}
	if out.Metadata["homing-id"] != "x1" {
		t.Errorf("metadata %v", out.Metadata)
	}
	if _, verified := s3.GetChecksumValidationMetadata(out.ResultMetadata); !verified {
		t.Error("the object has no checksum to verify")
	}
	if err := server.Put("nowhere", "key", nil, nil); err == nil {
		t.Error("put into a missing bucket: no error")
	}
}

func TestFaults(t *testing.T) {
	body := bytes.Repeat([]byte("0123456789"), 10000)
	for _, test := range []struct {
		name  string
		fault Fault
		code  string // the API's error code
		text  string // or a part of the error's text
	}{
		{"nothing", Fault{}, "", ""},
		{"late", Fault{Delay: time.Millisecond}, "", ""},
		{"in pieces", Fault{Pause: time.Microsecond}, "", ""},
		{"without length", Fault{NoLength: true}, "", ""},
		{"slow down", Fault{Status: 503, Code: "SlowDown"}, "SlowDown", ""},
		{"denied", Fault{Status: 403, Code: "AccessDenied"}, "AccessDenied", ""},
		{"reset", Fault{Reset: true}, "", "connection reset"},
		{"corrupt", Fault{Corrupt: true}, "", "checksum did not match"},
		{"truncated", Fault{Truncate: true, After: 70000}, "", "unexpected EOF"},
	} {
		t.Run(test.name, func(t *testing.T) {
			server, client := start(t, body)
			server.Inject(func(*http.Request) *Fault { return &test.fault })
			got, _, err := get(t.Context(), client)
			api, _ := errors.AsType[smithy.APIError](err)
			switch {
			case test.code != "":
				if api == nil || api.ErrorCode() != test.code {
					t.Errorf("error %v, want the code %s", err, test.code)
				}
			case test.text != "":
				if err == nil || !strings.Contains(err.Error(), test.text) {
					t.Errorf("error %v, want %q", err, test.text)
				}
			case err != nil || !bytes.Equal(got, body):
				t.Errorf("got %d octets, %v", len(got), err)
			}
			server.Inject(nil)
			if _, _, err := get(t.Context(), client); err != nil {
				t.Errorf("after the fault: %v", err)
			}
		})
	}
}

func TestStall(t *testing.T) {
	server, client := start(t, make([]byte, 100000))
	stalled := make(chan struct{})
	server.Inject(func(*http.Request) *Fault {
		close(stalled)
		return &Fault{Stall: true, After: 50000}
	})
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-stalled
		cancel()
	}()
	if _, _, err := get(ctx, client); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want the one of a reader who gave up", err)
	}
}

// TestHappens is about the second half of each pair of faults: the answer says
// that it failed, and it happened.
func TestHappens(t *testing.T) {
	for _, fault := range []Fault{
		{Happens: true, Status: 500, Code: "InternalError"},
		{Happens: true, Reset: true},
	} {
		server, client := start(t, []byte("octets"))
		server.Inject(func(*http.Request) *Fault { return &fault })
		_, err := client.DeleteObject(t.Context(), &s3.DeleteObjectInput{Bucket: aws.String("mail"), Key: aws.String("key")})
		if err == nil {
			t.Errorf("%+v: no error", fault)
		}
		server.Inject(nil)
		if _, _, err := get(t.Context(), client); err == nil {
			t.Errorf("%+v: the object is still there", fault)
		}
	}
}

func TestRefused(t *testing.T) {
	_, client := start(t, []byte("octets"))
	bucket, key := aws.String("mail"), aws.String("key")
	for name, err := range map[string]error{
		"tags": second(client.GetObjectTagging(t.Context(), &s3.GetObjectTaggingInput{Bucket: bucket, Key: key})),
		"head of a version": second(client.HeadObject(t.Context(), &s3.HeadObjectInput{
			Bucket: bucket, Key: key, VersionId: aws.String("v1")})),
		"copy of a version": second(client.CopyObject(t.Context(), &s3.CopyObjectInput{
			Bucket: bucket, Key: aws.String("copy"), CopySource: aws.String("mail/key?versionId=v1")})),
	} {
		if err == nil {
			t.Errorf("%s: no error, but gofakes3 gets it wrong", name)
		}
	}
	if body, _, err := get(t.Context(), client); err != nil || string(body) != "octets" {
		t.Errorf("the object is now %q, %v", body, err)
	}
}

func second[T any](_ T, err error) error { return err }
