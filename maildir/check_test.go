package maildir

import (
	"os"
	"path/filepath"
	"testing"
)

func TestWhere(t *testing.T) {
	m, base := open(t, "mail/%d/%n")
	if m.Base() != filepath.Join(base, "mail") {
		t.Errorf("the base is %s", m.Base())
	}
	if got, err := m.Where("bob+x@y.test"); err != nil || got != filepath.Join(base, "mail", "y.test", "bob") {
		t.Errorf("%s, %v", got, err)
	}
	for _, mailbox := range []string{"bob", "../x@y.test", "a@.."} {
		if got, err := m.Where(mailbox); !permanent(err) {
			t.Errorf("%s: %s, %v", mailbox, got, err)
		}
	}
	if _, err := os.Stat(m.Base()); err == nil {
		t.Error("looking has made something")
	}
}
