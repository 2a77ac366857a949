package report

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/homing-mail/homing/spool"
)

// maxLine bounds a line of a report; RFC 5322 2.1.1 allows 998 octets.
const maxLine = 300

// compose returns a message in printable ASCII. Its author is the postmaster:
// homing has no address, and this one can be answered.
func compose(postmaster, id, subject, text string, now time.Time) []byte {
	address, domain := postmaster, "localhost"
	if _, after, ok := strings.Cut(postmaster, "@"); ok {
		domain = after
	} else {
		address += "@" + domain
	}
	var b strings.Builder
	for _, line := range []string{
		"From: homing <" + address + ">",
		"To: <" + address + ">",
		"Subject: " + subject,
		"Date: " + now.Format("Mon, 02 Jan 2006 15:04:05 -0700"),
		"Message-ID: <" + id + "@" + domain + ">",
		"Auto-Submitted: auto-generated",
		"MIME-Version: 1.0",
		"Content-Type: text/plain; charset=us-ascii",
		"",
	} {
		b.WriteString(line + "\r\n")
	}
	for line := range strings.Lines(text) {
		b.WriteString(printable(strings.TrimSuffix(line, "\n")) + "\r\n")
	}
	return []byte(b.String())
}

// printable makes a line harmless: what it quotes comes from anywhere.
func printable(line string) string {
	line = strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '?'
		}
		return r
	}, line)
	if len(line) > maxLine {
		line = line[:maxLine-3] + "..."
	}
	return line
}

func describeRecoveries(d *spool.Digest) (subject, text string) {
	subject = fmt.Sprintf("homing: %s back from the dead-letter queue", count(d.Total, "message"))
	var b strings.Builder
	fmt.Fprintf(&b, "SNS could not deliver %s to the webhook, and put them into the dead-letter queue.\n", count(d.Total, "notification"))
	b.WriteString("homing has taken them from there")
	if !d.Published.IsZero() {
		fmt.Fprintf(&b, "; the first was published %s", d.Published.UTC().Format("2006-01-02 15:04:05 UTC"))
	}
	b.WriteString(".\n\n")
	describeCauses(&b, d.Causes)
	if d.Waiting == 0 {
		b.WriteString("None of them waits any more.\n")
	} else {
		fmt.Fprintf(&b, "%s still pending; homing goes on trying.\n", count(d.Waiting, "message"))
	}
	list(&b, d)
	return subject, b.String()
}

func describeCauses(b *strings.Builder, causes map[string]int64) {
	b.WriteString("What AWS says of the cause:\n")
	byCount := func(x, y string) int { return cmp.Or(cmp.Compare(causes[y], causes[x]), cmp.Compare(x, y)) }
	names := slices.SortedFunc(maps.Keys(causes), byCount)
	for _, name := range names[:min(len(names), 5)] {
		text := printable(name)
		if text == "" {
			text = "nothing. Most likely the webhook could not be reached from the internet, or its certificate was not valid: see homing's log of that time"
		}
		fmt.Fprintf(b, "  %dx %s\n", causes[name], text)
	}
	b.WriteString("\n")
}

func describeHeld(d *spool.Digest) (subject, text string) {
	subject = fmt.Sprintf("homing: %s held", count(d.Total, "message"))
	var b strings.Builder
	fmt.Fprintf(&b, "homing holds %s that it could not deliver, the first for %s. They never expire.\n", count(d.Total, "message"), age(d.Oldest))
	b.WriteString("`homing queue show ITEM` tells more, `homing queue retry ITEM` tries again, `homing queue drop ITEM` gives one up.\n")
	list(&b, d)
	return subject, b.String()
}

// list describes items, two lines each.
func list(b *strings.Builder, d *spool.Digest) {
	for _, item := range d.Items {
		addresses := make([]string, len(item.Recipients))
		for i, r := range item.Recipients {
			addresses[i] = printable(r.Address)
		}
		fmt.Fprintf(b, "\n%s, item %d, %s old: %s\n", standing(item.State), item.Number, age(item.Age), printable(item.ID))
		line := "  from <" + printable(item.Sender) + ">"
		if len(addresses) > 0 {
			line += " for " + strings.Join(addresses, ", ")
		}
		if item.Reason != "" {
			line += "\n  " + printable(item.Reason)
		}
		b.WriteString(line + "\n")
	}
	if more := d.Total - int64(len(d.Items)); more > 0 && len(d.Items) > 0 {
		fmt.Fprintf(b, "\nand %d more; `homing queue list` shows all that are not delivered.\n", more)
	}
}

// standing says where an item stands, to a person.
func standing(state spool.State) string {
	switch state {
	case spool.Pending, spool.Queued:
		return "pending"
	case spool.Held:
		return "held"
	case spool.Dropped:
		return "dropped"
	}
	return "delivered"
}

func count(n int64, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

func age(d time.Duration) string {
	if d < 48*time.Hour {
		return d.Round(time.Second).String()
	}
	return fmt.Sprintf("%d days", int(d.Hours()/24))
}
