package lmtp

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
)

func isUnknown(err error) bool {
	_, ok := errors.AsType[*UnknownError](err)
	return ok
}

func isAway(err error) bool {
	_, ok := errors.AsType[*AwayError](err)
	return ok
}

// isPermanent is what the courier asks.
func isPermanent(err error) bool {
	p, ok := errors.AsType[interface {
		error
		Permanent() bool
	}](err)
	return ok && p.Permanent()
}

// A connection that has worked, or has been idle, may have died since: what it
// was found dead with is delivered again, and nobody hears of it.
func TestKeptConnectionIsReplaced(t *testing.T) {
	const again = greetDovecot + bob + taken + bye
	tests := []struct {
		name, end string
	}{
		{"closed", `
			CLOSE`},
		{"closed after a word", `
			S: 421 4.3.2 Shutting down
			CLOSE`},
		{"closed after the octets", bob + `
			CLOSE`},
		{"421 to RSET", bob + `
			S: 421 4.3.2 Shutting down
			CLOSE`},
		{"421 to RCPT", bob + `
			S: 250 OK
			S: 250 OK
			S: 421 4.3.2 Shutting down
			CLOSE`},
		{"closed in the middle of a reply", bob + `
			S: 250 OK
			RAW "25"
			CLOSE`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			play(t, []string{greetDovecot + bob + taken + tt.end, again}, func(t *testing.T, th *theatre) {
				for range 2 {
					if err := th.bob(); err != nil {
						t.Error(err)
					}
				}
			})
		})
	}
}

// All idle connections died in the same restart: one of them was enough to
// learn it from.
func TestIdleConnectionsAreDroppedTogether(t *testing.T) {
	const dies = greetDovecot + `
		AWAIT both
	` + bob + taken + `
		CLOSE
	`
	other := "C: RSET\nC: MAIL FROM:<a@x.test> BODY=8BITMIME\nC: RCPT TO:<carol@y.test>\nC: BDAT 5 LAST\nO: \"mail\\n\"\n"
	dies2 := greetDovecot + `
		AWAIT both
	` + other + taken + `
		CLOSE
	`
	playConfigured(t, Config{Connections: 2}, []string{dies, dies2, greetDovecot + bob + taken + bye}, func(t *testing.T, th *theatre) {
		first := th.start(th.bob)
		second := th.start(func() error { return th.to("carol@y.test") })
		close(th.cue("both"))
		if err := errors.Join(<-first, <-second); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if err := th.bob(); err != nil {
			t.Error(err)
		}
	})
}

// A message that takes a second connection with it, kept or not, is not put back
// a second time.
func TestSecondLoss(t *testing.T) {
	carol := strings.ReplaceAll(bob, "bob@", "carol@")
	plays := []string{
		greetDovecot + bob + taken + `
			AWAIT both
		` + bob + `
			CLOSE
		`,
		greetDovecot + carol + `
			AWAIT lost
		` + taken + bob + `
			CLOSE
		`,
	}
	playConfigured(t, Config{Connections: 2}, plays, func(t *testing.T, th *theatre) {
		if err := th.bob(); err != nil {
			t.Fatal(err)
		}
		second := th.start(th.bob)
		first := th.start(func() error { return th.to("carol@y.test") })
		close(th.cue("both"))
		synctest.Wait()
		close(th.cue("lost"))
		if err := <-first; err != nil {
			t.Error(err)
		}
		if err := <-second; !isUnknown(err) {
			t.Errorf("got %v", err)
		}
	})
}

// What is lost on a connection that had never worked is an error, and so is
// what is lost twice.
func TestLostConnections(t *testing.T) {
	const kept = greetDovecot + bob + taken
	tests := []struct {
		name    string
		plays   []string
		earlier int // deliveries that succeed before
		unknown bool
	}{
		{"fresh, before anything was sent", []string{greetDovecot + `
			CLOSE`}, 0, false},
		{"fresh, amid the envelope", []string{greetDovecot + `
			C: RSET
			CLOSE`}, 0, false},
		{"fresh, amid the octets", []string{greetDovecot + envelopeBob + `
			C: BDAT 5 LAST
			O: "ma"
			CLOSE`}, 0, false},
		{"fresh, amid the octets, envelope answered", []string{greetDovecot + envelopeBob + `
			C: BDAT 5 LAST
			O: "ma"
			S: 250 OK
			S: 250 OK
			S: 250 OK
			CLOSE`}, 0, false},
		{"fresh, all sent", []string{greetDovecot + bob + `
			CLOSE`}, 0, true},
		{"421 to a second connection too", []string{greetDovecot + bob + `
			S: 421 4.3.2 Shutting down
			CLOSE`, greetDovecot + bob + `
			S: 421 4.3.2 Shutting down
			CLOSE`}, 0, true},
		{"kept, envelope answered, committed or not", []string{kept + bob + `
			S: 250 OK
			S: 250 OK
			S: 250 OK
			CLOSE`}, 1, true},
		{"kept, envelope answered, 421", []string{kept + bob + `
			S: 250 OK
			S: 250 OK
			S: 250 OK
			S: 421 4.3.2 Shutting down
			CLOSE`}, 1, true},
		{"kept, then fresh", []string{kept + `
			CLOSE`, greetDovecot + bob + `
			CLOSE`}, 1, true},
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
				if err == nil || isUnknown(err) != tt.unknown || isAway(err) || isPermanent(err) {
					t.Errorf("got %v", err)
				}
			})
		})
	}
}

// A 421 before the envelope was taken says that nothing was: also a connection
// that has done nothing yet is replaced without a word.
func TestClosingBeforeTheEnvelope(t *testing.T) {
	play(t, []string{greetDovecot + bob + `
		S: 421 4.3.2 Shutting down
		CLOSE`, greetDovecot + bob + taken + bye}, func(t *testing.T, th *theatre) {
		if err := th.bob(); err != nil {
			t.Error(err)
		}
	})
}

// The refusal of RCPT is the verdict, even if the echo of it never comes.
func TestRefusalSurvivesLoss(t *testing.T) {
	play(t, []string{greetDovecot + bob + `
		S: 250 OK
		S: 250 OK
		S: 550 5.1.1 unknown
		CLOSE
	`}, func(t *testing.T, th *theatre) {
		if got := refusal(t, th.bob()); got.Code != 550 {
			t.Error(got)
		}
	})
}

// A message that the server dies of comes to an end, and those behind it are
// delivered.
func TestPoisonedMessage(t *testing.T) {
	const dies = `
		S: 250 OK
		S: 250 OK
		S: 250 OK
		CLOSE
	`
	play(t, []string{
		greetDovecot + `
			AWAIT all
		` + bob + bob + bob + dies,
		greetDovecot + bob + bob + taken + taken + bye,
	}, func(t *testing.T, th *theatre) {
		results := []<-chan error{th.start(th.bob), th.start(th.bob), th.start(th.bob)}
		close(th.cue("all"))
		if err := <-results[0]; !isUnknown(err) {
			t.Errorf("the first: %v", err)
		}
		for _, result := range results[1:] {
			if err := <-result; err != nil {
				t.Errorf("one behind it: %v", err)
			}
		}
	})
}

// Verdicts that arrived before the write failed count: these messages are in.
func TestVerdictsBeforeLoss(t *testing.T) {
	play(t, []string{
		greetDovecot + `
			AWAIT all
		` + bob + `
			C: RSET
		` + taken + `
			CLOSE
		`,
		greetDovecot + bob + taken + bye,
	}, func(t *testing.T, th *theatre) {
		first, second := th.start(th.bob), th.start(th.bob)
		close(th.cue("all"))
		if err := errors.Join(<-first, <-second); err != nil {
			t.Error(err)
		}
	})
}
