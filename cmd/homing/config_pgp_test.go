package main

import (
	"bytes"
	"encoding/base64"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/homing-mail/homing/fetcher/pgp"
)

// newKey makes a key of alice's.
func newKey(t *testing.T, passphrase string) *pgp.Pair {
	t.Helper()
	pair, err := pgp.Generate("Alice", testAddress, passphrase)
	if err != nil {
		t.Fatal(err)
	}
	return pair
}

// sealFor encrypts a message to a key.
func sealFor(t *testing.T, pair *pgp.Pair, mail string) []byte {
	t.Helper()
	recipients, err := pgp.ReadRecipients(pair.Public)
	if err != nil {
		t.Fatal(err)
	}
	octets, err := recipients.Encrypt([]byte(mail))
	if err != nil {
		t.Fatal(err)
	}
	return octets
}

// unarmored is the binary form of armored keys.
func unarmored(t *testing.T, armored []byte) []byte {
	t.Helper()
	_, text, _ := strings.Cut(string(armored), "\n\n")
	text, _, _ = strings.Cut(text, "-----")
	var plain strings.Builder
	for line := range strings.Lines(text) {
		if !strings.HasPrefix(line, "=") {
			plain.WriteString(strings.TrimSpace(line))
		}
	}
	octets, err := base64.StdEncoding.DecodeString(plain.String())
	if err != nil {
		t.Fatal(err)
	}
	return octets
}

func TestPGPKeys(t *testing.T) {
	const passphrase = "correct horse battery staple"
	plain, locked := newKey(t, ""), newKey(t, passphrase)
	both := append(bytes.Clone(plain.Secret), locked.Secret...)
	for name, environ := range map[string][]string{
		"armored":            {"HOMING_PGP_KEY=" + string(plain.Secret)},
		"file":               {"HOMING_PGP_KEY_FILE=" + writeFile(t, string(plain.Secret))},
		"without line end":   {"HOMING_PGP_KEY=" + strings.TrimSpace(string(plain.Secret))},
		"binary file":        {"HOMING_PGP_KEY_FILE=" + writeFile(t, string(unarmored(t, plain.Secret)))},
		"locked":             {"HOMING_PGP_KEY=" + string(locked.Secret), "HOMING_PGP_PASSPHRASE=" + passphrase},
		"passphrase file":    {"HOMING_PGP_KEY=" + string(locked.Secret), "HOMING_PGP_PASSPHRASE_FILE=" + writeFile(t, passphrase+"\r\n")},
		"several":            {"HOMING_PGP_KEY=" + string(both), "HOMING_PGP_PASSPHRASE=" + passphrase},
		"needless to unlock": {"HOMING_PGP_KEY=" + string(plain.Secret), "HOMING_PGP_PASSPHRASE=" + passphrase},
	} {
		cfg, err := loadConfig(enough(environ...))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if warnings := cfg.warnings(); cfg.keyring().keys == nil || len(warnings) > 0 {
			t.Errorf("%s: %v, %q", name, cfg.keyring().keys, warnings)
		}
	}
	if cfg, err := loadConfig(enough()); err != nil || cfg.keyring().keys != nil {
		t.Errorf("without keys: %v, %v", cfg, err)
	}
}

// TestBinaryKeyFile: an octet that looks like a line end belongs to the key.
func TestBinaryKeyFile(t *testing.T) {
	path := writeFile(t, "\x95\x01\n")
	settings, _ := readEnvironment(variables(), []string{"HOMING_PGP_KEY_FILE=" + path, "HOMING_PGP_PASSPHRASE_FILE=" + path})
	if got := settings["HOMING_PGP_KEY"].value; got != "\x95\x01\n" {
		t.Errorf("the key is %q", got)
	}
	if got := settings["HOMING_PGP_PASSPHRASE"].value; got != "\x95\x01" {
		t.Errorf("the passphrase is %q", got)
	}
}

// TestWrongPassphrase: homing starts, and says so.
func TestWrongPassphrase(t *testing.T) {
	pair := newKey(t, "right")
	for _, environ := range [][]string{nil, {"HOMING_PGP_PASSPHRASE=not a secret to be shown"}} {
		cfg, err := loadConfig(enough(append(environ, "HOMING_PGP_KEY="+string(pair.Secret))...))
		if err != nil {
			t.Fatal(err)
		}
		warnings := strings.Join(cfg.warnings(), "\n")
		if !strings.HasPrefix(warnings, "HOMING_PGP_PASSPHRASE") || !strings.Contains(warnings, pair.ID) || strings.Contains(warnings, "to be shown") {
			t.Errorf("warnings: %q", warnings)
		}
	}
}

func TestBadKeys(t *testing.T) {
	pair := newKey(t, "")
	const secret = "not-to-be-shown"
	for name, test := range map[string]struct {
		environ []string
		want    string
	}{
		"nonsense":    {[]string{"HOMING_PGP_KEY=" + secret}, "no OpenPGP keys"},
		"a path":      {[]string{"HOMING_PGP_KEY=/run/secrets/" + secret}, "give it as HOMING_PGP_KEY_FILE"},
		"public":      {[]string{"HOMING_PGP_KEY=" + string(pair.Public)}, "this is a public key"},
		"cut off":     {[]string{"HOMING_PGP_KEY=" + string(pair.Secret[:200])}, "cut off"},
		"empty file":  {[]string{"HOMING_PGP_KEY_FILE=" + writeFile(t, "")}, `(from HOMING_PGP_KEY_FILE, "`},
		"no file":     {[]string{"HOMING_PGP_KEY_FILE=/nowhere"}, "no such file"},
		"both":        {[]string{"HOMING_PGP_KEY=a", "HOMING_PGP_KEY_FILE=/nowhere"}, "both set"},
		"a directory": {[]string{"HOMING_PGP_KEY_FILE=" + t.TempDir()}, "is a directory"},
		"passphrase":  {[]string{"HOMING_PGP_PASSPHRASE=" + secret}, "HOMING_PGP_KEY is required"},
		"large file":  {[]string{"HOMING_PGP_KEY_FILE=" + largeFile(t)}, "larger than 1 MiB"},
	} {
		_, err := loadConfig(enough(append(test.environ, "HOMING_MEMORY=much")...))
		if err == nil || !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), "HOMING_PGP_") {
			t.Errorf("%s: %v, want %q", name, err, test.want)
			continue
		}
		if strings.Contains(err.Error(), secret) {
			t.Errorf("%s: the value is shown: %v", name, err)
		}
		if !strings.Contains(err.Error(), "HOMING_MEMORY") {
			t.Errorf("%s: the other mistake is left out: %v", name, err)
		}
	}
}

func largeFile(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "large")
	if err := os.WriteFile(path, make([]byte, maxValueFile+1), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestSecretsAreMasked: `homing config` shows neither keys nor passphrase.
func TestSecretsAreMasked(t *testing.T) {
	pair := newKey(t, "not-to-be-shown")
	_, stdout, stderr := command(t, enough("HOMING_PGP_KEY="+string(pair.Secret), "HOMING_PGP_PASSPHRASE=not-to-be-shown"), "", "config")
	if strings.Contains(stdout+stderr, "not-to-be-shown") || strings.Contains(stdout+stderr, "PRIVATE KEY") {
		t.Errorf("shown:\n%s%s", stdout, stderr)
	}
	if !strings.Contains(stdout, "HOMING_PGP_KEY=******  (set)") || !strings.Contains(stdout, "HOMING_PGP_PASSPHRASE=******  (set)") {
		t.Errorf("they are missing:\n%s", stdout)
	}
}

// TestKeysWhenNeeded: who needs no keys neither waits for them nor fails for them.
func TestKeysWhenNeeded(t *testing.T) {
	t.Setenv("AWS_REGION", "us-east-1")
	dir := filled(t)
	bad := []string{"HOMING_STATE_DIR=" + dir, "HOMING_BUCKETS=" + testBucket, "HOMING_PGP_KEY=hello"}
	for _, test := range []struct {
		args []string
		code int
	}{
		{[]string{"queue", "list"}, exitDone},
		{[]string{"queue", "export", "--stored", "1"}, exitDone},
		{[]string{"queue", "export", "1"}, exitUsage},
		{[]string{"backfill", "--dry-run"}, exitUsage},
		{[]string{"config"}, exitUsage},
	} {
		code, stdout, stderr := command(t, bad, "", test.args...)
		if code != test.code || test.code == exitUsage && !strings.Contains(stdout+stderr, "HOMING_PGP_KEY") {
			t.Errorf("%q: exit code %d, want %d\n%s%s", test.args, code, test.code, stdout, stderr)
		}
	}
}
