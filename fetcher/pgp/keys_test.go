package pgp

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp/packet"
	openpgp "github.com/ProtonMail/go-crypto/openpgp/v2"

	"github.com/homing-mail/homing/internal/gnupg"
)

func generate(t testing.TB, passphrase string) *Pair {
	t.Helper()
	made, err := Generate("homing", "me@example.com", passphrase)
	if err != nil {
		t.Fatal(err)
	}
	return made
}

func recipients(t testing.TB, made ...*Pair) *Recipients {
	t.Helper()
	var public []byte
	for _, p := range made {
		public = append(public, p.Public...)
	}
	to, err := ReadRecipients(public)
	if err != nil {
		t.Fatal(err)
	}
	return to
}

// noArmor takes the armor off a key.
func noArmor(t testing.TB, key []byte) []byte {
	t.Helper()
	octets, _, err := dearmored(key)
	if err != nil {
		t.Fatal(err)
	}
	return octets
}

func TestReadKeys(t *testing.T) {
	one, two, locked := generate(t, ""), generate(t, ""), generate(t, "secret")
	join := func(keys ...[]byte) []byte { return slices.Concat(keys...) }
	for name, test := range map[string]struct {
		data       []byte
		passphrase string
		want       []*Pair
	}{
		"armored":               {one.Secret, "", []*Pair{one}},
		"needless passphrase":   {one.Secret, "secret", []*Pair{one}},
		"line ends of Windows":  {bytes.ReplaceAll(one.Secret, []byte("\n"), []byte("\r\n")), "", []*Pair{one}},
		"byte order mark":       {join([]byte("\xef\xbb\xbf\n"), one.Secret), "", []*Pair{one}},
		"no last line end":      {bytes.TrimRight(one.Secret, "\n"), "", []*Pair{one}},
		"binary":                {noArmor(t, one.Secret), "", []*Pair{one}},
		"two armored":           {join(one.Secret, []byte("\n\n"), two.Secret), "", []*Pair{one, two}},
		"two binary":            {join(noArmor(t, one.Secret), noArmor(t, two.Secret)), "", []*Pair{one, two}},
		"public keys among it":  {join(one.Public, two.Secret, one.Secret), "", []*Pair{two, one}},
		"locked":                {locked.Secret, "secret", []*Pair{locked}},
		"locked and not locked": {join(one.Secret, locked.Secret), "secret", []*Pair{one, locked}},
	} {
		keys, err := ReadKeys(test.data, test.passphrase)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		var want []string
		for _, p := range test.want {
			want = append(want, p.Subkey)
		}
		if !slices.Equal(keys.IDs(), want) {
			t.Errorf("%s: %q, want %q", name, keys.IDs(), want)
		}
		for _, p := range test.want {
			wants(t, keys, sealed(t, recipients(t, p), []byte("hello")), []byte("hello"))
		}
	}
}

func TestReadKeysRefuses(t *testing.T) {
	one := generate(t, "")
	signing, err := openpgp.NewEntity("", "", "me@example.com", &packet.Config{Algorithm: packet.PubKeyAlgoEdDSA})
	if err != nil {
		t.Fatal(err)
	}
	signing.Subkeys = nil
	onlySigns := new(bytes.Buffer)
	if err := signing.SerializePrivateWithoutSigning(onlySigns, nil); err != nil {
		t.Fatal(err)
	}
	_, to := pair(t)
	for name, test := range map[string]struct {
		data []byte
		want string
	}{
		"nothing":          {nil, "empty"},
		"line ends":        {[]byte("\r\n"), "empty"},
		"text":             {[]byte("hello"), "first line is wrong"},
		"PEM":              {[]byte("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"), "first line is wrong"},
		"public":           {one.Public, "public key"},
		"public binary":    {noArmor(t, one.Public), "public key"},
		"a message":        {inArmor(t, sealed(t, to, nil)), `"MESSAGE"`},
		"binary message":   {sealed(t, to, nil), "no OpenPGP keys"},
		"line ends lost":   {bytes.ReplaceAll(one.Secret, []byte("\n"), []byte(" ")), "line ends"},
		"line ends as \\n": {bytes.ReplaceAll(one.Secret, []byte("\n"), []byte(`\n`)), "line ends"},
		"cut off":          {one.Secret[:len(one.Secret)/2], "cut off"},
		"cut off binary":   {noArmor(t, one.Secret)[:100], "damaged"},
		"damaged":          {bytes.Replace(one.Secret, []byte("\n\n"), []byte("\n\n****"), 1), "base64"},
		"something after":  {append(bytes.Clone(one.Secret), "hello"...), "first line is wrong"},
		"only signs":       {onlySigns.Bytes(), "only signing keys"},
	} {
		keys, err := ReadKeys(test.data, "")
		if err == nil || keys != nil || errors.Is(err, errLocked) || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want %q", name, err, test.want)
		}
	}
}

func TestLocked(t *testing.T) {
	locked, open := generate(t, "secret"), generate(t, "")
	for _, passphrase := range []string{"", "wrong"} {
		keys, err := ReadKeys(slices.Concat(locked.Secret, open.Secret), passphrase)
		if !errors.Is(err, errLocked) || !strings.Contains(err.Error(), locked.ID) || strings.Contains(err.Error(), open.ID) {
			t.Fatalf("passphrase %q: %v", passphrase, err)
		}
		wants(t, keys, sealed(t, recipients(t, open), []byte("hello")), []byte("hello"))
		wants(t, keys, sealed(t, recipients(t, locked, open), []byte("hello")), []byte("hello"))
		_, err = keys.Decrypt(sealed(t, recipients(t, locked), []byte("hello")), 100, nil)
		if reason(err) != "passphrase" || !strings.Contains(err.Error(), locked.Subkey) {
			t.Errorf("passphrase %q: %v", passphrase, err)
		}
	}
}

// TestKeyOfThePast decrypts with keys that are no longer to be used, and does
// not encrypt to them.
func TestKeyOfThePast(t *testing.T) {
	now := time.Now
	for name, test := range map[string]struct {
		config packet.Config
		change func(*openpgp.Entity) error
		want   string
	}{
		"expired":        {packet.Config{KeyLifetimeSecs: 3600, Time: func() time.Time { return now().Add(-2 * time.Hour) }}, nil, "expired"},
		"revoked":        {packet.Config{}, func(e *openpgp.Entity) error { return e.Revoke(packet.KeyRetired, "", nil) }, "revoked"},
		"subkey revoked": {packet.Config{}, func(e *openpgp.Entity) error { return e.Subkeys[0].Revoke(packet.NoReason, "", nil) }, "revoked"},
		"of the future":  {packet.Config{Time: func() time.Time { return now().Add(2 * time.Hour) }}, nil, "signature"},
		"too short":      {packet.Config{Algorithm: packet.PubKeyAlgoRSA, RSABits: 1024}, nil, "2047"},
	} {
		if test.config.Algorithm == 0 {
			test.config.Algorithm = packet.PubKeyAlgoEdDSA
		}
		e, _ := modernKey(t, &test.config)
		key := openpgp.EntityList{e}.KeysById(e.Subkeys[0].PublicKey.KeyId)[0]
		if test.change != nil {
			if err := test.change(e); err != nil {
				t.Fatal(err)
			}
		}
		secret, public := new(bytes.Buffer), new(bytes.Buffer)
		if err := errors.Join(e.SerializePrivateWithoutSigning(secret, nil), e.Serialize(public)); err != nil {
			t.Fatal(err)
		}
		keys, err := ReadKeys(secret.Bytes(), "")
		if err != nil {
			t.Fatal(name, err)
		}
		wants(t, keys, sealed(t, &Recipients{keys: []*packet.PublicKey{key.PublicKey}}, []byte("hello")), []byte("hello"))
		if _, err := ReadRecipients(public.Bytes()); err == nil || !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), identity(e.PrimaryKey)) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestReadRecipients(t *testing.T) {
	one, two := generate(t, ""), generate(t, "")
	for _, data := range [][]byte{slices.Concat(one.Public, two.Public), slices.Concat(noArmor(t, one.Public), noArmor(t, two.Public))} {
		to, err := ReadRecipients(data)
		if err != nil || !slices.Equal(to.IDs(), []string{one.Subkey, two.Subkey}) {
			t.Fatal(to, err)
		}
		for _, p := range []*Pair{one, two} {
			keys, err := ReadKeys(p.Secret, "")
			if err != nil {
				t.Fatal(err)
			}
			wants(t, keys, sealed(t, to, []byte("hello")), []byte("hello"))
		}
	}
	for name, test := range map[string]struct {
		data []byte
		want string
	}{
		"nothing": {nil, "empty"},
		"secret":  {one.Secret, "secret key"},
		"among":   {slices.Concat(two.Public, one.Secret), "secret key"},
		"text":    {[]byte("me@example.com"), "first line is wrong"},
	} {
		if to, err := ReadRecipients(test.data); err == nil || to != nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestSubkeysOnly has a secret key whose primary key is kept elsewhere.
func TestSubkeysOnly(t *testing.T) {
	eachGnuPG(t, func(t *testing.T, _ gnupg.Version, home *gnupg.Home) {
		for _, passphrase := range []string{"", phrase} {
			id := home.Key(t, passphrase+"@example.com", "ed25519", "cv25519", passphrase)
			secret := home.Run(t, nil, "--passphrase", passphrase, "--export-secret-subkeys", id)
			keys, err := ReadKeys(secret, passphrase)
			if err != nil {
				t.Fatal(err)
			}
			wants(t, keys, home.Run(t, []byte("hello"), "--encrypt", "--recipient", id), []byte("hello"))
		}
	})
}

// TestManyHidden bounds the work that a hostile message makes.
func TestManyHidden(t *testing.T) {
	keys, to := pair(t)
	_, other := pair(t)
	message := func(hidden, named int) []byte {
		return slices.Concat(bytes.Repeat(sessionKey(t, other, true), hidden),
			bytes.Repeat(sessionKey(t, other, false), named), sealed(t, to, []byte("hello")))
	}
	for _, test := range []struct {
		hidden, named int
		want          string
	}{
		{mostAttempts - 1, 0, ""},
		{mostAttempts, 0, unsupported},
		{0, mostSessionKeys - 1, ""},
		{0, mostSessionKeys, unsupported},
	} {
		if _, err := keys.Decrypt(message(test.hidden, test.named), 100, nil); reason(err) != test.want {
			t.Errorf("%d hidden, %d named: %v", test.hidden, test.named, err)
		}
	}
}

// TestNoKey says which keys are needed, and which there are.
func TestNoKey(t *testing.T) {
	keys, _ := pair(t)
	_, other := pair(t)
	_, third := pair(t)
	message := sealed(t, other, []byte("hello"))
	data := message[borders(t, message)[3]:]
	for _, test := range []struct {
		keys    *Keys
		message []byte
		want    string
	}{
		{keys, message, "encrypted to " + other.IDs()[0] + ", and the keys here are " + keys.IDs()[0]},
		{new(Keys), message, "encrypted to " + other.IDs()[0] + ", and no key is here"},
		{keys, data, "encrypted to no key, and the"},
		{keys, append(sessionKey(t, other, true), message...), "encrypted to a hidden key, " + other.IDs()[0] + ", and"},
		{keys, append(bytes.Repeat(sessionKey(t, third, false), 20), message...), third.IDs()[0] + ", 13 more, and"},
	} {
		if _, err := test.keys.Decrypt(bytes.Clone(test.message), 100, nil); reason(err) != noKey || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%v, want %q", err, test.want)
		}
	}
}

func TestConcurrently(t *testing.T) {
	config := packet.Config{Algorithm: packet.PubKeyAlgoRSA}
	e, keys := modernKey(t, &config)
	mail := mail8bit(10000)
	message := byLibrary(t, &config, []*openpgp.Entity{e}, nil, mail)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 4 {
				if got, err := keys.Decrypt(bytes.Clone(message), 1<<20, nil); err != nil || !bytes.Equal(got, mail) {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
}

func TestGenerateRefuses(t *testing.T) {
	for _, test := range [][2]string{{"a(b", "me@example.com"}, {"a", "<me@example.com>"}, {"a\nb", "me@example.com"}, {"a\x00b", ""}, {"", ""}} {
		if _, err := Generate(test[0], test[1], ""); err == nil {
			t.Errorf("%q was taken", test)
		}
	}
}
