package pgp

import (
	"bytes"
	"fmt"
	"os"
	"testing"

	"github.com/ProtonMail/go-crypto/openpgp/packet"
	openpgp "github.com/ProtonMail/go-crypto/openpgp/v2"
)

func read(t testing.TB, name string) []byte {
	t.Helper()
	octets, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return octets
}

// TestRFC9580Vector has the key of RFC 9580 A.4 and the message of A.8.
func TestRFC9580Vector(t *testing.T) {
	keys, err := ReadKeys(read(t, "testdata/rfc9580/key.asc"), "")
	if err != nil {
		t.Fatal(err)
	}
	m := wants(t, keys, read(t, "testdata/rfc9580/message.asc"), []byte("Hello, world!"))
	const fingerprint = "12C83F1E706F6308FE151A417743A1F033790E93E9978488D1DB378DA9930885"
	if m.Integrity != "AEAD" || !m.Armored || len(m.Recipients) != 1 || m.Recipients[0] != (Recipient{ID: fingerprint[:16], Fingerprint: fingerprint}) {
		t.Errorf("%+v", m)
	}
}

// modern are kinds of keys that only RFC 9580 has; those of version 4 may be
// written to in its old and its new format.
var modern = []packet.Config{
	{V6Keys: true, Algorithm: packet.PubKeyAlgoEd25519, AEADConfig: &packet.AEADConfig{DefaultMode: packet.AEADModeOCB}},
	{V6Keys: true, Algorithm: packet.PubKeyAlgoEd25519, AEADConfig: &packet.AEADConfig{DefaultMode: packet.AEADModeGCM}},
	{V6Keys: true, Algorithm: packet.PubKeyAlgoEd25519, AEADConfig: &packet.AEADConfig{DefaultMode: packet.AEADModeEAX}},
	{V6Keys: true, Algorithm: packet.PubKeyAlgoEd448, AEADConfig: &packet.AEADConfig{}},
	{V6Keys: true, Algorithm: packet.PubKeyAlgoEd25519}, // MDC
	{V6Keys: true, Algorithm: packet.PubKeyAlgoRSA, AEADConfig: &packet.AEADConfig{}},
	{Algorithm: packet.PubKeyAlgoEd25519, AEADConfig: &packet.AEADConfig{}},
	{Algorithm: packet.PubKeyAlgoEd25519},
}

// modernKey makes a key with the library, and reads it.
func modernKey(t testing.TB, config *packet.Config) (*openpgp.Entity, *Keys) {
	t.Helper()
	e, err := openpgp.NewEntity("", "", "me@example.com", config)
	if err != nil {
		t.Fatal(err)
	}
	out := new(bytes.Buffer)
	if err := e.SerializePrivateWithoutSigning(out, config); err != nil {
		t.Fatal(err)
	}
	keys, err := ReadKeys(out.Bytes(), "")
	if err != nil {
		t.Fatal(err)
	}
	return e, keys
}

// byLibrary encrypts with the library.
func byLibrary(t testing.TB, config *packet.Config, to, hidden []*openpgp.Entity, plaintext []byte) []byte {
	t.Helper()
	out := new(bytes.Buffer)
	w, err := openpgp.Encrypt(out, to, hidden, nil, nil, config)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(plaintext); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func TestRFC9580(t *testing.T) {
	mail := mail8bit(600000) // several chunks
	for i, config := range modern {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			e, keys := modernKey(t, &config)
			other, _ := modernKey(t, &config)
			integrity := "MDC"
			if config.AEADConfig != nil {
				integrity = "AEAD"
			}
			for _, to := range [][2][]*openpgp.Entity{{{e}, nil}, {nil, {e}}, {{other, e}, nil}, {nil, {other, e}}} {
				message := byLibrary(t, &config, to[0], to[1], mail)
				if m := wants(t, keys, message, mail); m.Integrity != integrity || len(m.Recipients) != len(to[0])+len(to[1]) {
					t.Errorf("%+v", m)
				}
			}
			out := new(bytes.Buffer)
			if err := e.Serialize(out); err != nil {
				t.Fatal(err)
			}
			to, err := ReadRecipients(out.Bytes())
			if err != nil {
				t.Fatal(err)
			}
			wants(t, keys, sealed(t, to, mail), mail)
		})
	}
}

// TestMixedVersions has a session key of one version with data of the other,
// which RFC 9580 10.3.2.1 forbids.
func TestMixedVersions(t *testing.T) {
	config := packet.Config{V6Keys: true, Algorithm: packet.PubKeyAlgoEd25519, AEADConfig: &packet.AEADConfig{}}
	e, keys := modernKey(t, &config)
	key, err := e.EncryptionKeyWithError(config.Now(), &config)
	if err != nil {
		t.Fatal(err)
	}
	suite := packet.CipherSuite{Cipher: aes256, Mode: packet.AEADModeOCB}
	for _, versions := range [][2]bool{{true, true}, {false, false}, {true, false}, {false, true}} {
		out, session := new(bytes.Buffer), make([]byte, 32)
		if err := packet.SerializeEncryptedKeyAEAD(out, key.PublicKey, aes256, versions[0], session, nil); err != nil {
			t.Fatal(err)
		}
		w, err := packet.SerializeSymmetricallyEncrypted(out, aes256, versions[1], suite, session, &config)
		if err != nil {
			t.Fatal(err)
		}
		w.Write(pack(tagLiteral, literal('b', "", "hello")))
		w.Close()
		want := ""
		if versions[0] != versions[1] {
			want = noKey
		}
		if _, err := keys.Decrypt(out.Bytes(), 100, nil); reason(err) != want {
			t.Errorf("%v: %v", versions, err)
		}
	}
}
