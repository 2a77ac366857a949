package pgp

import (
	"slices"
	"strings"
	"testing"
	"time"

	openpgp "github.com/ProtonMail/go-crypto/openpgp/v2"

	"github.com/ProtonMail/go-crypto/openpgp/packet"

	"github.com/homing-mail/homing/internal/gnupg"
)

// aged makes a key with a subkey for encryption that both expired long ago.
func aged(t *testing.T) *openpgp.Entity {
	t.Helper()
	config := &packet.Config{Time: func() time.Time { return time.Now().Add(-48 * time.Hour) }, KeyLifetimeSecs: 3600}
	e, err := openpgp.NewEntity("me", "", "me@example.com", config)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func public(t *testing.T, e *openpgp.Entity) []byte {
	t.Helper()
	text, err := armored(openpgp.PublicKeyType, e.Serialize)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func TestReadIDs(t *testing.T) {
	e := aged(t)
	old := identity(e.Subkeys[0].PublicKey)
	if err := e.AddEncryptionSubkey(&packet.Config{}); err != nil {
		t.Fatal(err)
	}
	young := identity(e.Subkeys[1].PublicKey)
	other := aged(t)
	want := []string{old, young, identity(other.Subkeys[0].PublicKey)}
	both := append(public(t, e), public(t, other)...)
	if got, err := ReadIDs(both); err != nil || !slices.Equal(got, want) {
		t.Errorf("%q, %v; want %q", got, err, want)
	}
	if err := e.Subkeys[0].Revoke(packet.KeySuperseded, "", nil); err != nil {
		t.Fatal(err)
	}
	if got, err := ReadIDs(public(t, e)); err != nil || !slices.Equal(got, []string{young}) {
		t.Errorf("with one revoked: %q, %v; want %q", got, err, young)
	}
}

func TestReadIDsRefuses(t *testing.T) {
	revoked, signing := aged(t), aged(t)
	if err := revoked.Revoke(packet.NoReason, "", nil); err != nil {
		t.Fatal(err)
	}
	signing.Subkeys = nil
	made, err := Generate("me", "me@example.com", "")
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		key  []byte
		says string
	}{
		"revoked":    {public(t, revoked), "revoked"},
		"no subkeys": {public(t, signing), "signatures only"},
		"secret":     {made.Secret, "secret key"},
		"nothing":    {nil, "empty"},
		"text":       {[]byte("hello"), "no OpenPGP keys"},
		"cut off":    {made.Public[:len(made.Public)/2], "no OpenPGP keys"},
	} {
		if ids, err := ReadIDs(c.key); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %q, %v; want an error that says %q", name, ids, err, c.says)
		}
	}
}

// GnuPG encrypts to what ReadIDs finds in the key that GnuPG exports.
func TestReadIDsOfGnuPG(t *testing.T) {
	for _, version := range gnupg.Versions() {
		t.Run(string(version), func(t *testing.T) {
			home := gnupg.New(t, version)
			fingerprint := home.Key(t, "me@example.com", "ed25519", "cv25519", "")
			ids, err := ReadIDs(home.Run(t, nil, "--export", "--armor", fingerprint))
			if err != nil {
				t.Fatal(err)
			}
			message, err := Inspect(home.Run(t, []byte("hello"), "--encrypt", "--recipient", fingerprint))
			if err != nil || len(message.Recipients) != 1 || !slices.Equal(ids, []string{message.Recipients[0].ID}) {
				t.Errorf("found %q; it is encrypted to %v, %v", ids, message, err)
			}
			if fingerprint[24:] == ids[0] {
				t.Errorf("%s is the primary key, which signs only", ids[0])
			}
		})
	}
}
