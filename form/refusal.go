package form

import (
	"errors"
	"net/http"
	"strconv"
	"time"

	"golang.org/x/time/rate"
)

// refusal is an answer other than 202.
type refusal struct {
	status  int
	code    string // for programs
	message string // for people: what to do
	wait    int    // seconds until another try is worth it; 0: nobody knows
}

func (r *refusal) Error() string { return r.code + ": " + r.message }

// Codes lists the codes of errors, for a table of metrics.
func Codes() []string {
	return []string{"bad_header", "not_openpgp", "wrong_key", "bad_signature", "stale", "method_not_allowed", "replay",
		"too_large", "rate_limited", "unavailable"}
}

func malformed(code, message string) error {
	return &refusal{status: http.StatusBadRequest, code: code, message: message}
}

func errTooLarge() error {
	return &refusal{status: http.StatusRequestEntityTooLarge, code: "too_large", message: "larger than 10 MiB: send less"}
}

// explain makes an answer of an error, and logs it: now and then, since anybody
// can cause it. What the spool says stays here.
func (h *receiver) explain(err error) *refusal {
	if r, ok := errors.AsType[*refusal](err); ok && r.status != http.StatusServiceUnavailable {
		if r.code != "method_not_allowed" { // `homing check` asks so
			h.Observer.Notification(source, "none", "refused")
			h.quiet.Do(func() { h.Log.Warn("a request of the contact form was refused", "code", r.code, "why", r.message) })
		}
		return r
	}
	h.loud.Do(func() {
		h.Log.Error("a message of the contact form was put off; the edge worker tries again", "error", err)
	})
	return &refusal{status: http.StatusServiceUnavailable, code: "unavailable", message: "the message cannot be stored just now: try again later", wait: retryAfter}
}

// The rate of new messages: tokens fill up at one in six seconds, and a message
// takes one, and one more for every 256 KiB. So a flood that passes the worker
// brings ten short messages or 2.5 MB a minute at most.
const (
	refill    = 6 * time.Second
	tokenSize = 256 << 10
	burst     = 2 + maxBody/tokenSize // one of the largest, at least
)

func newLimiter() *rate.Limiter { return rate.NewLimiter(rate.Every(refill), burst) }

// allow takes the tokens of a message, or refuses it.
func (h *receiver) allow(octets int) error {
	now := h.Now()
	reserved := h.limiter.ReserveN(now, 1+octets/tokenSize)
	wait := reserved.DelayFrom(now)
	if wait == 0 {
		return nil
	}
	reserved.CancelAt(now)
	seconds := int((wait + time.Second - 1) / time.Second)
	return &refusal{status: http.StatusTooManyRequests, code: "rate_limited", wait: seconds,
		message: "too many messages: try again in " + strconv.Itoa(seconds) + " seconds"}
}
