package lmtp

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
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

// numbered is bob's transaction with the message of this number, as th.number
// sends it.
func numbered(n int) string {
	return envelopeBob + fmt.Sprintf("C: BDAT 2 LAST\nO: %q\n", fmt.Sprintf("%d\n", n))
}

func (th *theatre) number(n int) error {
	return th.Deliver(th.t.Context(), "a@x.test", "bob@y.test", [][]byte{fmt.Appendf(nil, "%d\n", n)})
}

// together has so many under way before the server begins, and wants all taken.
func (th *theatre) together(many int, deliver func(n int) error) {
	th.t.Helper()
	var results []<-chan error
	for n := range many {
		results = append(results, th.start(func() error { return deliver(n) }))
	}
	close(th.cue("all"))
	for n, result := range results {
		if err := <-result; err != nil {
			th.t.Errorf("number %d: %v", n, err)
		}
	}
}

// What was in flight together comes back one by one, until one was taken, and in
// its order.
func TestStandsBackTogether(t *testing.T) {
	second := strings.NewReplacer("BDAT 5", "BDAT 2", `"mail\n"`, `"2\n"`).Replace(octets)
	play(t, []string{greetDovecot + `
		AWAIT all
	` + numbered(1) + numbered(2) + numbered(3) + numbered(4) + taken + busy + busy + busy + refusedAtOnce + announced + second +
		numbered(3) + numbered(4) + taken + taken + bye}, func(t *testing.T, th *theatre) {
		th.together(4, func(n int) error { return th.number(n + 1) })
	})
}

// However slowly the server refuses them, what was in flight together was in the
// way of another client once.
func TestStandsBackOnceForAll(t *testing.T) {
	const many = maxInFlight
	play(t, []string{greetDovecot + `
		AWAIT all
	` + strings.Repeat(bob, many) + strings.Repeat(`
		PAUSE 300ms
	`+busy, many) + announced + octets + strings.Repeat(bob, many-1) + strings.Repeat(taken, many-1) + bye}, func(t *testing.T, th *theatre) {
		th.together(many, func(int) error { return th.bob() })
	})
}

// A mailbox that is left to another client leaves the connection to the others, at once.
func TestStandingBackLetsOthersPass(t *testing.T) {
	carol := strings.NewReplacer("bob@", "carol@").Replace
	play(t, []string{greetDovecot + bob + `
		AWAIT carol
	` + busy + carol(bob+taken) + announced + octets + bye}, func(t *testing.T, th *theatre) {
		bob, carol := th.start(th.bob), th.start(func() error { return th.to("carol@y.test") })
		began := time.Now()
		close(th.cue("carol"))
		if err := <-carol; err != nil || time.Since(began) > 0 {
			t.Errorf("carol: %v after %v", err, time.Since(began))
		}
		if err := <-bob; err != nil {
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
	play(t, []string{greetDovecot + `
		AWAIT all
	` + bob + busy + envelopeBob + `
		S: 250 2.0.0 OK
		S: 250 2.1.0 OK
		S: 550 5.1.1 unknown
	` + bob + bob + taken + taken + bye}, func(t *testing.T, th *theatre) {
		first := th.start(th.bob)
		close(th.cue("all"))
		synctest.Wait() // it rests
		results := []<-chan error{th.start(th.bob), th.start(th.bob)}
		if got := refusal(t, <-first); got.Code != 550 {
			t.Error(got)
		}
		if err := errors.Join(<-results[0], <-results[1]); err != nil {
			t.Error(err)
		}
	})
}

// Octets that were taken all the same are not sent again.
func TestStandsBackOnlyIfNothingWasTaken(t *testing.T) {
	play(t, []string{greetDovecot + bob + `
		S: 250 2.0.0 OK
		S: 250 2.1.0 OK
	` + crowded + `
		S: 250 2.0.0 saved
		EOF
	`}, func(t *testing.T, th *theatre) {
		if got := refusal(t, th.bob()); !got.Busy() || th.dials != 1 {
			t.Errorf("%v after %d dials", got, th.dials)
		}
	})
}

// What nobody wants any more is not tried again.
func TestCancelledDoesNotStandBack(t *testing.T) {
	play(t, []string{greetDovecot + envelopeBob + `
		C: BDAT 5 LAST
		O: "ma"
		RAW "250 OK\r\n250 OK\r\n451 4.3.0 <bob@y.test> Too many concurrent deliveries for user\r\n503 5.5.0 No valid recipients\r\n"
		STALL
	`}, func(t *testing.T, th *theatre) {
		deliver, cancel := th.cancellable()
		result := th.start(deliver)
		began := time.Now()
		cancel()
		if err := <-result; err == nil || isUnknown(err) || th.dials != 1 || time.Since(began) > 0 {
			t.Errorf("%v after %v and %d dials", err, time.Since(began), th.dials)
		}
	})
}

// Where go-smtp speaks it is the same.
func TestDataStandsBack(t *testing.T) {
	const many = 2 * len(standBack)
	const refused = `
		C: MAIL FROM:<a@x.test> BODY=8BITMIME
		S: 250 2.1.0 OK
		C: RCPT TO:<bob@y.test>
	` + crowded + hello
	play(t, []string{greetPlain + `
		AWAIT all
	` + strings.Repeat(refused+dataTaken, many) + bye}, func(t *testing.T, th *theatre) {
		th.together(many, func(int) error { return th.bob() })
	})
}
