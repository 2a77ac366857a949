package pgp

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	openpgp "github.com/ProtonMail/go-crypto/openpgp/v2"

	"github.com/ProtonMail/go-crypto/openpgp/packet"
)

var errLocked = errors.New("wrong passphrase")

// Keys are secret keys that decrypt. Its methods may be called concurrently.
type Keys struct {
	private  []*packet.PrivateKey // those of a kind that decrypts; some may be locked
	entities []*openpgp.Entity    // that these belong to
}

// ReadKeys reads secret keys, armored or binary, any number of them one after
// another, and unlocks them with the passphrase; keys without one are taken as
// they are. Expired and revoked keys are taken, too: old mail needs them.
//
// Where the passphrase opens not all of them it returns the keys and an error;
// for what is encrypted to those that stay locked the reason is "passphrase".
func ReadKeys(data []byte, passphrase string) (*Keys, error) {
	entities, err := readEntities(data)
	if err != nil {
		return nil, err
	}
	k, secrets := new(Keys), 0
	var locks []string
	for _, e := range entities {
		if e.PrivateKey == nil {
			continue
		}
		secrets++
		if err := unlock(e, passphrase); err != nil {
			locks = append(locks, identity(e.PrimaryKey))
		}
		if keys := decrypting(e); len(keys) > 0 {
			k.private, k.entities = append(k.private, keys...), append(k.entities, e)
		}
	}
	switch {
	case secrets == 0:
		return nil, errors.New("this is a public key, and the secret one is needed (gpg --export-secret-keys --armor writes it)")
	case len(k.private) == 0:
		return nil, errors.New("no secret key in it can decrypt: there are only signing keys, or stubs of keys that are elsewhere, as on a card")
	case len(locks) > 0 && passphrase == "":
		return k, fmt.Errorf("%w: none is given, and it protects %s", errLocked, strings.Join(locks, ", "))
	case len(locks) > 0:
		return k, fmt.Errorf("%w: it does not open %s", errLocked, strings.Join(locks, ", "))
	}
	return k, nil
}

// unlock removes the passphrase from an entity's keys, where there is one.
func unlock(e *openpgp.Entity, passphrase string) error {
	isLocked := func(key *packet.PrivateKey) bool { return key != nil && !key.Dummy() && key.Encrypted }
	if !isLocked(e.PrivateKey) && !slices.ContainsFunc(e.Subkeys, func(s openpgp.Subkey) bool { return isLocked(s.PrivateKey) }) {
		return nil
	}
	return e.DecryptPrivateKeys([]byte(passphrase))
}

// IDs lists the keys' IDs, as in Recipient.
func (k *Keys) IDs() []string {
	ids := make([]string, len(k.private))
	for i, key := range k.private {
		ids[i] = identity(&key.PublicKey)
	}
	return ids
}

// identity is the key's ID as GnuPG writes it.
func identity(key *packet.PublicKey) string { return fmt.Sprintf("%016X", key.KeyId) }

// readEntities reads public and secret keys: armored blocks or binary.
func readEntities(data []byte) (all []*openpgp.Entity, err error) {
	if len(bytes.Trim(data, space)) == 0 {
		return nil, errors.New("it is empty, and keys are needed")
	}
	if data[0]&highest != 0 && !bytes.HasPrefix(data, []byte(byteOrder)) {
		return readBinary(bytes.NewReader(data))
	}
	for rest := data; len(bytes.Trim(rest, space)) > 0; {
		var b block
		if b, rest, err = cutBlock(rest); err != nil {
			return nil, fmt.Errorf("these are no OpenPGP keys: %w", err)
		}
		if !strings.HasSuffix(b.kind, "KEY BLOCK") {
			return nil, fmt.Errorf("these are no OpenPGP keys: their armor says %q", b.kind)
		}
		entities, err := readBinary(&unarmor{text: b.text})
		if err != nil {
			return nil, err
		}
		all = append(all, entities...)
	}
	return all, nil
}

func readBinary(r io.Reader) (all []*openpgp.Entity, err error) {
	packets := packet.NewReader(bufio.NewReader(r))
	for {
		e, err := openpgp.ReadEntity(packets)
		if errors.Is(err, io.EOF) && len(all) > 0 {
			return all, nil
		}
		if err != nil {
			return nil, fmt.Errorf("these are no OpenPGP keys, or damaged ones: %w", err)
		}
		all = append(all, e)
	}
}
