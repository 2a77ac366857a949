package lmtp

import (
	"errors"
	"strings"
	"testing"
	"time"
)

// busy is what a transaction is answered whose mailbox another client occupies.
const busy = `
	S: 250 2.0.0 OK
	S: 250 2.1.0 OK
` + crowded + `
	S: 503 5.5.0 No valid recipients
`

// Once another client was in the way, no octet is sent in vain.
func TestStandsBack(t *testing.T) {
	play(t, []string{greetDovecot + bob + busy + refusedAtOnce + refusedAtOnce + announced + octets + bob + taken + bye}, func(t *testing.T, th *theatre) {
		for range 2 {
			if err := th.bob(); err != nil {
				t.Error(err)
			}
		}
	})
}

// What was in flight together comes back one by one, until one was taken.
func TestStandsBackTogether(t *testing.T) {
	play(t, []string{greetDovecot + `
		AWAIT all
	` + bob + bob + bob + bob + taken + busy + busy + busy + refusedAtOnce + announced + octets + bob + bob + taken + taken + bye}, func(t *testing.T, th *theatre) {
		var results []<-chan error
		for range 4 {
			results = append(results, th.start(th.bob))
		}
		close(th.cue("all"))
		for _, result := range results {
			if err := <-result; err != nil {
				t.Error(err)
			}
		}
	})
}

// A mailbox that is left to another client leaves the connection to the others.
func TestStandingBackLetsOthersPass(t *testing.T) {
	carol := strings.NewReplacer("bob@", "carol@").Replace
	play(t, []string{greetDovecot + bob + `
		AWAIT carol
	` + busy + carol(bob+taken) + announced + octets + bye}, func(t *testing.T, th *theatre) {
		bob, carol := th.start(th.bob), th.start(func() error { return th.to("carol@y.test") })
		close(th.cue("carol"))
		if err := errors.Join(<-bob, <-carol); err != nil {
			t.Error(err)
		}
	})
}

// While the mailbox stays occupied, what waits for it is told so one by one: nothing
// waits long behind others, and the server is asked some eight times a second.
func TestStandsBackNoLonger(t *testing.T) {
	const many, tries = 5, len(standBack)
	play(t, []string{greetDovecot + `
		AWAIT all
	` + strings.Repeat(bob, many) + strings.Repeat(busy, many) + strings.Repeat(refusedAtOnce, tries-1+many) + announced + octets + bye}, func(t *testing.T, th *theatre) {
		var results []<-chan error
		for range many {
			results = append(results, th.start(th.bob))
		}
		began := time.Now()
		close(th.cue("all"))
		for _, result := range results {
			if got := refusal(t, <-result); !got.Busy() {
				t.Error(got)
			}
		}
		last := standBack[tries-1]
		if took, least, most := time.Since(began), (many-1)*last/2, 500*time.Millisecond+(many-1)*last*3/2; took < least || took > most {
			t.Errorf("took %v, want %v to %v", took, least, most)
		}
		if err := th.bob(); err != nil {
			t.Error(err)
		}
	})
}

// Another refusal is a verdict, and what comes then is sent without waiting.
func TestStandsBackForOthersOnly(t *testing.T) {
	play(t, []string{greetDovecot + bob + busy + envelopeBob + `
		S: 250 2.0.0 OK
		S: 250 2.1.0 OK
		S: 550 5.1.1 unknown
	` + bob + taken + bye}, func(t *testing.T, th *theatre) {
		if got := refusal(t, th.bob()); got.Code != 550 {
			t.Error(got)
		}
		if err := th.bob(); err != nil {
			t.Error(err)
		}
	})
}
