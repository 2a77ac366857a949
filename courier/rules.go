package courier

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Rules map envelope addresses to mailboxes. The zero value maps every address
// to itself.
type Rules struct{ rules []rule }

// rule is one "pattern=target target". A pattern is local@domain, @domain,
// @.domain (every subdomain), local@ (every domain) or * (everything).
type rule struct {
	local, domain string // lower-case; empty: any
	subdomains    bool   // domain stands for what ends in it
	targets       []string
}

// ParseRules reads rules separated by commas or line ends, the first that
// matches wins. Empty lines and lines that begin with # are passed over. All
// mistakes are reported together.
func ParseRules(text string) (*Rules, error) {
	parsed := &Rules{}
	var errs []error
	number := 0
	for line := range strings.SplitSeq(text, "\n") {
		number++
		if strings.HasPrefix(strings.TrimSpace(line), "#") {
			continue
		}
		for entry := range strings.SplitSeq(line, ",") {
			if entry = strings.TrimSpace(entry); entry == "" {
				continue
			}
			r, err := parseRule(entry)
			if err != nil {
				errs = append(errs, fmt.Errorf("recipient rule %.80q (line %d): %w", entry, number, err))
			}
			parsed.rules = append(parsed.rules, r)
		}
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return parsed, nil
}

func parseRule(entry string) (rule, error) {
	// A local part may hold "=" (BATV, VERP), a mailbox hardly ever does.
	at := strings.LastIndexByte(entry, '=')
	if at < 0 {
		return rule{}, errors.New("want pattern=mailbox, as in info@example.com=alice@example.com")
	}
	r, err := parsePattern(strings.ToLower(strings.TrimSpace(entry[:at])))
	if err != nil {
		return rule{}, err
	}
	r.targets = strings.Fields(strings.ToLower(entry[at+1:]))
	if len(r.targets) == 0 {
		return rule{}, errors.New("names no mailbox after the =")
	}
	for _, target := range r.targets {
		if err := checkMailbox(target); err != nil {
			return rule{}, err
		}
	}
	return r, nil
}

func parsePattern(pattern string) (rule, error) {
	if pattern == "*" {
		return rule{}, nil
	}
	at := strings.LastIndexByte(pattern, '@')
	if at < 0 || pattern == "@" || strings.ContainsAny(pattern, "* \t") {
		return rule{}, fmt.Errorf("the pattern %.80q is none of local@domain, @domain, @.domain, local@ and *", pattern)
	}
	r := rule{local: pattern[:at], domain: pattern[at+1:]}
	if strings.HasPrefix(r.domain, ".") {
		r.subdomains = true
	}
	if r.domain == "." || (r.subdomains && r.local != "") {
		return rule{}, fmt.Errorf("the pattern %.80q: @.domain takes no local part and needs a domain", pattern)
	}
	return r, nil
}

// Map returns the mailboxes for an envelope address, lower-case and each once.
// Every rule is tried with the address as it is, then without its +detail,
// which is then carried over to the targets.
func (r *Rules) Map(address string) []string {
	address = strings.ToLower(address)
	local, domain := split(address)
	plain, detail, detailed := strings.Cut(local, "+")
	for i := range r.rules {
		switch rule := &r.rules[i]; {
		case rule.matches(local, domain):
			return unique(rule.targets)
		case detailed && rule.matches(plain, domain):
			return unique(withDetail(rule.targets, detail))
		}
	}
	return []string{address}
}

func (r *rule) matches(local, domain string) bool {
	switch {
	case r.local != "" && r.local != local:
		return false
	case r.subdomains:
		return strings.HasSuffix(domain, r.domain)
	}
	return r.domain == "" || r.domain == domain
}

// withDetail appends +detail to the local part of each target that has none of
// its own.
func withDetail(targets []string, detail string) []string {
	carried := make([]string, len(targets))
	for i, target := range targets {
		local, domain := split(target)
		if detail != "" && !strings.Contains(local, "+") {
			local += "+" + detail
		}
		carried[i] = join(local, domain)
	}
	return carried
}

func unique(targets []string) []string {
	var once []string
	for _, t := range targets {
		if !slices.Contains(once, t) {
			once = append(once, t)
		}
	}
	return once
}
