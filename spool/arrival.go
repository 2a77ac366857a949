package spool

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"
)

// Arrival is a message together with whom it is for.
type Arrival struct {
	Message
	Recipients []string // envelope addresses
	Content    []byte   // the message itself where it came inline, else nil
	Hold       string   // not empty: a new item is held at once, for this reason
	MaxOfKind  int64    // at most so many of its kind may be held, or wait in its lane; 0: no limit
}

// Taken says what became of an arrival.
type Taken string

// What may become of an arrival.
const (
	Accepted Taken = "accepted" // a new item
	SetAside Taken = "held"     // a new item, held at once
	Added    Taken = "added"    // a known message, with recipients not named before
	Repeated Taken = "repeated" // nothing new
)

// Result is what metrics call it: accepted, held or repeated.
func (t Taken) Result() string {
	if t == Added {
		return string(Accepted)
	}
	return string(t)
}

// Accept takes responsibility for the arrivals, all or none: when it returns
// nil they are on disk. A message that is known already gets the recipients it
// did not have. The error wraps [ErrFull] when there is no room.
func (s *Spool) Accept(ctx context.Context, arrivals ...Arrival) ([]Taken, error) {
	if err := s.room(ctx); err != nil {
		return nil, err
	}
	taken := make([]Taken, len(arrivals))
	err := s.writer.do(ctx, func(tx *tx) error {
		for i := range arrivals {
			var err error
			if taken[i], err = s.accept(tx, &arrivals[i], Pending); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	for _, t := range taken {
		if t == Accepted || t == SetAside {
			s.open.Add(1)
		}
	}
	s.signal()
	return taken, nil
}

// accept makes a row in the state given, or adds to the one there is, which
// goes to that state when it is not finished with.
func (s *Spool) accept(tx *tx, a *Arrival, state State) (Taken, error) {
	id, err := s.insert(tx, a, state)
	if err != nil {
		return "", err
	}
	if id == 0 {
		return s.amend(tx, a, state)
	}
	if _, err := addRecipients(tx, id, a.Recipients); err != nil {
		return "", err
	}
	taken := Accepted
	if a.Hold != "" {
		taken = SetAside
	}
	return taken, addContent(tx, id, a.Content)
}

// insert makes a new row and returns its number, 0 when the message is known.
func (s *Spool) insert(tx *tx, a *Arrival, state State) (int64, error) {
	now := s.clock.now()
	if a.Hold != "" {
		state = Held
	}
	var id int64
	err := tx.row(`INSERT INTO item (message, source, kind, bucket, object, version, etag, size, receipt, direct, sender, verdicts, received, lane, created, noticed, since, state, next, reason)
		VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?17, ?10, ?11, ?12, ?13, ?14, ?14, ?14, ?15, ?14, ?16) ON CONFLICT (message) DO NOTHING RETURNING id`,
		a.ID, a.Source, a.Kind, a.Bucket, a.Key, a.Version, a.ETag, a.Size, a.Receipt, a.Sender, a.Verdicts, millis(a.Received),
		s.lane(a.Source, a.Recipients), now, string(state), a.Hold, a.Direct).Scan(&id)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, nil
	}
	if err == nil && a.MaxOfKind > 0 {
		err = s.limitKind(tx, a)
	}
	return id, err
}

// limitKind refuses the row just made when there are too many of its kind.
func (s *Spool) limitKind(tx *tx, a *Arrival) error {
	var n int64
	if err := tx.row("SELECT count(*) FROM item WHERE state = 'held' AND kind = ?", a.Kind).Scan(&n); err != nil {
		return err
	}
	if a.Hold == "" {
		var waiting int64
		if err := tx.row("SELECT count(*) FROM item WHERE state = 'pending' AND lane = ? AND kind = ?",
			s.lane(a.Source, a.Recipients), a.Kind).Scan(&waiting); err != nil {
			return err
		}
		n += waiting
	}
	if n > a.MaxOfKind {
		return fmt.Errorf("%w: %d items of kind %q wait or are held already; `homing queue list` shows them, and why", ErrFull, a.MaxOfKind, a.Kind)
	}
	return nil
}

// amend adds to a known message what is new in a.
func (s *Spool) amend(tx *tx, a *Arrival, to State) (Taken, error) {
	var id int64
	var receipt bool
	var state State
	// It cannot be fetched from where it was said to lie. A notice that knows no
	// version is no news of what was held after it had been read.
	var lost bool
	// It was done with where it was said to lie, and need not be there any more.
	// What homing moved has no ETag: where that lies it knows itself.
	var left bool
	if err := tx.row(`SELECT id, receipt, state, bucket = '' OR missing <> 0 AND (bucket, object, version) <> (?2, ?3, ?4)
		OR state = 'held' AND ((bucket, object) <> (?2, ?3) OR ?4 NOT IN ('', version)),
		state = 'done' AND etag <> '' AND (bucket, object) <> (?2, ?3)
		FROM item WHERE message = ?1`, a.ID, a.Bucket, a.Key, a.Version).Scan(&id, &receipt, &state, &lost, &left); err != nil {
		return "", err
	}
	now := s.clock.now()
	// What is to be done with the object waits as long after this notice as it
	// did after the one before; a finished row's history counts from here.
	err := tx.exec(`UPDATE item SET noticed = ?1, next = CASE state WHEN 'pending' THEN next
		WHEN 'settling' THEN next + (?1 - noticed) ELSE ?1 END WHERE id = ?2`, now, id)
	if err != nil {
		return "", err
	}
	if a.Receipt && !receipt {
		if err := tx.exec("UPDATE item SET receipt = 1, direct = 0, sender = ?, verdicts = ?, received = ? WHERE id = ?",
			a.Sender, a.Verdicts, millis(a.Received), id); err != nil {
			return "", err
		}
	}
	added, err := addRecipients(tx, id, a.Recipients)
	if err != nil {
		return "", err
	}
	found := (lost || left && added > 0) && a.Bucket != "" // and now we know better
	if found {
		if err := tx.exec("UPDATE item SET bucket = ?, object = ?, version = ?, etag = '', size = ? WHERE id = ?",
			a.Bucket, a.Key, a.Version, a.Size, id); err != nil {
			return "", err
		}
	}
	useful := found && (state == Pending || state == Held) || state == Queued && to == Pending
	if added == 0 && !useful {
		return Repeated, nil
	}
	if to == Queued && (state == Pending || state == Held || state == Settling) {
		to = Pending // the spool itself is responsible already
	}
	if err := tx.exec(`UPDATE item SET state = ?4, next = ?1, since = ?1, attempts = 0, missing = 0, generation = generation + 1,
		lane = CASE lane WHEN '' THEN ?2 ELSE lane END WHERE id = ?3`,
		now, s.lane(a.Source, a.Recipients), id, string(to)); err != nil {
		return "", err
	}
	if added == 0 && !found {
		return Repeated, nil
	}
	return Added, addContent(tx, id, a.Content)
}

func addRecipients(tx *tx, id int64, addresses []string) (added int64, err error) {
	for _, address := range addresses {
		n, err := tx.count("INSERT INTO recipient (item, address) VALUES (?, ?) ON CONFLICT DO NOTHING", id, address)
		if err != nil {
			return 0, err
		}
		added += n
	}
	return added, nil
}

// addContent keeps an inline message; what a done item no longer had is had again.
func addContent(tx *tx, id int64, octets []byte) error {
	if octets == nil {
		return nil
	}
	return tx.exec("INSERT INTO content VALUES (?, ?) ON CONFLICT DO NOTHING", id, octets)
}

// millis is Unix time in milliseconds, 0 for a time that is not known.
func millis(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}
