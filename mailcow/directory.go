package mailcow

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Directory is what one mailcow knows of addresses.
type Directory struct {
	domains      []domain
	aliasDomains []aliasDomain
	mailboxes    []mailbox
	aliases      []alias
}

// String counts what was read.
func (d *Directory) String() string {
	return fmt.Sprintf("domains: %d, alias domains: %d, mailboxes: %d, aliases: %d",
		len(d.domains), len(d.aliasDomains), len(d.mailboxes), len(d.aliases))
}

// check finds what shows that the lists are not all that mailcow has. They are
// four answers, and between two of them somebody may have changed something.
func (d *Directory) check() error {
	if len(d.domains) == 0 {
		return errors.New("there is no domain")
	}
	d.fold()
	checks := []func() error{d.checkDomains, d.checkAliasDomains, d.checkMailboxes, d.checkAliases, d.checkCounts}
	for _, check := range checks {
		if err := check(); err != nil {
			return err
		}
	}
	return nil
}

// fold writes all addresses in lower case, as Postfix and MySQL compare them.
func (d *Directory) fold() {
	for i := range d.domains {
		d.domains[i].Name = strings.ToLower(d.domains[i].Name)
	}
	for i := range d.aliasDomains {
		a := &d.aliasDomains[i]
		a.Name, a.Target = strings.ToLower(a.Name), strings.ToLower(a.Target)
	}
	for i := range d.mailboxes {
		m := &d.mailboxes[i]
		m.Name, m.Domain = strings.ToLower(m.Name), strings.ToLower(m.Domain)
	}
	for i := range d.aliases {
		a := &d.aliases[i]
		a.Address, a.Domain, a.Goto = strings.ToLower(a.Address), strings.ToLower(a.Domain), strings.ToLower(a.Goto)
	}
}

func (d *Directory) checkDomains() error {
	seen := map[string]bool{}
	for _, one := range d.domains {
		if one.Name == "" || !one.Active.given || seen[one.Name] {
			return fmt.Errorf("the domain %.80q has no name, is given twice, or says not whether it is active", one.Name)
		}
		seen[one.Name] = true
	}
	return nil
}

func (d *Directory) checkAliasDomains() error {
	for _, one := range d.aliasDomains {
		if one.Name == "" || !one.Active.given || !d.hasDomain(one.Target) {
			return fmt.Errorf("the alias domain %.80q of %.80q has no name, no such target, or says not whether it is active", one.Name, one.Target)
		}
	}
	return nil
}

func (d *Directory) checkMailboxes() error {
	for _, one := range d.mailboxes {
		if !strings.HasSuffix(one.Name, "@"+one.Domain) || !one.Active.given || !d.hasDomain(one.Domain) {
			return fmt.Errorf("the mailbox %.80q of %.80q has no address, no such domain, or says not whether it is active", one.Name, one.Domain)
		}
	}
	return nil
}

func (d *Directory) checkAliases() error {
	for _, one := range d.aliases {
		if !strings.HasSuffix(one.Address, "@"+one.Domain) || one.Goto == "" || !one.Active.given {
			return fmt.Errorf("the alias %.80q of %.80q has no address or no target, or says not whether it is active", one.Address, one.Domain)
		}
		if !d.hasDomain(one.Domain) && d.target(one.Domain) == "" {
			return fmt.Errorf("the alias %.80q has a domain that is not in the list of domains", one.Address)
		}
	}
	return nil
}

// checkCounts compares the lists with what mailcow counted for each domain.
// Aliases are counted by another query than they are listed by, and of damaged
// tables the two may differ: there only "none" is not believed.
func (d *Directory) checkCounts() error {
	mailboxes, aliases := map[string]int{}, map[string]int{}
	for _, one := range d.mailboxes {
		mailboxes[one.Domain]++
	}
	for _, one := range d.aliases {
		home := one.Domain
		if !d.hasDomain(home) {
			home = d.target(home)
		}
		aliases[home]++
	}
	for _, one := range d.domains {
		switch {
		case one.Mailboxes.given && one.Mailboxes.value != mailboxes[one.Name]:
			return fmt.Errorf("%s has %d mailboxes, and %d were listed", one.Name, one.Mailboxes.value, mailboxes[one.Name])
		case one.Aliases.given && one.Aliases.value > 0 && aliases[one.Name] == 0:
			return fmt.Errorf("%s has %d aliases, and none was listed", one.Name, one.Aliases.value)
		}
	}
	return nil
}

func (d *Directory) hasDomain(name string) bool {
	return slices.ContainsFunc(d.domains, func(one domain) bool { return one.Name == name })
}

// target is the domain that an alias domain stands for, active or not.
func (d *Directory) target(name string) string {
	for _, one := range d.aliasDomains {
		if one.Name == name {
			return one.Target
		}
	}
	return ""
}
