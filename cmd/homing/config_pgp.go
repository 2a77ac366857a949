package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/homing-mail/homing/fetcher/pgp"
)

// readKeys reads the keys in HOMING_PGP_KEY. That the passphrase does not open
// one of them is no mistake: mail that is encrypted to it is held, and other mail
// goes on.
func (c *Config) readKeys(s setting) []mistake {
	const variable = "HOMING_PGP_KEY"
	if c.PGPKey == "" && s.file == "" {
		if c.PGPPassphrase == "" {
			return nil
		}
		return []mistake{{variable, errors.New(variable + " is required with HOMING_PGP_PASSPHRASE: give the secret keys that it opens")}}
	}
	keys, err := pgp.ReadKeys([]byte(c.PGPKey), c.PGPPassphrase)
	if keys != nil {
		c.keys, c.locked = keys, err
		return nil
	}
	name := variable
	if s.file != "" {
		name += fmt.Sprintf(" (from %s%s, %s)", variable, fileSuffix, quote(s.file))
	} else if !strings.Contains(c.PGPKey, "\n") {
		err = fmt.Errorf("%w; if it is the path of a file with the keys, give it as %s%s", err, variable, fileSuffix)
	}
	return []mistake{{variable, fmt.Errorf("%s: %w", name, err)}}
}

// lockedKeys is what to say of keys that the passphrase does not open.
func (c *Config) lockedKeys() string {
	return fmt.Sprintf("HOMING_PGP_PASSPHRASE: %v; what is encrypted to it will be held", c.locked)
}
