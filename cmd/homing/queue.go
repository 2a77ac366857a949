package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/homing-mail/homing/spool"
)

func newQueueCommand(environ []string) *cobra.Command {
	queue := &cobra.Command{
		Use:   "queue",
		Short: "Look at the spool and change it, also while homing runs",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	q := &queueCommand{environ: environ}
	queue.AddCommand(q.list(), q.show(), q.retry(), q.drop(), q.export())
	return queue
}

// queueCommand makes the commands below `homing queue`.
type queueCommand struct{ environ []string }

// with opens the spool for one command.
func (q *queueCommand) with(ctx context.Context, work func(*Config, *spool.Spool) error) error {
	cfg, err := loadPartialConfig(q.environ)
	if err != nil {
		return err
	}
	s, err := spool.Open(ctx, spool.Options{Dir: string(cfg.StateDir), History: cfg.History, Guest: true, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		return err
	}
	return errors.Join(work(cfg, s), s.Close())
}

// choice is which items a command is about.
type choice struct {
	spool.Filter
	states []string
	all    bool
}

// flags adds the flags by which items are chosen.
func (c *choice) flags(cmd *cobra.Command) {
	cmd.Flags().StringSliceVar(&c.states, "state", nil, "pending, held, settling, done, dropped or queued; several with commas")
	cmd.Flags().StringVar(&c.Mailbox, "mailbox", "", "for this mailbox or envelope address")
	cmd.Flags().StringVar(&c.Reason, "reason", "", "whose last reply or reason contains this")
}

var queueStates = []spool.State{spool.Pending, spool.Held, spool.Settling, spool.Done, spool.Dropped, spool.Queued}

// filter completes the filter; standing is what to choose when no state is named.
func (c *choice) filter(standing ...spool.State) (spool.Filter, error) {
	f := c.Filter
	for _, name := range c.states {
		state := spool.State(name)
		if !slices.Contains(queueStates, state) {
			return f, usageError{fmt.Errorf("--state %q: want one of %v", name, queueStates)}
		}
		f.States = append(f.States, state)
	}
	if len(f.States) == 0 && !c.all {
		f.States = standing
	}
	return f, nil
}

func (q *queueCommand) list() *cobra.Command {
	var c choice
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List what waits or is held (with --all, the ledger too)",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			filter, err := c.filter(spool.Pending, spool.Held, spool.Settling)
			if err != nil {
				return err
			}
			return q.with(cmd.Context(), func(_ *Config, s *spool.Spool) error {
				items, err := s.List(cmd.Context(), filter)
				if err != nil {
					return err
				}
				if asJSON {
					return writeJSON(cmd.OutOrStdout(), items)
				}
				return c.show(cmd, s, items)
			})
		},
	}
	c.flags(cmd)
	cmd.Flags().IntVar(&c.Limit, "limit", 1000, "at most so many, the oldest first; 0: no limit")
	cmd.Flags().BoolVar(&c.all, "all", false, "also what is done or dropped")
	cmd.Flags().BoolVar(&asJSON, "json", false, "as JSON, an object a line")
	return cmd
}

// show shows the chosen items to a person, who is told of mail in an SQS queue, too,
// where nothing was chosen. Another replica may have delivered that by now, and this
// ledger not have heard of it; hence it is not among what waits.
func (c *choice) show(cmd *cobra.Command, s *spool.Spool, items []*spool.Item) error {
	var queued []*spool.Item
	if !c.flagged() {
		var err error
		if queued, err = s.List(cmd.Context(), spool.Filter{States: []spool.State{spool.Queued}}); err != nil {
			return err
		}
	}
	w := cmd.OutOrStdout()
	var err error
	switch {
	case len(items) > 0:
		err = writeTable(w, items)
	case c.flagged():
		_, err = fmt.Fprintln(w, "there is no such item")
	case len(queued) > 0:
		_, err = fmt.Fprintln(w, "nothing waits here and nothing is held")
	default:
		_, err = fmt.Fprintln(w, "nothing waits and nothing is held")
	}
	if err == nil && len(queued) > 0 {
		_, err = fmt.Fprintf(w, "last seen in an SQS queue: %d, which --state queued lists\n", len(queued))
	}
	return err
}

func (q *queueCommand) show() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "show ITEM",
		Short: "Show all that is known of an item (its number or message id)",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return q.with(cmd.Context(), func(_ *Config, s *spool.Spool) error {
				item, err := s.Find(cmd.Context(), args[0])
				if err != nil {
					return err
				}
				if asJSON {
					return writeJSON(cmd.OutOrStdout(), []*spool.Item{item})
				}
				return q.write(cmd.Context(), cmd.OutOrStdout(), s, item)
			})
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "as JSON")
	return cmd
}

// write shows one item, and with it a payload that nobody understands.
func (q *queueCommand) write(ctx context.Context, w io.Writer, s *spool.Spool, item *spool.Item) error {
	if err := writeItem(w, item); err != nil || !item.Inline || item.Kind != "unknown" {
		return err
	}
	payload, err := s.Content(ctx, item.Number)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(w, "\n%s\n", cleanLines(string(payload)))
	return err
}

func (q *queueCommand) retry() *cobra.Command {
	var c choice
	cmd := &cobra.Command{
		Use:   "retry [ITEM...]",
		Short: "Try items again at once: those named, or with --all every held one, or those of --reason or --mailbox",
		RunE: func(cmd *cobra.Command, args []string) error {
			return q.change(cmd, &c, args, "tried again", func(s *spool.Spool, numbers []int64) (int64, error) {
				return s.Retry(cmd.Context(), numbers...)
			})
		},
	}
	c.flags(cmd)
	cmd.Flags().BoolVar(&c.all, "all", false, "every held item")
	return cmd
}

// change applies one change to the chosen items and says to how many.
func (q *queueCommand) change(cmd *cobra.Command, c *choice, args []string, done string, change func(*spool.Spool, []int64) (int64, error)) error {
	return q.with(cmd.Context(), func(_ *Config, s *spool.Spool) error {
		items, err := c.choose(cmd.Context(), s, args)
		if err != nil {
			return err
		}
		numbers := make([]int64, len(items))
		for i, item := range items {
			numbers[i] = item.Number
		}
		n, err := change(s, numbers)
		if err != nil {
			return err
		}
		fmt.Fprintf(cmd.OutOrStdout(), "%d of %d items %s\n", n, len(items), done)
		return passedOver(items)
	})
}

// passedOver is an error that says of the chosen items that are in a state in
// which nothing can be changed why that is so; nil where there are none.
func passedOver(items []*spool.Item) error {
	counts := map[string]int{}
	for _, item := range items {
		counts[standsFast[item.State]]++
	}
	delete(counts, "")
	var said []string
	for _, why := range slices.Sorted(maps.Keys(counts)) {
		said = append(said, fmt.Sprintf("%d passed over, %s", counts[why], why))
	}
	if said == nil {
		return nil
	}
	return errors.New(strings.Join(said, "; "))
}

// standsFast says why neither a retry nor a drop changes an item in these states.
var standsFast = map[spool.State]string{
	spool.Queued:   "in its SQS queue, which brings it again by itself",
	spool.Settling: "delivered already",
	spool.Done:     "delivered already",
	spool.Dropped:  "dropped before (`homing backfill --again` delivers what is still in the bucket)",
}

// flagged reports whether a flag chooses items.
func (c *choice) flagged() bool {
	return c.all || c.Mailbox != "" || c.Reason != "" || len(c.states) > 0
}

// choose returns the items named in args, else those that the flags choose;
// with neither it is an error, for nobody means everything by saying nothing.
func (c *choice) choose(ctx context.Context, s *spool.Spool, args []string) ([]*spool.Item, error) {
	switch {
	case len(args) > 0 && c.flagged():
		return nil, usageError{errors.New("name items or choose them by flags, not both")}
	case len(args) == 0 && !c.flagged():
		return nil, usageError{errors.New("name an item (see `homing queue list`), or choose by --all, --state, --mailbox or --reason")}
	case len(args) == 0:
		standing := []spool.State{spool.Held}
		if len(c.states) == 0 && !c.all {
			standing = append(standing, spool.Pending)
		}
		chosen := *c
		chosen.all = false
		filter, err := chosen.filter(standing...)
		if err != nil {
			return nil, err
		}
		return s.List(ctx, filter)
	}
	var items []*spool.Item
	for _, name := range args {
		item, err := s.Find(ctx, name)
		if err != nil {
			return nil, err
		}
		items = append(items, item)
	}
	return items, nil
}

// writeJSON writes one object a line.
func writeJSON(w io.Writer, items []*spool.Item) error {
	enc := json.NewEncoder(plainJSON{w})
	for _, item := range items {
		if err := enc.Encode(newItemView(item)); err != nil {
			return err
		}
	}
	return nil
}
