package pgp

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp/packet"
	openpgp "github.com/ProtonMail/go-crypto/openpgp/v2"
)

// State is what a secret key is good for.
type State struct {
	ID     string // of the primary key, as in Recipient
	Locked bool   // the passphrase does not open what decrypts
	// Fault is what went wrong when a message was encrypted to the key and
	// decrypted again; nil if nothing did, and for what is locked.
	Fault error
	// Unfit is why programs will not encrypt to the key any more; nil: they will.
	// It has no bearing on what is encrypted already.
	Unfit   error
	Expires time.Time // when that will be so; zero: never
}

// States tries each key and says what it is good for at this time.
func (k *Keys) States(now time.Time) []State {
	states := make([]State, len(k.entities))
	for i, e := range k.entities {
		s := &states[i]
		s.ID = identity(e.PrimaryKey)
		for _, key := range decrypting(e) {
			s.Locked = s.Locked || key.Encrypted
			if !key.Encrypted && s.Fault == nil {
				s.Fault = try(key)
			}
		}
		fit, err := e.EncryptionKeyWithError(now, encryption())
		if err != nil {
			s.Unfit = unfit(err)
			continue
		}
		s.Expires = earlier(expiry(e.PrimaryKey, fit.PrimarySelfSignature), expiry(fit.PublicKey, fit.SelfSignature))
	}
	return states
}

// decrypting are those keys of an entity that decrypt. Whether they say of
// themselves that they are for encryption does not matter once something is
// encrypted to them.
func decrypting(e *openpgp.Entity) []*packet.PrivateKey {
	keys := []*packet.PrivateKey{e.PrivateKey}
	for _, subkey := range e.Subkeys {
		keys = append(keys, subkey.PrivateKey)
	}
	return slices.DeleteFunc(keys, func(key *packet.PrivateKey) bool {
		return key == nil || key.Dummy() || !key.PubKeyAlgo.CanEncrypt()
	})
}

// try encrypts something to a key and decrypts it.
func try(key *packet.PrivateKey) error {
	const text = "To myself.\r\n"
	sealed, err := (&Recipients{keys: []*packet.PublicKey{&key.PublicKey}}).Encrypt([]byte(text))
	if err != nil {
		return err
	}
	opened, err := (&Keys{private: []*packet.PrivateKey{key}}).Decrypt(sealed, int64(len(text)), nil)
	switch {
	case err != nil:
		return fmt.Errorf("key %s: %w", identity(&key.PublicKey), err)
	case string(opened) != text:
		return errors.New("key " + identity(&key.PublicKey) + ": something else came out than was put in")
	}
	return nil
}

// expiry is when a key expires by its signature; zero: never (RFC 9580 5.2.3.13).
func expiry(key *packet.PublicKey, signature *packet.Signature) time.Time {
	if signature == nil || signature.KeyLifetimeSecs == nil || *signature.KeyLifetimeSecs == 0 {
		return time.Time{}
	}
	return key.CreationTime.Add(time.Duration(*signature.KeyLifetimeSecs) * time.Second)
}

// earlier is the earlier of two times, of which zero is the latest.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}
