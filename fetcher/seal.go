package fetcher

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/homing-mail/homing/fetcher/kms"
	"github.com/homing-mail/homing/fetcher/pgp"
)

// seal fetches the plain object and returns the OpenPGP message that takes its
// place; nil if it is one itself.
func (x *exchange) seal(ctx context.Context) ([]byte, error) {
	ref := x.ref
	ref.Version, ref.Size = aws.ToString(x.plain.VersionId), aws.ToInt64(x.plain.ContentLength)
	ref.Room = 2*ref.Size + ref.Size>>10 + roomBeside
	object, err := x.fetch(ctx, ref, x.claim)
	if err != nil {
		return nil, err
	}
	if bare(object.ETag) != bare(aws.ToString(x.plain.ETag)) {
		return nil, errGone // since a moment ago
	}
	mail, already, err := x.mail(ctx, object)
	if err != nil || already {
		return nil, err
	}
	if x.tags, err = x.tagging(ctx); err != nil {
		return nil, err
	}
	sealed, err := x.To.Encrypt(x.Envelope.Block(), mail)
	if err != nil {
		return nil, err
	}
	return sealed, x.openable(sealed)
}

// mail is what the object holds; already reports that this is an OpenPGP
// message. What SES encrypted with KMS is decrypted, and what the metadata say of
// that is dropped: else it would be taken for what it was.
func (x *exchange) mail(ctx context.Context, object *Object) (octets []byte, already bool, err error) {
	switch {
	case !kms.Encrypted(object.Metadata):
		return object.Octets, pgp.Encrypted(object.Octets), nil
	case x.KMS == nil:
		return nil, false, because{refused, errors.New("SES encrypted it with KMS; switch that off in the receipt rule")}
	}
	octets, err = x.KMS(ctx, x.ref.Key, object.Metadata, object.Octets)
	maps.DeleteFunc(x.plain.Metadata, func(name, _ string) bool { return strings.HasPrefix(name, "x-amz-") })
	return octets, false, err
}

// openable reports with an error what is no whole message to all recipients.
func (x *exchange) openable(sealed []byte) error {
	message, err := pgp.Inspect(sealed)
	if err != nil {
		return fmt.Errorf("the message made of it: %w", err)
	}
	for _, id := range x.To.IDs() {
		if !slices.ContainsFunc(message.Recipients, func(r pgp.Recipient) bool { return r.ID == id }) {
			return fmt.Errorf("the message made of it is not encrypted to key %s", id)
		}
	}
	return nil
}
