package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/homing-mail/homing/fetcher"
	"github.com/homing-mail/homing/fetcher/kms"
	"github.com/homing-mail/homing/fetcher/pgp"
	"github.com/homing-mail/homing/poller"
)

// pgpKeys tries each key of HOMING_PGP_KEY with a message of its own.
func (c *checker) pgpKeys(ctx context.Context, p *page) {
	keys := c.cfg.keyring().keys
	if keys == nil {
		return // a mistake in them has a line already
	}
	var states []pgp.State
	if !p.try(ctx, "pgp keys", "HOMING_PGP_KEY", func(context.Context) finding {
		states = keys.States(time.Now())
		return well("%d read", len(states))
	}) {
		return
	}
	for _, s := range states {
		p.add("pgp key", s.ID, 0, judgeKey(s, time.Now()))
	}
}

// judgeKey: what is encrypted to an expired key still opens, but who encrypts,
// such as contrib/lambda, refuses it.
func judgeKey(s pgp.State, now time.Time) finding {
	const soon = 30 * 24 * time.Hour
	const extend = "extend the key (gpg --quick-set-expire), and give its new public part to whatever encrypts to it"
	left := s.Expires.Sub(now)
	switch {
	case s.Locked:
		return broken(errors.New("the passphrase does not open it: what is encrypted to it is held"), "correct HOMING_PGP_PASSPHRASE; all keys have the one passphrase, or none")
	case s.Fault != nil:
		return broken(fmt.Errorf("what was encrypted to it does not open: %w", s.Fault), "export the key again (gpg --export-secret-keys --armor), and see whether gpg itself can use it")
	case s.Unfit != nil:
		return doubtful(fmt.Sprintf("opens what is encrypted to it, but nothing more will be: %v", s.Unfit), extend)
	case !s.Expires.IsZero() && left < soon:
		return doubtful(fmt.Sprintf("opens what is encrypted to it, but expires in %s, and nothing more is encrypted to it then", span(left)), extend)
	case !s.Expires.IsZero():
		return well("opens what is encrypted to it; expires %s", s.Expires.UTC().Format(time.RFC1123))
	}
	return well("opens what is encrypted to it; does not expire")
}

const (
	// kmsPages bounds how much of a bucket is listed to find an object to try:
	// 10,000 keys.
	kmsPages = 10
	// kmsNewest is how many of the newest objects are looked at.
	kmsNewest = 5
)

// decryption has KMS open the key of an object, if one of the newest is
// encrypted by it.
func (c *checker) decryption(ctx context.Context, p *page, at place) {
	if c.client == nil || p.hung || slices.ContainsFunc(p.lines, func(l checkLine) bool { return !l.OK }) {
		return // what is wrong with the bucket is said already
	}
	where := fetcher.Place{Bucket: at.bucket, Prefix: at.prefix}
	store := fetcher.New(fetcher.Config{Client: c.client, Places: []fetcher.Place{where}})
	p.try(ctx, "kms", at.String(), func(ctx context.Context) finding {
		key, metadata, err := newestSealed(ctx, store, where)
		switch {
		case err != nil:
			return well("not tried: no object can be looked at without s3:ListBucket and s3:GetObject")
		case key == "":
			return well("not tried: none of the %d newest objects is encrypted with KMS", kmsNewest)
		}
		client := c.with.kms
		if client == nil {
			if client, err = kms.NewClient(ctx); err != nil {
				return misset(err, "correct the AWS_* variables, or the profile in ~/.aws")
			}
		}
		return kmsFinding(kms.New(client).Try(ctx, key, metadata), key)
	})
}

// newestSealed finds the newest object that is encrypted with KMS among the
// newest that there are; an empty key: there is none.
func newestSealed(ctx context.Context, store *fetcher.Fetcher, where fetcher.Place) (key string, metadata map[string]string, err error) {
	newest, err := newestMail(ctx, store, where)
	if err != nil {
		return "", nil, err
	}
	for _, o := range newest {
		head, err := store.Head(ctx, fetcher.Ref{Bucket: where.Bucket, Key: o.Key})
		if err != nil {
			return "", nil, err
		}
		if kms.Encrypted(head.Metadata) {
			return o.Key, head.Metadata, nil
		}
	}
	return "", nil, nil
}

func newestMail(ctx context.Context, store *fetcher.Fetcher, where fetcher.Place) ([]fetcher.Listed, error) {
	var newest []fetcher.Listed
	pages := 0
	for page, err := range store.List(ctx, where) {
		if err != nil {
			return nil, err
		}
		newest = append(newest, slices.DeleteFunc(page.Objects, func(o fetcher.Listed) bool {
			return !poller.Object{Key: o.Key, Size: o.Size}.IsMail()
		})...)
		slices.SortFunc(newest, func(a, b fetcher.Listed) int { return cmp.Or(b.Stored.Compare(a.Stored), cmp.Compare(a.Key, b.Key)) })
		newest = newest[:min(len(newest), kmsNewest)]
		if pages++; pages == kmsPages {
			break
		}
	}
	return newest, nil
}

// kmsFinding: what is wrong with one object says nothing of the others.
func kmsFinding(err error, key string) finding {
	e, failed := errors.AsType[*kms.Error](err)
	if !failed {
		return well("kms:Decrypt is allowed; the key of %q was opened", key)
	}
	cause := errors.New(strings.TrimSuffix(e.Error(), " ("+e.Mend()+")"))
	switch {
	case e.Permanent():
		return doubtful(fmt.Sprintf("%q cannot be decrypted: %v", key, cause), "see what stored it there: SES stores no such objects, and if it is mail it is held")
	case e.Reason() == "denied":
		return broken(fmt.Errorf("kms:Decrypt is not allowed: %w", cause), e.Mend())
	case e.Mend() != "":
		return broken(cause, e.Mend())
	}
	return broken(cause, "let this machine reach KMS over HTTPS: DNS, firewall, HTTPS_PROXY, AWS_ENDPOINT_URL_KMS")
}
