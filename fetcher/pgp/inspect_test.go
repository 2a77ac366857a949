package pgp

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"github.com/ProtonMail/go-crypto/openpgp/packet"

	"github.com/homing-mail/homing/internal/gnupg"
)

// sessionKey is the first packet of a message.
func sessionKey(t testing.TB, to *Recipients, hidden bool) []byte {
	t.Helper()
	out := new(bytes.Buffer)
	if err := packet.SerializeEncryptedKeyAEADwithHiddenOption(out, to.keys[0], aes256, false, make([]byte, 32), hidden, nil); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// unproven is a message without an integrity check, as programs wrote them
// before 2000.
func unproven(t testing.TB, to *Recipients) []byte {
	t.Helper()
	return append(sessionKey(t, to, false), pack(tagUnproven, strings.Repeat("x", 100))...)
}

func TestInspect(t *testing.T) {
	_, to := pair(t)
	id := to.IDs()[0]
	whole := sealed(t, to, mail8bit(1000))
	password := pack(tagPassword, "\x04\x09\x03\x08saltsalt\x60")
	for name, test := range map[string]struct {
		octets []byte
		want   Message
		reason string
	}{
		"plain":              {whole, Message{Recipients: []Recipient{{ID: id}}, Integrity: "MDC"}, ""},
		"armored":            {inArmor(t, whole), Message{Armored: true, Recipients: []Recipient{{ID: id}}, Integrity: "MDC"}, ""},
		"hidden":             {append(sessionKey(t, to, true), whole...), Message{Recipients: []Recipient{{}, {ID: id}}, Integrity: "MDC"}, ""},
		"password":           {append(bytes.Clone(password), whole...), Message{Passwords: 1, Recipients: []Recipient{{ID: id}}, Integrity: "MDC"}, ""},
		"no integrity":       {unproven(t, to), Message{Recipients: []Recipient{{ID: id}}, Integrity: "none"}, ""},
		"marked":             {append(pack(tagMarker, "PGP"), whole...), Message{Recipients: []Recipient{{ID: id}}, Integrity: "MDC"}, ""},
		"nothing":            {nil, Message{}, malformed},
		"mail":               {mail8bit(100), Message{}, malformed},
		"keys only":          {sessionKey(t, to, false), Message{}, malformed},
		"cut off":            {whole[:len(whole)-1], Message{}, malformed},
		"more":               {append(bytes.Clone(whole), 0), Message{}, malformed},
		"twice":              {append(bytes.Clone(whole), whole...), Message{}, malformed},
		"armor cut off":      {inArmor(t, whole)[:500], Message{}, malformed},
		"cut off in armor":   {inArmor(t, whole[:len(whole)-1]), Message{}, malformed},
		"signature":          {pack(tagSignature, "x"), Message{}, unsupported},
		"literal":            {pack(tagLiteral, literal('b', "", "hello")), Message{}, unsupported},
		"a key":              {pack(6, "\x04"), Message{}, malformed},
		"huge session key":   {pack(tagKey, strings.Repeat("x", mostSessionKey+1)), Message{}, malformed},
		"version 3 of data":  {append(sessionKey(t, to, false), pack(tagProtected, "\x03x")...), Message{}, unsupported},
		"unknown data":       {slices.Concat(password, pack(tagProtected, "\x03x")), Message{}, unsupported},
		"unknown key":        {slices.Concat(pack(tagKey, "\x09x"), whole), Message{Recipients: []Recipient{{ID: id}}, Integrity: "MDC"}, ""},
		"in parts too small": {slices.Concat(password, []byte{0xc0 | tagProtected, 0xe0}), Message{}, malformed},
	} {
		before := bytes.Clone(test.octets)
		got, err := Inspect(test.octets)
		if reason(err) != test.reason {
			t.Errorf("%s: %v, want %q", name, err, test.reason)
		}
		if err == nil && (got.Armored != test.want.Armored || got.Integrity != test.want.Integrity || got.Passwords != test.want.Passwords || !slices.Equal(got.Recipients, test.want.Recipients)) {
			t.Errorf("%s: %+v, want %+v", name, got, test.want)
		}
		if !bytes.Equal(test.octets, before) {
			t.Errorf("%s: the octets were changed", name)
		}
	}
}

// TestContain has the library fail as it must not.
func TestContain(t *testing.T) {
	_, to := pair(t)
	keys := &Keys{private: []*packet.PrivateKey{nil}}
	if plaintext, err := keys.Decrypt(sealed(t, to, []byte("hello")), 100, nil); reason(err) != malformed || plaintext != nil {
		t.Errorf("%q, %v", plaintext, err)
	}
}

func TestRefusesUnproven(t *testing.T) {
	keys, to := pair(t)
	if _, err := keys.Decrypt(unproven(t, to), 100, nil); reason(err) != noIntegrity {
		t.Error(err)
	}
	// A protected message that somebody made one without protection.
	message := sealed(t, to, []byte("hello"))
	message[borders(t, message)[3]] = 0xc0 | tagUnproven
	if _, err := keys.Decrypt(message, 100, nil); reason(err) != noIntegrity {
		t.Error(err)
	}
}

// TestInspectGnuPG compares with what gpg says of its own messages.
func TestInspectGnuPG(t *testing.T) {
	eachGnuPG(t, func(t *testing.T, _ gnupg.Version, home *gnupg.Home) {
		id := home.Key(t, "me@example.com", "ed25519", "cv25519", "")
		other := home.Key(t, "other@example.com", "nistp256", "nistp256", "")
		message := home.Run(t, mail8bit(1000), "--encrypt", "--armor", "--recipient", id, "--recipient", other, "--symmetric", "--passphrase", "x")
		m, err := Inspect(message)
		if err != nil {
			t.Fatal(err)
		}
		listed := string(home.Run(t, message, "--list-packets", "--list-only"))
		for _, r := range m.Recipients {
			if !strings.Contains(listed, "keyid "+r.ID) {
				t.Errorf("%s is not in %s", r.ID, listed)
			}
		}
		if len(m.Recipients) != 2 || m.Passwords != 1 || m.Integrity != "MDC" || !m.Armored {
			t.Errorf("%+v", m)
		}
	})
}
