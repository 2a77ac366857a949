package fetcher

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

var errNotSame = because{checksum, errors.New("what was read back is not what was written")}

// store writes the encrypted object under a key, where over is or nothing, reads
// it back, and returns its version.
func (x *exchange) store(ctx context.Context, key string, over *s3.HeadObjectOutput, sealed []byte) (version *string, err error) {
	out, err := x.put(ctx, key, over, sealed)
	if isPrecondition(err) {
		// An earlier attempt may have made it, this one's too if its answer was lost.
		there, lost := x.head(ctx, Ref{Bucket: x.ref.Bucket, Key: key})
		switch {
		case lost != nil:
			return nil, lost
		case there.Metadata[x.mark()] != x.ID:
			return nil, because{refused, fmt.Errorf("%q is another object", key)}
		case x.same(ctx, key, there.VersionId, sealed) == nil:
			return there.VersionId, nil
		}
		out, err = x.put(ctx, key, there, sealed)
	}
	if err != nil {
		return nil, fmt.Errorf("write %q: %w", key, err)
	}
	return out.VersionId, x.same(ctx, key, out.VersionId, sealed)
}

// put writes the encrypted object, with all of the plain one that is not its
// content.
func (x *exchange) put(ctx context.Context, key string, over *s3.HeadObjectOutput, sealed []byte) (*s3.PutObjectOutput, error) {
	metadata := maps.Clone(x.plain.Metadata)
	if metadata == nil {
		metadata = make(map[string]string)
	}
	metadata[x.mark()] = x.ID
	in := &s3.PutObjectInput{
		Bucket: &x.ref.Bucket, Key: &key, Body: bytes.NewReader(sealed), Metadata: metadata, Tagging: x.tags,
		ContentType:          x.plain.ContentType,
		ContentEncoding:      x.plain.ContentEncoding,
		ContentDisposition:   x.plain.ContentDisposition,
		ContentLanguage:      x.plain.ContentLanguage,
		CacheControl:         x.plain.CacheControl,
		StorageClass:         x.plain.StorageClass,
		ServerSideEncryption: x.plain.ServerSideEncryption,
		SSEKMSKeyId:          x.plain.SSEKMSKeyId,
		BucketKeyEnabled:     x.plain.BucketKeyEnabled,
	}
	if over != nil {
		in.IfMatch = over.ETag
	} else {
		in.IfNoneMatch = aws.String("*")
	}
	return x.client.PutObject(ctx, in)
}

// tagging reads the plain object's tags.
func (x *exchange) tagging(ctx context.Context) (*string, error) {
	if aws.ToInt32(x.plain.TagCount) == 0 {
		return nil, nil
	}
	out, err := x.client.GetObjectTagging(ctx, &s3.GetObjectTaggingInput{Bucket: &x.ref.Bucket, Key: &x.ref.Key, VersionId: x.plain.VersionId})
	if err != nil {
		return nil, fmt.Errorf("read its tags: %w", err)
	}
	tags := url.Values{}
	for _, tag := range out.TagSet {
		tags.Set(aws.ToString(tag.Key), aws.ToString(tag.Value))
	}
	return aws.String(tags.Encode()), nil
}

// same reads an object and compares it with what it should be.
func (x *exchange) same(ctx context.Context, key string, version *string, want []byte) error {
	out, err := x.get(ctx, Ref{Bucket: x.ref.Bucket, Key: key, Version: aws.ToString(version)})
	if err != nil {
		return fmt.Errorf("read back: %w", err)
	}
	defer out.Body.Close()
	buffer := make([]byte, 64<<10)
	for rest := want; ; {
		n, err := out.Body.Read(buffer)
		if !bytes.HasPrefix(rest, buffer[:n]) {
			return errNotSame
		}
		rest = rest[n:]
		switch {
		case err == io.EOF && len(rest) > 0:
			return errNotSame
		case err == io.EOF:
			return nil
		case err != nil:
			return fmt.Errorf("read back: %w", incomplete(err))
		}
	}
}

func (x *exchange) removeAside(ctx context.Context, version *string) error {
	err := x.delete(ctx, Ref{Bucket: x.ref.Bucket, Key: x.aside}, version)
	if reasonOf(err) == gone {
		return nil
	}
	return err
}

// isPrecondition reports that If-Match or If-None-Match did not hold.
// https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html
func isPrecondition(err error) bool {
	answer, ok := errors.AsType[*awshttp.ResponseError](err)
	return ok && answer.HTTPStatusCode() == http.StatusPreconditionFailed
}
