package fetcher

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"go.uber.org/goleak"

	"github.com/homing-mail/homing/internal/s3test"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const maxMessage = 1 << 20

// start returns a server in the process and a fetcher of its bucket "mail",
// whose client tries every request once.
func start(t *testing.T) (*s3test.Server, *Fetcher) {
	t.Helper()
	server, err := s3test.New("mail")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Close() })
	return server, fetcherOf(once(server.Client()))
}

func once(client *s3.Client) *s3.Client {
	return s3.New(client.Options(), func(o *s3.Options) { o.Retryer = aws.NopRetryer{} })
}

func fetcherOf(client *s3.Client) *Fetcher {
	return New(Config{
		Client:     client,
		Places:     []Place{{Bucket: "mail"}},
		MaxMessage: maxMessage,
		Budget:     NewBudget(4 * maxMessage),
	})
}

func put(t *testing.T, server *s3test.Server, key string, body []byte) Ref {
	t.Helper()
	if err := server.Put("mail", key, body, map[string]string{"Some-Name": "value"}); err != nil {
		t.Fatal(err)
	}
	return Ref{Bucket: "mail", Key: key}
}

// octets are random, so that no two parts of them are alike.
func octets(n int) []byte {
	body := make([]byte, n)
	rand.NewChaCha8([32]byte{1}).Read(body)
	return body
}

// eventually waits for a condition that nothing announces.
func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	again := time.NewTicker(time.Millisecond)
	defer again.Stop()
	for late := time.After(time.Minute); !condition(); {
		select {
		case <-again.C:
		case <-late:
			t.Fatalf("waited in vain: %s", what)
		}
	}
}

func reason(err error) string {
	if failure, ok := errors.AsType[*Error](err); ok {
		return failure.Reason()
	}
	return fmt.Sprintf("no *Error: %v", err)
}

func TestFetch(t *testing.T) {
	server, f := start(t)
	for _, size := range []int{0, 1, 4096, 100000, maxMessage} {
		for _, announced := range []int64{0, int64(size), 1, maxMessage + 1} { // a wrong size is only a wrong guess
			body := octets(size)
			ref := put(t, server, fmt.Sprint("key", size), body)
			ref.Size = announced
			object, err := f.Fetch(t.Context(), ref)
			if err != nil {
				t.Fatalf("%d bytes: %v", size, err)
			}
			if !bytes.Equal(object.Octets, body) || cap(object.Octets) > size+8 {
				t.Errorf("%d bytes: got %d in a buffer of %d", size, len(object.Octets), cap(object.Octets))
			}
			if object.Metadata["some-name"] != "value" || object.ETag == "" {
				t.Errorf("metadata %v, ETag %q", object.Metadata, object.ETag)
			}
			if got := f.budget.InUse(); got < int64(size) {
				t.Errorf("%d bytes in use, the object has %d", got, size)
			}
			object.Release()
			object.Release()
			if got := f.budget.InUse(); got != 0 {
				t.Errorf("%d bytes in use after the release", got)
			}
		}
	}
}

func TestFetchTooLarge(t *testing.T) {
	server, f := start(t)
	for _, noLength := range []bool{false, true} {
		server.Inject(func(*http.Request) *s3test.Fault { return &s3test.Fault{NoLength: noLength} })
		_, err := f.Fetch(t.Context(), put(t, server, "key", octets(maxMessage+1)))
		if failure, ok := errors.AsType[*Error](err); !ok || failure.Reason() != tooLarge || !failure.Permanent() {
			t.Errorf("error %v", err)
		}
		if !strings.Contains(err.Error(), "1048576") || !strings.Contains(err.Error(), "HOMING_MAX_MESSAGE") {
			t.Errorf("the error does not say what to do: %v", err)
		}
		object, err := f.Fetch(t.Context(), put(t, server, "key", octets(maxMessage)))
		if err != nil {
			t.Fatal(err)
		}
		object.Release()
	}
	if got := f.budget.InUse(); got != 0 {
		t.Errorf("%d bytes in use at the end", got)
	}
}

func TestFetchFaults(t *testing.T) {
	server, f := start(t)
	body := octets(200000)
	ref := put(t, server, "key", body)
	for _, test := range []struct {
		name   string
		fault  s3test.Fault
		reason string // empty: none
	}{
		{"slow", s3test.Fault{Delay: time.Millisecond, Pause: time.Millisecond}, ""},
		{"no length", s3test.Fault{NoLength: true}, ""},
		{"slow down", s3test.Fault{Status: 503, Code: "SlowDown"}, throttled},
		{"too many", s3test.Fault{Status: 429, Code: "Whatever"}, throttled},
		{"unavailable", s3test.Fault{Status: 503, Code: "ServiceUnavailable"}, serverFault},
		{"internal", s3test.Fault{Status: 500, Code: "InternalError"}, serverFault},
		{"denied", s3test.Fault{Status: 403, Code: "AccessDenied"}, denied},
		{"wrong secret", s3test.Fault{Status: 403, Code: "SignatureDoesNotMatch"}, denied},
		{"archived", s3test.Fault{Status: 403, Code: "InvalidObjectState"}, other},
		{"no key", s3test.Fault{Status: 404, Code: "NoSuchKey"}, gone},
		{"no version", s3test.Fault{Status: 404, Code: "NoSuchVersion"}, gone},
		{"no bucket", s3test.Fault{Status: 404, Code: "NoSuchBucket"}, configuration},
		{"other region", s3test.Fault{Status: 400, Code: "AuthorizationHeaderMalformed"}, configuration},
		{"moved bucket", s3test.Fault{Status: 301, Code: "PermanentRedirect"}, configuration},
		{"new bucket elsewhere", s3test.Fault{Status: 307, Code: "TemporaryRedirect"}, configuration},
		{"expired", s3test.Fault{Status: 400, Code: "ExpiredToken"}, configuration},
		{"timeout", s3test.Fault{Status: 400, Code: "RequestTimeout"}, network},
		{"not allowed", s3test.Fault{Status: 405, Code: "MethodNotAllowed"}, other},
		{"odd", s3test.Fault{Status: 400, Code: "InvalidRequest"}, other},
		{"reset", s3test.Fault{Reset: true}, network},
		{"truncated", s3test.Fault{Truncate: true, After: 100000}, network},
		{"truncated at once", s3test.Fault{Truncate: true}, network},
		{"truncated without length", s3test.Fault{Truncate: true, After: 100000, NoLength: true}, network},
		{"corrupt", s3test.Fault{Corrupt: true}, checksum},
		{"corrupt without length", s3test.Fault{Corrupt: true, NoLength: true}, checksum},
	} {
		t.Run(test.name, func(t *testing.T) {
			server.Inject(func(*http.Request) *s3test.Fault { return &test.fault })
			object, err := f.Fetch(t.Context(), ref)
			if test.reason == "" {
				if err != nil || !bytes.Equal(object.Octets, body) {
					t.Fatalf("not fetched: %v", err)
				}
				object.Release()
			} else if reason(err) != test.reason || object != nil {
				t.Errorf("reason %s, want %s: %v", reason(err), test.reason, err)
			}
			failure, _ := errors.AsType[*Error](err)
			if failure != nil && (failure.Permanent() || failure.Gone() != (test.reason == gone) || failure.Denied() != (test.reason == denied)) {
				t.Errorf("permanent %v, gone %v, denied %v", failure.Permanent(), failure.Gone(), failure.Denied())
			}
			if got := f.budget.InUse(); got != 0 {
				t.Errorf("%d bytes in use at the end", got)
			}
			server.Inject(nil)
			if object, err = f.Fetch(t.Context(), ref); err != nil {
				t.Fatalf("after the fault: %v", err)
			}
			object.Release()
		})
	}
}

func TestFetchCanceled(t *testing.T) {
	server, f := start(t)
	ref := put(t, server, "key", octets(100000))
	ctx, cancel := context.WithCancel(t.Context())
	server.Inject(func(*http.Request) *s3test.Fault {
		cancel()
		return &s3test.Fault{Stall: true, After: 1}
	})
	if _, err := f.Fetch(ctx, ref); reason(err) != canceled || !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}

func TestReasons(t *testing.T) {
	for _, reason := range Reasons() {
		err := failure("fetch", Ref{Bucket: "mail", Key: "a\nb"}, because{reason, errors.New("cause")})
		text := err.Error()
		if !strings.Contains(text, "cause") || !strings.Contains(text, `"a\nb"`) || strings.Contains(text, "\n") {
			t.Errorf("%s: %q", reason, text)
		}
		if got := reasonOf(fmt.Errorf("wrapped: %w", err.(*Error).Unwrap())); got != reason {
			t.Errorf("%s became %s", reason, got)
		}
	}
	if got := reasonOf(errors.New("unknown")); got != other {
		t.Errorf("an unknown error is %s", got)
	}
}
