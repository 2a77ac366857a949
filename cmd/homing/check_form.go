package main

import (
	"context"
	"strings"
)

// form tells to which keys messages have to be encrypted: to be compared with
// the page. What is wrong with the variables the configuration's lines say.
func (c *checker) form(_ context.Context, p *page) {
	if c.cfg.FormPath == "" || len(c.cfg.FormKey.ids) == 0 {
		return
	}
	p.add("form", string(c.cfg.FormPath), 0, well("takes what is encrypted to %s, for %s", strings.Join(c.cfg.FormKey.ids, " or "), c.cfg.FormMailbox))
}
