// Package kms decrypts the objects that SES encrypted with a key of AWS KMS
// before it stored them, as a receipt rule's "encrypt message" has it. It is the
// format of AWS's S3 encryption clients, version 2: the key, wrapped by KMS, and
// all parameters are in the object's metadata.
// https://docs.aws.amazon.com/ses/latest/dg/receiving-email-action-s3.html
//
// It is code of our own, and not AWS's client (amazon-s3-encryption-client-go
// v3.2.0), because of that one's memory: it reads the object with io.ReadAll and
// hands it out as a copy, so that an object of 40 MiB takes 128 MB of
// allocations, against 42 MB with this package and the one buffer that an object
// is fetched into (go test -run - -bench Decrypt -benchmem ./fetcher/kms). Also
// it takes a tag of any length, looks for an instruction file with a client of
// its own making where an object has no such metadata, and panics on some that
// is not ASCII. The tests compare what both read and refuse.
package kms

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"errors"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/service/kms"
)

// Decrypter decrypts objects. Its methods may be called concurrently, and every
// error of theirs is an *Error.
type Decrypter struct{ client *kms.Client }

// New returns a Decrypter that asks KMS by this client. It makes no request.
func New(client *kms.Client) *Decrypter { return &Decrypter{client} }

// Decrypt returns the message of the object under this key with this metadata,
// the names in lower case and without x-amz-meta-. It is decrypted in place: it
// lies in the memory of octets, which are lost whatever comes of it. Nothing of
// it is there before the whole has been authenticated.
func (d *Decrypter) Decrypt(ctx context.Context, key string, metadata map[string]string, octets []byte) ([]byte, error) {
	e, err := readEnvelope(key, metadata)
	if err != nil {
		return nil, failure(err)
	}
	sealer, err := d.unwrap(ctx, e)
	if err != nil {
		return nil, failure(err)
	}
	message, err := sealer.Open(octets[:0], e.iv, octets, nil)
	if err != nil {
		return nil, failure(because{broken, errors.New("the authentication tag does not fit: the object is damaged, or not what SES stored")})
	}
	return message, nil
}

// Try asks KMS whether objects like the one with this metadata can be decrypted,
// without its content.
func (d *Decrypter) Try(ctx context.Context, key string, metadata map[string]string) error {
	e, err := readEnvelope(key, metadata)
	if err == nil {
		_, err = d.unwrap(ctx, e)
	}
	return failure(err)
}

// unwrap has KMS decrypt the key of the object. The blob names the KMS key, and
// is no good with another encryption context than the one it was made with.
func (d *Decrypter) unwrap(ctx context.Context, e *envelope) (cipher.AEAD, error) {
	region, err := e.region(d.client.Options().Region)
	if err != nil {
		return nil, err
	}
	out, err := d.client.Decrypt(ctx, &kms.DecryptInput{CiphertextBlob: e.wrapped, EncryptionContext: e.context},
		func(o *kms.Options) { o.Region = region })
	if err != nil {
		return nil, withKey{e.context[contextKey], err}
	}
	defer clear(out.Plaintext)
	if len(out.Plaintext) != keySize {
		return nil, because{unsupported, fmt.Errorf("the object's key has %d bytes, want the %d of AES-256", len(out.Plaintext), keySize)}
	}
	block, err := aes.NewCipher(out.Plaintext)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block) // with a nonce of 12 bytes and a tag of 16
}
