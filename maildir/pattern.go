package maildir

import (
	"errors"
	"fmt"
	"path"
	"strings"
	"unicode"
	"unicode/utf8"
)

// pattern is what of a path depends on the mailbox, a component after the other.
type pattern []component

// component is a name: literal text and variables in turn.
type component []piece

type piece struct {
	text     string
	variable byte // u, n, d, or 0 for the text
}

// maxName is the longest name of a file, in bytes, on common file systems.
const maxName = 255

// parse splits a pattern into the directory that has to exist and the rest.
func parse(s string) (base string, parts pattern, err error) {
	if !path.IsAbs(s) {
		return "", nil, errors.New("must be an absolute path, such as /srv/mail/%d/%n")
	}
	var all pattern
	var names []string
	for name := range strings.SplitSeq(s, "/") {
		switch {
		case name == "":
			continue
		case name == "." || name == "..":
			return "", nil, fmt.Errorf("must not contain %q", name)
		case !printable(name):
			return "", nil, errors.New("must consist of printable characters")
		}
		c, err := parseComponent(name)
		if err != nil {
			return "", nil, err
		}
		all, names = append(all, c), append(names, c.literal())
	}
	if len(all) == 0 {
		return "", nil, errors.New("names no directory")
	}
	fixed := 0
	for fixed < len(all)-1 && !all[fixed].varies() {
		fixed++
	}
	return "/" + path.Join(names[:fixed]...), all[fixed:], nil
}

func parseComponent(name string) (component, error) {
	var c component
	for {
		before, after, found := strings.Cut(name, "%")
		if before != "" {
			c = append(c, piece{text: before})
		}
		if !found {
			return c, nil
		}
		if after == "" || !strings.ContainsRune("und%", rune(after[0])) {
			return nil, errors.New("after % there must be u, n, d or %")
		}
		if after[0] == '%' {
			c = append(c, piece{text: "%"})
		} else {
			c = append(c, piece{variable: after[0]})
		}
		name = after[1:]
	}
}

func (c component) varies() bool {
	for _, p := range c {
		if p.variable != 0 {
			return true
		}
	}
	return false
}

func (c component) literal() string {
	var b strings.Builder
	for _, p := range c {
		b.WriteString(p.text)
	}
	return b.String()
}

// expand is the path, below the base, of a mailbox's Maildir. A mailbox that
// could be taken for another path has none.
func (p pattern) expand(mailbox string) (string, error) {
	user, domain := mailbox, ""
	if at := strings.LastIndexByte(mailbox, '@'); at >= 0 {
		user, domain = mailbox[:at], mailbox[at+1:]
	}
	user, _, _ = strings.Cut(user, "+")
	values := map[byte]string{'n': user, 'd': domain, 'u': user}
	if domain != "" {
		values['u'] = user + "@" + domain
	}
	names := make([]string, len(p))
	for i, c := range p {
		name, err := c.expand(values)
		if err != nil {
			return "", err
		}
		names[i] = name
	}
	return path.Join(names...), nil
}

func (c component) expand(values map[byte]string) (string, error) {
	var b strings.Builder
	for _, p := range c {
		if p.variable == 0 {
			b.WriteString(p.text)
			continue
		}
		value := values[p.variable]
		switch {
		case value == "":
			return "", impossible(fmt.Sprintf("the mailbox has nothing for the %%%c of the pattern", p.variable))
		// A name with a leading dot is a subfolder in the Maildir++ layout, or goes up.
		case value[0] == '.', strings.ContainsRune(value, '/'), !printable(value):
			return "", impossible(fmt.Sprintf("%q cannot be the name of a directory", value))
		}
		b.WriteString(value)
	}
	if b.Len() > maxName {
		return "", impossible(fmt.Sprintf("%d bytes are too many for the name of a directory", b.Len()))
	}
	return b.String(), nil
}

// printable excludes control characters, line separators and broken UTF-8.
func printable(s string) bool {
	if !utf8.ValidString(s) {
		return false
	}
	for _, r := range s {
		if !unicode.IsPrint(r) {
			return false
		}
	}
	return true
}
