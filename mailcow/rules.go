package mailcow

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Rule says to which mailboxes the mail for an address goes.
type Rule struct {
	Pattern   string   // an address, or "@domain" for what no other rule of it takes
	Mailboxes []string // at least one, in the order that mailcow has them
}

// Rules returns what Postfix's tables in mailcow say of every address that is
// not simply a mailbox, in an order in which the first that matches is right,
// and, for a person, what of it cannot be followed: nothing is left out without
// a word. All that is not an alias is a mailbox of the same name and needs no
// rule, unless a catch-all of its domain would take its mail.
//
// Left out are aliases that mailcow itself would not take from outside: inactive
// ones, internal ones and those of inactive domains.
func (d *Directory) Rules() (rules []Rule, warnings []string) {
	b := builder{tables: d.tables()}
	for _, one := range d.aliases {
		if d.takesMail(one.Domain) && one.Active.on() {
			b.alias(one)
		}
	}
	for _, one := range d.aliasDomains {
		if one.Active.on() && d.takesMail(one.Target) {
			b.aliasDomain(one, d.mailboxes)
		}
	}
	for _, one := range d.mailboxes {
		if one.Active.on() && b.caught(one.Name) && b.alone[one.Name] == nil {
			b.add(one.Name, []string{one.Name})
		}
	}
	slices.SortFunc(b.rules, before)
	slices.Sort(b.warnings)
	return b.rules, b.warnings
}

// before puts addresses with a detail before those without, for homing tries
// each rule without the detail, too, and catch-alls to the end.
func before(a, b Rule) int {
	return cmp.Or(cmp.Compare(rank(a.Pattern), rank(b.Pattern)), cmp.Compare(a.Pattern, b.Pattern))
}

func rank(pattern string) int {
	switch {
	case pattern[0] == '@':
		return 2
	case strings.Contains(pattern, "+"):
		return 0
	}
	return 1
}

// takesMail tells whether mailcow takes mail for a domain or alias domain.
func (d *Directory) takesMail(name string) bool {
	for _, one := range d.aliasDomains {
		if one.Name == name {
			return one.Active.on() && d.isActive(one.Target)
		}
	}
	return d.isActive(name)
}

func (d *Directory) isActive(name string) bool {
	return slices.ContainsFunc(d.domains, func(one domain) bool { return one.Name == name && one.Active.on() })
}

// builder collects rules.
type builder struct {
	tables
	rules    []Rule
	warnings []string
}

func (b *builder) warn(format string, args ...any) {
	b.warnings = append(b.warnings, fmt.Sprintf(format, args...))
}

// add adds a rule if it can be written as one.
func (b *builder) add(pattern string, mailboxes []string) {
	for _, address := range append([]string{pattern}, mailboxes...) {
		if !writable(address) {
			b.warn("%s: no rule, for %q cannot be written in one", pattern, address)
			return
		}
	}
	b.rules = append(b.rules, Rule{pattern, mailboxes})
}

func (b *builder) alias(one alias) {
	if one.Internal.on() {
		b.refuse(one.Address) // as Rspamd refuses mail to it from outside
		return
	}
	mailboxes, lost := b.expand(one.Address)
	switch {
	case len(mailboxes) == 0 && one.Address[0] == '@':
		b.warn("%s: no rule, for it leads to no mailbox%s", one.Address, reasons(lost))
	case len(mailboxes) == 0:
		b.warn("%s: Dovecot will refuse its mail, for it leads to no mailbox%s", one.Address, reasons(lost))
		b.refuse(one.Address)
	case len(lost) > 0:
		b.warn("%s: goes only to %s%s", one.Address, strings.Join(mailboxes, " "), reasons(lost))
		fallthrough
	default:
		b.add(one.Address, mailboxes)
	}
}

// refuse leaves an address that is no mailbox to Dovecot.
func (b *builder) refuse(address string) {
	if address[0] != '@' && b.caught(address) {
		b.add(address, []string{address})
	}
}

// reasons says why addresses get no mail.
func reasons(lost []string) string {
	var said strings.Builder
	for _, address := range lost {
		why := "is no active mailbox here"
		switch address {
		case "null@localhost":
			why = "is where mailcow throws mail away"
		case "spam@localhost", "ham@localhost":
			why = "is where Rspamd learns"
		}
		fmt.Fprintf(&said, "; %.120q %s", address, why)
	}
	return said.String()
}

// aliasDomain adds a rule for each mailbox of the domain it stands for; aliases
// of that domain have no such address in mailcow either.
func (b *builder) aliasDomain(one aliasDomain, mailboxes []mailbox) {
	for _, box := range mailboxes {
		if box.Domain != one.Target || !box.Active.on() {
			continue
		}
		local, _ := cut(box.Name)
		if address := local + "@" + one.Name; b.alone[address] == nil {
			found, _ := b.expand(address)
			b.add(address, found)
		}
	}
}

// writable tells whether an address can stand in a rule: commas, equals signs and
// spaces divide rules, # begins a comment, * is a pattern of its own, and outside
// ASCII LMTP says nothing.
func writable(address string) bool {
	return address != "" && address[0] != '#' && !strings.ContainsFunc(address, func(r rune) bool {
		return r <= ' ' || r >= 0x7f || strings.ContainsRune(`,=*"<>\`, r)
	})
}
