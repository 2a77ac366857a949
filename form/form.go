// Package form takes the messages of a contact form: encrypted in the visitor's
// browser, signed by the edge worker that passes them on. What is genuine and
// encrypted to the expected key, and nothing else, becomes a mail in the spool.
//
// Nobody but the owner of the key can read a message, so its content cannot be
// judged here; its wrapping can, and all that might carry readable text is
// refused or left out.
package form

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"strconv"
	"time"

	"golang.org/x/time/rate"

	"github.com/homing-mail/homing/body"
	"github.com/homing-mail/homing/spool"
)

const (
	// patience is how long the commit may take.
	patience = 12 * time.Second
	// maxBody is room for an attachment of 5 MB and more, twice encoded in base64:
	// by its MIME part, and by the armor.
	maxBody = 10 << 20
	// maxMemory bounds the bodies that are in memory at a time; each is there three
	// times over at worst.
	maxMemory = 4 * maxBody
	// bodyTime is how long a body may take to arrive.
	bodyTime = 20 * time.Second
	// retryAfter is what a 503 asks the sender to wait, in seconds.
	retryAfter = 30
	// maxWaiting is how many messages may wait or be held.
	maxWaiting = 1000
)

// source is where the messages are said to come from, in metrics and the queue,
// and their kind.
const source = spool.SourceForm

// Spool keeps messages; the methods are *spool.Spool's.
type Spool interface {
	// Accept returns nil once the arrivals are on disk.
	Accept(ctx context.Context, arrivals ...spool.Arrival) ([]spool.Taken, error)
	// Find returns an error that wraps spool.ErrNotFound when there is no such item.
	Find(ctx context.Context, name string) (*spool.Item, error)
}

// Observer counts.
type Observer interface {
	// FormRequest hears of each request: accepted, repeated, or the code of the
	// error it was answered with.
	FormRequest(result string)
	Notification(source, kind, result string)
}

// Config says what a receiver works with.
type Config struct {
	Secret  []byte   // shared with the edge worker
	Keys    []string // IDs of the keys that messages may be encrypted to: 16 upper-case hexadecimal digits each
	Mailbox string   // whom the messages are for
	From    string   // their author and envelope sender, an address with a domain

	Spool    Spool
	Observer Observer
	Log      *slog.Logger
	Now      func() time.Time // nil: time.Now
}

type receiver struct {
	Config
	keys        map[uint64]bool
	bodies      *body.Reader
	limiter     *rate.Limiter
	quiet, loud rate.Sometimes
}

// New returns the handler of the form. It answers whatever the path. The error
// says which key ID is none.
func New(c Config) (http.Handler, error) {
	if c.Now == nil {
		c.Now = time.Now
	}
	h := &receiver{Config: c, keys: map[uint64]bool{}, bodies: body.New(maxBody, bodyTime, maxMemory), limiter: newLimiter()}
	h.quiet.Interval, h.loud.Interval = time.Second, time.Second
	for _, name := range c.Keys {
		id, err := strconv.ParseUint(name, 16, 64)
		if err != nil || id == 0 {
			return nil, errors.New("not the ID of a key: " + strconv.Quote(name))
		}
		h.keys[id] = true
	}
	return h, nil
}

// ServeHTTP answers one request.
func (h *receiver) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	id, err := h.handle(w, r)
	header := w.Header()
	header.Set("Content-Type", "application/json")
	header.Set("Cache-Control", "no-store")
	if err == nil {
		write(w, http.StatusAccepted, map[string]string{"status": "accepted", "id": id})
		return
	}
	refused := h.explain(err)
	h.Observer.FormRequest(refused.code)
	switch refused.status {
	case http.StatusMethodNotAllowed:
		header.Set("Allow", http.MethodPost)
	case http.StatusUnauthorized: // which must name a way to authenticate (RFC 9110 15.5.2)
		header.Set("WWW-Authenticate", "Homing")
	}
	// What follows on the connection may be the rest of this: see webhook.
	header.Set("Connection", "close")
	if refused.wait > 0 {
		header.Set("Retry-After", strconv.Itoa(refused.wait))
	}
	write(w, refused.status, map[string]string{"error": refused.code, "message": refused.message})
}

func write(w http.ResponseWriter, status int, content map[string]string) {
	w.WriteHeader(status)
	// The sender may be gone; it then comes again, and is recognised.
	_ = json.NewEncoder(w).Encode(content)
}

// handle takes a request and returns the message's id once it is on disk. Its
// errors are refusals, or the spool's.
func (h *receiver) handle(w http.ResponseWriter, r *http.Request) (id string, err error) {
	if r.Method != http.MethodPost {
		return "", &refusal{status: http.StatusMethodNotAllowed, code: "method_not_allowed", message: "the edge worker posts to this address; other methods are not answered"}
	}
	s, err := readStamp(r.Header)
	if err != nil {
		return "", err
	}
	if err := s.fresh(h.Now()); err != nil {
		return "", err
	}
	octets, release, err := h.bodies.Read(w, r)
	if errors.Is(err, body.ErrTooLarge) {
		return "", errTooLarge()
	}
	if err != nil {
		return "", err
	}
	defer release()
	sum, err := s.verify(h.Secret, octets)
	if err != nil {
		return "", err
	}
	// The sender hanging up must not undo what is nearly committed.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), patience)
	defer cancel()
	return h.take(ctx, s, sum, octets)
}

// take commits a genuine message, once.
func (h *receiver) take(ctx context.Context, s *stamp, sum string, body []byte) (id string, err error) {
	id = source + "-" + s.nonce
	if known, err := h.known(ctx, id, sum); known || err != nil {
		return id, err
	}
	if err := h.allow(len(body)); err != nil {
		return "", err
	}
	message, err := h.open(body)
	if err != nil {
		return "", err
	}
	content := compose(h.Mailbox, h.From, id, message, h.Now())
	taken, err := h.Spool.Accept(ctx, spool.Arrival{
		// A mailbox is named: no rule maps it. The ETag tells another body under the
		// same nonce, for as long as the ledger remembers.
		Message: spool.Message{ID: id, Source: source, Kind: source, ETag: sum, Receipt: true, Direct: true, Sender: h.From,
			Size: int64(len(content))},
		Recipients: []string{h.Mailbox}, Content: content, MaxOfKind: maxWaiting,
	})
	if err != nil {
		h.Observer.Notification(source, source, "failed")
		return "", err
	}
	if taken[0] != spool.Accepted { // the same request came twice at a time
		_, err := h.known(ctx, id, sum)
		return id, err
	}
	h.Observer.FormRequest("accepted")
	h.Observer.Notification(source, source, "accepted")
	h.Log.Info("a message of the contact form was taken", "id", id, "bytes", len(content))
	return id, nil
}

// known looks a message up in the ledger. A request that is repeated because its
// answer was lost is answered as before; another body under its nonce is not.
func (h *receiver) known(ctx context.Context, id, sum string) (known bool, err error) {
	item, err := h.Spool.Find(ctx, id)
	switch {
	case errors.Is(err, spool.ErrNotFound):
		return false, nil
	case err != nil:
		return false, err
	case item.ETag != sum:
		return false, &refusal{status: http.StatusConflict, code: "replay", message: "this nonce was used for another message; use a new one for each"}
	}
	h.Observer.FormRequest("repeated")
	h.Observer.Notification(source, source, "repeated")
	return true, nil
}
