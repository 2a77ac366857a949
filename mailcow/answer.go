package mailcow

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// The entries of the lists, as mailcow 2026-07a answers (data/web/json_api.php
// and mailbox() in data/web/inc/functions.mailbox.inc.php). What does not say
// where mail goes is left out.
type (
	domain struct {
		Name      string `json:"domain_name"`
		Active    number `json:"active"`
		Mailboxes number `json:"mboxes_in_domain"`
		Aliases   number `json:"aliases_in_domain"` // those of its alias domains, too
	}
	aliasDomain struct {
		Name   string `json:"alias_domain"`
		Target string `json:"target_domain"`
		Active number `json:"active"`
	}
	mailbox struct {
		Name   string `json:"username"` // its address
		Domain string `json:"domain"`
		Active number `json:"active"`
	}
	alias struct {
		Address  string `json:"address"` // or "@domain", for what nothing else takes
		Domain   string `json:"domain"`
		Goto     string `json:"goto"` // addresses, with commas between
		Active   number `json:"active"`
		Internal number `json:"internal"` // for senders of the house only; absent before 2025
	}
)

// number is a small integer that depending on PHP's and the database's versions
// comes as 1 or as "1". Flags are numbers, too: besides 0 and 1 an active can be
// 2, who gets mail but may not log in.
type number struct {
	given bool
	value int
}

// UnmarshalJSON implements json.Unmarshaler.
func (n *number) UnmarshalJSON(text []byte) error {
	if string(text) == "null" {
		return nil // as if it were not there
	}
	unquoted := text
	if len(text) > 2 && text[0] == '"' {
		unquoted = text[1 : len(text)-1]
	}
	if err := json.Unmarshal(unquoted, &n.value); err != nil {
		return fmt.Errorf("%.40q where a number was expected", text)
	}
	n.given = true
	return nil
}

// on tells whether a flag takes part in Postfix's queries.
func (n number) on() bool { return n.value == 1 || n.value == 2 }

// decode reads a list. mailcow writes an empty one as {}.
func decode[T any](text []byte) (list []T, err error) {
	text = bytes.TrimSpace(text)
	if words := complaint(text); words != "" {
		return nil, fmt.Errorf("mailcow says: %s", words)
	}
	if len(text) > 0 && text[0] == '{' {
		var none map[string]any
		if err := json.Unmarshal(text, &none); err != nil || len(none) > 0 {
			return nil, fmt.Errorf("a list was expected, not %s", shorten(string(text)))
		}
		return nil, nil
	}
	if err := json.Unmarshal(text, &list); err != nil {
		return nil, fmt.Errorf("a list was expected, not %s: %w", shorten(string(text)), err)
	}
	if list == nil {
		return nil, errors.New("a list was expected, not null")
	}
	return list, nil
}

// complaint is the message of {"type":"error","msg":...}, which mailcow also
// sends with status 200; empty if the text is something else.
func complaint(text []byte) string {
	var said struct {
		Type string          `json:"type"`
		Msg  json.RawMessage `json:"msg"`
	}
	if json.Unmarshal(text, &said) != nil || said.Type == "" && said.Msg == nil {
		return ""
	}
	var words string
	if json.Unmarshal(said.Msg, &words) != nil {
		words = string(said.Msg)
	}
	return strings.TrimSpace(said.Type + " " + shorten(words))
}

// shorten keeps what others wrote on one line.
func shorten(text string) string {
	if len(text) > maxWords {
		return fmt.Sprintf("%.*q...", maxWords, text)
	}
	return fmt.Sprintf("%q", text)
}
