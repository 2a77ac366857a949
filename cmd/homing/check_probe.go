package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/homing-mail/homing/lmtp"
)

// choosePostmaster finds the mailbox for the probe, where one is wanted.
func (c *checker) choosePostmaster() error {
	if !c.probing {
		return nil
	}
	if c.probeTo == "" {
		c.probeTo = string(c.cfg.Postmaster)
	}
	if c.probeTo == "" {
		return usageError{errors.New("--probe needs a mailbox: name it by --probe-to, or set HOMING_POSTMASTER")}
	}
	to, err := parseMailbox(c.probeTo)
	if err != nil {
		return usageError{fmt.Errorf("--probe-to %s: %w", quote(c.probeTo), err)}
	}
	if c.cfg.DeliverTo.maildir != "" {
		return usageError{errors.New("--probe tries a rule of Dovecot's, which sees nothing of what goes into Maildirs (HOMING_DELIVER_TO)")}
	}
	c.probeTo = string(to)
	return nil
}

// probe delivers one mail twice. LMTP answers 250 to both whether the Sieve rule
// turns the second away or not: a person has to look.
func (c *checker) probe(ctx context.Context, client *lmtp.Client) finding {
	id := rand.Text()
	for number := range 2 {
		if err := deliverProbe(ctx, client, c.probeTo, probeMail(id, c.probeTo, number+1, time.Now())); err != nil {
			return broken(fmt.Errorf("mail %d of 2 was not delivered: %w", number+1, err), "see the lines above about this destination and mailbox")
		}
	}
	return doubtful(fmt.Sprintf("both mails of the subject %q were taken, which says nothing yet: LMTP takes a repetition also when the rule turns it away", probeSubject(id)),
		"look into that mailbox: one copy means that the rule of contrib/dovecot works; two that it is missing: include the fragment for your Dovecot; none that a rule of the mailbox's own moved or discarded it")
}

// busyWait is how long a delivery waits before it tries a busy mailbox again:
// Dovecot forgets our own trial of it a moment after its end.
const busyWait = 200 * time.Millisecond

// deliverProbe waits while something else is being delivered to the mailbox.
func deliverProbe(ctx context.Context, client *lmtp.Client, mailbox, mail string) error {
	for {
		err := client.Deliver(ctx, "", mailbox, [][]byte{[]byte(mail)})
		if reply, refused := errors.AsType[*lmtp.ReplyError](err); !refused || !reply.Busy() {
			return err
		}
		wait := time.NewTimer(busyWait)
		select {
		case <-ctx.Done():
			wait.Stop()
			return err
		case <-wait.C:
		}
	}
}

func probeSubject(id string) string { return "homing check: probe " + id[:8] }

// probeMail makes one of the two. They share the X-Homing-Id, and differ in the
// Message-ID, so that no other rule takes them for one.
func probeMail(id, mailbox string, number int, now time.Time) string {
	return strings.ReplaceAll(fmt.Sprintf(`X-Homing-Id: %s
From: homing <homing@localhost>
To: <%s>
Date: %s
Message-ID: <%s.%d@homing.invalid>
Subject: %s
Auto-Submitted: auto-generated
MIME-Version: 1.0
Content-Type: text/plain; charset=us-ascii

"homing check --probe" delivered this mail twice, with one X-Homing-Id.

One copy here: the Sieve rule of contrib/dovecot works, and a repetition
after a crash is turned away. Two copies: it does not.

You may delete this mail.
`, strings.ToLower(id), mailbox, now.Format(time.RFC1123Z), strings.ToLower(id), number, probeSubject(id)), "\n", "\r\n")
}
