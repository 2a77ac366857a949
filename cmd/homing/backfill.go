package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/homing-mail/homing/poller"
)

func newBackfillCommand(environ []string, std streams) *cobra.Command {
	var flags backfillFlags
	cmd := &cobra.Command{
		Use:   "backfill",
		Short: "Deliver the mail that lies in the bucket and that the ledger does not know",
		Long: "List HOMING_BUCKETS and deliver each message that the ledger does not know, whether homing serves meanwhile or not.\n" +
			"To whom and from whom is read in the lines that SES wrote into each message. What is done is in the ledger: when it\n" +
			"is interrupted, run it again. Times are when an object was stored, given as 2026-11-22 (0:00 UTC), as RFC 3339 or,\n" +
			"for some time ago, as a duration such as 30d.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			// A script's unset variable must not become everything, or everybody.
			for _, name := range []string{"bucket", "since", "until", "to"} {
				if f := cmd.Flags().Lookup(name); f.Changed && f.Value.String() == "" {
					return usageError{fmt.Errorf("--%s is empty: give it a value, or leave it out", name)}
				}
			}
			cfg, err := loadPartialConfig(environ)
			if err != nil {
				return err
			}
			task, err := flags.task(cfg, time.Now())
			if err != nil {
				return err
			}
			return backfill(cmd.Context(), cfg, neighbours{}, task, std)
		},
	}
	flags.add(cmd)
	return cmd
}

// backfillFlags are the command's flags as they were given.
type backfillFlags struct {
	bucket, prefix, since, until, to, again string
	dryRun                                  bool
}

// newRun is --again without a value.
const newRun = "new"

func (f *backfillFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.bucket, "bucket", "", "only this one of HOMING_BUCKETS")
	cmd.Flags().StringVar(&f.prefix, "prefix", "", "only keys that begin with this")
	cmd.Flags().StringVar(&f.since, "since", "", "only what was stored then or later")
	cmd.Flags().StringVar(&f.until, "until", "", "only what was stored before")
	cmd.Flags().StringVar(&f.to, "to", "", "deliver all of it to this mailbox; HOMING_RECIPIENTS does not apply")
	cmd.Flags().BoolVar(&f.dryRun, "dry-run", false, "only say what would be delivered")
	cmd.Flags().StringVar(&f.again, "again", "", "deliver also what the ledger knows, under new ids; --again=ID goes on with an interrupted run")
	cmd.Flags().Lookup("again").NoOptDefVal = newRun
}

// backfillTask is what is to be done.
type backfillTask struct {
	places       []poller.Place
	since, until time.Time // zero: no limit
	to           mailbox   // empty: as the messages say
	run          string    // suffix of all ids; empty: the ledger counts
	dryRun       bool
}

// task judges the flags.
func (f *backfillFlags) task(cfg *Config, now time.Time) (t backfillTask, err error) {
	t.dryRun = f.dryRun
	if t.places, err = f.places(cfg); err != nil {
		return t, err
	}
	if t.since, err = parseMoment(f.since, now); err != nil {
		return t, usageError{fmt.Errorf("--since %s: %w", quote(f.since), err)}
	}
	if t.until, err = parseMoment(f.until, now); err != nil {
		return t, usageError{fmt.Errorf("--until %s: %w", quote(f.until), err)}
	}
	if !t.until.IsZero() && !t.since.Before(t.until) {
		return t, usageError{errors.New("--since is not before --until: nothing lies between")}
	}
	if f.to != "" {
		if t.to, err = parseMailbox(f.to); err != nil {
			return t, usageError{fmt.Errorf("--to %s: %w", quote(f.to), err)}
		}
	}
	t.run, err = f.runID()
	return t, err
}

// places are those of HOMING_BUCKETS, narrowed down.
func (f *backfillFlags) places(cfg *Config) (places []poller.Place, err error) {
	for _, m := range cfg.missing() {
		if m.variable == "HOMING_BUCKETS" {
			return nil, &configError{[]mistake{m}}
		}
	}
	for _, p := range cfg.listed() {
		switch {
		case f.bucket != "" && f.bucket != p.Bucket:
			continue
		case strings.HasPrefix(f.prefix, p.Prefix):
			p.Prefix = f.prefix
		case !strings.HasPrefix(p.Prefix, f.prefix):
			continue
		}
		places = append(places, p)
	}
	if places == nil {
		return nil, usageError{errors.New("no place of HOMING_BUCKETS has this --bucket and --prefix, and messages are fetched from nowhere else")}
	}
	return poller.Outermost(places), nil
}

// runID names this run of --again, so that it can go on after an interruption.
func (f *backfillFlags) runID() (string, error) {
	switch {
	case f.again == "":
		return "", nil
	case f.again == newRun:
		return strings.ToLower(rand.Text()[:8]), nil
	case len(f.again) > 32 || strings.Trim(f.again, "abcdefghijklmnopqrstuvwxyz0123456789") != "":
		return "", usageError{fmt.Errorf("--again=%s: want the id that the interrupted run said, or no value for a new run", quote(f.again))}
	}
	return f.again, nil
}

// parseMoment reads a time, or how long ago it was; nothing is the zero time.
func parseMoment(text string, now time.Time) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	for _, layout := range []string{time.DateOnly, time.RFC3339} {
		if at, err := time.Parse(layout, text); err == nil {
			return at, nil
		}
	}
	ago, err := parseDuration(text)
	if err != nil {
		return time.Time{}, errors.New("want a date as 2026-11-22, a time as 2026-11-22T10:30:00Z, or a duration as 30d")
	}
	return now.Add(-ago), nil
}

// backfill does a task and says how it goes.
func backfill(ctx context.Context, cfg *Config, with neighbours, task backfillTask, std streams) error {
	base, err := openBase(ctx, cfg, with, task.dryRun, newLogger(quiet(cfg), std.err))
	if err != nil {
		return err
	}
	b := &backfiller{backfillTask: task, base: base, out: std.out, meter: newMeter(std.err), waiting: map[string]bool{}, versioned: map[string]bool{}}
	b.introduce(std.err)
	err = b.deliver(ctx)
	return errors.Join(err, base.close())
}

func (b *backfiller) introduce(w io.Writer) {
	switch {
	case b.dryRun:
	case b.base.app != nil:
		fmt.Fprintln(w, "homing does not run on this state directory: the mail is delivered from here, and homing cannot be started meanwhile")
	default:
		fmt.Fprintln(w, "homing runs: it delivers what is put into its spool")
	}
	if b.run != "" {
		fmt.Fprintf(w, "should it be interrupted, --again=%s goes on\n", b.run)
	}
}

// quiet leaves out what homing says of each message: the summary counts them.
func quiet(cfg *Config) *Config {
	quieter := *cfg
	if quieter.LogLevel == logLevel(slog.LevelInfo) {
		quieter.LogLevel = logLevel(slog.LevelWarn)
	}
	return &quieter
}
