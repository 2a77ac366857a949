package lmtp

import "math"

// fits tells whether t may join what is in flight; Client.mu is held.
func (k *conn) fits(t *transaction) bool {
	if len(k.inFlight) == 0 {
		return true
	}
	return k.ours && !k.client.config.Exclusive && t.lane.tries == 0 && len(k.inFlight) < maxInFlight && k.bytes+t.size <= maxBytes
}

// add puts t in flight; Client.mu is held.
func (k *conn) add(t *transaction) {
	t.conn, t.tries = k, t.lane.tries
	t.waits = !k.swallows || t.size > maxBytes || k.client.config.Exclusive || t.lane.tries > 0
	k.inFlight = append(k.inFlight, t)
	k.bytes += t.size
	k.taken++
	signal(k.more)
}

// transact sends a group: in one write, except that the octets of the last
// transaction may have to wait.
func (k *conn) transact(group []*transaction) error {
	defer clear(group) // a connection at rest must not hold on to messages
	if !k.ours {
		return k.transactData(group[0])
	}
	for _, t := range group {
		k.packEnvelope(t)
		if !t.waits {
			k.packBody(t)
		}
	}
	if err := k.flush(group); err != nil {
		return err
	}
	last := group[len(group)-1]
	if !last.waits || !k.accepted(last) {
		return nil
	}
	if k.client.config.Exclusive {
		return k.sendAlone(last)
	}
	return k.sendBody(last)
}

// sendBody sends octets that had to wait.
func (k *conn) sendBody(t *transaction) error {
	k.client.mu.Lock()
	t.begun = true
	k.client.mu.Unlock()
	k.packBody(t)
	return k.flush([]*transaction{t})
}

func (k *conn) packEnvelope(t *transaction) {
	k.pack(t.appendEnvelope(k.text, k.eightBit))
	t.end = math.MaxInt64
}

// packBody packs BDAT and the octets, and notes where in the write they end.
func (k *conn) packBody(t *transaction) {
	k.pack(t.appendChunk(k.text))
	k.vector = append(k.vector, t.octets...)
	k.packed += t.size
	t.end = k.packed
}

// pack takes what was appended to k.text. If append moved it, the vector goes on
// pointing at the old octets, which stay as they are.
func (k *conn) pack(text []byte) {
	added := text[len(k.text):]
	k.text = text
	k.vector = append(k.vector, added)
	k.packed += int64(len(added))
}

// flush writes what is packed and marks the transactions whose octets all went
// out: of the others, the server cannot have had the last.
func (k *conn) flush(group []*transaction) error {
	n, err := k.wire.send(k.vector)
	clear(k.vector)
	k.text, k.vector, k.packed = k.text[:0], k.vector[:0], 0

	k.client.mu.Lock()
	defer k.client.mu.Unlock()
	for _, t := range group {
		t.sent = t.end <= n
	}
	signal(k.more)
	return err
}

// accepted waits for the reply to RCPT. False: there is nothing more to send.
func (k *conn) accepted(t *transaction) bool {
	for {
		k.client.mu.Lock()
		answered, useless := t.step > stepRcpt, t.conn != k || k.lost != nil
		k.client.mu.Unlock()
		if answered || useless {
			return !useless
		}
		<-k.wake
	}
}

// concluded waits for the verdict, or for the end of the connection.
func (k *conn) concluded(t *transaction) {
	for {
		k.client.mu.Lock()
		over := t.conn != k || k.lost != nil
		k.client.mu.Unlock()
		if over {
			return
		}
		<-k.wake
	}
}
