package pgp

import (
	"bytes"
	"compress/flate"
	"compress/zlib"
	"encoding/binary"
	"errors"
	"io"
	"runtime"
	"strings"
	"testing"

	"github.com/ProtonMail/go-crypto/openpgp/packet"
)

// sealPackets encrypts any packets at all, with the library.
func sealPackets(t testing.TB, to *Recipients, packets ...[]byte) []byte {
	t.Helper()
	out, key := new(bytes.Buffer), make([]byte, 32)
	if err := packet.SerializeEncryptedKeyAEAD(out, to.keys[0], aes256, false, key, nil); err != nil {
		t.Fatal(err)
	}
	w, err := packet.SerializeSymmetricallyEncrypted(out, aes256, false, packet.CipherSuite{}, key, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(bytes.Join(packets, nil)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// pack makes a packet of known length.
func pack(tag byte, body string) []byte {
	return append(binary.BigEndian.AppendUint32([]byte{0xc0 | tag, 255}, uint32(len(body))), body...)
}

// packParts makes a packet of parts of 512 octets (RFC 9580 4.2.1.4).
func packParts(tag byte, body string) []byte {
	out := []byte{0xc0 | tag}
	for ; len(body) >= 512; body = body[512:] {
		out = append(append(out, 0xe0|9), body[:512]...)
	}
	return append(append(out, 255, 0, 0, byte(len(body)>>8), byte(len(body))), body...)
}

func literal(format byte, name, data string) string {
	return string(format) + string(rune(len(name))) + name + "date" + data
}

func deflated(t testing.TB, packets ...[]byte) string {
	t.Helper()
	out := new(bytes.Buffer)
	w, err := flate.NewWriter(out, flate.BestSpeed)
	if err != nil {
		t.Fatal(err)
	}
	w.Write(bytes.Join(packets, nil))
	w.Close()
	return "\x01" + out.String()
}

func zlibbed(packets ...[]byte) string {
	out := new(bytes.Buffer)
	w := zlib.NewWriter(out)
	w.Write(bytes.Join(packets, nil))
	w.Close()
	return "\x02" + out.String()
}

func TestContents(t *testing.T) {
	keys, to := pair(t)
	mail := string(mail8bit(3000))
	data := literal('b', "", mail)
	indeterminate := append([]byte{0x80 | tagLiteral<<2 | 3}, data...)
	old := append([]byte{0x80 | tagLiteral<<2 | 1, byte(len(data) >> 8), byte(len(data))}, data...)
	signature := pack(tagSignature, "\x04\x00\x16\x08 any octets")
	onePass := pack(tagOnePass, "\x03\x00\x08\x16 any octets")
	for _, test := range []struct {
		name    string
		packets [][]byte
		want    string // a reason; empty: mail
	}{
		{"plain", [][]byte{pack(tagLiteral, data)}, ""},
		{"text", [][]byte{pack(tagLiteral, literal('t', "", mail))}, ""},
		{"UTF-8 and named", [][]byte{pack(tagLiteral, literal('u', "mail.eml", mail))}, ""},
		{"longest name", [][]byte{pack(tagLiteral, "b\xff"+strings.Repeat("n", 255)+"date"+mail)}, ""},
		{"parts", [][]byte{packParts(tagLiteral, data)}, ""},
		{"old format", [][]byte{old}, ""},
		{"to the end", [][]byte{indeterminate}, ""},
		{"signed", [][]byte{onePass, pack(tagLiteral, data), signature}, ""},
		{"signed long ago", [][]byte{signature, packParts(tagLiteral, data)}, ""},
		{"padded", [][]byte{pack(tagMarker, "PGP"), pack(tagLiteral, data), pack(tagPadding, mail), pack(60, mail)}, ""},
		{"deflated", [][]byte{pack(tagCompressed, deflated(t, pack(tagLiteral, data)))}, ""},
		{"deflated parts", [][]byte{pack(tagCompressed, deflated(t, packParts(tagLiteral, data)))}, ""},
		{"parts deflated", [][]byte{packParts(tagCompressed, deflated(t, pack(tagLiteral, data)))}, ""},
		{"deflated to the end", [][]byte{append([]byte{0x80 | tagCompressed<<2 | 3}, deflated(t, indeterminate)...)}, ""},
		{"deflated and signed", [][]byte{pack(tagCompressed, deflated(t, onePass, packParts(tagLiteral, data), signature))}, ""},
		{"zlib", [][]byte{pack(tagCompressed, zlibbed(pack(tagLiteral, data)))}, ""},
		{"stored", [][]byte{pack(tagCompressed, "\x00"+string(packParts(tagLiteral, data)))}, ""},
		{"nothing", nil, malformed},
		{"signature only", [][]byte{signature}, malformed},
		{"two", [][]byte{pack(tagLiteral, data), pack(tagLiteral, data)}, malformed},
		{"two deflated", [][]byte{pack(tagCompressed, deflated(t, pack(tagLiteral, data), pack(tagLiteral, data)))}, malformed},
		{"two, one deflated", [][]byte{pack(tagCompressed, deflated(t, pack(tagLiteral, data))), pack(tagLiteral, data)}, malformed},
		{"deflated nothing", [][]byte{pack(tagCompressed, deflated(t))}, malformed},
		{"no algorithm", [][]byte{pack(tagCompressed, "")}, malformed},
		{"unknown algorithm", [][]byte{pack(tagCompressed, "\x04abc")}, unsupported},
		{"deflated twice", [][]byte{pack(tagCompressed, deflated(t, pack(tagCompressed, deflated(t, pack(tagLiteral, data)))))}, unsupported},
		{"damaged before it was encrypted", [][]byte{pack(tagCompressed, deflated(t, pack(tagLiteral, data))[:100])}, malformed},
		{"wrong checksum of zlib", [][]byte{pack(tagCompressed, zlibbed(pack(tagLiteral, data))[:40]+"xxxx")}, malformed},
		{"something after it", [][]byte{pack(tagLiteral, data), []byte("text")}, malformed},
		{"an unfinished packet after it", [][]byte{pack(tagLiteral, data), {0xc0 | tagSignature, 100, 1}}, malformed},
		{"cut off", [][]byte{pack(tagLiteral, data)[:1000]}, malformed},
		{"cut off in its header", [][]byte{pack(tagLiteral, "b\x09name")}, malformed},
		{"parts that do not end", [][]byte{packParts(tagLiteral, data)[:1+2*513]}, malformed},
		{"encrypted twice", [][]byte{pack(tagKey, "\x03"), pack(tagProtected, "\x01")}, unsupported},
		{"text", [][]byte{[]byte("hello")}, malformed},
		{"a key", [][]byte{pack(6, "\x04")}, malformed},
		{"a key beside it", [][]byte{pack(tagLiteral, data), pack(6, "\x04")}, malformed},
		{"an unknown packet beside it", [][]byte{pack(39, "x"), pack(tagLiteral, data)}, malformed},
	} {
		message := sealPackets(t, to, test.packets...)
		got, err := keys.Decrypt(bytes.Clone(message), int64(len(mail)), nil)
		if reason(err) != test.want || err == nil && string(got) != mail {
			t.Errorf("%s: %d octets, %v; want %q", test.name, len(got), err, test.want)
		}
		if test.want == "" {
			if _, err := keys.Decrypt(message, int64(len(mail)-1), nil); reason(err) != tooLarge {
				t.Errorf("%s: %v", test.name, err)
			}
		}
	}
}

// TestBomb decompresses to far more than the limit, in all places.
func TestBomb(t *testing.T) {
	keys, to := pair(t)
	const limit, size = 10 << 20, 16 << 20
	zeros := func(tag byte, parts bool) []byte {
		out := new(bytes.Buffer)
		w, err := flate.NewWriter(out, flate.BestSpeed)
		if err != nil {
			t.Fatal(err)
		}
		if parts {
			w.Write([]byte{0xc0 | tag, 0xe0 | 24})
		} else {
			w.Write([]byte{0xc0 | tag, 255, 0x01, 0, 0, 0})
		}
		io.CopyN(w, zero{}, size)
		w.Write([]byte{0})
		w.Close()
		return pack(tagCompressed, "\x01"+out.String())
	}
	for name, packets := range map[string][]byte{
		"known length": zeros(tagLiteral, false),
		"parts":        zeros(tagLiteral, true),
		"signature":    zeros(tagSignature, true),
		"padding":      zeros(tagPadding, false),
	} {
		message := sealPackets(t, to, packets)
		before := allocated()
		_, err := keys.Decrypt(message, limit, func(n int64) error {
			t.Errorf("%s: %d bytes reserved", name, n)
			return nil
		})
		if reason(err) != tooLarge || !strings.Contains(err.Error(), "10485760") {
			t.Errorf("%s: %v", name, err)
		}
		if used := allocated() - before; used > 1<<20 {
			t.Errorf("%s: %d bytes allocated", name, used)
		}
	}
}

type zero struct{}

func (zero) Read(b []byte) (int, error) {
	clear(b)
	return len(b), nil
}

// allocated is all memory that was ever allocated.
func allocated() uint64 {
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return stats.TotalAlloc
}

func TestReserve(t *testing.T) {
	keys, to := pair(t)
	mail := mail8bit(100000)
	data := literal('b', "", string(mail))
	for name, packets := range map[string][]byte{
		"known length": pack(tagCompressed, deflated(t, pack(tagLiteral, data))),
		"parts":        pack(tagCompressed, deflated(t, packParts(tagLiteral, data))),
		"uncompressed": pack(tagLiteral, data),
	} {
		message := sealPackets(t, to, packets)
		var reserved int64
		got, err := keys.Decrypt(bytes.Clone(message), 1<<20, func(n int64) error {
			reserved += n
			return nil
		})
		want := int64(len(mail))
		if name == "uncompressed" {
			want = 0
		}
		if err != nil || !bytes.Equal(got, mail) || reserved != want {
			t.Errorf("%s: %d octets, %d reserved, %v", name, len(got), reserved, err)
		}
		refused := errors.New("no room")
		_, err = keys.Decrypt(message, 1<<20, func(int64) error { return refused })
		if want > 0 && !errors.Is(err, refused) || want == 0 && err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestMemory holds the sum of all that Decrypt allocates, which is more than it
// ever has at a time, and the object itself against the object's size.
func TestMemory(t *testing.T) {
	const size, most = 40 << 20, 2.5
	if testing.Short() {
		t.Skip("makes objects of 40 MB")
	}
	keys, to := pair(t)
	mail := random(size)
	data := literal('b', "", string(mail))
	plain, compressed := sealed(t, to, mail), sealPackets(t, to, pack(tagCompressed, deflated(t, pack(tagLiteral, data))))
	for name, message := range map[string][]byte{
		"plain":              bytes.Clone(plain),
		"armored":            inArmor(t, plain),
		"compressed":         bytes.Clone(compressed),
		"compressed parts":   sealPackets(t, to, packParts(tagCompressed, deflated(t, packParts(tagLiteral, data)))),
		"armored compressed": inArmor(t, compressed),
	} {
		whole := float64(len(message))
		before := allocated()
		got, err := keys.Decrypt(message, size, nil)
		used := float64(allocated() - before)
		if err != nil || !bytes.Equal(got, mail) {
			t.Fatalf("%s: %v", name, err)
		}
		t.Logf("%s: %.2f times the object", name, (whole+used)/whole)
		if whole+used > most*whole {
			t.Errorf("%s: %.0f bytes for an object of %.0f", name, whole+used, whole)
		}
	}
}
