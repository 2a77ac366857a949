package fetcher

import (
	"context"
	"errors"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/homing-mail/homing/fetcher/envelope"
	"github.com/homing-mail/homing/fetcher/pgp"
)

const (
	// arrival is the metadata of objects that were encrypted on arrival: they are
	// news.
	arrival = "homing-arrival"
	// aside is the folder, within a place, where the encrypted object waits until
	// it is known to be in the plain one's place. Package notice knows the name,
	// too: what S3 says of it is no news.
	aside = "homing-encrypting/"
	// roomBeside is more than an OpenPGP message has beside the plaintext, in
	// bytes, apart from a part in a thousand of it.
	roomBeside = 1 << 20
)

// Encryption says how an object is to be encrypted.
type Encryption struct {
	To       *pgp.Recipients
	Envelope *envelope.Envelope // goes inside; nil: it is not known
	Prefix   string             // where to, as in Move; empty: in place
	ID       string             // of the message; it tells an attempt from another's object
	// KMS decrypts what SES encrypted with KMS; nil: such an object is refused.
	KMS func(ctx context.Context, key string, metadata map[string]string, octets []byte) ([]byte, error)
	// Delivered marks the new object with homing-id, as Move does: it is no news.
	Delivered bool
}

func (e Encryption) mark() string {
	if e.Delivered {
		return marker
	}
	return arrival
}

// Encrypt replaces the object by an OpenPGP message of it, and returns the new
// key: the old one, or the prefix and what follows the place's own. The
// envelope goes inside, before the octets. The content's headers, tags and
// metadata are kept. An object that is an OpenPGP message already stays as it
// is, and the key is empty. One that is gone is an error that says so, unless an
// earlier attempt encrypted it.
//
// The plain object, its version where there are versions, is destroyed only when
// the new one has been read back and found equal to what was written, and to be
// a whole message to all recipients. Where there are no versions and the object
// is encrypted in place, which is when writing is destroying, it is written
// aside first. So nothing is lost whenever this ends, and it may be repeated
// after any failure. It overwrites no other object, as Move does not, and holds
// twice the object's size of the budget.
func (f *Fetcher) Encrypt(ctx context.Context, ref Ref, e Encryption) (newKey string, err error) {
	c := &claim{budget: f.budget, lane: ref.Lane}
	defer c.leave()
	newKey, err = f.encrypt(ctx, ref, e, c)
	if err != nil {
		return "", failure("encrypt", ref, err)
	}
	return newKey, nil
}

func (f *Fetcher) encrypt(ctx context.Context, ref Ref, e Encryption, c *claim) (string, error) {
	place, err := f.place(ref)
	if err != nil {
		return "", err
	}
	x := &exchange{Fetcher: f, Encryption: e, claim: c, ref: ref, newKey: ref.Key, aside: place.Prefix + aside + place.below(ref.Key)}
	if e.Prefix != "" {
		if x.newKey = e.Prefix + place.below(ref.Key); x.newKey == ref.Key {
			return "", because{refused, fmt.Errorf("the prefix %q leaves it where it is; choose another, or none", e.Prefix)}
		}
	}
	if err := x.look(ctx); err != nil {
		return "", err
	}
	if x.plain == nil {
		return x.newKey, x.finish(ctx)
	}
	sealed, err := x.seal(ctx)
	if err != nil || sealed == nil {
		return "", err
	}
	return x.newKey, x.replace(ctx, sealed)
}

// exchange is the work on one object.
type exchange struct {
	*Fetcher
	Encryption
	claim  *claim
	ref    Ref
	newKey string
	aside  string // key
	// made is what an earlier attempt left under the new key, nil if nothing.
	made *s3.HeadObjectOutput
	// plain is the object to be encrypted, nil where an earlier attempt has
	// destroyed it.
	plain *s3.HeadObjectOutput
	tags  *string // the plain object's, as PutObject takes them
}

func (x *exchange) inPlace() bool { return x.newKey == x.ref.Key }

// look finds out what there is.
func (x *exchange) look(ctx context.Context) error {
	there, err := x.head(ctx, Ref{Bucket: x.ref.Bucket, Key: x.newKey})
	switch {
	case err != nil && reasonOf(err) != gone:
		return fmt.Errorf("look for %q: %w", x.newKey, err)
	case err == nil && there.Metadata[x.mark()] == x.ID:
		x.made = there
		return x.lookBehind(ctx)
	case x.inPlace() && err != nil:
		return err // or a version is left, which somebody has hidden by deleting it
	case x.inPlace():
		return x.lookAt(ctx, there)
	case err == nil:
		return because{refused, fmt.Errorf("%q is another object; choose another prefix", x.newKey)}
	}
	x.plain, err = x.head(ctx, x.ref)
	return err
}

// lookBehind looks for the plain object where the encrypted one is made.
func (x *exchange) lookBehind(ctx context.Context) error {
	ref := x.ref
	if x.inPlace() {
		if ref.Version == "" {
			ref.Version = "null" // if versioning began after it was fetched
		}
		if version := aws.ToString(x.made.VersionId); version == "" || version == ref.Version {
			return nil
		}
	}
	plain, err := x.head(ctx, ref)
	if reasonOf(err) == gone {
		return nil
	}
	x.plain = plain
	return err
}

// lookAt takes what is there for the plain object, to be encrypted in place.
func (x *exchange) lookAt(ctx context.Context, there *s3.HeadObjectOutput) error {
	if x.ref.Version != "" && x.ref.Version != aws.ToString(there.VersionId) {
		if _, err := x.head(ctx, x.ref); err != nil {
			return err
		}
		return because{refused, errors.New("it is not the newest version of its key, and encrypted it would hide the one that is; encrypt under a prefix")}
	}
	if x.ref.ETag != "" && bare(x.ref.ETag) != bare(aws.ToString(there.ETag)) {
		return errGone
	}
	x.plain = there
	return nil
}

// replace writes the encrypted object and destroys the plain one.
func (x *exchange) replace(ctx context.Context, sealed []byte) error {
	over := x.made
	if x.inPlace() && over == nil {
		over = x.plain
	}
	destroys := x.inPlace() && unversioned(x.plain.VersionId)
	var copied *string
	if destroys {
		var err error
		if copied, err = x.store(ctx, x.aside, nil, sealed); err != nil {
			return err
		}
	}
	version, err := x.store(ctx, x.newKey, over, sealed)
	if err != nil {
		return err
	}
	if !x.inPlace() || aws.ToString(version) != aws.ToString(x.plain.VersionId) {
		if err := x.destroy(ctx); err != nil {
			return err
		}
	}
	if destroys {
		return x.removeAside(ctx, copied)
	}
	return nil
}

// destroy deletes the plain object, and no other that has taken its place.
func (x *exchange) destroy(ctx context.Context) error {
	ref := x.ref
	ref.Version, ref.ETag = aws.ToString(x.plain.VersionId), aws.ToString(x.plain.ETag)
	if x.inPlace() && ref.Version == "" {
		ref.Version = "null" // versioning began a moment ago
	}
	version, err := x.find(ctx, ref)
	if err == nil {
		err = x.delete(ctx, ref, version)
	}
	if reasonOf(err) == gone {
		return nil
	}
	return err
}

// finish goes on where an earlier attempt destroyed the plain object by writing
// over it: what lies aside was read back, and what was written after it may not
// have been.
func (x *exchange) finish(ctx context.Context) error {
	if !x.inPlace() {
		return nil
	}
	there, err := x.head(ctx, Ref{Bucket: x.ref.Bucket, Key: x.aside})
	if reasonOf(err) == gone || err == nil && there.Metadata[x.mark()] != x.ID {
		return nil
	}
	if err != nil {
		return fmt.Errorf("look for %q: %w", x.aside, err)
	}
	object, err := x.fetch(ctx, Ref{Bucket: x.ref.Bucket, Key: x.aside, Size: aws.ToInt64(there.ContentLength)}, x.claim)
	if err != nil {
		return err
	}
	x.plain = x.made // whose headers and tags are the plain one's
	if x.tags, err = x.tagging(ctx); err != nil {
		return err
	}
	if x.same(ctx, x.newKey, x.made.VersionId, object.Octets) != nil {
		if _, err := x.store(ctx, x.newKey, x.made, object.Octets); err != nil {
			return err
		}
	}
	return x.removeAside(ctx, there.VersionId)
}

// unversioned reports whether a version is overwritten by the next one.
func unversioned(version *string) bool {
	return aws.ToString(version) == "" || aws.ToString(version) == "null"
}
