package awsclient

import (
	"fmt"
	"io"
	"net/http"

	awsmiddleware "github.com/aws/aws-sdk-go-v2/aws/middleware"
)

// maxRefusal bounds the answers other than 2xx, which the SDK reads into memory
// whole: AWS's are a few lines, a proxy's a page.
const maxRefusal = 64 << 10

// maxHeader bounds the header of an answer, in octets. S3 allows 2 KB of an
// object's own metadata.
const maxHeader = 64 << 10

// client bounds what is read of each answer, and keeps answers that come at once.
type client struct {
	http     *http.Client
	answer   int64
	streamed string
}

// Do implements aws.HTTPClient.
func (c *client) Do(r *http.Request) (*http.Response, error) {
	answer, err := c.http.Do(kept(r))
	if err != nil {
		return nil, err
	}
	most := c.answer
	switch {
	case answer.StatusCode >= http.StatusMultipleChoices:
		most = maxRefusal
	case awsmiddleware.GetOperationName(r.Context()) == c.streamed:
		return answer, nil
	}
	answer.Body = &bounded{ReadCloser: answer.Body, most: most, left: most}
	return answer, nil
}

// kept is the request without the WriteTo of its body. The SDK closes the body as
// soon as an answer begins. Where net/http has not looked yet whether the body is
// at its end, WriteTo says io.EOF, which is no error of a Read, and net/http ends
// the connection with the answer in it (seen with smithy-go 1.28 and Go 1.26).
func kept(r *http.Request) *http.Request {
	if r.Body == nil || r.Body == http.NoBody {
		return r
	}
	same := *r
	same.Body = struct{ io.ReadCloser }{r.Body}
	return &same
}

// bounded is a body that fails once it has had more octets than it may.
type bounded struct {
	io.ReadCloser
	most, left int64
}

// Read implements io.Reader.
func (b *bounded) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if b.left -= int64(n); b.left < 0 {
		return 0, fmt.Errorf("the answer has more than %d octets, which is not believed", b.most)
	}
	return n, err
}
