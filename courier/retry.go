package courier

import (
	"math/rand/v2"
	"time"
)

// retryAfter is how long to wait after each failed attempt; the running total
// stands behind. After the last, hourly.
var retryAfter = [...]time.Duration{
	10 * time.Second, // 10 s
	30 * time.Second, // 40 s
	1 * time.Minute,  // 1 m 40 s
	2 * time.Minute,  // 3 m 40 s
	5 * time.Minute,  // 8 m 40 s
	10 * time.Minute, // 18 m 40 s
	20 * time.Minute, // 38 m 40 s
	30 * time.Minute, // 1 h 8 m 40 s
}

// refusedAfter is how long to wait after each 5yz from a mailbox that has not
// taken mail before: Dovecot says 550 5.1.1 for valid users while its user
// database is briefly away. After the last it is refused for good.
var refusedAfter = [...]time.Duration{
	1 * time.Minute,  // 1 m
	5 * time.Minute,  // 6 m
	15 * time.Minute, // 21 m
}

const (
	// missingFor is how long an object that is gone is looked for.
	missingFor = time.Hour
	// busyWait is after how long a mailbox that another delivery occupies is
	// tried again, busyFor how long that goes on with the message in memory.
	busyWait = 500 * time.Millisecond
	busyFor  = 30 * time.Second
)

// retryWait is the wait after so many failed attempts, at least one.
func retryWait(attempts int) time.Duration {
	if attempts > len(retryAfter) {
		return jitter(time.Hour)
	}
	return jitter(retryAfter[max(attempts, 1)-1])
}

// jitter takes off up to a tenth, so that what failed together does not come
// back together, and no wait grows beyond the table's.
func jitter(d time.Duration) time.Duration { return d - rand.N(d/10+1) }
