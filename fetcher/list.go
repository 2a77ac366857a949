package fetcher

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net/url"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsmiddleware "github.com/aws/aws-sdk-go-v2/aws/middleware"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/homing-mail/homing/fetcher/awserror"
)

// Page is a part of a listing.
type Page struct {
	Objects []Listed
	// Time is the server's when it answered, to which the times of the objects
	// compare whatever the clock here says; our own where it does not tell.
	Time time.Time
}

// Listed is what a listing says of one object.
type Listed struct {
	Key    string
	ETag   string // with its quotes
	Size   int64  // bytes
	Stored time.Time
}

// List lists the objects that Fetch would fetch from a place, in the order in
// which S3 has them: by key. Of an object with versions it is the current one.
// Each page is one request, of at most 1,000 keys, made when the page is asked
// for, and no page is kept. The listing ends with the first error, an *Error.
// https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListObjectsV2.html
func (f *Fetcher) List(ctx context.Context, place Place) iter.Seq2[Page, error] {
	pages := s3.NewListObjectsV2Paginator(f.client, &s3.ListObjectsV2Input{
		Bucket: &place.Bucket,
		Prefix: optional(place.Prefix),
		// A key may hold what XML cannot, and one such would hide all others.
		EncodingType: types.EncodingTypeUrl,
	}, func(o *s3.ListObjectsV2PaginatorOptions) { o.StopOnDuplicateToken = true })
	return func(yield func(Page, error) bool) {
		for pages.HasMorePages() {
			page, err := f.page(ctx, place, pages)
			if err != nil {
				yield(Page{}, failure("list", Ref{Bucket: place.Bucket, Key: place.Prefix}, err))
				return
			}
			if !yield(page, nil) {
				return
			}
		}
	}
}

func (f *Fetcher) page(ctx context.Context, place Place, pages *s3.ListObjectsV2Paginator) (Page, error) {
	out, err := pages.NextPage(ctx)
	if err != nil {
		return Page{}, err
	}
	// The paginator would take a listing without its end for a whole one.
	if aws.ToBool(out.IsTruncated) && aws.ToString(out.NextContinuationToken) == "" {
		return Page{}, errors.New("the answer says that there is more, and not where")
	}
	page := Page{Objects: make([]Listed, 0, len(out.Contents)), Time: time.Now()}
	if at, ok := awsmiddleware.GetServerTime(out.ResultMetadata); ok {
		page.Time = at
	}
	for _, o := range out.Contents {
		key, err := listedKey(out, aws.ToString(o.Key))
		if err != nil {
			return Page{}, err
		}
		if _, err := f.place(Ref{Bucket: place.Bucket, Key: key}); err == nil {
			page.Objects = append(page.Objects, Listed{
				Key: key, ETag: aws.ToString(o.ETag), Size: max(0, aws.ToInt64(o.Size)), Stored: aws.ToTime(o.LastModified)})
		}
	}
	return page, nil
}

// listedKey is a key as it is. The SDK leaves the encoding to us; a server that
// does not encode does not say that it does.
func listedKey(out *s3.ListObjectsV2Output, key string) (string, error) {
	if out.EncodingType != types.EncodingTypeUrl {
		return key, nil
	}
	plain, err := url.QueryUnescape(key)
	if err != nil {
		return "", fmt.Errorf("the key %.100q is not encoded as the answer says: %w", key, err)
	}
	return plain, nil
}

// Head is what S3 says of an object without sending it.
type Head struct {
	Version  string            // empty where the bucket has none
	Metadata map[string]string // the names in lower case, without x-amz-meta-
}

// Head asks for an object's version and metadata. Where the reference has an
// ETag, another object in its place counts as gone.
func (f *Fetcher) Head(ctx context.Context, ref Ref) (Head, error) {
	if _, err := f.place(ref); err != nil {
		return Head{}, failure("look at", ref, err)
	}
	out, err := f.head(ctx, ref)
	if err != nil {
		return Head{}, failure("look at", ref, err)
	}
	return Head{Version: aws.ToString(out.VersionId), Metadata: out.Metadata}, nil
}

// Tagged reports whether the object has the tag that Tag sets. A server that
// knows no tags has none.
func (f *Fetcher) Tagged(ctx context.Context, ref Ref) (bool, error) {
	if _, err := f.place(ref); err != nil {
		return false, failure("read the tags of", ref, err)
	}
	out, err := f.client.GetObjectTagging(ctx, &s3.GetObjectTaggingInput{
		Bucket: &ref.Bucket, Key: &ref.Key, VersionId: optional(ref.Version)})
	if code := awserror.Code(err); code == "NotImplemented" || code == "NoSuchTagSet" {
		return false, nil
	}
	if err != nil {
		return false, failure("read the tags of", ref, err)
	}
	for _, tag := range out.TagSet {
		if aws.ToString(tag.Key) == tagName {
			return strings.EqualFold(aws.ToString(tag.Value), tagValue), nil
		}
	}
	return false, nil
}
