package mailcow

import (
	"slices"
	"strings"
)

// tables answer as those of Postfix in mailcow do (virtual_alias_maps in
// data/Dockerfiles/postfix/postfix.sh), as far as the API shows them: it has
// time-limited aliases for one mailbox at a time only, and SOGo's resources not.
type tables struct {
	alone     map[string][]string // an active alias: its targets
	catchAll  map[string][]string // the same for a whole domain
	mailboxes map[string]bool     // the active ones
	standsFor map[string]string   // an active alias domain: its domain
}

func (d *Directory) tables() tables {
	t := tables{map[string][]string{}, map[string][]string{}, map[string]bool{}, map[string]string{}}
	for _, one := range d.mailboxes {
		t.mailboxes[one.Name] = one.Active.on()
	}
	for _, one := range d.aliasDomains {
		if one.Active.on() {
			t.standsFor[one.Name] = one.Target
		}
	}
	for _, one := range d.aliases {
		if !one.Active.on() {
			continue
		}
		targets := strings.FieldsFunc(one.Goto, func(r rune) bool { return r == ',' || r == ' ' })
		if domain, all := strings.CutPrefix(one.Address, "@"); all {
			t.catchAll[domain] = targets
		} else {
			t.alone[one.Address] = targets
		}
	}
	return t
}

// caught tells whether a catch-all takes the mail for an address that nothing
// else takes.
func (t *tables) caught(address string) bool {
	_, domain := cut(address)
	return t.catchAll[domain] != nil
}

// expand follows an address to the mailboxes that get its mail. lost are the
// addresses on the way that are no mailbox and lead to none. Each address is
// followed once, so that a loop ends.
func (t *tables) expand(address string) (mailboxes, lost []string) {
	followed := map[string]bool{}
	for todo := []string{address}; len(todo) > 0; todo = todo[1:] {
		from := todo[0]
		if followed[from] {
			continue
		}
		followed[from] = true
		targets := t.lookUp(from)
		switch arrived := len(targets) == 0 || slices.Contains(targets, from); {
		case from != address && from[0] == '@':
			lost = append(lost, from)
			continue
		case arrived && t.mailboxes[withoutDetail(from)]:
			mailboxes = append(mailboxes, from)
		case arrived:
			lost = append(lost, from)
		}
		todo = append(todo, targets...)
	}
	return mailboxes, lost
}

// lookUp is one step: by the address, then without its +detail, then by its
// domain (https://www.postfix.org/virtual.5.html, table search order). Without
// targets the address is as far as it gets.
func (t *tables) lookUp(address string) (targets []string) {
	if targets, found := t.exactly(address); found {
		return targets
	}
	plain := withoutDetail(address)
	if targets, found := t.exactly(plain); found {
		return withDetail(targets, detail(address))
	}
	_, domain := cut(address)
	return t.catchAll[domain]
}

// exactly finds an alias, a mailbox (in mailcow an alias of itself, unless its
// mail was sent elsewhere) or a mailbox by its alias domain.
func (t *tables) exactly(address string) (targets []string, found bool) {
	if targets, found := t.alone[address]; found {
		return targets, true
	}
	if t.mailboxes[address] {
		return nil, true
	}
	local, domain := cut(address)
	if box := local + "@" + t.standsFor[domain]; t.mailboxes[box] {
		return []string{box}, true
	}
	return nil, false
}

func cut(address string) (local, domain string) {
	at := strings.LastIndexByte(address, '@')
	if at < 0 {
		return address, ""
	}
	return address[:at], address[at+1:]
}

// detail is the "+detail" of an address, empty where there is none.
func detail(address string) string {
	local, _ := cut(address)
	if plus := strings.IndexByte(local, '+'); plus > 0 {
		return local[plus:]
	}
	return ""
}

func withoutDetail(address string) string {
	local, domain := cut(address)
	return strings.TrimSuffix(local, detail(address)) + "@" + domain
}

// withDetail gives each target the detail of what it was looked up by, as
// Postfix does (propagate_unmatched_extensions), unless it has one of its own.
func withDetail(targets []string, detail string) []string {
	with := make([]string, len(targets))
	for i, target := range targets {
		local, domain := cut(target)
		if !strings.Contains(local, "+") {
			local += detail
		}
		with[i] = local + "@" + domain
	}
	return with
}
