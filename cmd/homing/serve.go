package main

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"runtime/debug"
	"slices"
	"strings"

	"github.com/spf13/cobra"
)

func newServeCommand(environ []string, std streams) *cobra.Command {
	return &cobra.Command{
		Use:   "serve",
		Short: "Take notifications and deliver mail until told to stop (the default)",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := loadConfig(environ)
			if err != nil {
				return err
			}
			boundMemory(cfg, environ)
			return serve(cmd.Context(), cfg, newLogger(cfg, std.err), func(state string) error { return tellManager(environ, state) })
		},
	}
}

// serve runs homing until ctx ends, and tells a manager when it is ready.
func serve(ctx context.Context, cfg *Config, log *slog.Logger, tell func(state string) error) error {
	for _, warning := range cfg.warnings() {
		log.Warn(warning)
	}
	app, err := newApp(ctx, cfg, neighbours{}, log)
	if err != nil {
		return err
	}
	log.Info("homing serves", "version", version(), "webhook", app.webhookAddress(), "metrics", app.metricsAddress(),
		"deliver_to", cfg.exits())
	if err := tell("READY=1"); err != nil {
		return errors.Join(err, app.close())
	}
	context.AfterFunc(ctx, func() { _ = tell("STOPPING=1") }) // for its display only
	err = app.run(ctx)
	log.Info("homing has stopped; what was not finished waits in the spool")
	return err
}

const (
	// overhead is what the heap may hold beside the messages, in bytes. The
	// collector works harder near the limit, but little of a message is garbage.
	overhead = 24 << 20
	// leastMemory is what the collector is not pressed below.
	leastMemory = 96 << 20
	// garbage is how much may wait for the collector, in percent of what lives: more
	// than by default, as little lives. With 200 homing needs a few percent less of the
	// processor, and some 8 MiB more of memory, while small messages pass.
	garbage = 120
)

// boundMemory has the garbage collector keep within HOMING_MEMORY and the
// program's own needs, unless GOMEMLIMIT or GOGC say otherwise.
func boundMemory(cfg *Config, environ []string) {
	if !named(environ, "GOGC") {
		debug.SetGCPercent(garbage)
	}
	if named(environ, "GOMEMLIMIT") {
		return
	}
	debug.SetMemoryLimit(max(int64(cfg.Memory)+overhead, leastMemory))
}

// named reports whether the environment has a variable of this name.
func named(environ []string, name string) bool {
	return slices.ContainsFunc(environ, func(entry string) bool { return strings.HasPrefix(entry, name+"=") })
}

func newLogger(cfg *Config, w io.Writer) *slog.Logger {
	options := &slog.HandlerOptions{Level: slog.Level(cfg.LogLevel)}
	if cfg.LogFormat == "json" {
		return slog.New(slog.NewJSONHandler(plainJSON{w}, options))
	}
	return slog.New(slog.NewTextHandler(w, options))
}
