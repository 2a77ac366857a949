package system

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/homing-mail/homing/internal/snstest"
)

// parcel is one message of the torture: all that is needed to send it and to
// recognise it. It follows from the seed and its number alone, so that nothing
// has to be kept of what was sent.
type parcel struct {
	id, key   string
	stored    []byte // nil: it is inside the notification
	want      []byte // what arrives below homing's lines
	sender    string
	mailboxes []string // as in RCPT; none: it is to be held
	payloads  []string // what SES or S3 says of it, each its own notification
}

const (
	tortureLimit  = 512 << 10 // HOMING_MAX_MESSAGE
	tortureFolder = "in box/" // of the keys; escaped in an S3 event
	tortureRules  = "sales@home.test=alice@home.test,info@home.test=bob@home.test"
)

// newParcel makes message n of a torture with this seed.
func newParcel(seed uint64, n int) *parcel {
	rng := rand.New(rand.NewPCG(seed, uint64(n)))
	p := &parcel{
		id:     fmt.Sprintf("%016x%016x%08d", rng.Uint64(), rng.Uint64(), n),
		sender: []string{"ann@far.test", "", "owner-list+b0=UNCE@lists.test"}[rng.IntN(3)],
	}
	p.key = tortureFolder + p.id
	p.want = tortured(rng, fmt.Sprint("t-", n))
	p.stored = p.want
	if rng.IntN(5) == 0 { // what a stranger claims is taken out
		p.stored = append([]byte("X-Homing-Id: 0123456789abcdef0123456789abcdef\r\nX-Original-To: eve@home.test\r\n"), p.want...)
	}
	p.announce(rng)
	return p
}

// tortured is a message with a body that is hard on the way.
func tortured(rng *rand.Rand, name string) []byte {
	first := "Subject: " + name + "\r\nMessage-ID: <" + name + "@far.test>\r\n" // Dovecot logs it
	head := first + "From: ann@far.test\r\n\r\n"
	letter := []byte(head + strings.Repeat("Nothing else to say in this line of text.\r\n", 1+rng.IntN(150)))
	switch rng.IntN(12) {
	case 0:
		return []byte(head + smuggled)
	case 1:
		return bytes.ReplaceAll(letter, []byte("\r\n"), []byte("\n"))
	case 2:
		return append([]byte(head), bytes.Repeat(everyOctet(1), 1+rng.IntN(60))...)
	case 3:
		return []byte(head + strings.Repeat("x", 20_000) + "\r\n.\r\n..\r\n.")
	case 4:
		return append(letter, "no line end"...)
	case 5:
		return []byte(first)
	case 6:
		return append([]byte(first), attachment(50_000+rng.IntN(250_000))...)
	}
	return letter
}

// announce decides who is told of the message, and how.
func (p *parcel) announce(rng *rand.Rand) {
	switch die := rng.IntN(100); {
	case die < 55:
		p.receipt(addressees(rng, 1))
	case die < 72:
		p.receipt(addressees(rng, 2+rng.IntN(4)))
	case die < 84: // two receipt rules
		p.receipt(addressees(rng, 1+rng.IntN(2)))
		p.receipt(addressees(rng, 1+rng.IntN(2)))
	case die < 90:
		p.inside(rng)
	case die < 97:
		p.event(rng)
	case die < 98:
		p.payloads = []string{snstest.SESReceived(snstest.Receipt{MessageID: p.id, Recipients: addressees(rng, 1), Bucket: "elsewhere"})}
	default:
		p.stored = attachment(tortureLimit + 1000)
		p.receipt(addressees(rng, 1))
		p.mailboxes = nil
	}
}

// addressees are some of the addresses that SES accepts.
func addressees(rng *rand.Rand, n int) []string {
	all := []string{
		"alice@home.test", "bob@home.test", "carol@home.test", "dave@home.test", "Carol@HOME.test",
		"alice+work@home.test", "dave+Lists@home.test", "sales@home.test", "info@home.test", "sales+x@home.test",
	}
	rng.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	return all[:n]
}

func (p *parcel) receipt(recipients []string) {
	p.payloads = append(p.payloads, snstest.SESReceived(snstest.Receipt{
		MessageID: p.id, Sender: p.sender, Recipients: recipients, Bucket: bucket, Key: p.key,
	}))
	p.expect(recipients)
}

// inside sends the message in the notification, as SES's SNS action does.
func (p *parcel) inside(rng *rand.Rand) {
	recipients := addressees(rng, 1+rng.IntN(2))
	content := p.stored
	if most := 100_000; len(content) > most { // SNS takes no more; cut at a line's end
		content = content[:bytes.LastIndexByte(content[:most], '\n')+1]
	}
	p.want, p.stored = p.want[:len(p.want)-(len(p.stored)-len(content))], nil
	p.payloads = []string{snstest.SESReceived(snstest.Receipt{
		MessageID: p.id, Sender: p.sender, Recipients: recipients, Content: content, Encoding: "BASE64",
	})}
	p.expect(recipients)
}

// event announces it without an envelope, which SES's own header lines then give.
func (p *parcel) event(rng *rand.Rand) {
	to := addressees(rng, 1)
	p.sender = "ann@far.test"
	p.stored = slices.Concat([]byte("Return-Path: <ann@far.test>\r\nReceived: from mail.far.test (mail.far.test [192.0.2.25])\r\n"+
		" by inbound-smtp.us-east-1.amazonaws.com with SMTP id "+p.id+"\r\n for "+to[0]+";\r\n Sun, 22 Nov 2026 01:00:00 +0000 (UTC)\r\n"), p.want)
	p.want = p.stored
	object := snstest.Object{Bucket: bucket, Key: p.key, Size: int64(len(p.stored))}
	p.payloads = []string{snstest.S3Event(object)}
	if rng.IntN(2) == 0 {
		p.payloads = append(p.payloads, snstest.EventBridge(object))
	}
	p.expect(to)
}

// expect notes the mailboxes that these recipients come to.
func (p *parcel) expect(recipients []string) {
	for _, r := range recipients {
		r = strings.ToLower(r)
		local, _, _ := strings.Cut(r, "@")
		name, detail, found := strings.Cut(local, "+")
		if to, aliased := map[string]string{"sales": "alice", "info": "bob"}[name]; aliased {
			name = to
		}
		if found {
			name += "+" + detail
		}
		if mailbox := address(name); !slices.Contains(p.mailboxes, mailbox) {
			p.mailboxes = append(p.mailboxes, mailbox)
		}
	}
}
