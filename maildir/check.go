package maildir

import "path/filepath"

// Base is the directory before the first variable of the pattern.
func (m *Maildir) Base() string { return m.base }

// Where is the Maildir of a mailbox, which need not exist yet. It is an error
// with Permanent() true where the mailbox can have none.
func (m *Maildir) Where(mailbox string) (string, error) {
	dir, err := m.parts.expand(mailbox)
	if err != nil {
		return "", err
	}
	return filepath.Join(m.base, dir), nil
}
