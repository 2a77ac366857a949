package main

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"sync/atomic"
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
		ConnState:         atMost(maxConnections),
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}}, nil
}

// maxConnections is how many a listener has at a time: with a header of 16 KiB in
// each they take 100 MiB, and they leave descriptors for S3, Dovecot and the spool.
const maxConnections = 4096

// atMost closes connections beyond so many at once: what comes again later is
// taken later.
func atMost(most int64) func(net.Conn, http.ConnState) {
	var open atomic.Int64
	return func(conn net.Conn, state http.ConnState) {
		switch state {
		case http.StateNew:
			if open.Add(1) > most {
				conn.Close()
			}
		case http.StateClosed:
			open.Add(-1)
		}
	}
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
