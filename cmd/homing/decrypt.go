package main

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"time"

	awskms "github.com/aws/aws-sdk-go-v2/service/kms"

	"github.com/homing-mail/homing/courier"
	"github.com/homing-mail/homing/fetcher/envelope"
	"github.com/homing-mail/homing/fetcher/kms"
	"github.com/homing-mail/homing/fetcher/pgp"
	"github.com/homing-mail/homing/metrics"
	"github.com/homing-mail/homing/spool"
)

// decrypter makes messages of objects that were stored encrypted, and counts.
type decrypter struct {
	kms     func() (*kms.Decrypter, error)
	keys    *pgp.Keys
	limit   int64 // bytes of a message
	metrics *metrics.Metrics
	// turns has a place for each processor: OpenPGP takes memory of its own while
	// it works, and more at a time would be no faster.
	turns chan struct{}
}

// newDecrypter makes no request, and no client of KMS before one is needed.
// client may be nil: the SDK's default configuration.
func newDecrypter(ctx context.Context, cfg *Config, client *awskms.Client, m *metrics.Metrics) (*decrypter, error) {
	keys, err := cfg.openKeys()
	if err != nil {
		return nil, err
	}
	if keys == nil {
		keys = new(pgp.Keys)
	}
	d := &decrypter{keys: keys, limit: int64(cfg.MaxMessage), metrics: m, turns: make(chan struct{}, runtime.GOMAXPROCS(0))}
	d.kms = sync.OnceValues(func() (*kms.Decrypter, error) {
		if client != nil {
			return kms.New(client), nil
		}
		client, err := kms.NewClient(ctx)
		if err != nil {
			return nil, err
		}
		return kms.New(client), nil
	})
	return d, nil
}

// Decrypt implements courier.Source. An object may be encrypted in both ways:
// with OpenPGP before SES received it, say.
func (d *decrypter) Decrypt(ctx context.Context, m spool.Message, o *courier.Object) error {
	if kms.Encrypted(o.Metadata) {
		if err := d.count("kms", m, func() error { return d.openKMS(ctx, m.Key, o) }); err != nil {
			return err
		}
	}
	if !pgp.Encrypted(o.Octets) {
		return nil
	}
	select {
	case d.turns <- struct{}{}:
		defer func() { <-d.turns }()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	return d.count("pgp", m, func() error { return d.openPGP(o) })
}

func (d *decrypter) openKMS(ctx context.Context, key string, o *courier.Object) (err error) {
	o.Octets, err = d.askKMS(ctx, key, o.Metadata, o.Octets)
	return err
}

// askKMS decrypts what SES encrypted, in place.
func (d *decrypter) askKMS(ctx context.Context, key string, metadata map[string]string, octets []byte) ([]byte, error) {
	opener, err := d.kms()
	if err != nil {
		return nil, err
	}
	return opener.Decrypt(ctx, key, metadata, octets)
}

// openPGP decrypts in place, unless the message was compressed.
func (d *decrypter) openPGP(o *courier.Object) error {
	beside := int64(0)
	octets, err := d.keys.Decrypt(o.Octets, d.limit, func(bytes int64) error {
		beside = bytes
		if !o.Resize(o.Size + beside) {
			return noRoom(o.Size + beside)
		}
		return nil
	})
	if _, full := errors.AsType[noRoom](err); full {
		return err
	}
	if err != nil {
		return &pgpError{error: err, mend: mendPGP(decryptResult(err))}
	}
	if o.Octets, err = unwrap(o, octets); err != nil {
		return err
	}
	if beside > 0 {
		o.Resize(beside) // less, which is always possible
	}
	return nil
}

// unwrap takes the envelope off, where homing or the Lambda put one in.
func unwrap(o *courier.Object, octets []byte) ([]byte, error) {
	e, message, err := envelope.Cut(octets)
	if err != nil {
		return nil, &pgpError{error: malformed{err}}
	}
	o.Envelope = (*courier.Envelope)(e)
	return message, nil
}

// malformed is what the metrics call a broken envelope.
type malformed struct{ error }

func (malformed) Reason() string { return "malformed" }

// count counts an attempt to decrypt, unless it is to be made again at once.
func (d *decrypter) count(scheme string, m spool.Message, attempt func() error) error {
	began := time.Now()
	err := attempt()
	if _, full := errors.AsType[noRoom](err); full {
		return err
	}
	d.metrics.Decrypted(scheme, decryptResult(err), time.Since(began))
	switch {
	case err == nil:
		return nil
	case m.Bucket == "":
		return fmt.Errorf("decrypt the message in the notification: %w", err)
	}
	return fmt.Errorf("decrypt %q of bucket %q: %w", m.Key, m.Bucket, err)
}

// decryptResult is what the metrics call it.
func decryptResult(err error) string {
	if err == nil {
		return "ok"
	}
	if e, ok := errors.AsType[interface {
		error
		Reason() string
	}](err); ok {
		return e.Reason()
	}
	return "other"
}

// noRoom is how many bytes of memory a message takes for which there are not
// enough just now.
type noRoom int64

func (n noRoom) Error() string { return fmt.Sprintf("it takes %d bytes of memory", int64(n)) }

// Room implements what courier.Source says of errors.
func (n noRoom) Room() int64 { return int64(n) }

// pgpError is an error of pgp.Keys, with what a person can do about it.
type pgpError struct {
	error
	mend string
}

func (e *pgpError) Error() string {
	text := "OpenPGP: " + e.error.Error()
	if e.mend != "" {
		text += " (" + e.mend + ")"
	}
	return text
}

func (e *pgpError) Unwrap() error { return e.error }

// Permanent holds the message: only another configuration opens it.
func (e *pgpError) Permanent() bool { return true }

func mendPGP(reason string) string {
	const again = ", start homing again and `homing queue retry` it"
	switch reason {
	case "no_key":
		return "add the secret key to HOMING_PGP_KEY" + again
	case "passphrase":
		return "correct HOMING_PGP_PASSPHRASE" + again
	case "too_large":
		return "raise HOMING_MAX_MESSAGE" + again
	}
	return ""
}
