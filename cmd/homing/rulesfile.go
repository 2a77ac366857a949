package main

import (
	"context"
	"time"

	"github.com/homing-mail/homing/courier"
)

// rulesLook is how often the file of recipient rules is looked at.
const rulesLook = time.Second

// rulesFile is HOMING_RECIPIENTS_FILE, which is read again whenever it changes.
type rulesFile struct {
	path   string
	judged string // the text that was judged last, so that each is judged once
	seen   string // the text that the last look found
	lost   bool   // the last look could not read it
}

// followRules keeps the courier's rules as the file has them until ctx ends. A
// file that is wrong or gone leaves them as they were.
func (a *app) followRules(ctx context.Context) error {
	file := &rulesFile{path: a.cfg.RecipientsFile, judged: a.cfg.Recipients}
	ticker := time.NewTicker(rulesLook)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
			rules, err := file.look()
			switch {
			case err != nil:
				a.log.Error("the recipient rules stay as they were", "file", file.path, "error", err)
			case rules != nil:
				a.courier.SetRules(rules)
				a.log.Info("the recipient rules were read again", "file", file.path)
			}
		}
	}
}

// look returns new rules, or nil when nothing has changed. The text is compared,
// not the time stamp: the file is small, and Kubernetes swaps links. A new text
// counts when two looks have found it: half a file may be right by itself, and
// an empty one, as an editor leaves it for a moment, would be no rules at all.
func (f *rulesFile) look() (*courier.Rules, error) {
	text, err := readValue(f.path)
	if err != nil {
		if f.lost {
			return nil, nil // said already
		}
		f.lost = true
		return nil, err
	}
	again := text == f.seen && !f.lost
	f.seen, f.lost = text, false
	if text == f.judged || !again {
		return nil, nil
	}
	f.judged = text
	return courier.ParseRules(text)
}
