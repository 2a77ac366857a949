package courier

import (
	"context"
	"log/slog"
	"slices"
	"time"

	"github.com/homing-mail/homing/spool"
)

// tell writes the log line of an outcome: one at Info for a message that has
// come home, a warning for one that is held.
func (c *Courier) tell(ctx context.Context, o *spool.Outcome, elapsed time.Duration) {
	attrs := []slog.Attr{slog.String("id", o.Item.ID), slog.Int64("item", o.Item.Number)}
	level, text := slog.LevelInfo, "delivered"
	switch {
	case o.State == spool.Held:
		level, text = slog.LevelWarn, "held for a person"
	case o.State == spool.Pending, o.State == spool.Queued:
		text = "to be tried again"
		attrs = append(attrs, slog.Duration("in", o.Wait.Round(time.Second)))
	case o.Item.State == spool.Settling:
		level, text = slog.LevelDebug, "settled"
	case o.Reason != "":
		level, text = slog.LevelDebug, "passed over"
	}
	if o.Reason != "" {
		attrs = append(attrs, slog.String("reason", o.Reason))
	}
	c.Log.LogAttrs(ctx, level, text, append(attrs, details(o, elapsed)...)...)
}

func details(o *spool.Outcome, elapsed time.Duration) []slog.Attr {
	var mailboxes []string
	attempts := o.Attempts
	for _, d := range o.Item.Deliveries {
		if d.State == spool.Delivered {
			mailboxes = append(mailboxes, d.Mailbox)
		}
	}
	for _, d := range o.Deliveries {
		mailboxes = append(mailboxes, d.Mailbox)
		attempts = max(attempts, d.Attempts)
	}
	slices.Sort(mailboxes)
	mailboxes = slices.Compact(mailboxes)
	return []slog.Attr{slog.Any("recipients", mailboxes), slog.Int("attempts", attempts),
		slog.Int64("bytes", o.Size), slog.Duration("elapsed", elapsed.Round(time.Microsecond))}
}
