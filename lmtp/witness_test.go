package lmtp

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

const (
	// The connection's part.
	announced = envelopeBob + `
		S: 250 2.0.0 OK
		S: 250 2.1.0 OK
		S: 250 2.1.5 OK
	`
	octets = `
		C: BDAT 5 LAST
		O: "mail\n"
		S: 250 2.0.0 <bob@y.test> saved
	`
	withdrawn = `
		C: RSET
		S: 250 2.0.0 OK
	`
	refusedAtOnce = envelopeBob + `
		S: 250 2.0.0 OK
		S: 250 2.1.0 OK
	` + crowded

	// The witness's.
	question = `
		C: MAIL FROM:<>
		C: RCPT TO:<bob@y.test>
		C: RSET
		C: MAIL FROM:<>
		C: RCPT TO:<bob@y.test>
	`
	answers = `
		S: 250 2.1.0 OK
		S: 250 2.1.5 OK
		S: 250 2.0.0 OK
		S: 250 2.1.0 OK
	`
	asked = question + answers
	yes   = `
		S: 250 2.1.5 OK
	`
	askedAgain = `
		C: RSET
	` + question + `
		S: 250 2.0.0 OK
	` + answers
	released = `
		C: RSET
		S: 250 2.0.0 OK
	`
	crowded = `
		S: 451 4.3.0 <bob@y.test> Too many concurrent deliveries for user
	`
)

// playExclusive is play with an Exclusive client. The first dialogue is the
// connection's, the second its witness's.
func playExclusive(t *testing.T, plays []string, test func(t *testing.T, th *theatre)) {
	t.Helper()
	playConfigured(t, Config{Connections: 1, Exclusive: true}, plays, test)
}

// First the announcement, then the test, then the octets; the witness's RCPT stands until
// the verdict.
func TestWitness(t *testing.T) {
	playExclusive(t, []string{
		greetDovecot + announced + `
			SILENCE 3s
			AWAIT tested
			C: BDAT 5 LAST
			O: "mail\n"
			PAUSE 5s
			S: 250 2.0.0 saved
		` + announced + octets + bye,
		greetDovecot + question + `
			PAUSE 4s
		` + answers + yes + `
			SILENCE 4s
		` + askedAgain + yes + released + bye,
	}, func(t *testing.T, th *theatre) {
		first, second := th.start(th.bob), th.start(th.bob)
		close(th.cue("tested"))
		if err := errors.Join(<-first, <-second); err != nil {
			t.Error(err)
		}
	})
}

// Whoever finds another takes the announcement back, and tries again in a moment:
// not a single octet goes out meanwhile.
func TestWitnessStandsBack(t *testing.T) {
	playExclusive(t, []string{
		greetDovecot + announced + withdrawn + refusedAtOnce + announced + withdrawn + announced + octets + bye,
		greetDovecot + asked + crowded + askedAgain + crowded + askedAgain + yes + released + bye,
	}, func(t *testing.T, th *theatre) {
		if err := th.bob(); err != nil {
			t.Error(err)
		}
	})
}

// After some tries that is the verdict, and it is no failure.
func TestWitnessAlwaysRefused(t *testing.T) {
	const tries = 1 + len(standBack)
	playExclusive(t, []string{
		greetDovecot + strings.Repeat(announced+withdrawn, tries) + bye,
		greetDovecot + asked + crowded + strings.Repeat(askedAgain+crowded, tries-1) + released + bye,
	}, func(t *testing.T, th *theatre) {
		began := time.Now()
		if got := refusal(t, th.bob()); !got.Busy() {
			t.Error(got)
		}
		if took := time.Since(began); took > 500*time.Millisecond {
			t.Errorf("took %s", took)
		}
	})
}

// A mailbox that is left to another client leaves the connection to the others.
func TestWitnessLetsOthersPass(t *testing.T) {
	carol := strings.NewReplacer("bob@", "carol@").Replace
	playExclusive(t, []string{
		greetDovecot + announced + withdrawn + carol(announced+octets) + announced + octets + bye,
		greetDovecot + asked + `
			AWAIT carol
		` + crowded + carol(askedAgain+yes) + askedAgain + yes + released + bye,
	}, func(t *testing.T, th *theatre) {
		bob, carol := th.start(th.bob), th.start(func() error { return th.to("carol@y.test") })
		close(th.cue("carol"))
		if err := errors.Join(<-bob, <-carol); err != nil {
			t.Error(err)
		}
	})
}

// Without a witness nothing is delivered, and what was is not forgotten.
func TestWitnessLost(t *testing.T) {
	const gone = "CLOSE\n"
	tests := []struct {
		name  string
		plays []string
		ok    bool
		away  bool
	}{
		{"while it is asked", []string{greetDovecot + announced + withdrawn + bye, greetDovecot + asked + gone}, false, true},
		{"never there", []string{greetDovecot + announced + withdrawn + bye}, false, true},
		{"refuses LHLO", []string{greetDovecot + announced + withdrawn + bye, "S: 421 too busy\n" + gone}, false, true},
		{"after it was accepted", []string{greetDovecot + announced + `
			PAUSE 1s
		` + octets + bye, greetDovecot + asked + yes + gone}, true, false},
		{"with the connection", []string{greetDovecot + announced + `
			PAUSE 1s
		` + gone, greetDovecot + asked + "EOF\n"}, false, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			playExclusive(t, tt.plays, func(t *testing.T, th *theatre) {
				err := th.bob()
				if (err == nil) != tt.ok || isAway(err) != tt.away || isUnknown(err) {
					t.Errorf("got %v", err)
				}
			})
		})
	}
}

// One that was kept may have died since, and is replaced.
func TestWitnessReplaced(t *testing.T) {
	playExclusive(t, []string{
		greetDovecot + announced + octets + announced + octets + bye,
		greetDovecot + asked + yes + released + "CLOSE\n",
		greetDovecot + asked + yes + released + bye,
	}, func(t *testing.T, th *theatre) {
		for range 2 {
			if err := th.bob(); err != nil {
				t.Error(err)
			}
			synctest.Wait()
		}
	})
}

// What the witness hears is the verdict, though the connection heard otherwise.
func TestWitnessRefused(t *testing.T) {
	for _, reply := range []string{"550 5.1.1 unknown", "451 4.3.0 Temporary internal error"} {
		playExclusive(t, []string{
			greetDovecot + announced + withdrawn + announced + octets + bye,
			greetDovecot + asked + "S: " + reply + "\n" + askedAgain + yes + released + bye,
		}, func(t *testing.T, th *theatre) {
			if got := refusal(t, th.bob()); !strings.HasPrefix(reply, got.Error()[len("lmtp: RCPT refused: "):]) {
				t.Errorf("got %v, want %s", got.Error(), reply)
			}
			if err := th.bob(); err != nil {
				t.Error(err)
			}
		})
	}
}

// A message that nobody waits for any more does not wait for the witness either.
func TestWitnessSilent(t *testing.T) {
	for name, witness := range map[string]string{"greeting": "STALL", "test": greetDovecot + asked + "EOF\n"} {
		t.Run(name, func(t *testing.T) {
			playExclusive(t, []string{greetDovecot + announced + "EOF\n", witness}, func(t *testing.T, th *theatre) {
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				began := time.Now()
				err := th.Deliver(ctx, "a@x.test", "bob@y.test", mail())
				if !errors.Is(err, context.DeadlineExceeded) || isUnknown(err) || time.Since(began) > 2*time.Second {
					t.Errorf("after %s: %v", time.Since(began), err)
				}
			})
		})
	}
}

func isBusy(err error) bool {
	reply, ok := errors.AsType[*ReplyError](err)
	return ok && reply.Busy()
}

// A reply to octets that were not sent is no verdict.
func TestVerdictBeforeTheOctets(t *testing.T) {
	playExclusive(t, []string{
		greetDovecot + announced + `
			PAUSE 1s
			S: 250 2.0.0 saved
			EOF
		`,
		greetDovecot + asked + "EOF\n",
	}, func(t *testing.T, th *theatre) {
		if err := th.bob(); !errors.Is(err, errMalformed) {
			t.Errorf("got %v", err)
		}
	})
}

// Each of the two tests counts.
func TestWitnessRefusedFirst(t *testing.T) {
	playExclusive(t, []string{
		greetDovecot + announced + withdrawn + announced + octets + bye,
		greetDovecot + question + `
			S: 250 2.1.0 OK
		` + crowded + `
			S: 250 2.0.0 OK
			S: 250 2.1.0 OK
		` + yes + askedAgain + yes + released + bye,
	}, func(t *testing.T, th *theatre) {
		if err := th.bob(); err != nil {
			t.Error(err)
		}
	})
}

// go-smtp's DATA waits for the witness like BDAT.
func TestWitnessOfData(t *testing.T) {
	const envelope = `
		C: MAIL FROM:<a@x.test> BODY=8BITMIME
		S: 250 2.1.0 OK
		C: RCPT TO:<bob@y.test>
	`
	playExclusive(t, []string{
		greetPlain + envelope + `
			S: 250 2.1.5 OK
		` + hello + envelope + crowded + hello + envelope + `
			S: 250 2.1.5 OK
			SILENCE 1s
			C: DATA
			S: 354 OK
		` + dataMail + `
			PAUSE 2s
			S: 250 2.0.0 saved
		` + bye,
		greetPlain + asked + crowded + askedAgain + `
			PAUSE 2s
			S: 250 2.1.5 OK
			SILENCE 1s
		` + released + bye,
	}, func(t *testing.T, th *theatre) {
		if err := th.bob(); err != nil {
			t.Error(err)
		}
	})
}

// With a limit of 1 no test is ever passed: that is said, once.
func TestLimitTooLow(t *testing.T) {
	const rounds = 2 * manyRefusals
	told := map[bool]int{}
	config := Config{Connections: 1, Exclusive: true, Misset: func(tooHigh bool) { told[tooHigh]++ }}
	playConfigured(t, config, []string{
		greetDovecot + strings.Repeat(announced+withdrawn, rounds) + announced + octets + bye,
		greetDovecot + asked + crowded + strings.Repeat(askedAgain+crowded, rounds-1) + askedAgain + yes + released + bye,
		greetDovecot + third + crowded + bye,
	}, func(t *testing.T, th *theatre) {
		for isBusy(th.bob()) {
		}
		if told[false] != 1 || told[true] != 0 {
			t.Errorf("told %v", told)
		}
	})
}

// third is a session that is no use to anybody.
const third = `
	C: MAIL FROM:<>
	S: 250 2.1.0 OK
	C: RCPT TO:<bob@y.test>
`

// Without a limit every test is passed: that is said, once, as soon as it is found.
func TestLimitTooHigh(t *testing.T) {
	told := map[bool]int{}
	config := Config{Connections: 1, Exclusive: true, Misset: func(tooHigh bool) { told[tooHigh]++ }}
	playConfigured(t, config, []string{
		greetDovecot + strings.Repeat(announced+octets, 3) + bye,
		greetDovecot + asked + yes + strings.Repeat(askedAgain+yes, 2) + released + bye,
		greetDovecot + third + yes + bye,
	}, func(t *testing.T, th *theatre) {
		for range 3 {
			if err := th.bob(); err != nil {
				t.Error(err)
			}
		}
		if told[false] != 0 || told[true] != 1 {
			t.Errorf("told %v", told)
		}
	})
}

// Nor does it hold up Close.
func TestCloseAmidMeasure(t *testing.T) {
	config := Config{Connections: 1, Exclusive: true, Misset: func(bool) { t.Error("told") }}
	playConfigured(t, config, []string{
		greetDovecot + announced + "EOF\n",
		greetDovecot + asked + yes + "STALL\n", // it may be taken leave of, or not
		"STALL",
	}, func(t *testing.T, th *theatre) {
		verdict := th.start(th.bob)
		synctest.Wait()
		began := time.Now()
		th.Close()
		if took := time.Since(began); took > time.Second {
			t.Errorf("Close took %s", took)
		}
		if err := <-verdict; err == nil {
			t.Error("delivered")
		}
	})
}

// A third session that does not come about holds up nobody for long, nor twice.
func TestLimitUnknown(t *testing.T) {
	config := Config{Connections: 1, Exclusive: true, Misset: func(bool) { t.Error("told") }}
	playConfigured(t, config, []string{
		greetDovecot + announced + octets + announced + octets + bye,
		greetDovecot + asked + yes + askedAgain + yes + released + bye,
		"STALL",
	}, func(t *testing.T, th *theatre) {
		began := time.Now()
		for range 2 {
			if err := th.bob(); err != nil {
				t.Error(err)
			}
		}
		if took := time.Since(began); took > 2*measureTime {
			t.Errorf("took %s", took)
		}
	})
}
