package main

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/homing-mail/homing/fetcher/pgp"
)

// formSecret is at least as long as the HMAC that it keys.
type formSecret string

// formKeys are what a message may be encrypted to.
type formKeys struct {
	ids   []string // 16 hexadecimal digits each
	unfit string   // why nobody can encrypt to one of them any more; empty: to all
}

func parseFormSecret(text string) (formSecret, error) {
	const least = 32
	if len(text) < least {
		return "", errors.New("want at least 32 characters that nobody can guess, as `openssl rand -hex 32` prints them")
	}
	return formSecret(text), nil
}

// parseFormKeys keeps of public keys what a message says of its recipients. An
// expired key passes: a form must not keep all other mail from being delivered.
func parseFormKeys(text string) (formKeys, error) {
	ids, err := pgp.ReadIDs([]byte(text))
	if err != nil {
		return formKeys{}, fmt.Errorf("want the public keys that the page encrypts to, as `gpg --export --armor ADDRESS` prints them: %w", err)
	}
	keys := formKeys{ids: ids}
	if _, err := pgp.ReadRecipients([]byte(text)); err != nil {
		keys.unfit = err.Error()
	}
	return keys, nil
}

// smtpServer is where the form's messages leave to a mailbox elsewhere; the
// zero value: they do not.
type smtpServer struct {
	address  string // host:port
	implicit bool   // TLS from the first octet
	user     string // empty: the server wants none
}

// String is the text that means this server.
func (s smtpServer) String() string {
	scheme, user := "submission", ""
	if s.implicit {
		scheme = "submissions"
	}
	if s.user != "" {
		user = url.PathEscape(s.user) + "@"
	}
	return scheme + "://" + user + s.address
}

// parseSMTPServer takes a user with or without %40 for its @.
func parseSMTPServer(text string) (s smtpServer, err error) {
	scheme, rest, found := strings.Cut(text, "://")
	s.implicit = scheme == "submissions"
	if !found || !s.implicit && scheme != "submission" {
		return s, errors.New("want submission://user@host:587, or submissions://user@host:465 for TLS from the first octet")
	}
	at := strings.LastIndexByte(rest, '@')
	if s.address, err = parseHostPort(rest[at+1:], scheme); err != nil || at < 0 {
		return s, err
	}
	s.user, err = url.PathUnescape(rest[:at])
	switch {
	case err != nil || s.user == "" || hasControl(s.user):
		return s, errors.New("want a user before the @, without control characters, % as %25")
	case strings.Contains(s.user, ":"):
		return s, errors.New("want no password here, for it would be shown; HOMING_FORM_PASSWORD or its file has it")
	}
	return s, nil
}

// formPassword is a password or token.
type formPassword string

func parseFormPassword(text string) (formPassword, error) {
	if hasControl(text) {
		return "", errors.New("want a password of one line, without control characters")
	}
	return formPassword(text), nil
}

// formOnly says whether homing has nothing to do with AWS.
func (c *Config) formOnly() bool {
	return c.FormPath != "" && len(c.Buckets) == 0 && len(c.SNSTopics) == 0 && len(c.SQSQueues) == 0 && c.DLQ == ""
}

// onlyFormOut says whether the form's own way out is the only one.
func (c *Config) onlyFormOut() bool { return c.formOnly() && c.FormDeliverTo.address != "" }

// exits names where mail goes.
func (c *Config) exits() string {
	switch to := c.FormDeliverTo; {
	case c.onlyFormOut():
		return to.String()
	case to.address != "" && c.FormPath != "":
		return c.DeliverTo.String() + ", of the form " + to.String()
	}
	return c.DeliverTo.String()
}

// formFrom is the author of the form's messages.
func (c *Config) formFrom() string {
	if c.FormFrom != "" {
		return string(c.FormFrom)
	}
	return string(c.FormMailbox)
}

// missingForForm finds what a form cannot do without.
func (c *Config) missingForForm() (found []mistake) {
	if c.FormPath == "" {
		return nil
	}
	require := func(given bool, variable, mend string) {
		if !given {
			found = append(found, mistake{variable, errors.New(variable + " is required with HOMING_FORM_PATH: " + mend)})
		}
	}
	require(c.Listen != "", "HOMING_LISTEN", "give the address at which the edge worker reaches homing")
	require(c.FormSecret != "", "HOMING_FORM_SECRET", "give the edge worker and homing the same, as `openssl rand -hex 32` prints it")
	require(len(c.FormKey.ids) > 0, "HOMING_FORM_KEY", "give the public key that the page encrypts to, usually as HOMING_FORM_KEY_FILE")
	require(c.FormMailbox != "", "HOMING_FORM_MAILBOX", "name the mailbox that the messages go to")
	require(c.FormMailbox == "" || strings.Contains(c.formFrom(), "@"), "HOMING_FORM_FROM",
		"HOMING_FORM_MAILBOX has no domain, so give the address that the messages come from, as in form@example.com")
	require(c.FormDeliverTo.user == "" || c.FormPassword != "", "HOMING_FORM_PASSWORD", "HOMING_FORM_DELIVER_TO names a user; give the password or token")
	return found
}

// formContradictions finds what does not fit together about a form.
func (c *Config) formContradictions() (found []mistake) {
	// A request is remembered as long as the ledger remembers, and good for five
	// minutes before and after its time.
	const least = time.Hour
	if c.FormPath == "" {
		return nil
	}
	if c.FormPath == c.WebhookPath {
		found = append(found, mistake{"HOMING_FORM_PATH", errors.New("HOMING_FORM_PATH is HOMING_WEBHOOK_PATH; give the form another path, as in /form")})
	}
	if c.FormFrom != "" && !strings.Contains(string(c.FormFrom), "@") {
		found = append(found, mistake{"HOMING_FORM_FROM", fmt.Errorf("HOMING_FORM_FROM=%s: want an address with a domain, as in form@example.com", quote(string(c.FormFrom)))})
	}
	if c.FormDeliverTo.address != "" && c.FormMailbox != "" && !strings.Contains(string(c.FormMailbox), "@") {
		found = append(found, mistake{"HOMING_FORM_MAILBOX", fmt.Errorf("HOMING_FORM_MAILBOX=%s: with HOMING_FORM_DELIVER_TO want an address with a domain", quote(string(c.FormMailbox)))})
	}
	if c.FormPassword != "" && c.FormDeliverTo.user == "" {
		found = append(found, mistake{"HOMING_FORM_DELIVER_TO", errors.New("HOMING_FORM_DELIVER_TO names no user for HOMING_FORM_PASSWORD; want submission://user@host:587")})
	}
	if c.History < least {
		found = append(found, mistake{"HOMING_HISTORY", errors.New("HOMING_HISTORY is shorter than an hour; with HOMING_FORM_PATH want more, for replayed requests are known by it")})
	}
	return found
}

// formWarnings tells what is allowed and hardly meant about a form.
func (c *Config) formWarnings() (found []string) {
	if c.FormPath == "" {
		if c.FormSecret != "" || len(c.FormKey.ids) > 0 || c.FormMailbox != "" || c.FormFrom != "" || c.FormDeliverTo.address != "" {
			found = append(found, "HOMING_FORM_PATH is empty, so that no form is taken, but others of its variables are set")
		}
		return found
	}
	if c.FormKey.unfit != "" {
		found = append(found, "HOMING_FORM_KEY: browsers will refuse to encrypt: "+c.FormKey.unfit)
	}
	if len(c.SNSTopics) == 0 && !c.formOnly() {
		found = append(found, "HOMING_SNS_TOPICS is empty, so that HOMING_LISTEN takes messages of the form and no notifications")
	}
	return found
}
