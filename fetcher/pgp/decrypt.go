package pgp

import (
	"errors"
	"io"
	"slices"

	pgperrors "github.com/ProtonMail/go-crypto/openpgp/errors"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
)

const (
	// mostAttempts bounds the work that a message with many hidden recipients
	// makes: each is tried with each key, some milliseconds for RSA.
	mostAttempts = 200
	// window is how much is decrypted at a time.
	window = 64 << 10
)

// Decrypt returns the plaintext of a message, armored or not, when the integrity
// check at its end has passed: the octets of the literal packet as they are, of
// which there may be at most limit. Its errors are *Error, or come from reserve.
//
// It works in the memory of octets, which must not be used afterwards, and in
// which the plaintext lies, too, unless it was compressed. For that it calls
// reserve, if not nil, with the number of bytes it is about to allocate beside
// octets; an error of reserve ends the work. It needs 5 MiB more for a moment.
// Decrypt may be called concurrently.
func (k *Keys) Decrypt(octets []byte, limit int64, reserve func(bytes int64) error) ([]byte, error) {
	packets, _, err := open(octets)
	if err != nil {
		return nil, err
	}
	e, err := readEnvelope(packets)
	if err != nil {
		return nil, err
	}
	if e.sealed == nil {
		return nil, failed(noIntegrity, "it is encrypted without an integrity check, so nothing shows whether it was changed")
	}
	unsealed, err := k.unseal(e)
	if err != nil {
		return nil, err
	}
	// Reading is always ahead of writing, for plaintext is shorter.
	n, err := drain(unsealed, octets)
	if err == nil {
		err = unsealed.Close() // the integrity check
	}
	if err != nil {
		return nil, failed(broken, "its integrity check failed, it was changed or cut off: %w", err)
	}
	if err := e.end(); err != nil {
		return nil, err
	}
	c := contents{limit: limit, reserve: reserve}
	return c.literal(octets[:n])
}

// unseal finds the session key, and returns the decrypted data. Close is their
// integrity check.
func (k *Keys) unseal(e *envelope) (io.ReadCloser, error) {
	attempts, isLocked := 0, false
	var unusable error
	for _, session := range e.keys {
		if (session.Version == 6) != (e.tag == tagProtected && e.version == 2) {
			continue // the versions belong together (RFC 9580 10.3.2.1)
		}
		for _, key := range k.private {
			if !isFor(session, key) {
				continue
			}
			if key.Encrypted {
				isLocked = true
				continue
			}
			if attempts++; attempts > mostAttempts {
				return nil, failed(unsupported, "it has too many hidden recipients, of which %d were tried", mostAttempts)
			}
			if err := session.Decrypt(key, nil); err != nil {
				if session.KeyId != 0 {
					unusable = err
				}
				continue
			}
			unsealed, err := e.sealed.Decrypt(session.CipherFunc, session.Key)
			if err == nil {
				return unsealed, nil
			}
			unusable = err
		}
	}
	return nil, k.unopened(e, isLocked, unusable)
}

// isFor reports whether a session key may be encrypted to a key.
func isFor(session *packet.EncryptedKey, key *packet.PrivateKey) bool {
	switch {
	case session.Algo != key.PubKeyAlgo:
		return false
	case session.KeyVersion != 0: // only version 6 of the packet has these
		return slices.Equal(session.KeyFingerprint, key.Fingerprint)
	}
	return session.KeyId == 0 || session.KeyId == key.KeyId
}

// unopened says why no session key was found.
func (k *Keys) unopened(e *envelope, isLocked bool, unusable error) error {
	m := e.message()
	switch {
	case isLocked:
		return failed(locked, "a key for it is here, but its passphrase is not: %s", m.needs())
	case unusable != nil:
		if _, unknown := errors.AsType[pgperrors.UnsupportedError](unusable); unknown {
			return failed(unsupported, "%w", unusable)
		}
		return failed(broken, "its session key does not decrypt: %w", unusable)
	case len(e.keys) == 0 && e.passwords > 0:
		return failed(password, "it is encrypted with a password, and to no key")
	}
	if len(k.private) == 0 {
		return failed(noKey, "it is encrypted to %s, and no key is here", m.needs())
	}
	return failed(noKey, "it is encrypted to %s, and the keys here are %s", m.needs(), k)
}

// drain reads everything from r into the beginning of octets, from whose end r
// itself reads: hence by way of another buffer.
func drain(r io.Reader, octets []byte) (n int, err error) {
	buffer := make([]byte, min(window, len(octets)+1))
	for {
		read, err := r.Read(buffer)
		if read > len(octets)-n {
			return n, io.ErrShortBuffer
		}
		n += copy(octets[n:], buffer[:read])
		if errors.Is(err, io.EOF) {
			return n, nil
		}
		if err != nil {
			return n, err
		}
	}
}
