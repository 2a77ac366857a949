package spool

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"time"
)

// What a view reads, of the items in a JSON array.
const (
	itemRows = `SELECT id, message, source, kind, bucket, object, version, etag, size, receipt, direct, sender, verdicts, received, created, noticed, since,
		generation, state, next, attempts, missing, reason, lane,
		coalesce((SELECT length(octets) FROM content WHERE content.item = item.id), -1)
		FROM item WHERE id IN (SELECT value FROM json_each(?))`
	recipientRows = "SELECT item, address, settled FROM recipient WHERE item IN (SELECT value FROM json_each(?)) ORDER BY item, address"
	deliveryRows  = "SELECT item, mailbox, state, attempts, refusals, next, reply FROM delivery WHERE item IN (SELECT value FROM json_each(?)) ORDER BY item, mailbox"
)

// load reads whole items, in the order of ids; one that has vanished meanwhile
// is left out.
func (s *Spool) load(ctx context.Context, ids []int64) (ordered []*Item, err error) {
	if len(ids) == 0 {
		return nil, nil
	}
	list, err := json.Marshal(ids)
	if err != nil {
		return nil, err
	}
	// Preparing takes a connection of its own: of many that have one for their
	// transaction and want another, none would go on.
	for _, query := range []string{itemRows, recipientRows, deliveryRows} {
		if _, err := s.prepared(ctx, query); err != nil {
			return nil, fmt.Errorf("spool: read items: %w", err)
		}
	}
	// A transaction, and not an immediate one as those that write: all of it is of
	// one moment.
	tx, err := s.db.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return nil, fmt.Errorf("spool: read items: %w", err)
	}
	defer tx.Rollback() // there is nothing to commit
	v := &view{spool: s, tx: tx, ids: string(list), now: s.clock.now(), items: make(map[int64]*Item, len(ids))}
	for _, read := range []func(context.Context) error{v.rows, v.recipients, v.deliveries} {
		if err := read(ctx); err != nil {
			return nil, fmt.Errorf("spool: read items: %w", err)
		}
	}
	for _, id := range ids {
		if it, ok := v.items[id]; ok {
			ordered = append(ordered, it)
		}
	}
	return ordered, nil
}

// view reads items at one moment.
type view struct {
	spool *Spool
	tx    *sql.Tx
	ids   string // JSON
	now   int64
	items map[int64]*Item
}

func (v *view) rows(ctx context.Context) error {
	return v.each(ctx, func(rows *sql.Rows) error {
		it := &Item{}
		var received, created, noticed, since, next, missing, inline int64
		err := rows.Scan(&it.Number, &it.ID, &it.Source, &it.Kind, &it.Bucket, &it.Key, &it.Version, &it.ETag, &it.Size, &it.Receipt, &it.Direct,
			&it.Sender, &it.Verdicts, &received, &created, &noticed, &since, &it.Generation, &it.State, &next, &it.Attempts, &missing,
			&it.Reason, &it.Lane, &inline)
		if it.Inline = inline >= 0; it.Inline {
			it.Size = inline
		}
		if received != 0 {
			it.Received = time.UnixMilli(received)
		}
		it.Age, it.Noticed, it.Tried, it.Wait = span(v.now-created), span(v.now-noticed), span(v.now-since), span(next-v.now)
		if missing != 0 {
			it.Missing = max(span(v.now-missing), 1)
		}
		v.items[it.Number] = it
		return err
	}, itemRows)
}

func (v *view) recipients(ctx context.Context) error {
	return v.each(ctx, func(rows *sql.Rows) error {
		var id int64
		var r Recipient
		err := rows.Scan(&id, &r.Address, &r.Settled)
		if it := v.items[id]; it != nil {
			it.Recipients = append(it.Recipients, r)
		}
		return err
	}, recipientRows)
}

func (v *view) deliveries(ctx context.Context) error {
	return v.each(ctx, func(rows *sql.Rows) error {
		var id, next int64
		var d Delivery
		err := rows.Scan(&id, &d.Mailbox, &d.State, &d.Attempts, &d.Refusals, &next, &d.Reply)
		d.Wait = span(next - v.now)
		if it := v.items[id]; it != nil {
			it.Deliveries = append(it.Deliveries, d)
		}
		return err
	}, deliveryRows)
}

// each is the spool's, about the view's items and in its transaction.
func (v *view) each(ctx context.Context, scan func(*sql.Rows) error, query string) error {
	stmt, err := v.spool.prepared(ctx, query)
	if err != nil {
		return err
	}
	return eachOf(ctx, scan, v.tx.StmtContext(ctx, stmt).QueryContext, v.ids)
}

// each runs one of the package's own queries, which are few and constant, and
// hands each row to scan.
func (s *Spool) each(ctx context.Context, scan func(*sql.Rows) error, query string, args ...any) error {
	stmt, err := s.prepared(ctx, query)
	if err != nil {
		return err
	}
	return eachOf(ctx, scan, stmt.QueryContext, args...)
}

// prepared returns the statement for a query; parsing it each time would cost
// as much as running it.
func (s *Spool) prepared(ctx context.Context, query string) (*sql.Stmt, error) {
	if stmt, ok := s.stmts.Load(query); ok {
		return stmt.(*sql.Stmt), nil
	}
	stmt, err := s.db.PrepareContext(ctx, query)
	if err != nil {
		return nil, err
	}
	kept, raced := s.stmts.LoadOrStore(query, stmt)
	if raced {
		err = stmt.Close()
	}
	return kept.(*sql.Stmt), err
}

func eachOf(ctx context.Context, scan func(*sql.Rows) error, query func(context.Context, ...any) (*sql.Rows, error), args ...any) error {
	rows, err := query(ctx, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := scan(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}

func span(ms int64) time.Duration { return time.Duration(ms) * time.Millisecond }

// Content returns the message of an inline item.
func (s *Spool) Content(ctx context.Context, number int64) ([]byte, error) {
	var octets []byte
	err := s.db.QueryRowContext(ctx, "SELECT octets FROM content WHERE item = ?", number).Scan(&octets)
	if err != nil {
		return nil, fmt.Errorf("spool: content of item %d: %w", number, err)
	}
	return octets, nil
}
