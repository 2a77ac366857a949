package system

import (
	"fmt"
	"strings"
	"testing"

	"github.com/homing-mail/homing/internal/dovecot"
	"github.com/homing-mail/homing/internal/snstest"
)

// filing is a user's own script. It looks at all that homing is to get right:
// the envelope, the verdict, the address that was written to.
const filing = `require ["fileinto", "envelope", "subaddress", "mailbox"];
if header :contains "X-Homing-Verdict" "virus=FAIL" { fileinto :create "Virus"; }
elsif header :contains "X-Homing-Verdict" "spam=FAIL" { fileinto :create "Spam"; }
elsif header :is "X-Original-To" "sales@home.test" { fileinto :create "Sales"; }
elsif envelope :is :detail "to" "work" { fileinto :create "Work"; }
elsif envelope :is "from" "" { fileinto :create "Bounces"; }
elsif envelope :is "from" "owner-list+b0=UNCE@lists.test" { fileinto :create "List"; }
elsif header :contains "subject" "invoice" { fileinto :create "Invoices"; }
`

// letter is a small message with this subject.
func letter(subject string) []byte {
	return []byte("From: Ann <ann@far.test>\r\nTo: undisclosed-recipients:;\r\nSubject: " + subject + "\r\n\r\nHello.\r\n")
}

// A signed notification puts the mail into the folder that the Sieve script names.
func TestSieveFilesMail(t *testing.T) {
	versions(t, func(t *testing.T, version dovecot.Version) {
		for _, network := range []string{"unix", "tcp"} {
			t.Run(network, func(t *testing.T) {
				t.Parallel()
				testSieveFilesMail(t, version, network)
			})
		}
	})
}

func testSieveFilesMail(t *testing.T, version dovecot.Version, network string) {
	h := settleOver(t, network, dovecot.Options{Version: version, Users: []dovecot.User{{Name: address("alice"), Sieve: filing}}},
		"HOMING_RECIPIENTS", "sales@home.test=alice@home.test")
	const sender = "ann@far.test"
	cases := []struct {
		name, sender, recipient string
		mailbox                 string
		verdicts                map[string]string
		folder                  string
	}{
		{"hello", sender, "alice@home.test", "alice@home.test", nil, "INBOX"},
		{"your invoice", sender, "Alice@HOME.test", "alice@home.test", nil, "Invoices"},
		{"detail", sender, "alice+work@home.test", "alice+work@home.test", nil, "Work"},
		{"rule", sender, "sales@home.test", "alice@home.test", nil, "Sales"},
		{"bounce", "", "alice@home.test", "alice@home.test", nil, "Bounces"},
		{"list", "owner-list+b0=UNCE@lists.test", "alice@home.test", "alice@home.test", nil, "List"},
		{"spam", sender, "alice@home.test", "alice@home.test", map[string]string{"spam": "FAIL"}, "Spam"},
		{"virus", sender, "alice+work@home.test", "alice+work@home.test", map[string]string{"spam": "FAIL", "virus": "FAIL", "dmarc": "-"}, "Virus"},
	}
	for _, c := range cases {
		// What a stranger writes into those lines must not lead the script astray.
		forged := "X-Homing-Verdict: virus=FAIL\r\nX-Original-To: sales@home.test\r\nX-Homing-Id : 1\r\n"
		id := h.store(append([]byte(forged), letter(c.name)...))
		h.notify(snstest.SESReceived(snstest.Receipt{
			MessageID: id, Sender: c.sender, Recipients: []string{c.recipient}, Bucket: bucket, Verdicts: c.verdicts,
		}))
	}
	for _, c := range cases {
		got := h.one(address("alice"), c.folder)
		sameMessage(t, got.message, letter(c.name))
		sameOriginals(t, got, c.recipient)
		if got.sender != c.sender || got.mailbox != c.mailbox {
			t.Errorf("%s came from <%s> for <%s>, want <%s> and <%s>", c.name, got.sender, got.mailbox, c.sender, c.mailbox)
		}
		if want := verdicts(c.verdicts); got.verdicts != want {
			t.Errorf("%s has the verdicts %q, want %q", c.name, got.verdicts, want)
		}
	}
	h.awaitIdle()
	h.sameMetric(t, `homing_deliveries_total{result="delivered"}`, float64(len(cases)))
	h.sameMetric(t, `homing_deliveries_total{result="retry"}`, 0)

	// The log tells of each message once, and of none what it says.
	await(t, "the log of all", func() error { // it is written when the ledger is
		if n := len(h.log.lines("delivered")); n < len(cases) {
			return fmt.Errorf("%d messages were logged", n)
		}
		return nil
	})
	lines := h.log.lines("delivered")
	if len(lines) != len(cases) {
		t.Errorf("%d messages were logged, want %d", len(lines), len(cases))
	}
	for _, line := range lines {
		for _, name := range []string{"id", "recipients", "attempts", "bytes", "elapsed"} {
			if line[name] == nil {
				t.Errorf("a log line lacks %q: %v", name, line)
			}
		}
	}
	for _, private := range []string{"invoice", "Ann <", "Hello."} {
		if strings.Contains(string(h.log.all()), private) {
			t.Errorf("the log says %q, which is the message's", private)
		}
	}
}

// verdicts is the header line's value for verdicts that are PASS unless named.
func verdicts(named map[string]string) string {
	var words []string
	for _, check := range []string{"spam", "virus", "spf", "dkim", "dmarc"} {
		word := "PASS"
		if given, ok := named[check]; ok {
			word = given
		}
		if word == "-" {
			word = "none"
		}
		words = append(words, check+"="+word)
	}
	return strings.Join(words, " ")
}
