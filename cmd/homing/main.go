// Command homing brings mail home to Dovecot: Amazon SES stores it in S3, SNS
// says so, and homing fetches and delivers it over LMTP.
//
// This package wires the others together. It is the only one that reads the
// environment and hears signals.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"
)

// Exit codes.
const (
	exitDone   = 0
	exitFailed = 1
	exitUsage  = 2 // wrong usage or configuration
)

func main() {
	ctx, stop := context.WithCancel(context.Background())
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	go func() {
		heed(signals, stop)
		os.Exit(exitFailed)
	}()
	os.Exit(run(ctx, os.Args[1:], os.Environ(), streams{os.Stdin, os.Stdout, os.Stderr}))
}

// together is how soon a second signal is still the first: timeout(1) sends its own
// to the program and then to the group that the program is in.
const together = 20 * time.Millisecond

// heed calls stop at the first signal, and returns at the second: then the process
// is to end at once.
func heed(signals <-chan os.Signal, stop func()) {
	<-signals
	stop()
	began := time.Now()
	for range signals {
		if time.Since(began) >= together {
			return
		}
	}
}

// streams are the standard ones, or a test's.
type streams struct {
	in       io.Reader
	out, err io.Writer
}

// run is the whole program. Ending ctx stops it gracefully.
func run(ctx context.Context, args, environ []string, std streams) int {
	begun := false // what fails before a command begins is wrong usage
	root := newRootCommand(environ, std)
	root.PersistentPreRun = func(*cobra.Command, []string) { begun = true }
	root.SetArgs(append([]string{}, args...)) // of nil cobra would make os.Args
	root.SetIn(std.in)
	root.SetOut(std.out)
	root.SetErr(std.err)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return exitDone
	}
	fmt.Fprintln(std.err, "homing:", cleanLines(err.Error()))
	_, wrong := errors.AsType[*configError](err)
	_, misused := errors.AsType[usageError](err)
	if wrong || misused || !begun {
		return exitUsage
	}
	return exitFailed
}

// misconfigured is the error of one variable that only its use shows to be wrong.
func misconfigured(variable string, err error) error { return &configError{[]mistake{{variable, err}}} }

// usageError is wrong usage that only a command itself can tell.
type usageError struct{ error }

func newRootCommand(environ []string, std streams) *cobra.Command {
	serve := newServeCommand(environ, std)
	root := &cobra.Command{
		Use:           "homing",
		Short:         "Bring mail from Amazon SES home to Dovecot",
		Long:          "homing takes signed SNS notifications of mail that Amazon SES stored in S3,\nfetches it and delivers it to Dovecot over LMTP. It is configured by HOMING_*\nvariables: see `homing config`. Without a command it serves.",
		Args:          cobra.NoArgs,
		RunE:          serve.RunE,
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.CompletionOptions.HiddenDefaultCmd = true
	root.AddCommand(serve, newDemoCommand(environ, std), newQueueCommand(environ), newBackfillCommand(environ, std), newCheckCommand(environ), newMailcowAliasesCommand(environ), newConfigCommand(environ), newPGPCommand(environ), newVersionCommand())
	return root
}
