package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	awskms "github.com/aws/aws-sdk-go-v2/service/kms"

	"github.com/homing-mail/homing/courier"
	"github.com/homing-mail/homing/fetcher/kms"
	"github.com/homing-mail/homing/metrics"
	"github.com/homing-mail/homing/spool"
)

// decrypter makes messages of objects that were stored encrypted, and counts.
type decrypter struct {
	kms     func() (*kms.Decrypter, error)
	metrics *metrics.Metrics
}

// newDecrypter makes no request, and no client of KMS before one is needed.
// client may be nil: the SDK's default configuration.
func newDecrypter(ctx context.Context, client *awskms.Client, m *metrics.Metrics) *decrypter {
	return &decrypter{metrics: m, kms: sync.OnceValues(func() (*kms.Decrypter, error) {
		if client != nil {
			return kms.New(client), nil
		}
		client, err := kms.NewClient(ctx)
		if err != nil {
			return nil, err
		}
		return kms.New(client), nil
	})}
}

// Decrypt implements courier.Source.
func (d *decrypter) Decrypt(ctx context.Context, m spool.Message, o *courier.Object) error {
	if !kms.Encrypted(o.Metadata) {
		return nil
	}
	began := time.Now()
	octets, err := d.openKMS(ctx, m.Key, o)
	return d.done("kms", m, o, octets, err, began)
}

func (d *decrypter) openKMS(ctx context.Context, key string, o *courier.Object) ([]byte, error) {
	opener, err := d.kms()
	if err != nil {
		return nil, err
	}
	return opener.Decrypt(ctx, key, o.Metadata, o.Octets)
}

// done counts an attempt to decrypt what lies in an object, and puts the result
// in its place.
func (d *decrypter) done(scheme string, m spool.Message, o *courier.Object, octets []byte, err error, began time.Time) error {
	took := time.Since(began)
	if err == nil {
		d.metrics.Decrypted(scheme, "ok", took)
		o.Octets = octets
		return nil
	}
	d.metrics.Decrypted(scheme, decryptResult(err), took)
	return fmt.Errorf("decrypt %q of bucket %q: %w", m.Key, m.Bucket, err)
}

// decryptResult is what the metrics call an error.
func decryptResult(err error) string {
	if e, ok := errors.AsType[interface {
		error
		Reason() string
	}](err); ok {
		return e.Reason()
	}
	return "other"
}
