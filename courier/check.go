package courier

// Target is a mailbox that a rule names.
type Target struct {
	Mailbox string // lower-case
	Pattern string // of the first rule that names it
}

// Targets lists the mailboxes that the rules name, each once, in their order.
func (r *Rules) Targets() []Target {
	var all []Target
	seen := map[string]bool{}
	for i := range r.rules {
		rule := &r.rules[i]
		for _, mailbox := range rule.targets {
			if !seen[mailbox] {
				seen[mailbox] = true
				all = append(all, Target{mailbox, rule.pattern()})
			}
		}
	}
	return all
}

// pattern is what stands before the rule's "=", in lower case.
func (r *rule) pattern() string {
	if r.local == "" && r.domain == "" {
		return "*"
	}
	return r.local + "@" + r.domain
}
