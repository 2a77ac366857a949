package poller

import (
	"context"
	"math/rand/v2"
	"time"
)

// backoffs is how long to wait after so many failures of a queue in a row.
var backoffs = [...]time.Duration{
	1 * time.Second,
	2 * time.Second,
	5 * time.Second,
	10 * time.Second,
	30 * time.Second,
	60 * time.Second, // and so on
}

// backoff takes off up to a tenth, so that replicas do not come back together.
func backoff(failures int) time.Duration {
	d := backoffs[min(max(failures, 1), len(backoffs))-1]
	return d - rand.N(d/10)
}

// pause waits, or less when ctx ends.
func pause(ctx context.Context, d time.Duration) {
	if d <= 0 {
		return
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

func notify(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
