package main

import (
	"context"
	"io"
	"log/slog"
	"runtime/debug"
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
			return serve(cmd.Context(), cfg, newLogger(cfg, std.err))
		},
	}
}

// serve runs homing until ctx ends.
func serve(ctx context.Context, cfg *Config, log *slog.Logger) error {
	for _, warning := range cfg.warnings() {
		log.Warn(warning)
	}
	app, err := newApp(ctx, cfg, neighbours{}, log)
	if err != nil {
		return err
	}
	log.Info("homing serves", "version", version(), "webhook", app.webhookAddress(), "metrics", app.metricsAddress(),
		"deliver_to", cfg.DeliverTo.String())
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
)

// boundMemory has the garbage collector keep within HOMING_MEMORY and the
// program's own needs, unless GOMEMLIMIT says otherwise.
func boundMemory(cfg *Config, environ []string) {
	for _, entry := range environ {
		if strings.HasPrefix(entry, "GOMEMLIMIT=") {
			return
		}
	}
	debug.SetMemoryLimit(max(int64(cfg.Memory)+overhead, leastMemory))
}

func newLogger(cfg *Config, w io.Writer) *slog.Logger {
	options := &slog.HandlerOptions{Level: slog.Level(cfg.LogLevel)}
	if cfg.LogFormat == "json" {
		return slog.New(slog.NewJSONHandler(w, options))
	}
	return slog.New(slog.NewTextHandler(w, options))
}
