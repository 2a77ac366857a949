package notice

import (
	"context"
	"slices"
	"time"
)

const (
	faultMemory = 5 * time.Second // shorter than the 20 s after which SNS tries again
	maxFetches  = 4
	maxCached   = 64 // URLs: SNS has one certificate a region and a year
)

// fault remembers why a certificate could not be had.
type fault struct {
	err error
	at  time.Time
}

// certificate returns the signing certificate behind a URL, from the cache or
// from SNS. Concurrent callers share one fetch, which goes on when they leave.
func (v *Verifier) certificate(ctx context.Context, address string) (*certificate, error) {
	if !certURL.MatchString(address) {
		return nil, refuse(reasonHost, "its SigningCertURL %.120q is not SNS's", address)
	}
	if cert, err := v.remembered(address); cert != nil || err != nil {
		return cert, err
	}
	detached := context.WithoutCancel(ctx)
	result := v.flight.DoChan(address, func() (any, error) { return v.obtain(detached, address) })
	select {
	case r := <-result:
		if r.Err != nil {
			return nil, r.Err
		}
		return r.Val.(*certificate), nil
	case <-ctx.Done():
		return nil, unavailable("waiting for the SNS signing certificate %s: %w", address, ctx.Err())
	}
}

// remembered returns what the cache has: both results are nil if it has nothing.
func (v *Verifier) remembered(address string) (*certificate, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if cert, ok := v.certs.get(address); ok {
		return cert, nil
	}
	f, ok := v.faults.get(address)
	if !ok {
		return nil, nil
	}
	// A clock that was set back must not make a fault last.
	if age := v.now().Sub(f.at); age < 0 || age >= faultMemory {
		return nil, nil
	}
	return nil, f.err
}

// obtain fetches a certificate and remembers the outcome. Beyond the limit of
// fetches at a time it gives up at once: a stranger who invents URLs must not
// have us knock at AWS's door without end.
func (v *Verifier) obtain(ctx context.Context, address string) (*certificate, error) {
	if cert, err := v.remembered(address); cert != nil || err != nil {
		return cert, err // another flight ended between our look and this one
	}
	select {
	case v.slots <- struct{}{}:
		defer func() { <-v.slots }()
	default:
		return nil, unavailable("too many SNS signing certificates are being fetched")
	}
	cert, err := v.fetch(ctx, address)
	v.mu.Lock()
	defer v.mu.Unlock()
	if err != nil {
		v.faults.put(address, fault{err: err, at: v.now()})
		return nil, err
	}
	v.certs.put(address, cert)
	return cert, nil
}

// recent is a map that forgets its oldest entries.
type recent[V any] struct {
	limit  int
	values map[string]V
	order  []string // oldest first
}

func newRecent[V any](limit int) *recent[V] {
	return &recent[V]{limit: limit, values: make(map[string]V)}
}

func (r *recent[V]) get(key string) (V, bool) {
	v, ok := r.values[key]
	return v, ok
}

func (r *recent[V]) put(key string, v V) {
	if _, ok := r.values[key]; ok {
		r.order = slices.DeleteFunc(r.order, func(k string) bool { return k == key })
	} else if len(r.order) >= r.limit {
		delete(r.values, r.order[0])
		r.order = r.order[1:]
	}
	r.values[key] = v
	r.order = append(r.order, key)
}
