package pgp

import (
	"bytes"
	"errors"
	"io"
	"testing"

	"github.com/ProtonMail/go-crypto/openpgp/packet"
	openpgp "github.com/ProtonMail/go-crypto/openpgp/v2"
)

// fuzzKey is the same in every process of a fuzzing run, so that its messages
// may be kept as a corpus.
func fuzzKey(t testing.TB) *Keys {
	t.Helper()
	keys, err := ReadKeys(read(t, "testdata/fuzz-key.asc"), "")
	if err != nil {
		t.Fatal(err)
	}
	return keys
}

func fuzzRecipients(t testing.TB) *Recipients {
	t.Helper()
	return &Recipients{keys: []*packet.PublicKey{&fuzzKey(t).private[0].PublicKey}}
}

// FuzzDecrypt decrypts anything. What is delivered, the library decrypts alike.
func FuzzDecrypt(f *testing.F) {
	keys, to := fuzzKey(f), fuzzRecipients(f)
	message := sealed(f, to, []byte("hello"))
	f.Add(message)
	f.Add(inArmor(f, message))
	f.Add(append(sessionKey(f, to, true), message...))
	f.Add(append(pack(tagMarker, "PGP"), message...))
	f.Add(unproven(f, to))
	f.Add(read(f, "testdata/rfc9580/message.asc"))
	f.Fuzz(func(t *testing.T, octets []byte) {
		got, err := keys.Decrypt(bytes.Clone(octets), 1<<20, nil)
		compare(t, octets, got, err)
		m, inspectErr := Inspect(octets)
		if err == nil && (inspectErr != nil || m.Integrity == "none") {
			t.Errorf("decrypted, but inspected as %+v, %v", m, inspectErr)
		}
	})
}

// FuzzContents encrypts anything.
func FuzzContents(f *testing.F) {
	keys, to := fuzzKey(f), fuzzRecipients(f)
	data := literal('b', "", "hello")
	f.Add(pack(tagLiteral, data))
	f.Add(packParts(tagLiteral, data))
	f.Add(pack(tagCompressed, deflated(f, packParts(tagLiteral, data))))
	f.Add(pack(tagCompressed, zlibbed(pack(tagLiteral, data))))
	f.Add(pack(tagCompressed, "\x03BZh9"))
	f.Add(append([]byte{0x80 | tagLiteral<<2 | 3}, data...))
	f.Add(bytes.Join([][]byte{pack(tagOnePass, "\x03\x00\x08\x16keykeyke\x01"), pack(tagLiteral, data), pack(tagSignature, "\x04")}, nil))
	f.Fuzz(func(t *testing.T, packets []byte) {
		message := sealPackets(t, to, packets)
		got, err := keys.Decrypt(bytes.Clone(message), 1<<20, nil)
		if r := reason(err); r == broken || r == noKey {
			t.Error(err)
		}
		compare(t, message, got, err)
	})
}

// compare has the library decrypt a message that homing decrypted: it must find
// the same, or refuse. It refuses, for example, signatures that it cannot read.
func compare(t *testing.T, message, got []byte, err error) {
	t.Helper()
	if failed, ok := errors.AsType[*Error](err); err != nil && (!ok || failed.Reason() == "") {
		t.Errorf("an error without a reason: %v", err)
	}
	if err != nil {
		return
	}
	if len(got) > 1<<20 {
		t.Errorf("%d octets, more than the limit", len(got))
	}
	packets, _, err := open(message)
	if err != nil {
		t.Fatal(err)
	}
	ring, err := readEntities(read(t, "testdata/fuzz-key.asc"))
	if err != nil {
		t.Fatal(err)
	}
	md, err := openpgp.ReadMessage(packets, openpgp.EntityList(ring), nil, nil)
	if err != nil {
		return
	}
	if want, err := io.ReadAll(md.UnverifiedBody); err == nil && !bytes.Equal(got, want) {
		t.Errorf("%q, but %q by the library", got, want)
	}
}

// FuzzInspect reads anything.
func FuzzInspect(f *testing.F) {
	to := fuzzRecipients(f)
	message := sealed(f, to, []byte("hello"))
	f.Add(message)
	f.Add(inArmor(f, message))
	f.Add(unproven(f, to))
	f.Add(append(pack(tagPassword, "\x04\x09\x03\x08saltsalt\x60"), message...))
	f.Fuzz(func(t *testing.T, octets []byte) {
		before := bytes.Clone(octets)
		m, err := Inspect(octets)
		if !bytes.Equal(octets, before) {
			t.Error("the octets were changed")
		}
		if failed, ok := errors.AsType[*Error](err); err != nil && (!ok || failed.Reason() == "") {
			t.Errorf("an error without a reason: %v", err)
		}
		if err == nil && (m.Armored || tagOf(octets[0]) == tagProtected) && !Encrypted(octets) {
			t.Errorf("not recognised: %q", octets)
		}
	})
}
