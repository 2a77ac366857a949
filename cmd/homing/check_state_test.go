package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/homing-mail/homing/spool"
)

// checkState runs the state directory's group alone.
func checkState(t *testing.T, free func(string) (int64, error), dir string) collected {
	t.Helper()
	c := &checker{patience: checkTime, with: neighbours{free: free}}
	c.configure([]string{"HOMING_STATE_DIR=" + dir})
	lines, _ := c.all(t, []group{c.state})
	return lines
}

// roomy makes a spool that has so many bytes free inside, and a little more: it
// held a message of that size.
func roomy(t *testing.T, dir string, size int) {
	t.Helper()
	s, err := spool.Open(t.Context(), spool.Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if _, err := s.Accept(t.Context(), spool.Arrival{Message: spool.Message{ID: "large"}, Content: make([]byte, size)}); err != nil {
		t.Fatal(err)
	}
	if n, err := s.Drop(t.Context(), 1); n != 1 || err != nil {
		t.Fatal(n, err)
	}
}

func TestCheckState(t *testing.T) {
	t.Run("missing", func(t *testing.T) {
		dir := filepath.Join(t.TempDir(), "a", "b")
		lines := checkState(t, nil, dir)
		wantWarning(t, lines.one(t, "state directory"), "there is none yet", "volume")
		wantWell(t, lines.one(t, "disk"), "MiB are free")
		if _, err := os.Stat(filepath.Dir(dir)); err == nil {
			t.Error("the check made it")
		}
	})
	t.Run("cannot be made", func(t *testing.T) {
		// Nobody can make anything there, not even root.
		lines := checkState(t, nil, "/proc/homing/state")
		wantFailed(t, lines.one(t, "state directory"), "in /proc none can be made", "HOMING_STATE_DIR")
	})
	t.Run("cannot be written to", func(t *testing.T) {
		wantFailed(t, checkState(t, nil, "/proc/self").one(t, "state directory"), "cannot be written to", "HOMING_STATE_DIR")
	})
	t.Run("a file", func(t *testing.T) {
		file := writeFile(t, "in the way")
		wantFailed(t, checkState(t, nil, file).one(t, "state directory"), "this is no directory", "HOMING_STATE_DIR")
		wantFailed(t, checkState(t, nil, file+"/state").one(t, "state directory"), "not a directory", "HOMING_STATE_DIR")
	})
	t.Run("empty, disk nearly full", func(t *testing.T) {
		dir := t.TempDir()
		lines := checkState(t, func(string) (int64, error) { return spool.EnoughFree - 1, nil }, dir)
		wantWell(t, lines.one(t, "state directory"), "writable")
		wantFailed(t, lines.one(t, "disk"), "255 MiB are free, and below 256 MiB", "make room")
		wantWell(t, lines.one(t, "spool"), "there is none yet")
		if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
			t.Errorf("the check left %v, %v", left, err)
		}
		lines = checkState(t, func(string) (int64, error) { return spool.EnoughFree, nil }, dir)
		wantWell(t, lines.one(t, "disk"), "256 MiB are free")
	})
	t.Run("disk nearly full, room inside the spool", func(t *testing.T) {
		dir := t.TempDir()
		roomy(t, dir, 3<<20)
		lines := checkState(t, func(string) (int64, error) { return spool.EnoughFree - 2<<20, nil }, dir)
		wantWell(t, lines.one(t, "disk"), "257 MiB are free, 3 of them inside homing.db")
		lines = checkState(t, func(string) (int64, error) { return spool.EnoughFree - 5<<20, nil }, dir)
		wantFailed(t, lines.one(t, "disk"), "254 MiB are free, 3 of them inside homing.db, and below 256 MiB", "make room")
	})
	t.Run("damaged", func(t *testing.T) {
		dir := t.TempDir()
		replace(t, filepath.Join(dir, spool.FileName), strings.Repeat("this is no database\n", 1000))
		wantFailed(t, checkState(t, nil, dir).one(t, "spool"), "damaged", "restore it")
	})
	t.Run("held", func(t *testing.T) {
		wantWarning(t, checkState(t, nil, filled(t)).one(t, "spool"), "held", "homing queue list")
	})
	t.Run("somebody else's", func(t *testing.T) {
		if os.Geteuid() != 0 {
			return // nobody but root can give a file away
		}
		dir := t.TempDir()
		s, err := spool.Open(t.Context(), spool.Options{Dir: dir, History: time.Hour})
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if err := os.Chown(filepath.Join(dir, spool.FileName), 4711, 4711); err != nil {
			t.Fatal(err)
		}
		wantWarning(t, checkState(t, nil, dir).one(t, "spool"), "belongs to user 4711", "run this as homing's user")
	})
}

func TestCheckCertificate(t *testing.T) {
	check := func(cert, key string) (checkLine, error) {
		c := &checker{patience: checkTime}
		c.configure([]string{"HOMING_TLS_CERT_PATH=" + cert, "HOMING_TLS_KEY_PATH=" + key})
		lines, err := c.all(t, []group{c.certificate})
		return lines.one(t, "certificate"), err
	}
	first, second := newPair(t), newPair(t)
	first.issue(t, "a")
	second.issue(t, "b")
	line, _ := check(first.cert, first.key) // for an hour
	wantWarning(t, line, "expires in 1h", "renew it")
	for _, test := range []struct{ cert, key, detail string }{
		{first.cert, second.key, "private key does not match public key"},
		{first.cert, first.cert + ".none", "no such file"},
		{writeFile(t, "no PEM"), first.key, "failed to find any PEM data"},
	} {
		line, err := check(test.cert, test.key)
		wantFailed(t, line, test.detail, "HOMING_TLS_KEY_PATH")
		if _, usage := err.(usageError); !usage {
			t.Errorf("error %v, want one of configuration", err)
		}
	}
}

func TestJudgeCertificate(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	from := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"mx.example.com"}, NotBefore: from, NotAfter: from.Add(90 * 24 * time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pair := tls.Certificate{Certificate: [][]byte{der}, Leaf: leaf}
	const day = 24 * time.Hour
	for _, test := range []struct {
		at     time.Duration
		failed bool
		detail string
	}{
		{-time.Second, true, "not valid before Thu, 01 Jan 2026"},
		{90*day + time.Second, true, "expired Wed, 01 Apr 2026"},
		{77 * day, false, "expires in 13d"},
		{75 * day, false, "unknown authority"},
	} {
		f := judgeCertificate(pair, from.Add(test.at))
		if f.failed != test.failed || f.warning == test.failed || !strings.Contains(f.detail, test.detail) || f.mend == "" {
			t.Errorf("after %v: %+v", test.at, f)
		}
	}
}
