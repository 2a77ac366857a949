package spool

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// applicationID marks the file as homing's ("home"), so that another program's
// database is never mistaken for a spool. https://www.sqlite.org/pragma.html#pragma_application_id
const applicationID = 0x686f6d65

// migrations[n] takes the schema from version n to n+1. A released one is never
// edited: add the next.
var migrations = []string{`
CREATE TABLE meta (
  name  TEXT PRIMARY KEY,                     -- clock, wall: see clock.go; made: Unix ms
  value INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Times are milliseconds of the spool's clock, but for received (Unix, SES's clock).
CREATE TABLE item (
  id         INTEGER PRIMARY KEY,
  message    TEXT NOT NULL UNIQUE,            -- SES message id, or where the object lies
  source     TEXT NOT NULL,                   -- what told us first: webhook, ...
  kind       TEXT NOT NULL,                   -- the notice's kind
  bucket     TEXT NOT NULL,
  object     TEXT NOT NULL,                   -- the object's key
  version    TEXT NOT NULL,
  etag       TEXT NOT NULL,                   -- of the object that was delivered
  size       INTEGER NOT NULL,                -- bytes, 0: unknown
  receipt    INTEGER NOT NULL,                -- 1: SES gave the envelope
  direct     INTEGER NOT NULL,                -- 1: a person named the mailboxes
  sender     TEXT NOT NULL,
  verdicts   TEXT NOT NULL,
  received   INTEGER NOT NULL,                -- 0: unknown
  lane       TEXT NOT NULL,                   -- the mailbox whose turn the item waits for
  created    INTEGER NOT NULL,
  noticed    INTEGER NOT NULL,                -- the last notice of it
  since      INTEGER NOT NULL,                -- from when on failures try our patience
  generation INTEGER NOT NULL DEFAULT 1,      -- counts changes that a worker must not overwrite
  state      TEXT NOT NULL,                   -- pending settling held done dropped
  next       INTEGER NOT NULL,                -- pending, settling: when due; else: when last noticed
  attempts   INTEGER NOT NULL DEFAULT 0,      -- failed tries of the item itself (fetch, settle)
  missing    INTEGER NOT NULL DEFAULT 0,      -- since when the object is gone, 0: it is not
  reason     TEXT NOT NULL DEFAULT ''         -- what the last try failed with
) STRICT;
CREATE INDEX item_by_time ON item (state, next, lane, created);
CREATE INDEX item_by_lane ON item (lane, next) WHERE state = 'pending';

CREATE TABLE content (                        -- messages that came inside their notification
  item   INTEGER PRIMARY KEY,
  octets BLOB NOT NULL
) STRICT;

CREATE TABLE recipient (                      -- envelope addresses
  item    INTEGER NOT NULL,
  address TEXT NOT NULL,
  settled INTEGER NOT NULL DEFAULT 0,         -- 1: every mailbox behind it has the message
  PRIMARY KEY (item, address)
) STRICT, WITHOUT ROWID;

CREATE TABLE delivery (                       -- the ledger: per message and mailbox
  item     INTEGER NOT NULL,
  mailbox  TEXT NOT NULL,
  state    TEXT NOT NULL,                     -- pending delivered fallback held
  attempts INTEGER NOT NULL,                  -- failed ones that count
  refusals INTEGER NOT NULL,                  -- those of them answered 5yz
  next     INTEGER NOT NULL,
  reply    TEXT NOT NULL,
  PRIMARY KEY (item, mailbox)
) STRICT, WITHOUT ROWID;

CREATE TABLE mailbox (                        -- when a mailbox last took mail
  name TEXT PRIMARY KEY,
  took INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
`, `
CREATE TABLE recovery (                       -- messages out of a dead-letter queue that no report has named
  id        INTEGER PRIMARY KEY,
  message   TEXT NOT NULL UNIQUE,             -- an item's
  found     INTEGER NOT NULL,
  published INTEGER NOT NULL,                 -- Unix, AWS's clock; 0: unknown
  cause     TEXT NOT NULL                     -- what AWS says of why its notification failed
) STRICT;
`}

// openDatabase opens path and brings its schema up to date.
func openDatabase(ctx context.Context, path string, guest bool) (*sql.DB, error) {
	if err := checkFile(path, guest); err != nil {
		return nil, err
	}
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	query := url.Values{
		"_pragma": {"busy_timeout(10000)", "synchronous(FULL)", fmt.Sprintf("journal_size_limit(%d)", mostLog)},
		"_txlock": {"immediate"},
	}
	db, err := sql.Open("sqlite", (&url.URL{Scheme: "file", Path: path, RawQuery: query.Encode()}).String())
	if err != nil {
		return nil, err
	}
	db.SetMaxIdleConns(4)
	db.SetMaxOpenConns(8)
	if err := migrate(ctx, db, guest); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return db, nil
}

// checkFile makes an empty file that only we may read; an existing one must be
// a regular file. A guest never makes one.
func checkFile(path string, guest bool) error {
	st, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) && !guest {
		f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
		if err != nil {
			return err
		}
		return f.Close()
	}
	if err == nil && !st.Mode().IsRegular() {
		return errors.New("not a regular file")
	}
	return err
}

// quickCheckBytes is up to what size a start reads the whole file for damage:
// about 100 ms. Damage in a larger one shows when its page is read.
const quickCheckBytes = 16 << 20

func migrate(ctx context.Context, db *sql.DB, guest bool) error {
	version, err := inspect(ctx, db)
	if err != nil {
		return err
	}
	if guest && version < len(migrations) {
		// The daemon that works it may be an older one.
		return fmt.Errorf("written by an older homing (schema %d, this one wants %d); let `homing serve` of this version open it first", version, len(migrations))
	}
	if version > len(migrations) {
		return fmt.Errorf("written by a newer homing (schema %d, this one knows %d); install that version again, or restore an older state directory", version, len(migrations))
	}
	// Only now that the file is known to be ours: the mode is kept in it.
	if _, err := db.ExecContext(ctx, "PRAGMA journal_mode = WAL"); err != nil {
		return fmt.Errorf("write-ahead log: %w", err)
	}
	for ; version < len(migrations); version++ {
		if err := step(ctx, db, version); err != nil {
			return fmt.Errorf("schema %d: %w", version+1, err)
		}
	}
	return nil
}

// inspect returns the schema's version, 0 for an empty file, and refuses what
// is damaged or not homing's.
func inspect(ctx context.Context, db *sql.DB) (int, error) {
	var id, version, pages, pageSize int64
	for pragma, into := range map[string]*int64{"application_id": &id, "user_version": &version, "page_count": &pages, "page_size": &pageSize} {
		if err := db.QueryRowContext(ctx, "PRAGMA "+pragma).Scan(into); err != nil {
			return 0, damaged(err)
		}
	}
	if pages == 0 || (id == 0 && version == 0 && pages == 1) {
		return 0, nil
	}
	if id != applicationID {
		return 0, errors.New("an SQLite file, but not a homing spool; move it away or set HOMING_STATE_DIR")
	}
	if pages*pageSize > quickCheckBytes {
		return int(version), nil
	}
	var verdict string
	if err := db.QueryRowContext(ctx, "PRAGMA quick_check(1)").Scan(&verdict); err != nil {
		return 0, damaged(err)
	}
	if verdict != "ok" {
		return 0, damaged(errors.New(verdict))
	}
	return int(version), nil
}

// damaged explains an error of the first reads. That the file may not be opened or
// written is no damage, and nothing to move a spool away for.
func damaged(err error) error {
	if e, ok := errors.AsType[*sqlite.Error](err); ok {
		switch e.Code() & 0xff { // the rest says more exactly why
		case sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM, sqlite3.SQLITE_AUTH:
			return fmt.Errorf("the database, or a file that belongs to it, cannot be opened for writing: %w; run this as homing's user", err)
		}
	}
	return fmt.Errorf("the database is damaged or unreadable: %w; it was left as it is: restore it, or move it away and let the mail be found again in the bucket", err)
}

func step(ctx context.Context, db *sql.DB, version int) error {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback() // no effect after Commit
	mark := fmt.Sprintf("PRAGMA application_id = %d; PRAGMA user_version = %d;", applicationID, version+1)
	if _, err := tx.ExecContext(ctx, migrations[version]+mark); err != nil {
		return err
	}
	return tx.Commit()
}
