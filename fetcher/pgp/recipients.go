package pgp

import (
	"bytes"
	"crypto/aes"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"time"

	openpgp "github.com/ProtonMail/go-crypto/openpgp/v2"

	pgperrors "github.com/ProtonMail/go-crypto/openpgp/errors"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
)

// aes256 is what every OpenPGP program of this century has.
const aes256 = packet.CipherAES256

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
// plaintext one after another, in memory of just its size. Together they may
// have up to 4 GiB less a few octets.
//
// It is protected with MDC, which GnuPG 2.2, GnuPG 2.4 and RFC 9580's programs
// all read; of AEAD each knows another kind. It is not compressed: at rest that
// would save cents, while reading it back would need memory of its own.
func (r *Recipients) Encrypt(plaintext ...[]byte) ([]byte, error) {
	key := make([]byte, aes256.KeySize())
	defer clear(key)
	rand.Read(key) // never fails
	keys := new(bytes.Buffer)
	for _, recipient := range r.keys {
		if err := packet.SerializeEncryptedKeyAEAD(keys, recipient, aes256, false, key, nil); err != nil {
			return nil, fmt.Errorf("encrypt to key %s: %w", identity(recipient), err)
		}
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, fmt.Errorf("encrypt: %w", err)
	}
	return sealMDC(keys.Bytes(), block, plaintext)
}
