package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/homing-mail/homing/courier"
	"github.com/homing-mail/homing/metrics"
	"github.com/homing-mail/homing/spool"
)

func (q *queueCommand) export() *cobra.Command {
	var path string
	var stored bool
	cmd := &cobra.Command{
		Use:   "export ITEM",
		Short: "Write the message of an item, as it would be delivered, to a file or the standard output",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return q.with(cmd.Context(), func(cfg *Config, s *spool.Spool) error {
				item, err := s.Find(cmd.Context(), args[0])
				if err != nil {
					return err
				}
				octets, err := message(cmd.Context(), cfg, s, item, stored)
				if err != nil {
					return err
				}
				if path == "" {
					_, err := cmd.OutOrStdout().Write(octets)
					return err
				}
				return writeNew(path, octets)
			})
		},
	}
	cmd.Flags().StringVarP(&path, "output", "o", "", "the file to make, such as message.eml")
	cmd.Flags().BoolVar(&stored, "stored", false, "as it is stored: encrypted, if it is")
	return cmd
}

// message returns an item's message, from the spool or from the bucket: decrypted,
// or as it is stored.
func message(ctx context.Context, cfg *Config, s *spool.Spool, item *spool.Item, stored bool) ([]byte, error) {
	if item.Inline {
		octets, err := s.Content(ctx, item.Number)
		if err != nil || stored || !item.Receipt {
			return octets, err
		}
		opener, err := newDecrypter(ctx, cfg, nil, metrics.New(version()))
		if err != nil {
			return nil, err
		}
		object := &courier.Object{Octets: octets, Size: int64(len(octets)), Memory: boundless{}}
		err = opener.Decrypt(ctx, item.Message, object)
		return object.Octets, err
	}
	if item.Bucket == "" {
		return nil, fmt.Errorf("item %d no longer has its message: it came inside the notification and was delivered or dropped", item.Number)
	}
	from, err := newSource(ctx, cfg, neighbours{}, metrics.New(version()))
	if err != nil {
		return nil, err
	}
	var object *courier.Object
	if stored {
		object, err = from.Fetch(ctx, item.Message, "", 0)
	} else {
		object, err = courier.Read(ctx, from, s, item)
	}
	if err != nil {
		return nil, err
	}
	return object.Octets, nil
}

// boundless is memory for one message at a time.
type boundless struct{}

func (boundless) Resize(int64) bool { return true }
func (boundless) Release()          {}

// writeNew makes a file whole and durably, or none; one that is there already is
// left alone.
func writeNew(path string, octets []byte) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(octets)
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = syncDir(filepath.Dir(path))
	}
	if err != nil {
		return errors.Join(err, os.Remove(path)) // a part is none, and would be in the way of the next try
	}
	return nil
}

func (q *queueCommand) drop() *cobra.Command {
	var c choice
	var yes bool
	var keep string
	cmd := &cobra.Command{
		Use:   "drop [ITEM...]",
		Short: "Give items up: nothing more is delivered; objects stay in their bucket",
		RunE: func(cmd *cobra.Command, args []string) error {
			return q.with(cmd.Context(), func(cfg *Config, s *spool.Spool) error {
				items, err := c.choose(cmd.Context(), s, args)
				if err != nil {
					return err
				}
				if len(items) > 0 && !yes {
					if err := agreed(cmd, items); err != nil {
						return err
					}
				}
				return dropAll(cmd, cfg, s, items, keep)
			})
		},
	}
	c.flags(cmd)
	cmd.Flags().BoolVar(&c.all, "all", false, "every held item")
	cmd.Flags().BoolVar(&yes, "yes", false, "do not ask")
	cmd.Flags().StringVar(&keep, "keep", "", "write each message into this directory first, as ITEM.eml")
	return cmd
}

// agreed asks the person at the terminal. Nobody is asked where there is none: an
// answer out of a pipe or a file was written before the question.
func agreed(cmd *cobra.Command, items []*spool.Item) error {
	if f, ok := cmd.InOrStdin().(*os.File); ok && !isTerminal(f) {
		return errors.New("nothing was dropped: there is no terminal to ask at, so say --yes")
	}
	what := fmt.Sprintf("%d items, the first", len(items))
	if len(items) == 1 {
		what = "one item,"
	}
	if mailboxes := whom(items[0]); mailboxes != "" {
		what += " for " + mailboxes + ","
	}
	fmt.Fprintf(cmd.ErrOrStderr(), "Drop %s %s? [y/N] ", what, clean(items[0].ID))
	reply := make(chan string, 1)
	go func() { // which the program does not wait for: nothing else ends a read from a terminal
		text, err := bufio.NewReader(io.LimitReader(cmd.InOrStdin(), 100)).ReadString('\n')
		if err != nil {
			text = ""
		}
		reply <- text
	}()
	select {
	case text := <-reply:
		if strings.EqualFold(strings.TrimSpace(text), "y") {
			return nil
		}
	case <-cmd.Context().Done():
		fmt.Fprintln(cmd.ErrOrStderr())
	}
	return errors.New("nothing was dropped; say --yes to drop without being asked")
}

// dropAll drops items one by one, each after its message is safe where that was
// asked for.
func dropAll(cmd *cobra.Command, cfg *Config, s *spool.Spool, items []*spool.Item, keep string) error {
	var dropped int64
	for _, item := range items {
		if keep != "" {
			octets, err := message(cmd.Context(), cfg, s, item, false)
			if err == nil {
				err = writeNew(filepath.Join(keep, fmt.Sprintf("%d.eml", item.Number)), octets)
			}
			if err != nil {
				return fmt.Errorf("item %d was not dropped (%d were): %w", item.Number, dropped, err)
			}
		}
		n, err := s.Drop(cmd.Context(), item.Number)
		if err != nil {
			return err
		}
		dropped += n
	}
	if _, err := fmt.Fprintf(cmd.OutOrStdout(), "%d of %d items dropped\n", dropped, len(items)); err != nil {
		return err
	}
	return passedOver(items)
}
