package lmtp

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// Once a reply makes no sense, no later one can be believed.
func TestDesynchronisation(t *testing.T) {
	tests := []struct {
		name, replies string
	}{
		{"no code", `
			S: hello`},
		{"an intermediate reply", `
			S: 250 OK
			S: 354 go ahead`},
		{"two codes in one reply", `
			S: 250-OK
			S: 550 no`},
		{"a line without end", `
			RAW "250 ` + strings.Repeat("x", 4<<10) + `"`},
		{"a reply without end", longReply()},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			play(t, []string{greetDovecot + bob + tt.replies + `
				EOF
			`, greetDovecot + bob + taken + bye}, func(t *testing.T, th *theatre) {
				if err := th.bob(); !errors.Is(err, errMalformed) || !isUnknown(err) {
					t.Errorf("got %v", err)
				}
				if err := th.bob(); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

func TestDesynchronisationWhileWriting(t *testing.T) {
	play(t, []string{greetDovecot + envelopeBob + `
		C: BDAT 5 LAST
		O: "ma"
		S: hello
		STALL
	`}, func(t *testing.T, th *theatre) {
		begun := time.Now()
		if err := th.bob(); !errors.Is(err, errMalformed) || time.Since(begun) > 0 {
			t.Errorf("got %v after %s", err, time.Since(begun))
		}
	})
}

func TestReplyToNothing(t *testing.T) {
	play(t, []string{greetDovecot + bob + `
		S: 250 OK
		S: 250 OK
		S: 250 OK
		RAW "250 saved\r\n250 and so on\r\n"
		EOF
	`, greetDovecot + bob + taken + bye}, func(t *testing.T, th *theatre) {
		for range 2 {
			if err := th.bob(); err != nil {
				t.Error(err)
			}
			synctest.Wait() // for the line too many, before something else is written
		}
	})
}

func TestOctetsTakenWithoutRecipient(t *testing.T) {
	play(t, []string{greetDovecot + bob + `
		S: 250 OK
		S: 250 OK
		S: 550 5.1.1 unknown
		S: 250 saved
		EOF
	`, greetDovecot + bob + taken + bye}, func(t *testing.T, th *theatre) {
		if got := refusal(t, th.bob()); got.Code != 550 {
			t.Error(got)
		}
		synctest.Wait() // for the last line, before something else is written
		if err := th.bob(); err != nil {
			t.Error(err)
		}
	})
}

// longReply is one of just over 64 KiB.
func longReply() (steps string) {
	for range maxReply/1000 + 1 {
		steps += "\nS: 250-" + strings.Repeat("x", 996)
	}
	return steps
}
