package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/spf13/cobra"
)

const (
	// checkTime is how long a check waits for its neighbour.
	checkTime = 15 * time.Second
	// checkSlack is how long a check may take to notice that its time is over; a
	// disk that hangs never does.
	checkSlack = 2 * time.Second
)

func newCheckCommand(environ []string) *cobra.Command {
	var asJSON, health bool
	c := &checker{patience: checkTime}
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Try every neighbour for real, and say what is wrong and how to mend it",
		Long: "Try every neighbour for real: the configuration, the state directory, S3, SNS, the clock, Dovecot with each mailbox\n" +
			"that is configured, the certificate and the ports; also while homing runs. Nothing is left behind and no mail is sent, unless with --probe.\n" +
			"Exit codes: 0 all is well (there may be warnings), 1 something failed, 2 the configuration is wrong.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c.configure(environ)
			var show reporter = &textReport{w: cmd.OutOrStdout()}
			if asJSON {
				show = &jsonReport{w: cmd.OutOrStdout()}
			}
			switch asked := cmd.Flags().Changed("probe-to"); {
			case health && (c.probing || asked):
				return usageError{errors.New("--health asks the running homing and nothing else: leave --probe out")}
			case health:
				return c.run(cmd.Context(), show, []group{c.health})
			case asked:
				c.probing = true
			}
			if err := c.choosePostmaster(); err != nil {
				return err
			}
			return c.run(cmd.Context(), show, c.groups())
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "as JSON: an array of {name, target, ok, warning, seconds, detail, mend}")
	cmd.Flags().BoolVar(&health, "health", false, "only ask the running homing whether it is ready (for a container's health check)")
	cmd.Flags().BoolVar(&c.probing, "probe", false, "deliver one small mail twice, to see whether the Sieve rule turns the second away")
	cmd.Flags().StringVar(&c.probeTo, "probe-to", "", "mailbox for the mails of --probe")
	return cmd
}

// checker tries the neighbours that a configuration names.
type checker struct {
	cfg      *Config
	wrong    []mistake // in the configuration; what it concerns is not tried
	with     neighbours
	patience time.Duration // for each check
	probing  bool
	probeTo  string // mailbox for the probe

	client     *s3.Client    // nil until found is closed, and afterwards where there is none
	found      chan struct{} // closed when client is settled
	answers    sync.WaitGroup
	mu         sync.Mutex
	clocks     []clockReading // what answers brought
	misspoken  bool           // the configuration is wrong
	tried, bad int
}

// configure reads as much of the environment as can be read.
func (c *checker) configure(environ []string) {
	cfg, wrong := parseConfig(environ)
	c.cfg, c.wrong = cfg, addNew(wrong, cfg.missing())
	c.found = make(chan struct{})
}

// isWrong reports whether a variable has a mistake, so that it means nothing.
func (c *checker) isWrong(variable string) bool {
	return slices.ContainsFunc(c.wrong, func(m mistake) bool { return m.variable == variable })
}

// finding is what came of a check. The zero value is success without words.
type finding struct {
	failed  bool
	misset  bool // failed, and serve would refuse the configuration for it
	warning bool
	detail  string
	mend    string // what to do; only with failed or warning
}

func well(format string, args ...any) finding { return finding{detail: fmt.Sprintf(format, args...)} }

func doubtful(detail, mend string) finding {
	return finding{warning: true, detail: detail, mend: mend}
}

func broken(err error, mend string) finding {
	return finding{failed: true, detail: plainly(err), mend: mend}
}

func misset(err error, mend string) finding {
	return finding{failed: true, misset: true, detail: plainly(err), mend: mend}
}

// plainly is what a person reads of an error.
func plainly(err error) string {
	if errors.Is(err, context.DeadlineExceeded) {
		return "no answer in time"
	}
	return err.Error()
}

// checkLine is one check as it is shown.
type checkLine struct {
	Name    string  `json:"name"`
	Target  string  `json:"target"`
	OK      bool    `json:"ok"`
	Warning bool    `json:"warning"`
	Seconds float64 `json:"seconds"`
	Detail  string  `json:"detail"`
	Mend    string  `json:"mend"` // empty where there is nothing to mend
}

// group is a few checks, one after another; groups run side by side.
type group func(context.Context, *page)

// page takes the lines of one group.
type page struct {
	checker *checker
	lines   []checkLine
	hung    bool // a check was left behind, and what it shares must not be used
}

// groups are all checks in the order in which they are shown.
func (c *checker) groups() []group {
	all := []group{c.configuration, c.state, c.pgpKeys}
	if !c.cfg.formOnly() {
		all = append(all, c.credentials)
	}
	for _, bucket := range c.cfg.Buckets {
		all = append(all, c.awsGroup(func(ctx context.Context, p *page) {
			c.bucket(ctx, p, bucket)
			c.decryption(ctx, p, bucket)
		}))
	}
	for _, host := range c.hosts() {
		all = append(all, c.awsGroup(func(ctx context.Context, p *page) { c.sns(ctx, p, host) }))
	}
	all = append(all, c.queues()...)
	if !c.cfg.formOnly() {
		all = append(all, c.clock)
	}
	return append(all, c.destination, c.form, c.certificate, c.listeners)
}

// run runs the groups and shows each as soon as those before it are shown.
func (c *checker) run(ctx context.Context, show reporter, groups []group) error {
	pages := make([]chan []checkLine, len(groups))
	for i, group := range groups {
		pages[i] = make(chan []checkLine, 1)
		go func() {
			p := &page{checker: c}
			group(ctx, p)
			pages[i] <- p.lines
		}()
	}
	for _, lines := range pages {
		for _, line := range <-lines {
			if err := show.line(line); err != nil {
				return err
			}
		}
	}
	if err := show.end(c.tried, c.bad); err != nil {
		return err
	}
	return c.verdict()
}

// verdict is nil when nothing failed.
func (c *checker) verdict() error {
	err := fmt.Errorf("%d of %d checks failed", c.bad, c.tried)
	switch {
	case c.misspoken:
		return usageError{err}
	case c.bad > 0:
		return err
	}
	return nil
}

// try runs one check within its time and adds its line. It reports whether the
// check did not fail.
func (p *page) try(ctx context.Context, name, target string, check func(context.Context) finding) bool {
	began := time.Now()
	f := p.await(ctx, check)
	p.add(name, target, time.Since(began), f)
	return !f.failed
}

// await leaves a check behind that does not come back when its time is over.
func (p *page) await(ctx context.Context, check func(context.Context) finding) finding {
	ctx, cancel := context.WithTimeout(ctx, p.checker.patience)
	defer cancel()
	result := make(chan finding, 1)
	go func() { result <- check(ctx) }()
	select {
	case f := <-result:
		return f
	case <-ctx.Done():
	}
	slack := time.NewTimer(checkSlack)
	defer slack.Stop()
	select {
	case f := <-result:
		return f
	case <-slack.C:
		p.hung = true
		return broken(context.DeadlineExceeded, "it hangs: look at the disk, network file system or host behind it")
	}
}

// add adds a line whose texts, which may be a neighbour's, are made harmless.
func (p *page) add(name, target string, took time.Duration, f finding) {
	const most = 600 // runes; a neighbour may say more than anybody reads
	p.lines = append(p.lines, checkLine{
		Name: name, Target: shorten(clean(target), most), OK: !f.failed, Warning: f.warning,
		Seconds: took.Round(time.Millisecond).Seconds(),
		Detail:  shorten(clean(f.detail), most), Mend: shorten(clean(f.mend), most),
	})
	c := p.checker
	c.mu.Lock()
	defer c.mu.Unlock()
	c.tried++
	if f.failed {
		c.bad++
	}
	c.misspoken = c.misspoken || f.misset
}
