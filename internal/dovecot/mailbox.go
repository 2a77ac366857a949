package dovecot

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"
)

// Mailbox returns the messages of a user's folder in their order, each byte for
// byte as IMAP gives it: with the header lines Dovecot put before it, and every
// line ended by CR LF. A folder that does not exist has none.
func (s *Server) Mailbox(tb testing.TB, user, folder string) [][]byte {
	tb.Helper()
	messages, err := s.read(user, folder)
	if err != nil {
		tb.Fatalf("reading %s of %s from Dovecot %s: %v\n%s", folder, user, s.Version, err, s.Log())
	}
	return messages
}

// WaitMessages waits until a user's folder has at least n messages, and returns
// them as [Server.Mailbox] does. It fails the test after a minute.
func (s *Server) WaitMessages(tb testing.TB, user, folder string, n int) [][]byte {
	tb.Helper()
	err := until(50*time.Millisecond, func() error {
		count, err := s.count(user, folder)
		if err == nil && count < n {
			err = fmt.Errorf("it has %d messages", count)
		}
		return err
	})
	if err != nil {
		tb.Fatalf("waiting for %d messages in %s of %s on Dovecot %s: %v\n%s", n, folder, user, s.Version, err, s.Log())
	}
	return s.Mailbox(tb, user, folder)
}

// Put lays messages into a user's INBOX as they are, undelivered: as mail that
// waits to be fetched.
func (s *Server) Put(tb testing.TB, user string, messages ...[]byte) {
	tb.Helper()
	local, domain, _ := strings.Cut(user, "@")
	path := filepath.Join(s.MailRoot, domain)
	for _, name := range []string{"", local, "Maildir", "cur", "../tmp", "../new"} {
		path = filepath.Join(path, name)
		if err := s.makeOwned(path); err != nil {
			tb.Fatal(err)
		}
	}
	for _, message := range messages {
		if err := s.writeOwned(filepath.Join(path, rand.Text()), string(message)); err != nil {
			tb.Fatal(err)
		}
	}
}

func (s *Server) read(user, folder string) (messages [][]byte, err error) {
	err = s.open(user, folder, func(client *imapclient.Client, count uint32) error {
		if count == 0 {
			return nil
		}
		all := imap.SeqSet{{Start: 1, Stop: count}}
		whole := &imap.FetchItemBodySection{Peek: true}
		found, err := client.Fetch(all, &imap.FetchOptions{BodySection: []*imap.FetchItemBodySection{whole}}).Collect()
		if err != nil {
			return err
		}
		for _, message := range found {
			messages = append(messages, bytes.Clone(message.FindBodySection(whole)))
		}
		return nil
	})
	return messages, err
}

func (s *Server) count(user, folder string) (n int, err error) {
	err = s.open(user, folder, func(_ *imapclient.Client, count uint32) error {
		n = int(count)
		return nil
	})
	return n, err
}

// open logs in, selects the folder without changing it, and calls use with the
// number of its messages; a folder that is not there has none.
func (s *Server) open(user, folder string, use func(client *imapclient.Client, count uint32) error) (err error) {
	conn, err := dial("tcp", s.IMAPAddr)
	if err != nil {
		return err
	}
	client := imapclient.New(conn, nil)
	defer func() { err = errors.Join(err, client.Close()) }()
	if err := client.Login(user, Password).Wait(); err != nil {
		return err
	}
	// Dovecot 2.3 refuses to select a folder that is not there without saying why in a code.
	if there, err := client.List("", folder, nil).Collect(); err != nil || len(there) == 0 {
		return err
	}
	selected, err := client.Select(folder, &imap.SelectOptions{ReadOnly: true}).Wait()
	if err != nil {
		return err
	}
	if err := use(client, selected.NumMessages); err != nil {
		return err
	}
	return client.Logout().Wait()
}
