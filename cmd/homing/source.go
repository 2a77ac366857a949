package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/homing-mail/homing/courier"
	"github.com/homing-mail/homing/fetcher"
	"github.com/homing-mail/homing/fetcher/envelope"
	"github.com/homing-mail/homing/metrics"
	"github.com/homing-mail/homing/spool"
)

// ownMark is the metadata of objects that homing wrote itself.
const ownMark = "homing-id"

// source lets the courier fetch from S3 and decrypt, and counts.
type source struct {
	*fetcher.Fetcher
	*decrypter
	sealTo  sealKeys
	budget  *fetcher.Budget
	metrics *metrics.Metrics
}

// newSource makes no request. Where there is no bucket it needs no client.
func newSource(ctx context.Context, cfg *Config, with neighbours, m *metrics.Metrics) (_ *source, err error) {
	if with.s3 == nil && len(cfg.Buckets) > 0 {
		if with.s3, err = fetcher.NewClient(ctx, cfg.S3PathStyle); err != nil {
			return nil, misconfigured("AWS_REGION", err)
		}
	}
	opener, err := newDecrypter(ctx, cfg, with.kms, m)
	if err != nil {
		return nil, err
	}
	places := make([]fetcher.Place, len(cfg.Buckets))
	for i, p := range cfg.Buckets {
		places[i] = fetcher.Place{Bucket: p.bucket, Prefix: p.prefix}
	}
	budget := fetcher.NewBudget(int64(cfg.Memory))
	return &source{sealTo: cfg.PGPEncryptTo, decrypter: opener, budget: budget, metrics: m, Fetcher: fetcher.New(fetcher.Config{
		Client: with.s3, Places: places, MaxMessage: int64(cfg.MaxMessage), Budget: budget,
	})}, nil
}

// Fetch implements courier.Source.
func (s *source) Fetch(ctx context.Context, m spool.Message, lane string, room int64) (*courier.Object, error) {
	began := time.Now()
	ref := reference(m)
	ref.Lane, ref.ETag, ref.Room = lane, "", room
	object, err := s.Fetcher.Fetch(ctx, ref)
	if err != nil {
		s.metrics.Fetched(reasonOf(err), 0, time.Since(began))
		return nil, err
	}
	s.metrics.Fetched("ok", len(object.Octets), time.Since(began))
	return &courier.Object{
		Octets: object.Octets, Size: int64(len(object.Octets)), Metadata: object.Metadata,
		Version: object.Version, ETag: object.ETag, Own: object.Metadata[ownMark] != "", Memory: object.Room,
	}, nil
}

// Reserve implements courier.Source.
func (s *source) Reserve(ctx context.Context, lane string, octets int64) (courier.Memory, error) {
	room, err := s.budget.Acquire(ctx, lane, octets)
	if err != nil {
		return nil, err // not the nil *Room, which would be no nil Memory
	}
	return room, nil
}

// Delete implements courier.Source.
func (s *source) Delete(ctx context.Context, m spool.Message) error {
	return s.Fetcher.Delete(ctx, reference(m))
}

// Tag implements courier.Source.
func (s *source) Tag(ctx context.Context, m spool.Message) error {
	return s.Fetcher.Tag(ctx, reference(m))
}

// Move implements courier.Source.
func (s *source) Move(ctx context.Context, m spool.Message, prefix, id string) (string, error) {
	return s.Fetcher.Move(ctx, reference(m), prefix, id)
}

// settleLane is the lane of objects that are encrypted after their delivery; it
// cannot be a mailbox.
const settleLane = "after delivery"

// Encrypt implements courier.Source.
func (s *source) Encrypt(ctx context.Context, m spool.Message, e *courier.Envelope, prefix, id string) (string, error) {
	if s.sealTo.unfit != nil {
		return "", fmt.Errorf("HOMING_PGP_ENCRYPT_TO: %w", s.sealTo.unfit)
	}
	ref := reference(m)
	ref.Lane = settleLane
	return s.Fetcher.Encrypt(ctx, ref, fetcher.Encryption{
		To: s.sealTo.recipients, Envelope: (*envelope.Envelope)(e), Prefix: prefix, ID: id, Delivered: true, KMS: s.askKMS,
	})
}

func reference(m spool.Message) fetcher.Ref {
	return fetcher.Ref{Bucket: m.Bucket, Key: m.Key, Version: m.Version, ETag: m.ETag, Size: m.Size}
}

func reasonOf(err error) string {
	if e, ok := errors.AsType[*fetcher.Error](err); ok {
		return e.Reason()
	}
	return "other"
}
