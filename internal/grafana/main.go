// Command grafana writes the dashboard that contrib/grafana ships, from the
// table of metrics: a metric or a value of a label that is new, renamed or gone
// shows when it is run, and in its tests.
package main

import (
	"fmt"
	"os"

	"github.com/homing-mail/homing/metrics"
)

//go:generate go run . ../../contrib/grafana/homing.json

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "grafana:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) != 1 {
		return fmt.Errorf("want the path to write the dashboard to")
	}
	text, err := generate(metrics.New("").Table())
	if err != nil {
		return err
	}
	return os.WriteFile(args[0], text, 0o644)
}
