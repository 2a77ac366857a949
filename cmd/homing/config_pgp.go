package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/homing-mail/homing/fetcher/pgp"
)

// keyring is what HOMING_PGP_KEY and HOMING_PGP_PASSPHRASE hold.
type keyring struct {
	keys *pgp.Keys // nil: there are none
	// locked is which of them the passphrase does not open. That is no mistake: mail
	// that is encrypted to these is held, and other mail goes on.
	locked error
	wrong  []mistake
}

// keyring reads the keys. To unlock keys takes time, on purpose, so only who needs
// them asks: not a container's health check. They are read once.
func (c *Config) keyring() keyring {
	if c.ring == nil {
		return keyring{}
	}
	return c.ring()
}

// openKeys is keyring for who cannot do without what is right.
func (c *Config) openKeys() (*pgp.Keys, error) {
	ring := c.keyring()
	if len(ring.wrong) > 0 {
		return nil, &configError{ring.wrong}
	}
	return ring.keys, nil
}

func (c *Config) readKeys(s setting) keyring {
	const variable = "HOMING_PGP_KEY"
	if c.PGPKey == "" && s.file == "" {
		if c.PGPPassphrase == "" {
			return keyring{}
		}
		return keyring{wrong: []mistake{{variable, errors.New(variable + " is required with HOMING_PGP_PASSPHRASE: give the secret keys that it opens")}}}
	}
	keys, err := pgp.ReadKeys([]byte(c.PGPKey), c.PGPPassphrase)
	if keys != nil {
		return keyring{keys: keys, locked: err}
	}
	name := variable
	if s.file != "" {
		name += fmt.Sprintf(" (from %s%s, %s)", variable, fileSuffix, quote(s.file))
	} else if !strings.Contains(c.PGPKey, "\n") {
		err = fmt.Errorf("%w; if it is the path of a file with the keys, give it as %s%s", err, variable, fileSuffix)
	}
	return keyring{wrong: []mistake{{variable, fmt.Errorf("%s: %w", name, err)}}}
}

// sealKeys are what objects are encrypted to after their delivery.
type sealKeys struct {
	recipients *pgp.Recipients // nil: none
	unfit      error           // why nobody can encrypt to one of them any more; nil: to all
}

// parseSealKeys lets an expired key pass: it must not keep mail from being
// delivered.
func parseSealKeys(text string) (k sealKeys, err error) {
	if _, err := pgp.ReadIDs([]byte(text)); err != nil {
		err = fmt.Errorf("want the public keys to encrypt to, as `gpg --export --armor ADDRESS` prints them: %w", err)
		if !strings.Contains(text, "\n") {
			err = fmt.Errorf("%w; the path of a file with the keys is given as HOMING_PGP_ENCRYPT_TO%s", err, fileSuffix)
		}
		return sealKeys{}, err
	}
	k.recipients, k.unfit = pgp.ReadRecipients([]byte(text))
	return k, nil
}

func (k sealKeys) given() bool { return k.recipients != nil || k.unfit != nil }

// sealContradictions finds what does not fit together about encrypting.
func (c *Config) sealContradictions() []mistake {
	const variable = "HOMING_PGP_ENCRYPT_TO"
	encrypts := c.AfterDelivery.action == "encrypt"
	switch {
	case c.AfterDelivery.action == "":
		return nil // it could not be read
	case encrypts && !c.PGPEncryptTo.given():
		return []mistake{{variable, errors.New(variable + " is required with HOMING_AFTER_DELIVERY=encrypt: give your public key, usually as " + variable + fileSuffix)}}
	case !encrypts && c.PGPEncryptTo.given():
		return []mistake{{variable, errors.New(variable + " is set, but HOMING_AFTER_DELIVERY is not encrypt; unset one, or set the other")}}
	}
	return nil
}

// sealWarnings tells what is allowed and hardly meant about encrypting.
func (c *Config) sealWarnings() []string {
	if c.PGPEncryptTo.unfit == nil {
		return nil
	}
	return []string{fmt.Sprintf("HOMING_PGP_ENCRYPT_TO: %v; mail is delivered, and stays in the bucket as it is until then", c.PGPEncryptTo.unfit)}
}
