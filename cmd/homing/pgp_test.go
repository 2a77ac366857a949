package main

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/homing-mail/homing/fetcher/pgp"
)

// inDir changes to an empty directory for one test.
func inDir(t *testing.T) {
	t.Helper()
	t.Chdir(t.TempDir())
}

func TestKeygen(t *testing.T) {
	inDir(t)
	replace(t, "passphrase", "one two three\n")
	for _, test := range []struct {
		args           []string
		secret, public string
		passphrase     string
	}{
		{nil, "homing-key.asc", "homing-key.pub.asc", ""},
		{[]string{"--out", "other.asc", "--name", "Åsa", "--email", "me@example.com"}, "other.asc", "other.pub.asc", ""},
		{[]string{"--out", "key", "--passphrase-file", "passphrase"}, "key", "key.pub.asc", "one two three"},
	} {
		code, stdout, stderr := command(t, nil, "", append([]string{"pgp", "keygen"}, test.args...)...)
		if code != exitDone || stderr != "" {
			t.Fatalf("%q: exit code %d\n%s", test.args, code, stderr)
		}
		keys, err := pgp.ReadKeys([]byte(read(t, test.secret)), test.passphrase)
		if err != nil {
			t.Fatal(err)
		}
		to, err := pgp.ReadRecipients([]byte(read(t, test.public)))
		if err != nil {
			t.Fatal(err)
		}
		message, err := to.Encrypt([]byte("hello"))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := keys.Decrypt(message, 5, nil); err != nil || string(got) != "hello" {
			t.Errorf("%q: %q, %v", test.args, got, err)
		}
		for _, path := range []string{test.secret, test.public} {
			if info, err := os.Stat(path); err != nil || info.Mode() != 0o600 {
				t.Errorf("%s: %v, %v", path, info.Mode(), err)
			}
		}
		wd, err := os.Getwd()
		if err != nil {
			t.Fatal(err)
		}
		wants := []string{"Put a copy", keys.IDs()[0], "HOMING_PGP_KEY_FILE=" + filepath.Join(wd, test.secret), "HOMING_PGP_ENCRYPT_TO_FILE=" + filepath.Join(wd, test.public)}
		if test.passphrase != "" {
			wants = append(wants, "HOMING_PGP_PASSPHRASE_FILE="+filepath.Join(wd, "passphrase"))
			if _, err := pgp.ReadKeys([]byte(read(t, test.secret)), ""); err == nil {
				t.Error("the key is not locked")
			}
		}
		for _, want := range wants {
			if !strings.Contains(stdout, want) {
				t.Errorf("%q: %q is missing in\n%s", test.args, want, stdout)
			}
		}
	}
}

// TestKeygenOverwritesNothing: neither of the two files, and leaves none behind.
func TestKeygenOverwritesNothing(t *testing.T) {
	inDir(t)
	for _, there := range []string{"a.asc", "b.pub.asc"} {
		replace(t, there, "precious")
		name := there[:1] + ".asc"
		code, _, stderr := command(t, nil, "", "pgp", "keygen", "--out", name)
		if code != exitFailed || !strings.Contains(stderr, "never overwritten") || !strings.Contains(stderr, there) {
			t.Errorf("exit code %d\n%s", code, stderr)
		}
		if got := read(t, there); got != "precious" {
			t.Errorf("%s is %q", there, got)
		}
	}
	if left, err := filepath.Glob("*"); err != nil || len(left) != 2 {
		t.Errorf("left: %q, %v", left, err)
	}
}

func TestKeygenRefuses(t *testing.T) {
	inDir(t)
	replace(t, "empty", "\n")
	for _, test := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"--passphrase-file", "missing"}, exitUsage, `--passphrase-file "missing": no such file`},
		{[]string{"--passphrase-file", "empty"}, exitUsage, "no passphrase in it"},
		{[]string{"--out", ""}, exitUsage, "--out needs"},
		{[]string{"--out", "dir/"}, exitUsage, "--out needs"},
		{[]string{"--out", "."}, exitUsage, "--out needs"},
		{[]string{"--name", "a <b>"}, exitUsage, `name "a <b>"`},
		{[]string{"--name", ""}, exitUsage, "at least one"},
		{[]string{"--out", "missing/key.asc"}, exitFailed, "no such file"},
		{[]string{"extra"}, exitUsage, "unknown command"},
	} {
		code, stdout, stderr := command(t, nil, "", append([]string{"pgp", "keygen"}, test.args...)...)
		if code != test.code || stdout != "" || !strings.Contains(stderr, test.want) {
			t.Errorf("%q: exit code %d\n%s\n%s", test.args, code, stdout, stderr)
		}
	}
	if left, err := filepath.Glob("*"); err != nil || len(left) != 1 {
		t.Errorf("left: %q, %v", left, err)
	}
}

func TestPGPInspect(t *testing.T) {
	inDir(t)
	mine, other := makeKey(t, ""), makeKey(t, "")
	locked := makeKey(t, "secret")
	replace(t, "mine", string(mine.Secret))
	replace(t, "locked", string(locked.Secret))
	encrypt := func(name string, to ...*pgp.Pair) {
		var public []byte
		for _, p := range to {
			public = append(public, p.Public...)
		}
		recipients, err := pgp.ReadRecipients(public)
		if err != nil {
			t.Fatal(err)
		}
		message, err := recipients.Encrypt([]byte(testMail))
		if err != nil {
			t.Fatal(err)
		}
		replace(t, name, string(message))
	}
	encrypt("to-mine", mine)
	encrypt("to-both", mine, other)
	encrypt("to-other", other)
	encrypt("to-locked", locked)
	whole := read(t, "to-mine")
	replace(t, "cut", whole[:len(whole)-1])
	replace(t, "changed", whole[:len(whole)-1]+string([]byte{whole[len(whole)-1] ^ 1}))
	replace(t, "mail", testMail)
	withKey := []string{"HOMING_PGP_KEY_FILE=mine"}
	for _, test := range []struct {
		file    string
		environ []string
		code    int
		stdout  []string
		stderr  string
	}{
		{"to-mine", nil, exitDone, []string{"binary", "MDC", "needs key " + mine.Subkey + "\n", "HOMING_PGP_KEY is not set"}, ""},
		{"to-mine", withKey, exitDone, []string{"needs key " + mine.Subkey + ", which is in HOMING_PGP_KEY", "opens it: "}, ""},
		{"to-both", withKey, exitDone, []string{mine.Subkey + ", which", other.Subkey + "\n", "opens it: "}, ""},
		{"to-other", withKey, exitFailed, []string{"needs key " + other.Subkey + "\n"}, "add the secret key to HOMING_PGP_KEY"},
		{"to-locked", []string{"HOMING_PGP_KEY_FILE=locked", "HOMING_PGP_PASSPHRASE=wrong"}, exitFailed, []string{locked.Subkey}, "HOMING_PGP_PASSPHRASE"},
		{"to-locked", []string{"HOMING_PGP_KEY_FILE=locked", "HOMING_PGP_PASSPHRASE=secret"}, exitDone, []string{"opens it"}, ""},
		{"to-mine", append(withKey, "HOMING_MAX_MESSAGE=10"), exitFailed, nil, "HOMING_MAX_MESSAGE"},
		{"changed", nil, exitDone, []string{mine.Subkey}, ""},
		{"changed", withKey, exitFailed, []string{mine.Subkey}, "integrity check failed"},
		{"cut", withKey, exitFailed, nil, "cut off"},
		{"mail", withKey, exitFailed, nil, "homing delivers it as it is"},
		{"missing", withKey, exitFailed, nil, "no such file"},
		{"to-mine", []string{"HOMING_PGP_KEY=hello"}, exitUsage, nil, "HOMING_PGP_KEY"},
	} {
		for _, stdin := range []bool{false, true} {
			args, in := []string{"pgp", "inspect", test.file}, ""
			if stdin && test.file == "missing" {
				continue
			}
			if stdin {
				args[2], in = "-", read(t, test.file)
			}
			code, stdout, stderr := command(t, test.environ, in, args...)
			if code != test.code || !strings.Contains(stderr, test.stderr) || test.stderr == "" && stderr != "" || test.stdout == nil && stdout != "" {
				t.Errorf("%s with %q: exit code %d\n%s\n%s", test.file, test.environ, code, stdout, stderr)
			}
			for _, want := range test.stdout {
				if !strings.Contains(stdout, want) {
					t.Errorf("%s with %q: %q is missing in\n%s", test.file, test.environ, want, stdout)
				}
			}
		}
	}
}

// TestInspectReadsToItsLimit: what is piped in need not end.
func TestInspectReadsToItsLimit(t *testing.T) {
	read, left := 0, 1<<20
	endless := readerFunc(func(p []byte) (int, error) {
		if read += len(p); read > left {
			return 0, io.ErrUnexpectedEOF
		}
		return len(p), nil
	})
	if _, err := readObject(endless, "-", 1000); err == nil || !strings.Contains(err.Error(), "HOMING_MAX_MESSAGE") {
		t.Errorf("after %d octets: %v", read, err)
	}
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

func makeKey(t *testing.T, passphrase string) *pgp.Pair {
	t.Helper()
	made, err := pgp.Generate("", "me@example.com", passphrase)
	if err != nil {
		t.Fatal(err)
	}
	return made
}

func TestDescribe(t *testing.T) {
	got := describe(&pgp.Message{Armored: true, Integrity: "AEAD", Passwords: 2, Recipients: []pgp.Recipient{
		{}, {ID: "0123456789ABCDEF"}, {ID: "1122334455667788", Fingerprint: "112233445566778899"}}}, 1000, []string{"0123456789ABCDEF"})
	const want = `OpenPGP message, armored, 1000 bytes, AEAD of RFC 9580
needs key hidden
needs key 0123456789ABCDEF, which is in HOMING_PGP_KEY
needs key 112233445566778899
can be opened with a password (2), which homing never does
`
	if got != want {
		t.Errorf("got\n%s", got)
	}
}
