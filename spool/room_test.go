package spool

import (
	"errors"
	"testing"
)

// What a spool has filled its own disk with makes room again when it is
// delivered, though the file stays as large; the log's room it cannot make.
func TestRoomOfWhatIsDelivered(t *testing.T) {
	free := int64(1 << 40)
	s := openTest(t, Options{Free: func(string) (int64, error) { return free, nil }})
	inline := arrival("m1", "a@example.org")
	inline.Bucket, inline.Key, inline.Content = "", "", make([]byte, 2<<20)
	accept(t, s, inline)
	free = EnoughFree - 1<<20
	if _, err := s.Accept(t.Context(), arrival("m2", "a@example.org")); !errors.Is(err, ErrFull) || s.Ready(t.Context()) == nil {
		t.Errorf("before it is delivered: %v", err)
	}
	finish(t, s, dueOne(t, s))
	accept(t, s, arrival("m2", "a@example.org"))
	free = EnoughFree - 3<<20
	if _, err := s.Accept(t.Context(), arrival("m3", "a@example.org")); !errors.Is(err, ErrFull) {
		t.Errorf("with more missing than was delivered: %v", err)
	}
	free = mostLog
	if room, err := s.Room(t.Context()); err != nil || room < mostLog+1<<20 {
		t.Errorf("with room for the log there is room for %d more, %v", room-mostLog, err)
	}
	free = mostLog - 1
	if room, err := s.Room(t.Context()); err != nil || room != free {
		t.Errorf("without room for the log there is room for %d more, %v", room-free, err)
	}
}
