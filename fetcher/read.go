package fetcher

import (
	"crypto/md5"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
)

// read returns the whole body and closes it. A body that was announced is read
// into one buffer of its length.
func read(out *s3.GetObjectOutput, limit int64) ([]byte, error) {
	defer out.Body.Close()
	if out.ContentLength == nil {
		return readUnannounced(out.Body, limit)
	}
	octets := make([]byte, *out.ContentLength)
	n, err := io.ReadFull(out.Body, octets)
	if err != nil {
		return nil, incomplete(fmt.Errorf("the answer broke off after %d of %d bytes: %w", n, len(octets), err))
	}
	return octets, end(out.Body)
}

// readUnannounced reads a body without a Content-Length, as a proxy may send it.
func readUnannounced(body io.Reader, limit int64) ([]byte, error) {
	octets, err := io.ReadAll(io.LimitReader(body, limit))
	if err != nil {
		return nil, incomplete(fmt.Errorf("the answer broke off after %d bytes: %w", len(octets), err))
	}
	if int64(len(octets)) < limit {
		return octets, nil
	}
	if err := end(body); errors.Is(err, errLonger) {
		return nil, because{tooLarge, fmt.Errorf("more than %d bytes", limit)}
	} else if err != nil {
		return nil, err
	}
	return octets, nil
}

var errLonger = errors.New("the answer is longer than it should be")

// end is asked after the last octet: only then does the SDK compare the checksum.
func end(body io.Reader) error {
	var more [1]byte
	n, err := io.ReadFull(body, more[:])
	switch {
	case n > 0:
		return because{network, errLonger}
	case err == io.EOF:
		return nil
	}
	return incomplete(err)
}

// incomplete gives an error met in a body its reason. The SDK does not export
// the type of its checksum error, so it is known by its text.
func incomplete(err error) error {
	switch {
	case reasonOf(err) == canceled:
		return err
	case strings.Contains(err.Error(), "checksum did not match"):
		return because{checksum, err}
	}
	return because{network, err}
}

// doubt compares an object that came without a checksum with its ETag, which is
// the MD5 of a plain object that was stored in one piece:
// https://docs.aws.amazon.com/AmazonS3/latest/API/API_Object.html
//
// There are servers whose ETag only looks like one. An object must not be
// refused for that, so a mismatch is settled by fetching it once more: what
// arrives twice alike was not damaged on the way.
type doubt struct {
	arose bool
	sum   [md5.Size]byte
}

// settled reports whether the octets may be believed; if not they are to be
// fetched once more.
func (d *doubt) settled(out *s3.GetObjectOutput, octets []byte) (bool, error) {
	want, ok := storedMD5(out)
	if !ok {
		return true, nil
	}
	sum := md5.Sum(octets)
	switch {
	case hex.EncodeToString(sum[:]) == want:
		return true, nil
	case !d.arose:
		*d = doubt{arose: true, sum: sum}
		return false, nil
	case d.sum == sum:
		return true, nil
	}
	return false, because{checksum, fmt.Errorf("neither of two attempts fits the ETag %s", want)}
}

// storedMD5 is the MD5 that the ETag says the object has, where no checksum was
// verified and the ETag can be one.
func storedMD5(out *s3.GetObjectOutput) (string, bool) {
	if _, verified := s3.GetChecksumValidationMetadata(out.ResultMetadata); verified {
		return "", false
	}
	plain := out.ServerSideEncryption == "" || out.ServerSideEncryption == types.ServerSideEncryptionAes256
	if !plain || out.SSECustomerAlgorithm != nil {
		return "", false
	}
	etag := strings.ToLower(bare(aws.ToString(out.ETag)))
	_, err := hex.DecodeString(etag)
	return etag, err == nil && len(etag) == 2*md5.Size
}
