// Command performance measures homing beside what else one might use, and writes
// down what came of it: it runs the benchmarks of the page docs/performance.md
// into bench.txt, and makes the page's tables and its plot from that.
//
//	go run ./internal/performance -repeat 15                  measure all of it
//	go run ./internal/performance -repeat 15 -only Rivals     a part again; the rest stays as it was
//	go run ./internal/performance                             make the page again from bench.txt
//
// It runs where go.mod is.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"regexp"
	"strings"
)

const (
	rawPath  = "bench.txt"
	pagePath = "docs/performance.md"
	plotPath = "docs/performance.svg"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "performance:", err)
		os.Exit(1) //nolint:gocritic // what stop would undo ends with the process
	}
}

// run measures if it is told to, rewrites the page and prints its tables.
func run(ctx context.Context, args []string, stdout io.Writer) error {
	flags := flag.NewFlagSet("performance", flag.ContinueOnError)
	repeat := flags.Uint("repeat", 0, "measure, so many repetitions; 0: only make the page from "+rawPath)
	only := flags.String("only", "", "measure only the benchmarks that match, and keep the others' results")
	if err := flags.Parse(args); err != nil {
		return err
	}
	switch {
	case flags.NArg() > 0:
		return fmt.Errorf("%q is too much: there are only flags", flags.Arg(0))
	case *only != "" && *repeat == 0:
		return errors.New("-only measures, and needs -repeat")
	case *repeat > 0:
		if err := measure(ctx, *repeat, *only, stdout); err != nil {
			return err
		}
	}
	text, err := os.ReadFile(rawPath)
	if err != nil {
		return fmt.Errorf("no results to read: %w", err)
	}
	return publish(string(text), stdout)
}

// measure runs the benchmarks of all sections one after another, and adds what
// they print to the raw file; a whole run begins it anew.
func measure(ctx context.Context, repeat uint, only string, stdout io.Writer) (err error) {
	names, packages, err := chosen(only)
	if err != nil {
		return err
	}
	raw, err := openRaw(only == "")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, raw.Close()) }()
	if only == "" {
		if _, err := io.WriteString(raw, header(ctx, repeat)); err != nil {
			return err
		}
	}
	command := append([]string{"test", "-run", "^$", "-p", "1", "-timeout", "3h", "-benchtime", fmt.Sprint(repeat) + "x",
		"-bench", "^(" + strings.Join(names, "|") + ")$"}, packages...)
	cmd := exec.CommandContext(ctx, "go", command...)
	cmd.Env = append(os.Environ(), "CI=true") // a benchmark whose neighbours are not here fails, rather than be skipped
	cmd.Stdout, cmd.Stderr = io.MultiWriter(stdout, raw), os.Stderr
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) } // so that it ends what it started
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("go %s: %w; what it printed is in %s", strings.Join(command, " "), err, rawPath)
	}
	return nil
}

// openRaw opens the raw file: empty, or to add to what is there.
func openRaw(anew bool) (*os.File, error) {
	if anew {
		return os.Create(rawPath)
	}
	raw, err := os.OpenFile(rawPath, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return nil, fmt.Errorf("there is nothing to add to, measure all first: %w", err)
	}
	return raw, nil
}

// chosen returns the benchmarks whose names match, and their packages.
func chosen(only string) (names, packages []string, err error) {
	match, err := regexp.Compile(only)
	if err != nil {
		return nil, nil, err
	}
	seen := map[string]bool{}
	for _, s := range sections {
		if !match.MatchString(s.benchmark) {
			continue
		}
		names = append(names, s.benchmark)
		if !seen[s.directory] {
			seen[s.directory] = true
			packages = append(packages, "./"+s.directory)
		}
	}
	if len(names) == 0 {
		return nil, nil, fmt.Errorf("no benchmark of the page matches %q", only)
	}
	return names, packages, nil
}

// publish rewrites the page and the plot from raw results, and prints the tables.
func publish(text string, stdout io.Writer) error {
	all, err := parse(text)
	if err != nil {
		return fmt.Errorf("%s: %w", rawPath, err)
	}
	tables, err := arrange(sections, all)
	if err != nil {
		return fmt.Errorf("%s: %w", rawPath, err)
	}
	page, err := os.ReadFile(pagePath)
	if err != nil {
		return err
	}
	rewritten, err := fill(string(page), all, tables)
	if err != nil {
		return fmt.Errorf("%s: %w", pagePath, err)
	}
	for _, t := range tables {
		fmt.Fprintf(stdout, "\n%s\n\n%s", t.benchmark, t.markdown())
	}
	return errors.Join(
		os.WriteFile(pagePath, []byte(rewritten), 0o644),
		os.WriteFile(plotPath, []byte(plot(tables)), 0o644))
}
