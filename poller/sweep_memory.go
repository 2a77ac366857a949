package poller

import (
	"hash/maphash"
	"strconv"
)

// maxRemembered bounds the memory: some 5 MB. What does not fit is looked at
// with every sweep.
const maxRemembered = 100_000

// sweepMemory spares requests: it knows the objects that a look has shown to be no
// news although the ledger does not have them, as when another replica delivered
// them. It forgets what a whole sweep has not met again.
type sweepMemory struct {
	seed        maphash.Seed
	before, now map[uint64]string // hash of an object -> what it was found to be
}

func newSweepMemory() sweepMemory {
	return sweepMemory{seed: maphash.MakeSeed(), now: map[uint64]string{}}
}

// hash stands for an object in one state of it. Two objects share one by chance
// once in 2^64, and nobody outside knows the seed.
func (m *sweepMemory) hash(o Object) uint64 {
	var h maphash.Hash
	h.SetSeed(m.seed)
	for _, part := range []string{o.Bucket, o.Key, o.ETag, strconv.FormatInt(o.Stored.UnixNano(), 10)} {
		h.WriteString(part)
		h.WriteByte(0)
	}
	return h.Sum64()
}

func (m *sweepMemory) recall(o Object) (result string, ok bool) {
	h := m.hash(o)
	if result, ok = m.now[h]; ok {
		return result, true
	}
	if result, ok = m.before[h]; ok {
		m.keep(h, result)
	}
	return result, ok
}

func (m *sweepMemory) remember(o Object, result string) { m.keep(m.hash(o), result) }

func (m *sweepMemory) keep(h uint64, result string) {
	if len(m.now) < maxRemembered {
		m.now[h] = result
	}
}

// turn ends a sweep that was whole.
func (m *sweepMemory) turn() { m.before, m.now = m.now, map[uint64]string{} }
