package pgp

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/homing-mail/homing/internal/gnupg"
)

// mail has what text mode and careless readers would change.
func mail8bit(size int) []byte {
	text := []byte("From: a@example.com\nTo: b@example.com\r\nSubject: line ends\n\n")
	text = append(text, "bare CR \r, NUL \x00, 8 bit \xff\xfe, From \n.\n..\r\n-- \nno trailing "...)
	for len(text) < size {
		text = fmt.Appendf(text, "line %d of a text that compresses well \t \r\n", len(text))
	}
	return text
}

func TestReadsGnuPG(t *testing.T) {
	for _, version := range gnupg.Versions() {
		t.Run(string(version), func(t *testing.T) {
			home := gnupg.New(t, version)
			id := home.Key(t, "me@example.com", "ed25519", "cv25519", "")
			keys, err := ReadKeys(home.Run(t, nil, "--export-secret-keys", id), "")
			if err != nil {
				t.Fatal(err)
			}
			for _, size := range []int{0, 100000} {
				for _, compress := range []string{"none", "zip", "zlib", "bzip2"} {
					want := mail8bit(size)
					sealed := home.Run(t, want, "--encrypt", "--recipient", id, "--compress-algo", compress)
					got, err := keys.Decrypt(sealed, 1<<20, nil)
					if err != nil || !bytes.Equal(got, want) {
						t.Errorf("%s: %d octets, want %d: %v", compress, len(got), len(want), err)
					}
				}
			}
		})
	}
}
