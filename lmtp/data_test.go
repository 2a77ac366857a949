package lmtp

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"
)

const (
	// Without CHUNKING go-smtp speaks: a step at a time, no RSET.
	dataBob = `
		C: MAIL FROM:<a@x.test> BODY=8BITMIME
		S: 250 2.1.0 OK
		C: RCPT TO:<bob@y.test>
		S: 250 2.1.5 OK
		C: DATA
		S: 354 OK
	`
	dataMail = `
		C: mail
		C: .
	`
	dataTaken = dataBob + dataMail + `
		S: 250 2.0.0 saved
	`
	hello = `
		C: RSET
		S: 250 2.0.0 OK
		C: LHLO homing.test
		S: 250-mx.test
		S: 250-8BITMIME
		S: 250 PIPELINING
	`
)

func TestData(t *testing.T) {
	play(t, []string{greetPlain + dataTaken + dataTaken + bye}, func(t *testing.T, th *theatre) {
		for range 2 {
			if err := th.bob(); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// Nothing in a message ends it: Dovecot and others take LF . LF, and worse, for
// the end of DATA.
func TestDataLeavesNothingToSmuggle(t *testing.T) {
	const evil = "a\n.\nMAIL FROM:<>\r\n.\r\nRSET\r\n.x\n.\r\nb\r\n.\nend"
	play(t, []string{greetPlain + dataBob + `
		O: "a\r\n..\r\nMAIL FROM:<>\r\n..\r\nRSET\r\n..x\r\n..\r\nb\r\n..\r\nend\r\n.\r\n"
		S: 250 saved
	` + bye}, func(t *testing.T, th *theatre) {
		if err := th.Deliver(t.Context(), "a@x.test", "bob@y.test", [][]byte{[]byte(evil)}); err != nil {
			t.Fatal(err)
		}
	})
}

func TestDataRefusals(t *testing.T) {
	tests := []struct {
		name, dialogue string
		want           ReplyError
	}{
		{"MAIL", `
			C: MAIL FROM:<a@x.test> BODY=8BITMIME
			S: 452 4.3.1 no space`,
			ReplyError{452, "4.3.1", "no space", "MAIL"}},
		{"RCPT, whose MAIL has to be taken back", `
			C: MAIL FROM:<a@x.test> BODY=8BITMIME
			S: 250 OK
			C: RCPT TO:<bob@y.test>
			S: 550-5.1.1 unknown
			S: 550 5.1.1 user` + hello,
			ReplyError{550, "5.1.1", "unknown user", "RCPT"}},
		{"DATA", `
			C: MAIL FROM:<a@x.test> BODY=8BITMIME
			S: 250 OK
			C: RCPT TO:<bob@y.test>
			S: 250 OK
			C: DATA
			S: 451 later` + hello,
			ReplyError{451, "", "later", "DATA"}},
		{"the message", dataBob + dataMail + `
			S: 552 5.2.2 Quota exceeded`,
			ReplyError{552, "5.2.2", "Quota exceeded", "DATA"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			play(t, []string{greetPlain + tt.dialogue + dataTaken + bye}, func(t *testing.T, th *theatre) {
				if got := refusal(t, th.bob()); got != tt.want {
					t.Errorf("got %+v, want %+v", got, tt.want)
				}
				if err := th.bob(); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

func TestDataLost(t *testing.T) {
	tests := []struct {
		name    string
		plays   []string
		earlier int
		failed  bool
		unknown bool
	}{
		{"kept, closed", []string{greetPlain + dataTaken + `
			CLOSE`, greetPlain + dataTaken + bye}, 1, false, false},
		{"kept, 421", []string{greetPlain + dataTaken + `
			C: MAIL FROM:<a@x.test> BODY=8BITMIME
			S: 421 4.3.2 Shutting down
			CLOSE`, greetPlain + dataTaken + bye}, 1, false, false},
		{"fresh, closed", []string{greetPlain + `
			CLOSE`}, 0, true, false},
		{"after the dot, committed or not", []string{greetPlain + dataBob + dataMail + `
			CLOSE`}, 0, true, true},
		{"421 after the dot", []string{greetPlain + dataBob + dataMail + `
			S: 421 4.3.2 Shutting down
			CLOSE`}, 0, true, true},
		{"a reply that makes no sense", []string{greetPlain + dataBob + dataMail + `
			S: 354 go ahead
			EOF`}, 0, true, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			play(t, tt.plays, func(t *testing.T, th *theatre) {
				for range tt.earlier {
					if err := th.bob(); err != nil {
						t.Fatal(err)
					}
				}
				err := th.bob()
				if (err != nil) != tt.failed || isUnknown(err) != tt.unknown || isAway(err) {
					t.Errorf("got %v", err)
				}
			})
		})
	}
}

// go-smtp collects the lines of a reply without end; what it may read for one
// command is bounded, and many commands together may have as much as they like.
func TestDataFlood(t *testing.T) {
	play(t, []string{greetPlain + `
		C: MAIL FROM:<a@x.test> BODY=8BITMIME` + longReply() + `
		EOF`}, func(t *testing.T, th *theatre) {
		if err := th.bob(); !errors.Is(err, errFlood) {
			t.Errorf("got %v", err)
		}
	})
	wordy := dataBob + dataMail + "\nS: 250-" + strings.Repeat("x", 1000) + "\nS: 250 saved\n"
	play(t, []string{greetPlain + strings.Repeat(wordy, 100) + bye}, func(t *testing.T, th *theatre) {
		for range 100 {
			if err := th.bob(); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// A command is not waited for as long as the verdict of the message before it.
func TestDataTimeouts(t *testing.T) {
	for dialogue, want := range map[string]time.Duration{dataBob + dataMail: 10 * time.Minute, dataBob: 5 * time.Minute} {
		end := strings.TrimSuffix(strings.TrimSpace(dialogue), "S: 354 OK") // the reply that does not come
		play(t, []string{greetPlain + dataTaken + end + `
			STALL`}, func(t *testing.T, th *theatre) {
			if err := th.bob(); err != nil {
				t.Fatal(err)
			}
			begun := time.Now()
			err := th.bob()
			if took := time.Since(begun); took != want || err == nil {
				t.Errorf("got %v after %s, want it after %s", err, took, want)
			}
		})
	}
}

// Cut amid the message: the dot that would commit half of it is not sent. A kept
// connection that took the envelope was not dead before: that is a failure.
func TestDataCut(t *testing.T) {
	play(t, []string{greetPlain + dataTaken + dataBob + `
		SKIP 4096
		CLOSE
	`}, func(t *testing.T, th *theatre) {
		if err := th.bob(); err != nil {
			t.Fatal(err)
		}
		err := th.Deliver(t.Context(), "a@x.test", "bob@y.test", [][]byte{make([]byte, 10<<10)})
		if err == nil || isUnknown(err) || isAway(err) {
			t.Errorf("got %v", err)
		}
	})
}

// A server that stops reading in the middle of a message is given up: go-smtp
// alone would wait for ever.
func TestDataStall(t *testing.T) {
	play(t, []string{greetPlain + dataBob + `
		STALL
	`}, func(t *testing.T, th *theatre) {
		begun := time.Now()
		err := th.Deliver(t.Context(), "a@x.test", "bob@y.test", [][]byte{make([]byte, 10<<10)})
		if took := time.Since(begun); took != 3*time.Minute {
			t.Errorf("took %s", took)
		}
		if err == nil || isUnknown(err) {
			t.Errorf("got %v", err)
		}
	})
}

func TestDataCancel(t *testing.T) {
	tests := []struct {
		name, dialogue string
		octets         [][]byte
		unknown        bool
	}{
		{"amid the message", dataBob + `
			SKIP 100
			STALL`, [][]byte{make([]byte, 10<<10)}, false},
		{"after the dot", dataBob + dataMail + `
			EOF`, mail(), true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			play(t, []string{greetPlain + tt.dialogue}, func(t *testing.T, th *theatre) {
				ctx, cancel := context.WithCancel(t.Context())
				result := th.start(func() error { return th.Deliver(ctx, "a@x.test", "bob@y.test", tt.octets) })
				cancel()
				if err := <-result; !errors.Is(err, context.Canceled) || isUnknown(err) != tt.unknown {
					t.Errorf("got %v", err)
				}
			})
		})
	}
}
