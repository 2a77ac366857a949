package sqstest

import (
	"fmt"
	"slices"
	"time"
)

// Message is one message in a queue.
type Message struct {
	ID         string
	Body       string
	Attributes map[string]string // the sender's, strings only
	Sent       time.Time
	Receives   int
	Visible    time.Time // when it may be received, in the past: now
	handle     string    // the receipt handle of the last receive
}

// queue is a standard queue in memory. Its lock is the server's.
type queue struct {
	messages    []*Message
	made        int
	changed     chan struct{} // closed when something became visible, and replaced
	deadLetters string
	most        int // receives before a message goes there; 0: no policy
	retention   time.Duration
}

// Send puts a message into a queue and returns its id. sent is when it claims to
// have been sent; the zero time stands for now.
func (s *Server) Send(name, body string, attributes map[string]string, sent time.Time) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.queues[name].send(body, attributes, sent, 0).ID
}

// Messages returns what is in a queue, visible or not.
func (s *Server) Messages(name string) []Message {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]Message, 0, len(s.queues[name].messages))
	for _, m := range s.queues[name].messages {
		all = append(all, *m)
	}
	return all
}

func (q *queue) send(body string, attributes map[string]string, sent time.Time, delay time.Duration) *Message {
	now := time.Now()
	if sent.IsZero() {
		sent = now
	}
	q.made++
	m := &Message{ID: fmt.Sprintf("00000000-0000-4000-8000-%012d", q.made), Body: body, Attributes: attributes, Sent: sent, Visible: now.Add(delay)}
	q.messages = append(q.messages, m)
	q.signal()
	return m
}

func (q *queue) signal() {
	close(q.changed)
	q.changed = make(chan struct{})
}

// receive takes up to most visible messages, and says when the next becomes
// visible: the zero time if none is to.
func (s *Server) receive(q *queue, most int, hidden time.Duration) (taken []Message, next time.Time) {
	now := time.Now()
	for _, m := range slices.Clone(q.messages) {
		switch {
		case m.Visible.After(now):
			if next.IsZero() || m.Visible.Before(next) {
				next = m.Visible
			}
		case q.most > 0 && m.Receives >= q.most:
			q.remove(m)
			dead := s.queues[q.deadLetters]
			dead.messages = append(dead.messages, m)
			dead.signal()
		case len(taken) < most:
			m.Receives++
			m.Visible = now.Add(hidden)
			m.handle = fmt.Sprintf("%s#%d", m.ID, m.Receives)
			taken = append(taken, *m)
		}
	}
	return taken, next
}

func (q *queue) remove(m *Message) {
	q.messages = slices.DeleteFunc(q.messages, func(other *Message) bool { return other == m })
}

// held returns the message that was last received with this handle and has not
// become visible since, nil where there is none.
func (q *queue) held(handle string) *Message {
	for _, m := range q.messages {
		if m.handle == handle && m.Visible.After(time.Now()) {
			return m
		}
	}
	return nil
}

// forget deletes the message received with this handle, visible again or not, as
// long as nobody else has received it since.
func (q *queue) forget(handle string) {
	q.messages = slices.DeleteFunc(q.messages, func(m *Message) bool { return m.handle == handle })
}

// hide changes a message's visibility timeout.
func (q *queue) hide(handle string, hidden time.Duration) bool {
	m := q.held(handle)
	if m == nil {
		return false
	}
	m.Visible = time.Now().Add(hidden)
	q.signal()
	return true
}
