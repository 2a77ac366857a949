package system

import (
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/homing-mail/homing/internal/sqstest"
)

// oneRequestIn is how many requests to SQS there are for each that fails.
const oneRequestIn = 8

// badQueue makes requests to SQS fail: refused, failed although they were carried
// out, with failed entries, or without an answer.
type badQueue struct {
	faults atomic.Int64
	mu     sync.Mutex
	rng    *rand.Rand
}

func newBadQueue(seed uint64) *badQueue {
	return &badQueue{rng: rand.New(rand.NewPCG(seed, 5<<40))}
}

// fault is the sqstest.Hook.
func (q *badQueue) fault(operation string, _ sqstest.Request) *sqstest.Fault {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.rng.IntN(oneRequestIn) > 0 {
		return nil
	}
	q.faults.Add(1)
	answers := []sqstest.Fault{
		{Status: http.StatusServiceUnavailable, Code: "ServiceUnavailable"},
		{Status: http.StatusBadRequest, Code: "ThrottlingException"},
		{Status: http.StatusForbidden, Code: "AccessDeniedException"},
		{}, // cut
		{Entries: true, Code: "InternalError"},
	}
	if !strings.HasSuffix(operation, "Batch") {
		answers = answers[:len(answers)-1]
	}
	fault := answers[q.rng.IntN(len(answers))]
	fault.Happens = q.rng.IntN(2) == 0
	return &fault
}
