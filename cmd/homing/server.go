package main

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"time"
)

// server is one HTTP listener. Slow clients are cut off by its timeouts.
type server struct {
	http     *http.Server
	listener net.Listener
	variable string        // that configures it
	grace    time.Duration // how long what was begun may take when it is told to stop
}

func newServer(ctx context.Context, at listenAddress, handler http.Handler, certificates *tls.Config, log *slog.Logger) (*server, error) {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", string(at))
	if err != nil {
		return nil, err
	}
	return &server{listener: listener, grace: grace, http: &http.Server{
		Handler:           handler,
		TLSConfig:         certificates,
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       30 * time.Second,
		WriteTimeout:      30 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}}, nil
}

// run serves until ctx ends and what was begun is answered. Whoever is too slow
// for the grace is cut off: what was not answered comes again.
func (s *server) run(ctx context.Context) error {
	stopped := make(chan error, 1)
	undo := context.AfterFunc(ctx, func() {
		within, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.grace)
		defer cancel()
		err := s.http.Shutdown(within)
		if errors.Is(err, context.DeadlineExceeded) {
			err = s.http.Close()
		}
		stopped <- err
	})
	err := s.serve()
	if undo() || !errors.Is(err, http.ErrServerClosed) {
		return err // it failed by itself
	}
	return <-stopped
}

func (s *server) serve() error {
	if s.http.TLSConfig != nil {
		return s.http.ServeTLS(s.listener, "", "")
	}
	return s.http.Serve(s.listener)
}

// close closes a server that may never have run.
func (s *server) close() error {
	if err := s.listener.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
		return err
	}
	return s.http.Close()
}
