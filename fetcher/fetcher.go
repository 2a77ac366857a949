// Package fetcher brings objects in from S3: each one bounded, whole and
// verified before anybody sees an octet of it. After delivery it deletes, tags
// or moves them.
package fetcher

import (
	"context"
	"errors"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
)

// rounds is how often one fetch asks for an object that there was no room for:
// it may be replaced by a larger one while it waits.
const rounds = 4

// Config is what a Fetcher needs.
type Config struct {
	Client     *s3.Client
	Places     []Place // the only places objects are touched in
	MaxMessage int64   // bytes; larger objects are refused for good
	Budget     *Budget // bytes of all objects in memory
}

// Fetcher fetches objects. Its methods may be called concurrently, and every
// error of theirs is an *Error.
type Fetcher struct {
	client     *s3.Client
	places     []Place
	maxMessage int64
	budget     *Budget
}

// New returns a Fetcher. It makes no request.
func New(c Config) *Fetcher {
	return &Fetcher{client: c.Client, places: mostSpecificFirst(c.Places), maxMessage: c.MaxMessage, budget: c.Budget}
}

// Ref names an object.
type Ref struct {
	Bucket string
	Key    string
	// Version is empty where the bucket has none or it is not known.
	Version string
	// ETag, where it is known and there is no Version, keeps Delete, Tag and Move
	// from another object that has taken this one's place. Quotes do not matter.
	ETag string
	// Size in bytes, 0 if unknown, saves a request when memory is short. It is
	// believed for nothing else.
	Size int64
	// Room is how many bytes are to be held at least, for what will be made of the
	// object; 0: as many as it has.
	Room int64
	// Lane shares the memory with the objects of the same lane: see Budget.
	Lane string
}

// Object is a whole object that passed every check there was.
type Object struct {
	Octets   []byte
	Metadata map[string]string // the names in lower case, without x-amz-meta-
	Version  string            // empty where the bucket has none
	ETag     string            // as S3 gave it, with its quotes
	// Room is held of the budget for the octets. They must not be used after it is
	// released.
	*Room
}

// Fetch returns the whole object, once its length and its checksum, where the
// server has one, are right. It waits for room in the budget, and holds no
// connection meanwhile. The caller releases the object.
func (f *Fetcher) Fetch(ctx context.Context, ref Ref) (*Object, error) {
	c := &claim{budget: f.budget, lane: ref.Lane}
	object, err := f.fetch(ctx, ref, c)
	if err != nil {
		c.leave()
		return nil, failure("fetch", ref, err)
	}
	object.Room = c.room
	return object, nil
}

func (f *Fetcher) fetch(ctx context.Context, ref Ref, c *claim) (*Object, error) {
	if _, err := f.place(ref); err != nil {
		return nil, err
	}
	if size := max(ref.Size, ref.Room); 0 < size && ref.Size <= f.maxMessage {
		if err := c.wait(ctx, size); err != nil {
			return nil, err
		}
	}
	var doubt doubt
	for {
		out, err := f.open(ctx, ref, c)
		if err != nil {
			return nil, err
		}
		octets, err := read(out, f.maxMessage)
		if err != nil {
			return nil, err
		}
		if sure, err := doubt.settled(out, octets); err != nil {
			return nil, err
		} else if sure {
			return object(out, octets), nil
		}
	}
}

// open asks for the object until there is room for it, and returns the answer
// with the body still to be read.
func (f *Fetcher) open(ctx context.Context, ref Ref, c *claim) (*s3.GetObjectOutput, error) {
	for range rounds {
		out, err := f.get(ctx, ref)
		if err != nil {
			return nil, err
		}
		need, err := f.need(out)
		need = max(need, ref.Room)
		if err == nil && c.take(need) {
			return out, nil
		}
		out.Body.Close()
		if err != nil {
			return nil, err
		}
		if err := c.wait(ctx, need); err != nil {
			return nil, err
		}
	}
	return nil, errors.New("it was larger each time it was asked for")
}

// need is how many bytes of memory reading the answer takes.
func (f *Fetcher) need(out *s3.GetObjectOutput) (int64, error) {
	if out.ContentLength == nil {
		return 2 * f.maxMessage, nil // the buffer grows, and is copied while it does
	}
	if *out.ContentLength > f.maxMessage {
		return 0, because{tooLarge, fmt.Errorf("%d bytes, more than %d", *out.ContentLength, f.maxMessage)}
	}
	return *out.ContentLength, nil
}

func object(out *s3.GetObjectOutput, octets []byte) *Object {
	return &Object{
		Octets:   octets,
		Metadata: out.Metadata,
		Version:  aws.ToString(out.VersionId),
		ETag:     aws.ToString(out.ETag),
	}
}

// place is the place that holds the object, and an error if there is none.
func (f *Fetcher) place(ref Ref) (Place, error) {
	for _, place := range f.places {
		if place.holds(ref.Bucket, ref.Key) {
			return place, nil
		}
	}
	return Place{}, because{outside, errors.New("objects are not fetched from there")}
}

func (f *Fetcher) get(ctx context.Context, ref Ref) (*s3.GetObjectOutput, error) {
	out, err := f.client.GetObject(ctx, &s3.GetObjectInput{
		Bucket:       &ref.Bucket,
		Key:          &ref.Key,
		VersionId:    optional(ref.Version),
		ChecksumMode: types.ChecksumModeEnabled,
	})
	if err == nil && aws.ToInt64(out.ContentLength) < 0 {
		out.ContentLength = nil // HTTP/2 lets it pass, and the SDK hands it on
	}
	return out, err
}

func optional(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}
