package sqstest

import (
	"net/http"
)

// A Hook decides about one request before it is carried out; nil lets it pass.
// It is called concurrently.
type Hook func(operation string, request Request) *Fault

// Fault is what goes wrong with one request.
type Fault struct {
	// Happens carries the request out although the client is told that it failed.
	Happens bool
	// Status, when not 0, is answered with Code as SQS's error code.
	Status int
	Code   string
	// Entries answers 200 with every entry of the batch among the failed ones,
	// with Code. Without it and without Status the connection is cut.
	Entries bool
	// Until, when not nil, is waited for before anything else happens.
	Until <-chan struct{}
}

// Inject lets the hook decide about every request from now on; nil ends that.
func (s *Server) Inject(hook Hook) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hook = hook
}

func (s *Server) fail(w http.ResponseWriter, r *http.Request, operation string, request *Request, fault *Fault) {
	if fault.Until != nil {
		select {
		case <-fault.Until:
		case <-r.Context().Done():
			return
		}
	}
	if fault.Happens {
		// What comes of it is what the client is not told.
		_, _ = s.work(r, operation, request)
	}
	switch {
	case fault.Entries:
		failed := []any{}
		for _, e := range request.Entries {
			failed = append(failed, failure(e.ID, fault.Code))
		}
		answer(w, map[string]any{"Successful": []any{}, "Failed": failed}, nil)
	case fault.Status != 0:
		answer(w, nil, &refusal{fault.Status, fault.Code, "a fault was injected"})
	default:
		cut(w)
	}
}

// cut breaks the connection without an answer.
func cut(w http.ResponseWriter) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	conn.Close()
}
