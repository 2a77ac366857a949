package pgp

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/homing-mail/homing/internal/gnupg"
)

// mail8bit has what text mode and careless readers would change, and at least
// this many octets.
func mail8bit(size int) []byte {
	text := []byte("From: a@example.com\nTo: b@example.com\r\nSubject: line ends\n\n")
	text = append(text, "bare CR \r, NUL \x00, 8 bit \xff\xfe, From \n.\n..\r\n-- \n"...)
	for len(text) < size {
		text = fmt.Appendf(text, "line %d of a text that compresses well \t \r\n", len(text))
	}
	return append(text, "no line end"...)
}

const phrase = "a pass \u00fc phrase"

// algorithms are of primary key and subkey.
var algorithms = []struct {
	signs, decrypts string
	slow            bool // seconds to make
}{
	{"ed25519", "cv25519", false},
	{"nistp256", "nistp256", false},
	{"ed25519", "nistp384", false},
	{"ed25519", "nistp521", false},
	{"ed25519", "brainpoolP256r1", false},
	{"ed25519", "rsa2048", true},
	{"rsa3072", "rsa3072", true},
	{"ed25519", "rsa4096", true},
}

// eachGnuPG runs a test with each version.
func eachGnuPG(t *testing.T, test func(*testing.T, gnupg.Version, *gnupg.Home)) {
	for _, version := range gnupg.Versions() {
		t.Run(string(version), func(t *testing.T) {
			t.Parallel()
			test(t, version, gnupg.New(t, version))
		})
	}
}

// exported reads a key of home as a user would give it to homing.
func exported(t testing.TB, home *gnupg.Home, id, passphrase string, args ...string) *Keys {
	t.Helper()
	args = append(args, "--passphrase", passphrase, "--export-secret-keys", id)
	keys, err := ReadKeys(home.Run(t, nil, args...), passphrase)
	if err != nil {
		t.Fatal(err)
	}
	return keys
}

// wants decrypts, recognises and inspects a message.
func wants(t *testing.T, keys *Keys, message, want []byte) *Message {
	t.Helper()
	if !Encrypted(message) {
		t.Errorf("not recognised: %.40q", message)
	}
	m, err := Inspect(message)
	if err != nil {
		t.Errorf("inspect: %v", err)
	}
	got, err := keys.Decrypt(message, int64(len(want)), nil)
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("%d octets, want %d: %v", len(got), len(want), err)
	}
	return m
}

// TestReadsGnuPG takes every combination of options that change what gpg writes.
func TestReadsGnuPG(t *testing.T) {
	eachGnuPG(t, func(t *testing.T, version gnupg.Version, home *gnupg.Home) {
		id := home.Key(t, "me@example.com", "ed25519", "cv25519", "")
		other := home.Key(t, "other@example.com", "ed25519", "cv25519", "")
		keys := exported(t, home, id, "")
		mail := mail8bit(20000)
		home.File(t, "mail", mail)
		options := [][][]string{
			{nil, {"--armor"}},
			{nil, {"--sign", "--local-user", other}},
			{{"--recipient", id}, {"--hidden-recipient", id}, {"--recipient", other, "--recipient", id}, {"--hidden-recipient", other, "--hidden-recipient", id}},
			{{"--compress-algo", "none"}, {"--compress-algo", "zip"}, {"--compress-algo", "zlib"}, {"--compress-algo", "bzip2"}},
			{nil, {"--textmode"}},
			{{home.Path("mail")}, {"-"}}, // of known length, and in parts
		}
		if version == gnupg.V24 {
			options = slices.Insert(options, 3, [][]string{nil, {"--compliance", "gnupg", "--force-ocb"}})
		}
		for _, args := range combinations(options) {
			text, file := slices.Contains(args, "--textmode"), args[len(args)-1]
			want := mail
			if text {
				want = inTextMode(mail)
			}
			args := append(args[:len(args)-1:len(args)-1], "--output", "-", "--encrypt", file)
			m := wants(t, keys, home.Run(t, mail, args...), want)
			if integrity := map[bool]string{true: "OCB", false: "MDC"}[slices.Contains(args, "--force-ocb")]; m.Integrity != integrity {
				t.Errorf("%+v", m)
			}
			if t.Failed() {
				t.Fatal(args)
			}
		}
	})
}

// combinations takes one of each.
func combinations(options [][][]string) (all [][]string) {
	if len(options) == 0 {
		return [][]string{nil}
	}
	for _, option := range options[0] {
		for _, rest := range combinations(options[1:]) {
			all = append(all, slices.Concat(option, rest))
		}
	}
	return all
}

// inTextMode is what gpg encrypts in text mode: it ends lines with CR LF.
func inTextMode(text []byte) (out []byte) {
	for line := range bytes.Lines(text) {
		bare, ended := bytes.CutSuffix(line, []byte("\n"))
		if ended {
			line = append(bytes.TrimRight(bare, "\r"), "\r\n"...)
		}
		out = append(out, line...)
	}
	return out
}

// TestKeysOfGnuPG takes every kind of key, locked and not, and what gpg
// encrypts to it; and has gpg decrypt what homing encrypts to it.
func TestKeysOfGnuPG(t *testing.T) {
	eachGnuPG(t, func(t *testing.T, _ gnupg.Version, home *gnupg.Home) {
		for i, algorithm := range algorithms {
			if algorithm.slow && testing.Short() {
				continue
			}
			for _, passphrase := range []string{"", phrase} {
				user := fmt.Sprintf("%d-%t@example.com", i, passphrase != "")
				id := home.Key(t, user, algorithm.signs, algorithm.decrypts, passphrase)
				keys := exported(t, home, id, passphrase, "--armor")
				mail := mail8bit(100000)
				for _, recipient := range []string{"--recipient", "--hidden-recipient"} {
					wants(t, keys, home.Run(t, mail, "--encrypt", recipient, id), mail)
				}
				to, err := ReadRecipients(home.Run(t, nil, "--export", id))
				if err != nil {
					t.Fatal(err)
				}
				got := home.Run(t, sealed(t, to, mail), "--passphrase", passphrase, "--decrypt")
				if !bytes.Equal(got, mail) {
					t.Errorf("gpg decrypted %d octets, want %d", len(got), len(mail))
				}
				if t.Failed() {
					t.Fatal(algorithm, passphrase)
				}
			}
		}
	})
}

// TestGnuPGReads gives gpg the keys that homing makes, and what it encrypts.
func TestGnuPGReads(t *testing.T) {
	eachGnuPG(t, func(t *testing.T, _ gnupg.Version, home *gnupg.Home) {
		for _, passphrase := range []string{"", phrase} {
			made, err := Generate("Home", "me@example.com", passphrase)
			if err != nil {
				t.Fatal(err)
			}
			home.Run(t, made.Secret, "--passphrase", passphrase, "--import")
			to, err := ReadRecipients(made.Public)
			if err != nil {
				t.Fatal(err)
			}
			sizes := []int{0, 1, 190, 191, 192, 8000, 8383, 8384, 70000, 3 << 20}
			if passphrase != "" { // which takes gpg a while each time
				sizes = sizes[len(sizes)-2:]
			}
			for _, size := range sizes {
				mail := mail8bit(size)[:size]
				got := home.Run(t, sealed(t, to, mail), "--passphrase", passphrase, "--decrypt")
				if !bytes.Equal(got, mail) {
					t.Errorf("gpg decrypted %d octets, want %d", len(got), len(mail))
				}
			}
			keys, err := ReadKeys(made.Secret, passphrase)
			if err != nil {
				t.Fatal(err)
			}
			wants(t, keys, home.Run(t, []byte("hello"), "--encrypt", "--recipient", made.ID), []byte("hello"))
			if listed := string(home.Run(t, nil, "--list-keys", made.ID)); !strings.Contains(listed, "Home <me@example.com>") || strings.Contains(listed, "expires") {
				t.Error(listed)
			}
		}
	})
}

// TestRefusesOfGnuPG has gpg make what is not for homing's keys.
func TestRefusesOfGnuPG(t *testing.T) {
	eachGnuPG(t, func(t *testing.T, version gnupg.Version, home *gnupg.Home) {
		mine := home.Key(t, "me@example.com", "ed25519", "cv25519", "")
		other := home.Key(t, "other@example.com", "ed25519", "cv25519", "")
		keys := exported(t, home, mine, "")
		old := []string{"--encrypt", "--recipient", mine}
		if version == gnupg.V24 {
			old = append(old, "--allow-old-cipher-algos")
		}
		old = slices.Clip(old)
		for _, test := range []struct {
			args []string
			want string
		}{
			{[]string{"--encrypt", "--recipient", other}, noKey},
			{[]string{"--encrypt", "--hidden-recipient", other}, noKey},
			{[]string{"--symmetric", "--passphrase", "x"}, password},
			{[]string{"--symmetric", "--passphrase", "x", "--encrypt", "--recipient", other}, noKey},
			{[]string{"--symmetric", "--passphrase", "x", "--encrypt", "--recipient", mine}, ""},
			{[]string{"--store"}, unsupported},
			{[]string{"--store", "--armor"}, unsupported},
			{[]string{"--sign", "--local-user", mine}, unsupported},
			{[]string{"--clear-sign", "--local-user", mine}, malformed},
			{append(old, "--cipher-algo", "3DES"), ""},
			{append(old, "--cipher-algo", "CAST5"), ""},
			{[]string{"--encrypt", "--recipient", mine, "--cipher-algo", "AES"}, ""},
			{[]string{"--encrypt", "--recipient", mine, "--cipher-algo", "TWOFISH"}, unsupported},
			{[]string{"--encrypt", "--recipient", mine, "--cipher-algo", "CAMELLIA256"}, unsupported},
		} {
			got, err := keys.Decrypt(home.Run(t, []byte("hello"), test.args...), 100, nil)
			if reason(err) != test.want || err == nil && string(got) != "hello" {
				t.Errorf("%q: %q, %v, want %q", test.args, got, err, test.want)
			}
		}
	})
}
