package spool

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"slices"
	"time"
)

// Standing says where the ledger has a message.
type Standing struct {
	State   State
	Noticed time.Duration // since it was last announced
	Reason  string        // what the last try failed with
}

// askedAtOnce is how many messages one query is about.
const askedAtOnce = 1000

// Standings looks messages up in the ledger by their ids. One that it does not
// have is not in the answer.
func (s *Spool) Standings(ctx context.Context, messages []string) (map[string]Standing, error) {
	found := make(map[string]Standing, len(messages))
	for some := range slices.Chunk(messages, askedAtOnce) {
		if err := s.standings(ctx, found, some); err != nil {
			return nil, fmt.Errorf("spool: look up messages: %w", err)
		}
	}
	return found, nil
}

const standingsQuery = "SELECT message, state, noticed, reason FROM item WHERE message IN (SELECT value FROM json_each(?))"

func (s *Spool) standings(ctx context.Context, found map[string]Standing, messages []string) error {
	list, err := json.Marshal(messages)
	if err != nil {
		return err
	}
	now := s.clock.now()
	return s.each(ctx, func(rows *sql.Rows) error {
		var message string
		var noticed int64
		var standing Standing
		err := rows.Scan(&message, &standing.State, &noticed, &standing.Reason)
		standing.Noticed = span(now - noticed)
		found[message] = standing
		return err
	}, standingsQuery, string(list))
}

// Made is when the spool was made, by the wall clock of that time. It is the
// zero time for a guest.
func (s *Spool) Made() time.Time { return s.made }

// keepMade notes when the spool was made. A clock that was ahead at the time
// must not hide later mail from the sweep: a start at an earlier time than the
// one noted shows it to be wrong, and corrects it.
func (s *Spool) keepMade(ctx context.Context) error {
	var made int64
	err := s.writer.do(ctx, func(tx *tx) error {
		return tx.row("INSERT INTO meta VALUES ('made', ?) ON CONFLICT DO UPDATE SET value = min(value, excluded.value) RETURNING value",
			s.opts.Now().UnixMilli()).Scan(&made)
	})
	if err == nil {
		s.made = time.UnixMilli(made)
	}
	return err
}
