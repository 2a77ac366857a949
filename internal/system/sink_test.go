package system

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/homing-mail/homing/internal/lmtpsink"
)

// sink is an LMTP server in this process, for what is not about Dovecot.
type sink struct {
	server *lmtpsink.Server

	mu       sync.Mutex
	refusing bool
	messages [][]byte // with homing's header lines
}

func newSink(tb testing.TB) *sink {
	tb.Helper()
	s := &sink{}
	server, err := lmtpsink.New(tb.Context(), lmtpsink.Config{Network: "tcp", Address: "127.0.0.1:0", Deliver: s.take})
	if err != nil {
		tb.Fatal(err)
	}
	s.server = server
	tb.Cleanup(func() {
		if err := server.Close(); err != nil {
			tb.Error(err)
		}
	})
	return s
}

func (s *sink) take(_ context.Context, _, _ string, octets []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.refusing {
		return errors.New("not now")
	}
	s.messages = append(s.messages, bytes.Clone(octets))
	return nil
}

// refuse makes it answer 451 from now on, or no more.
func (s *sink) refuse(refusing bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refusing = refusing
}

func (s *sink) all() [][]byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.messages)
}

// expect waits for as many messages as are wanted, checks that each ends with
// its octets, and wants no more.
func (s *sink) expect(tb testing.TB, want ...[]byte) {
	tb.Helper()
	await(tb, fmt.Sprintf("%d messages to arrive", len(want)), func() error {
		if n := len(s.all()); n < len(want) {
			return fmt.Errorf("%d have arrived", n)
		}
		return nil
	})
	all := s.all()
	if len(all) != len(want) {
		tb.Errorf("%d messages arrived, want %d", len(all), len(want))
	}
	for i := range want {
		lines := homings.Find(all[i])
		sameOctets(tb, all[i][len(lines):], want[i])
	}
}

// url is what HOMING_DELIVER_TO says.
func (s *sink) url() string { return "lmtp://" + s.server.Addr().String() }
