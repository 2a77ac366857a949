package pgp

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"unicode"

	"github.com/ProtonMail/go-crypto/openpgp/armor"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
	openpgp "github.com/ProtonMail/go-crypto/openpgp/v2"
)

// Pair is a new key, armored.
type Pair struct {
	Secret []byte // locked with the passphrase, if there is one
	Public []byte
	ID     string // of the primary key, as in Recipient
	Subkey string // ID of the subkey that messages are encrypted to
}

// Generate makes a key on curve 25519 that never expires, in the form that
// GnuPG 2.2 reads, too. One of name and email may be empty, and neither may have
// any of ()<> or control characters in it. An empty passphrase is none.
func Generate(name, email, passphrase string) (*Pair, error) {
	user := name + email
	if user == "" || strings.ContainsFunc(user, func(r rune) bool { return unicode.IsControl(r) || strings.ContainsRune("()<>", r) }) {
		return nil, fmt.Errorf("name %q and email %q of the key: want at least one of them, without ( ) < > and control characters", name, email)
	}
	config := &packet.Config{
		Algorithm:     packet.PubKeyAlgoEdDSA, // which makes an ECDH subkey; RFC 9580's own numbers are not in GnuPG
		Curve:         packet.Curve25519,
		DefaultCipher: aes256,
	}
	e, err := openpgp.NewEntity(name, "", email, config)
	if err != nil {
		return nil, fmt.Errorf("make a key: %w", err)
	}
	pair := &Pair{ID: identity(e.PrimaryKey), Subkey: identity(e.Subkeys[0].PublicKey)}
	pair.Public, err = armored(openpgp.PublicKeyType, e.Serialize)
	if err != nil {
		return nil, err
	}
	if passphrase != "" {
		if err := e.EncryptPrivateKeys([]byte(passphrase), config); err != nil {
			return nil, fmt.Errorf("lock the key: %w", err)
		}
	}
	pair.Secret, err = armored(openpgp.PrivateKeyType, func(w io.Writer) error {
		return e.SerializePrivateWithoutSigning(w, config)
	})
	return pair, err
}

func armored(kind string, write func(io.Writer) error) ([]byte, error) {
	out := new(bytes.Buffer)
	w, err := armor.Encode(out, kind, nil)
	if err == nil {
		err = write(w)
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		return nil, fmt.Errorf("write the key: %w", err)
	}
	out.WriteByte('\n')
	return out.Bytes(), nil
}
