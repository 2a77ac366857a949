package pgp

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	openpgp "github.com/ProtonMail/go-crypto/openpgp/v2"

	pgperrors "github.com/ProtonMail/go-crypto/openpgp/errors"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
)

// cipher is one that every OpenPGP program of this century has.
const cipher = packet.CipherAES256

// Recipients are public keys to encrypt to. Its methods may be called
// concurrently.
type Recipients struct {
	keys []*packet.PublicKey
}

// ReadRecipients reads public keys, armored or binary, any number of them one
// after another. Each must be fit to encrypt to now: neither expired nor revoked.
func ReadRecipients(data []byte) (*Recipients, error) {
	entities, err := readEntities(data)
	if err != nil {
		return nil, err
	}
	r := new(Recipients)
	for _, e := range entities {
		if e.PrivateKey != nil {
			return nil, errSecret(e)
		}
		key, err := e.EncryptionKeyWithError(time.Now(), encryption())
		if err != nil {
			return nil, fmt.Errorf("key %s cannot be encrypted to: %w", identity(e.PrimaryKey), unfit(err))
		}
		r.keys = append(r.keys, key.PublicKey)
	}
	return r, nil
}

// encryption is as lenient as GnuPG about keys that do not say what they are for.
func encryption() *packet.Config {
	return &packet.Config{InsecureAllowAllKeyFlagsWhenMissing: true}
}

// unfit says why in words that fit a key; the library's are about signatures.
func unfit(err error) error {
	selection, ok := errors.AsType[pgperrors.ErrEncryptionKeySelection](err)
	if !ok {
		if p, isPointer := errors.AsType[*pgperrors.ErrEncryptionKeySelection](err); isPointer {
			selection, ok = *p, true
		}
	}
	if !ok {
		return err
	}
	cause := selection.PrimaryKeyErr
	if cause == nil {
		cause = selection.EncSelectionErr
	}
	switch {
	case errors.Is(cause, pgperrors.ErrKeyExpired):
		return errors.New("it has expired; extend it, or give another one")
	case errors.Is(cause, pgperrors.ErrKeyRevoked):
		return errors.New("it is revoked; give another one")
	}
	return cause
}

// IDs lists the IDs of the keys, usually subkeys, that Encrypt encrypts to, as
// in Recipient.
func (r *Recipients) IDs() []string {
	ids := make([]string, len(r.keys))
	for i, key := range r.keys {
		ids[i] = identity(key)
	}
	return ids
}

// ReadIDs lists the IDs of all keys, subkeys mostly, in public keys as for
// ReadRecipients, whose owner reads what is encrypted to them. Those that have
// expired are among them, for a sender may have an old copy; revoked ones are not.
func ReadIDs(data []byte) (ids []string, err error) {
	entities, err := readEntities(data)
	if err != nil {
		return nil, err
	}
	var ever time.Time // no time at which a key could have expired
	for _, e := range entities {
		if e.PrivateKey != nil {
			return nil, errSecret(e)
		}
		if _, err := e.VerifyPrimaryKey(ever, encryption()); err != nil {
			return nil, fmt.Errorf("key %s is revoked, or damaged: %w", identity(e.PrimaryKey), err)
		}
		found := len(ids)
		for _, key := range e.DecryptionKeys(0, ever, encryption()) {
			if !isRevoked(e, key.PublicKey) {
				ids = append(ids, identity(key.PublicKey))
			}
		}
		if len(ids) == found {
			return nil, fmt.Errorf("key %s is for signatures only: it has no subkey that can be encrypted to", identity(e.PrimaryKey))
		}
	}
	return ids, nil
}

// isRevoked reports whether a key is a subkey that its owner has revoked.
func isRevoked(e *openpgp.Entity, key *packet.PublicKey) bool {
	i := slices.IndexFunc(e.Subkeys, func(s openpgp.Subkey) bool { return s.PublicKey == key })
	if i < 0 {
		return false
	}
	_, err := e.Subkeys[i].Verify(time.Time{}, encryption())
	return err != nil
}

func errSecret(e *openpgp.Entity) error {
	return fmt.Errorf("key %s is a secret key, which does not belong here; the public one is needed (gpg --export --armor writes it)", identity(e.PrimaryKey))
}

// Encrypt returns one binary message to all recipients with the parts of the
// plaintext one after another, in memory of just its size.
//
// It is protected with MDC, which GnuPG 2.2, GnuPG 2.4 and RFC 9580's programs
// all read; of AEAD each knows another kind. It is not compressed: at rest that
// would save cents, while reading it back would need twice the memory.
func (r *Recipients) Encrypt(plaintext ...[]byte) ([]byte, error) {
	session := make([]byte, cipher.KeySize())
	rand.Read(session) // never fails
	defer clear(session)
	out := new(bytes.Buffer)
	for _, key := range r.keys {
		if err := packet.SerializeEncryptedKeyAEAD(out, key, cipher, false, session, nil); err != nil {
			return nil, fmt.Errorf("encrypt to key %s: %w", identity(key), err)
		}
	}
	size := 0
	for _, part := range plaintext {
		size += len(part)
	}
	out.Grow(size + size/window*10 + overhead)
	if err := seal(out, session, plaintext); err != nil {
		return nil, fmt.Errorf("encrypt: %w", err)
	}
	return out.Bytes(), nil
}

// overhead is more than what surrounds a plaintext besides the lengths of parts.
const overhead = 256

// seal writes the packet with the data.
func seal(w io.Writer, session []byte, plaintext [][]byte) error {
	sealed, err := packet.SerializeSymmetricallyEncrypted(w, cipher, false, packet.CipherSuite{}, session, nil)
	if err != nil {
		return err
	}
	literal, err := packet.SerializeLiteral(sealed, true, "", 0)
	if err != nil {
		return err
	}
	for _, part := range plaintext {
		for len(part) > 0 { // the library keeps what it is given at once
			n, err := literal.Write(part[:min(len(part), window)])
			if err != nil {
				return err
			}
			part = part[n:]
		}
	}
	return literal.Close()
}
