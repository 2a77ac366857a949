package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/homing-mail/homing/lmtp"
)

const (
	// exclusiveLimit is what HOMING_LMTP_EXCLUSIVE needs.
	exclusiveLimit = 2
	// busyRounds is how often a mailbox is tried that seems to be occupied.
	busyRounds = 10
)

// exclusive tries whether Dovecot takes two sessions for a mailbox at once, and
// not three.
func (c *checker) exclusive(ctx context.Context, p *page, client *lmtp.Client) {
	all := c.mailboxes()
	if len(all) == 0 {
		p.add("exclusive", "lmtp_user_concurrency_limit", 0, doubtful("not tried, since no variable names a mailbox",
			"see in Dovecot that lmtp_user_concurrency_limit = 2, or give a mailbox in HOMING_POSTMASTER"))
		return
	}
	p.try(ctx, "exclusive", all[0].name, func(ctx context.Context) finding {
		room, err := largestRoom(ctx, client, all[0].name)
		if err != nil {
			return broken(err, "see the lines above about this destination and mailbox")
		}
		return exclusiveFinding(room)
	})
}

// largestRoom asks again while there seems to be too little: something may be
// being delivered, or our own trial of the mailbox not be forgotten yet.
func largestRoom(ctx context.Context, client *lmtp.Client, mailbox string) (most int, err error) {
	for range busyRounds {
		room, err := client.Room(ctx, mailbox, exclusiveLimit+1)
		if most = max(most, room); err != nil || most >= exclusiveLimit {
			return most, err
		}
		wait := time.NewTimer(busyWait)
		select {
		case <-ctx.Done():
			wait.Stop()
			return most, ctx.Err()
		case <-wait.C:
		}
	}
	return most, nil
}

// exclusiveFinding judges how many sessions Dovecot took for one mailbox.
func exclusiveFinding(room int) finding {
	switch {
	case room == exclusiveLimit:
		return well("a second session for a mailbox is taken and a third refused, as HOMING_LMTP_EXCLUSIVE needs it; all are taken back")
	case room > exclusiveLimit:
		return broken(errors.New("a third session for a mailbox is taken too: HOMING_LMTP_EXCLUSIVE keeps nothing apart"),
			"set lmtp_user_concurrency_limit = 2 in Dovecot and reload it")
	}
	return broken(fmt.Errorf("only %d of the 2 sessions for a mailbox that HOMING_LMTP_EXCLUSIVE needs is taken: no mail is delivered", room),
		"set lmtp_user_concurrency_limit = 2 in Dovecot and reload it; if it is, try again when nothing is being delivered to this mailbox")
}
