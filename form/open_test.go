package form

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp/armor"
	"github.com/ProtonMail/go-crypto/openpgp/packet"

	"github.com/homing-mail/homing/internal/gnupg"
)

func TestUnarmor(t *testing.T) {
	const good = "aGVsbG8gaGVsbG8gaGVsbG8=" // hello hello hello
	for name, c := range map[string]struct {
		text string
		ok   bool
	}{
		"one line":              {beginLine + "\n\n" + good + "\n" + endLine, true},
		"several lines":         {beginLine + "\n\n" + good[:5] + "\n" + good[5:] + "\n" + endLine + "\n", true},
		"CR LF":                 {beginLine + "\r\n\r\n" + good + "\r\n" + endLine + "\r\n", true},
		"checksum":              {beginLine + "\n\n" + good + "\n=abcd\n" + endLine, true},
		"wrong checksum":        {beginLine + "\n\n" + good + "\n=????\n" + endLine, true},
		"headers":               {beginLine + "\nVersion: 1\nComment: x\n\n" + good + "\n" + endLine, true},
		"space around":          {" \n" + beginLine + "\n\n" + good + "\n" + endLine + "\n\n", true},
		"too many headers":      {beginLine + strings.Repeat("\nComment: x", maxArmorHeaders+1) + "\n\n" + good + "\n" + endLine, false},
		"text among headers":    {beginLine + "\nhello\n\n" + good + "\n" + endLine, false},
		"text after the begin":  {beginLine + " hello\n\n" + good + "\n" + endLine, false},
		"text before":           {"hello\n" + beginLine + "\n\n" + good + "\n" + endLine, false},
		"text after":            {beginLine + "\n\n" + good + "\n" + endLine + "\nhello", false},
		"text after the end":    {beginLine + "\n\n" + good + "\n" + endLine + "hello", false},
		"text in between":       {beginLine + "\n\n" + good[:8] + "\n(hello)\n" + good[8:] + "\n" + endLine, false},
		"space in between":      {beginLine + "\n\n" + good[:8] + " " + good[8:] + "\n" + endLine, false},
		"no empty line":         {beginLine + "\n" + good + "\n" + endLine, false},
		"no end":                {beginLine + "\n\n" + good, false},
		"end in a line":         {beginLine + "\n\n" + good + endLine, false},
		"no content":            {beginLine + "\n\n" + endLine, false},
		"checksum alone":        {beginLine + "\n\n=abcd\n" + endLine, false},
		"padding in the middle": {beginLine + "\n\n" + good + good + "\n" + endLine, false},
		"no padding":            {beginLine + "\n\n" + strings.TrimRight(good, "=") + "\n" + endLine, false},
		"another form of it":    {beginLine + "\n\n" + strings.Replace(good, "8=", "9=", 1) + "\n" + endLine, false},
		"URL alphabet":          {beginLine + "\n\n__--\n" + endLine, false},
		"nothing":               {"", false},
		"begin alone":           {beginLine, false},
		"signed":                {"-----BEGIN PGP SIGNED MESSAGE-----\n\n" + good + "\n" + endLine, false},
	} {
		octets, err := unarmor([]byte(c.text))
		if (err == nil) != c.ok || c.ok && string(octets) != "hello hello hello" {
			t.Errorf("%s: %q, %v", name, octets, err)
		}
	}
}

// Another reader takes what we write.
func TestAppendArmor(t *testing.T) {
	for size := range 200 {
		octets := bytes.Repeat([]byte{0xa5}, size+1)
		text := appendArmor(nil, octets, true)
		var theirs bytes.Buffer
		w, err := armor.EncodeWithChecksumOption(&theirs, "PGP MESSAGE", nil, true)
		if err != nil {
			t.Fatal(err)
		}
		w.Write(octets)
		w.Close()
		if ours := strings.ReplaceAll(string(text), "\r\n", "\n"); ours != theirs.String()+"\n" {
			t.Fatalf("ours is %q, another's %q", ours, theirs.String())
		}
		block, err := armor.Decode(bytes.NewReader(appendArmor(nil, octets, false)))
		if err != nil || block.Type != "PGP MESSAGE" {
			t.Fatal(block, err)
		}
		if got, err := io.ReadAll(block.Body); err != nil || !bytes.Equal(got, octets) {
			t.Errorf("%d octets come back as %x, %v", size, got, err)
		}
	}
}

// GnuPG reads every armor that we write, as mail programs have it do.
func TestArmorForGnuPG(t *testing.T) {
	for _, version := range gnupg.Versions() {
		t.Run(string(version), func(t *testing.T) {
			gpg := gnupg.New(t, version)
			key := gpg.Key(t, mailbox, "ed25519", "cv25519", "")
			remainders := map[int]bool{}
			for size := 1; size < 20 || len(remainders) < 3; size++ {
				text := strings.Repeat("x", size)
				octets := gpg.Run(t, []byte(text), "--compress-algo", "none", "--rfc4880", "--encrypt", "--recipient", key)
				remainders[len(octets)%3] = true
				if got, err := gpg.Try(t, appendArmor(nil, octets, true), "--decrypt"); err != nil || string(got) != text {
					t.Errorf("%d octets: %q, %v", len(octets), got, err)
				}
			}
		})
	}
}

// v6Key is a session key as RFC 9580 has it, for the key with a fingerprint of
// this version.
func v6Key(version byte, fingerprint []byte) []byte {
	body := append([]byte{6, byte(1 + len(fingerprint)), version}, fingerprint...)
	body = append(body, bytes.Repeat([]byte{25}, 90)...)
	return append([]byte{0xc1, byte(len(body))}, body...)
}

// part is a data packet whose body comes in several parts.
func partial(parts ...string) []byte {
	b := []byte{0xd2}
	for i, part := range parts {
		if i == len(parts)-1 {
			b = append(b, byte(len(part)))
		} else {
			b = append(b, 0xe0|byte(len(parts[i])>>10+9))
		}
		b = append(b, part...)
	}
	return b
}

// likeSessionKey is a packet with another tag, text in it, and the beginning of a
// session key for the expected key.
func likeSessionKey(tag byte) []byte {
	packet := sessionKey(key, false)
	copy(packet[2+9:], "hello, anybody can read this")
	packet[0] = 0xc0 | tag
	return packet
}

func TestParse(t *testing.T) {
	join := func(packets ...[]byte) []byte { return slices.Concat(packets...) }
	mine, legacy := sessionKey(key, false), sessionKey(key, true)
	sealed := data("x")
	v2 := bytes.Clone(sealed)
	v2[6] = 2
	v3 := bytes.Clone(sealed)
	v3[6] = 3
	const id = 0x0102030405060708
	kilo := "\x01" + strings.Repeat("x", 511)
	for name, c := range map[string]struct {
		message []byte
		want    []uint64 // nil: refused
	}{
		"one":                         {join(mine, sealed), []uint64{id}},
		"legacy format":               {join(legacy, sealed), []uint64{id}},
		"several":                     {join(mine, sessionKey([]byte("strangER"), true), sealed), []uint64{id, 0x737472616e674552}},
		"version 2 data":              {join(mine, v2), []uint64{id}},
		"hidden":                      {join(sessionKey(make([]byte, 8), false), sealed), []uint64{0}},
		"hidden, version 6":           {join([]byte{0xc1, 5, 6, 0, 25, 1, 2}, sealed), []uint64{0}},
		"version 6, version 4 key":    {join(v6Key(4, append(make([]byte, 12), key...)), sealed), []uint64{id}},
		"version 6, version 6 key":    {join(v6Key(6, append(bytes.Clone(key), make([]byte, 24)...)), sealed), []uint64{id}},
		"data in parts":               {join(mine, partial(kilo, kilo, "end")), []uint64{id}},
		"version 6, key of version 5": {join(v6Key(5, make([]byte, 32)), sealed), nil},
		"parts cut off":               {join(mine, partial(kilo, kilo))[:len(mine)+500], nil},
		"parts that do not end":       {join(mine, partial(kilo, "")[:1+1+512]), nil},
		"session key in parts":        {join([]byte{0xc1, 0xe9}, bytes.Repeat([]byte{3}, 512), []byte{0}, sealed), nil},
		"unknown version of data":     {join(mine, v3), nil},
		"tiny data":                   {join(mine, []byte{0xd2, 2, 1, 1}), nil},
		"data cut off":                {join(mine, sealed)[:len(mine)+20], nil},
		"a length cut off":            {join(mine, []byte{0xd2, 0xff, 0}), nil},
		"literal text":                {join(mine, []byte{0xcb, 11, 'u', 0, 0, 0, 0, 0, 'h', 'e', 'l', 'l', 'o'}, sealed), nil},
		"literal text alone":          {[]byte{0xcb, 11, 'u', 0, 0, 0, 0, 0, 'h', 'e', 'l', 'l', 'o'}, nil},
		"marker":                      {join([]byte{0xca, 3, 'P', 'G', 'P'}, mine, sealed), nil},
		"padding":                     {join(mine, []byte{0xd5, 5, 'h', 'e', 'l', 'l', 'o'}, sealed), nil},
		"private":                     {join(mine, []byte{0xfc, 5, 'h', 'e', 'l', 'l', 'o'}, sealed), nil},
		"a signature like a key":      {join(likeSessionKey(2), sealed), nil},
		"a marker like a key":         {join(mine, likeSessionKey(10), sealed), nil},
		"literal text like a key":     {join(likeSessionKey(11), sealed), nil},
		"a user ID like a key":        {join(mine, likeSessionKey(13), sealed), nil},
		"private, like a key":         {join(mine, likeSessionKey(60), sealed), nil},
		"for a password":              {join([]byte{0xc3, 4, 4, 9, 0, 8}, sealed), nil},
		"for a password, too":         {join(mine, []byte{0xc3, 4, 4, 9, 0, 8}, sealed), nil},
		"without integrity":           {join(mine, []byte{0xc9, 50}, make([]byte, 50)), nil},
		"GnuPG's OCB":                 {join(mine, []byte{0xd4, 50}, make([]byte, 50)), nil},
		"two data":                    {join(mine, sealed, sealed), nil},
		"key after data":              {join(sealed, mine), nil},
		"data alone":                  {sealed, nil},
		"legacy without length":       {join(mine, []byte{0xcb}), nil},
		"endless legacy":              {join(mine, []byte{0x87}, make([]byte, 50)), nil},
		"session key too large":       {join([]byte{0xc1, 0xff, 0, 0, 0x20, 0}, bytes.Repeat([]byte{3}, 0x2000), sealed), nil},
		"too many":                    {join(bytes.Repeat(mine, maxSessionKeys+1), sealed), nil},
		"as many as may be":           {join(bytes.Repeat(mine, maxSessionKeys), sealed), slices.Repeat([]uint64{id}, maxSessionKeys)},
		"nothing":                     {nil, nil},
	} {
		var got []uint64
		message, err := parse(c.message)
		if err == nil {
			got = message.recipients
		}
		if !slices.Equal(got, c.want) || (err == nil) != (c.want != nil) {
			t.Errorf("%s: %x, %v; want %x", name, got, err, c.want)
		}
		if err != nil && !errors.Is(err, errPacket) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// What is taken consists, to another reader of OpenPGP too, of nothing but
// session keys for the recipients that were found, and of data.
func FuzzParse(f *testing.F) {
	f.Add(message("hello"))
	f.Add(append(sessionKey(key, true), partial("\x01"+strings.Repeat("x", 511), "end")...))
	f.Add(append(v6Key(4, make([]byte, 20)), data("x")...))
	f.Fuzz(func(t *testing.T, octets []byte) {
		message, err := parse(octets)
		if err != nil {
			return
		}
		ids := message.recipients
		in := bytes.NewReader(octets)
		reader := packet.NewOpaqueReader(in)
		for i := 0; ; i++ {
			p, err := reader.Next()
			if errors.Is(err, io.EOF) && i == len(ids)+1 {
				return
			}
			if err != nil {
				t.Fatalf("packet %d of %x: %v", i, octets, err)
			}
			if i < len(ids) && p.Tag != tagSessionKey || i == len(ids) && p.Tag != tagData || i > len(ids) {
				t.Fatalf("packet %d of %d of %x has the tag %d", i, len(ids)+1, octets, p.Tag)
			}
		}
	})
}

// What is taken out of an armor is the same to another reader, and armored anew
// it is the same again.
func FuzzUnarmor(f *testing.F) {
	f.Add(armored(message("hello")))
	f.Add([]byte(beginLine + "\r\nComment: x\r\n\r\naGVsbG8=\r\n=abcd\r\n" + endLine))
	f.Fuzz(func(t *testing.T, text []byte) {
		octets, err := unarmor(bytes.Clone(text))
		if err != nil {
			return
		}
		anew := appendArmor(nil, octets, true)
		block, err := armor.Decode(bytes.NewReader(anew))
		if err != nil {
			t.Fatal(err)
		}
		if other, err := io.ReadAll(block.Body); err != nil || !bytes.Equal(other, octets) {
			t.Fatalf("%q is %x to us and %x to another, %v", text, octets, other, err)
		}
		if again, err := unarmor(anew); err != nil || !bytes.Equal(again, octets) {
			t.Fatalf("armored anew it is %x, not %x; %v", again, octets, err)
		}
	})
}

// No request crashes the receiver, and none without the secret is taken.
func FuzzRequest(f *testing.F) {
	f.Add("application/pgp-encrypted", "1777863721", strings.Repeat("0", 32), "v1="+strings.Repeat("0", 64), armored(message("hello")))
	f.Add("text/plain; charset=us-ascii", "0", "", "v1=", []byte(nil))
	never := errors.New("nothing is to get this far")
	handler, err := New(Config{
		Secret: []byte(secret), Keys: []string{keyName}, Mailbox: mailbox, From: from, Spool: &broken{find: never, before: never},
		Observer: &tally{results: map[string]int{}}, Log: slog.New(slog.DiscardHandler), Now: func() time.Time { return time.Unix(1777863721, 0) },
	})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, kind, at, nonce, signature string, body []byte) {
		req := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/form", bytes.NewReader(body))
		for name, value := range map[string]string{"Content-Type": kind, headerTime: at, headerNonce: nonce, headerSignature: signature} {
			req.Header.Set(name, value)
		}
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, req)
		if w.Code < 400 || w.Code >= 500 {
			t.Errorf("answered %d %s", w.Code, w.Body)
		}
	})
}
