// Package ledger fills the database of a spool with a past, for benchmarks: what
// it takes a spool minutes to live through.
package ledger

import (
	"context"
	"database/sql"
	"fmt"
	"time"
)

// fills are what package spool has of a message that was delivered. ?1 is how many
// there are to be, whose ids are scattered, as SES's are, and ?2 the time now.
var fills = []string{
	`INSERT INTO item (message, source, kind, bucket, object, version, etag, size, receipt, direct, sender, verdicts, received, lane, created, noticed, since, state, next)
	SELECT printf('%040d', n * 7919 % ?1), 'webhook', 'ses_s3', 'mail', printf('in/%040d', n), '', '', 4096, 1, 0, 's@example.org', '', 0, 'a@example.com', ?2, ?2, ?2, 'done', ?2 - ?1 + n FROM n`,
	`INSERT INTO recipient SELECT n + 1, 'a@example.com', 1 FROM n WHERE n < ?1`,
	`INSERT INTO delivery SELECT n + 1, 'a@example.com', 'delivered', 0, 0, 0, '250 2.0.0 <a@example.com> Saved' FROM n WHERE n < ?1`,
}

// Fill gives an empty spool so many messages, at least one, that were delivered
// just now, with the ids from ID(0) to ID(rows - 1).
func Fill(ctx context.Context, db *sql.DB, rows int) error {
	for _, fill := range fills {
		if _, err := db.ExecContext(ctx, `WITH RECURSIVE n (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM n WHERE n < ?1 - 1) `+fill, rows, time.Now().UnixMilli()); err != nil {
			return err
		}
	}
	return nil
}

// ID is the id of a message in a ledger that Fill has filled.
func ID(n int) string { return fmt.Sprintf("%040d", n) }
