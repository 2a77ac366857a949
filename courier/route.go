package courier

import (
	"cmp"
	"slices"

	"github.com/homing-mail/homing/spool"
)

// route says where an item still has to go.
type route struct {
	courier *Courier
	item    *spool.Item
	object  *Object
	stops   []*stop
	leads   map[string][]string // envelope address -> its mailboxes
	sender  string
	found   []string // recipients found in the message
	// unroutable is why there is nowhere to go, else empty.
	unroutable string
}

// stop is one mailbox that still waits for the message.
type stop struct {
	mailbox   string
	originals []string       // the envelope addresses that lead here
	line      spool.Delivery // the ledger's, as it was and then as it will be
}

// route maps the recipients that have not got the message to mailboxes, by the
// rules of this moment.
func (c *Courier) route(item *spool.Item) *route {
	r := &route{courier: c, item: item, leads: map[string][]string{}}
	for _, recipient := range item.Recipients {
		if !recipient.Settled {
			r.add(recipient.Address)
		}
	}
	return r
}

// Mailbox returns the first mailbox that an envelope address leads to now.
func (c *Courier) Mailbox(address string) string { return c.rules.Load().Map(address)[0] }

// add leads an envelope address to its mailboxes. One that cannot be expressed
// becomes a stop of its own, where it is held.
func (r *route) add(address string) {
	if checkAddress(address) != nil {
		r.addMailbox(address, "")
		r.leads[address] = []string{address}
		return
	}
	for _, mailbox := range r.mailboxes(address) {
		mailbox = r.fallback(mailbox)
		r.leads[address] = append(r.leads[address], mailbox)
		r.addMailbox(mailbox, address)
	}
}

// mailboxes maps an address by the rules, unless a person named it as a mailbox.
func (r *route) mailboxes(address string) []string {
	if r.item.Direct {
		return []string{address}
	}
	return r.courier.rules.Load().Map(address)
}

// fallback returns where mail for the mailbox goes: elsewhere once it has been
// refused for good.
func (r *route) fallback(mailbox string) string {
	if line, ok := r.item.Delivery(mailbox); ok && line.State == spool.FellBack {
		return cmp.Or(r.courier.way(r.item).fallback, mailbox)
	}
	return mailbox
}

// addMailbox adds a stop, or one more original address to it. Mailboxes that
// have the message are no stops.
func (r *route) addMailbox(mailbox, original string) {
	line, known := r.item.Delivery(mailbox)
	if known && line.State == spool.Delivered {
		return
	}
	i := slices.IndexFunc(r.stops, func(s *stop) bool { return s.mailbox == mailbox })
	if i < 0 {
		if !known {
			line = spool.Delivery{Mailbox: mailbox, State: spool.Waiting}
		}
		if line.State == spool.FellBack {
			line.State = spool.HeldBack // there is no fallback mailbox any more
		}
		i = len(r.stops)
		r.stops = append(r.stops, &stop{mailbox: mailbox, line: line})
	}
	if s := r.stops[i]; original != "" && !slices.Contains(s.originals, original) {
		s.originals = append(s.originals, original)
	}
}

// settled returns the addresses of which every mailbox has the message now.
func (r *route) settled() (addresses []string) {
	for address, mailboxes := range r.leads {
		if !slices.ContainsFunc(mailboxes, r.lacks) {
			addresses = append(addresses, address)
		}
	}
	return addresses
}

// lacks reports whether the mailbox does not have the message yet.
func (r *route) lacks(mailbox string) bool {
	for _, s := range r.stops {
		if s.mailbox == mailbox {
			return s.line.State != spool.Delivered
		}
	}
	return false // no stop: it had the message before
}
