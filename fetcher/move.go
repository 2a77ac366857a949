package fetcher

import (
	"context"
	"fmt"
	"maps"
	"net/url"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
)

// marker is the metadata of objects that homing wrote: they are no news.
const marker = "homing-id"

// Move moves the object within its bucket and returns its new key: the prefix
// and what follows the place's own prefix. The content, its headers, tags,
// encryption and metadata are kept, and homing-id=id is added to the latter.
//
// S3 has no such operation, so it is a copy, then a deletion of the original.
// Move may be repeated after any failure: what was copied is known by its
// homing-id. It overwrites no other object: a key that is taken is a permanent
// error, as is a prefix that would leave the object where it is.
func (f *Fetcher) Move(ctx context.Context, ref Ref, prefix, id string) (newKey string, err error) {
	newKey, err = f.move(ctx, ref, prefix, id)
	if err != nil {
		return "", failure("move", ref, err)
	}
	return newKey, nil
}

func (f *Fetcher) move(ctx context.Context, ref Ref, prefix, id string) (string, error) {
	place, err := f.place(ref)
	if err != nil {
		return "", err
	}
	newKey := prefix + place.below(ref.Key)
	if newKey == ref.Key {
		return "", because{refused, fmt.Errorf("the prefix %q leaves it where it is; choose another", prefix)}
	}
	copied, err := f.copied(ctx, ref.Bucket, newKey, id)
	if err != nil {
		return "", err
	}
	source, err := f.head(ctx, ref)
	if copied && reasonOf(err) == gone {
		return newKey, nil
	}
	if err != nil {
		return "", err
	}
	if !copied {
		if err := f.copy(ctx, ref, source, newKey, id); err != nil {
			return "", err
		}
	}
	if err := f.delete(ctx, ref, source.VersionId); err != nil && reasonOf(err) != gone {
		return "", err
	}
	return newKey, nil
}

// copied reports whether the new key holds the message already. That another
// object is there is an error.
func (f *Fetcher) copied(ctx context.Context, bucket, newKey, id string) (bool, error) {
	out, err := f.client.HeadObject(ctx, &s3.HeadObjectInput{Bucket: &bucket, Key: &newKey})
	switch {
	case err == nil && out.Metadata[marker] == id:
		return true, nil
	case err == nil:
		return false, because{refused, fmt.Errorf("%q is another object; choose another prefix", newKey)}
	case reasonOf(err) == gone:
		return false, nil
	}
	return false, fmt.Errorf("look for %q: %w", newKey, err)
}

// copy writes the new object. S3 copies the tags by itself, and nothing else
// once metadata is to be replaced:
// https://docs.aws.amazon.com/AmazonS3/latest/API/API_CopyObject.html
func (f *Fetcher) copy(ctx context.Context, ref Ref, source *s3.HeadObjectOutput, newKey, id string) error {
	metadata := maps.Clone(source.Metadata)
	if metadata == nil {
		metadata = make(map[string]string)
	}
	metadata[marker] = id
	_, err := f.client.CopyObject(ctx, &s3.CopyObjectInput{
		Bucket:               &ref.Bucket,
		Key:                  &newKey,
		CopySource:           aws.String(copySource(ref, source.VersionId)),
		CopySourceIfMatch:    source.ETag,
		MetadataDirective:    types.MetadataDirectiveReplace,
		Metadata:             metadata,
		ContentType:          source.ContentType,
		ContentEncoding:      source.ContentEncoding,
		ContentDisposition:   source.ContentDisposition,
		ContentLanguage:      source.ContentLanguage,
		CacheControl:         source.CacheControl,
		StorageClass:         source.StorageClass,
		ServerSideEncryption: source.ServerSideEncryption,
		SSEKMSKeyId:          source.SSEKMSKeyId,
		BucketKeyEnabled:     source.BucketKeyEnabled,
	})
	return err
}

// copySource is the x-amz-copy-source header, which the SDK does not escape.
func copySource(ref Ref, version *string) string {
	source := ref.Bucket + "/" + strings.ReplaceAll(escape(ref.Key), "%2F", "/")
	if version != nil {
		source += "?versionId=" + escape(*version)
	}
	return source
}

// escape leaves no plus: some servers read it as a space, and others as itself.
func escape(s string) string { return strings.ReplaceAll(url.QueryEscape(s), "+", "%20") }
