package pgp

import (
	"strings"
	"testing"
	"time"

	"github.com/homing-mail/homing/internal/gnupg"
)

// secretOf is the secret key that a gpg has.
func secretOf(t *testing.T, h *gnupg.Home, fingerprint string) []byte {
	t.Helper()
	return h.Run(t, nil, "--batch", "--pinentry-mode", "loopback", "--passphrase", "", "--armor", "--export-secret-keys", fingerprint)
}

func TestStates(t *testing.T) {
	pair, err := Generate("Alice", "alice@example.com", "")
	if err != nil {
		t.Fatal(err)
	}
	locked, err := Generate("Alice", "alice@example.com", "secret")
	if err != nil {
		t.Fatal(err)
	}
	keys, err := ReadKeys(append(pair.Secret, locked.Secret...), "wrong")
	if keys == nil {
		t.Fatal(err)
	}
	states := keys.States(time.Now().Add(time.Minute))
	if len(states) != 2 {
		t.Fatalf("%+v", states)
	}
	if s := states[0]; s.ID != pair.ID || s.Locked || s.Fault != nil || s.Unfit != nil || !s.Expires.IsZero() {
		t.Errorf("%+v", s)
	}
	if s := states[1]; s.ID != locked.ID || !s.Locked || s.Fault != nil {
		t.Errorf("%+v", s)
	}
}

// TestFaultyKey: a secret key that does not belong to the public one.
func TestFaultyKey(t *testing.T) {
	var keys []*Keys
	for range 2 {
		pair, err := Generate("Alice", "alice@example.com", "")
		if err != nil {
			t.Fatal(err)
		}
		k, err := ReadKeys(pair.Secret, "")
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, k)
	}
	mine, other := decrypting(keys[0].entities[0])[0], decrypting(keys[1].entities[0])[0]
	mine.PrivateKey = other.PrivateKey
	if s := keys[0].States(time.Now().Add(time.Minute))[0]; s.Fault == nil {
		t.Errorf("%+v", s)
	}
}

// TestExpiry of keys as GnuPG makes them: by the primary key or by the subkey.
func TestExpiry(t *testing.T) {
	h := gnupg.New(t, gnupg.V22)
	fingerprint := h.Key(t, "Alice <alice@example.com>", "ed25519", "cv25519", "")
	now := time.Now().Add(time.Minute)
	state := func() State {
		t.Helper()
		keys, err := ReadKeys(secretOf(t, h, fingerprint), "")
		if err != nil {
			t.Fatal(err)
		}
		return keys.States(now)[0]
	}
	if s := state(); !s.Expires.IsZero() || s.Unfit != nil || s.Fault != nil {
		t.Errorf("without an end: %+v", s)
	}
	h.Run(t, nil, "--batch", "--quick-set-expire", fingerprint, "30d")
	if s := state(); s.Expires.Sub(now).Round(24*time.Hour) != 30*24*time.Hour || s.Unfit != nil {
		t.Errorf("30 days: %+v", s)
	}
	h.Run(t, nil, "--batch", "--quick-set-expire", fingerprint, "10d", "*")
	if s := state(); s.Expires.Sub(now).Round(24*time.Hour) != 10*24*time.Hour {
		t.Errorf("the subkey's 10 days: %+v", s)
	}
	now = now.Add(40 * 24 * time.Hour)
	if s := state(); s.Unfit == nil || !strings.Contains(s.Unfit.Error(), "expired") || s.Fault != nil {
		t.Errorf("later: %+v", s)
	}
}
