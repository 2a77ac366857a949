package pgp

import (
	"bytes"
	"testing"

	"github.com/ProtonMail/go-crypto/openpgp/packet"
	openpgp "github.com/ProtonMail/go-crypto/openpgp/v2"
	"pgregory.net/rapid"

	"github.com/homing-mail/homing/internal/gnupg"
)

// specimen is a message and the keys that open it.
type specimen struct {
	name    string
	keys    *Keys
	message []byte
	mail    []byte
}

// specimens are of all formats that need no gpg.
func specimens(t testing.TB) (all []specimen) {
	mail := mail8bit(70000)
	keys, to := pair(t)
	data := literal('b', "", string(mail))
	all = append(all,
		specimen{"MDC", keys, sealed(t, to, mail), mail},
		specimen{"MDC in parts", keys, sealPackets(t, to, packParts(tagLiteral, data)), mail},
		specimen{"MDC compressed", keys, sealPackets(t, to, pack(tagCompressed, deflated(t, pack(tagLiteral, data)))), mail},
	)
	for _, mode := range []packet.AEADMode{packet.AEADModeOCB, packet.AEADModeGCM} {
		config := packet.Config{V6Keys: true, Algorithm: packet.PubKeyAlgoEd25519, AEADConfig: &packet.AEADConfig{DefaultMode: mode}}
		e, keys := modernKey(t, &config)
		all = append(all, specimen{"AEAD", keys, byLibrary(t, &config, []*openpgp.Entity{e}, nil, mail), mail})
	}
	return all
}

// spoil has a message decrypted that is not what was encrypted.
func (s specimen) spoil(t testing.TB, message []byte, what string, where int) {
	t.Helper()
	if got, err := s.keys.Decrypt(bytes.Clone(message), int64(len(s.mail)), nil); err == nil {
		t.Errorf("%s, %s %d: %d octets delivered", s.name, what, where, len(got))
	} else if reason(err) == tooLarge || reason(err) == noIntegrity {
		t.Errorf("%s, %s %d: %v", s.name, what, where, err)
	}
}

// corrupt changes each of the last 200 octets, cuts off each number of octets up
// to 200 and at each border of packets and parts, and appends.
func (s specimen) corrupt(t *testing.T) {
	if got, err := s.keys.Decrypt(bytes.Clone(s.message), int64(len(s.mail)), nil); err != nil || !bytes.Equal(got, s.mail) {
		t.Fatalf("%s: %v", s.name, err)
	}
	whole := len(s.message)
	for i := range 200 {
		at := whole - 1 - i
		for _, bits := range []byte{1 << (i % 8), 0xff} {
			message := bytes.Clone(s.message)
			message[at] ^= bits
			s.spoil(t, message, "changed at", at)
		}
		s.spoil(t, s.message[:at], "cut off at", at)
	}
	for _, at := range borders(t, s.message) {
		s.spoil(t, s.message[:at], "cut off at border", at)
	}
	for _, more := range [][]byte{{0}, {'\n'}, s.message, pack(tagPadding, "x"), pack(tagMarker, "PGP")} {
		s.spoil(t, append(bytes.Clone(s.message), more...), "appended", len(more))
	}
}

// borders are the offsets at which packets and their parts begin, and their
// headers end.
func borders(t testing.TB, message []byte) (at []int) {
	t.Helper()
	for i := 0; i < len(message); {
		at = append(at, i)
		i++
		for more := true; more; {
			at = append(at, i)
			var length int
			length, i, more = partAt(message, i)
			at = append(at, i)
			i += length
		}
	}
	return at
}

// partAt reads the length of a part in the new format.
func partAt(message []byte, i int) (length, after int, more bool) {
	switch first := message[i]; {
	case first < 192:
		return int(first), i + 1, false
	case first < 224:
		return int(first-192)<<8 + int(message[i+1]) + 192, i + 2, false
	case first < 255:
		return 1 << (first & 0x1f), i + 1, true
	}
	return int(message[i+1])<<24 | int(message[i+2])<<16 | int(message[i+3])<<8 | int(message[i+4]), i + 5, false
}

func TestCorrupt(t *testing.T) {
	for _, s := range specimens(t) {
		t.Run(s.name, s.corrupt)
	}
}

// TestCorruptGnuPG does the same to what gpg writes: in parts, with OCB, armored.
func TestCorruptGnuPG(t *testing.T) {
	eachGnuPG(t, func(t *testing.T, version gnupg.Version, home *gnupg.Home) {
		id := home.Key(t, "me@example.com", "ed25519", "cv25519", "")
		keys := exported(t, home, id, "")
		mail := mail8bit(70000)
		kinds := map[string][]string{"compressed": nil, "signed": {"--sign"}, "plain": {"--compress-algo", "none"}}
		if version == gnupg.V24 {
			kinds["OCB"] = []string{"--compliance", "gnupg", "--force-ocb", "--compress-algo", "none"}
		}
		for name, args := range kinds {
			message := home.Run(t, mail, append(args, "--encrypt", "--recipient", id)...)
			if message[0] == 0x84 { // the old format, with a length of one octet
				message = append([]byte{0xc0 | tagKey}, message[1:]...)
			}
			s := specimen{name, keys, message, mail}
			s.corrupt(t)
			s.message = home.Run(t, mail, append(args, "--armor", "--encrypt", "--recipient", id)...)
			s.corruptArmor(t)
		}
	})
}

// corruptArmor changes and cuts armored text. Its last line end may be missing,
// and neither its checksum nor the case of white space matters.
func (s specimen) corruptArmor(t *testing.T) {
	end := bytes.LastIndex(s.message, []byte("\n="))
	if end < 0 { // GnuPG 2.4 writes none
		end = bytes.LastIndex(s.message, []byte("\n-----END"))
	}
	for i := range 200 {
		message := bytes.Clone(s.message)
		if at := end - 1 - i; message[at] != '\n' {
			message[at] ^= 1 << (i % 7)
			if got, err := s.keys.Decrypt(bytes.Clone(message), 1<<20, nil); err == nil && !bytes.Equal(got, s.mail) {
				t.Errorf("%s: armor changed at %d: %d octets delivered", s.name, at, len(got))
			}
		}
		s.spoil(t, s.message[:len(s.message)-2-i], "armor cut off by", 2+i)
	}
	s.spoil(t, append(bytes.Clone(s.message), "x"...), "appended", 1)
	s.spoil(t, append(bytes.Clone(s.message), s.message...), "appended", len(s.message))
}

// TestCorruptAnywhere changes a message anywhere: it is refused, or nothing of
// meaning was changed.
func TestCorruptAnywhere(t *testing.T) {
	all := specimens(t)
	rapid.Check(t, func(t *rapid.T) {
		s := all[rapid.IntRange(0, len(all)-1).Draw(t, "specimen")]
		message := bytes.Clone(s.message)
		at := rapid.OneOf(rapid.IntRange(0, 300), rapid.IntRange(0, len(message)-1)).Draw(t, "at")
		message[at] ^= rapid.ByteRange(1, 255).Draw(t, "bits")
		if got, err := s.keys.Decrypt(message, 1<<20, nil); err == nil && !bytes.Equal(got, s.mail) {
			t.Fatalf("%s: %d octets delivered", s.name, len(got))
		}
	})
}
