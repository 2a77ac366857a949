package pgp

import (
	"crypto/cipher"
	"errors"
	"io"
	"slices"
	"strings"

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
func (k *Keys) Decrypt(octets []byte, limit int64, reserve func(bytes int64) error) (plaintext []byte, err error) {
	defer contain(&err)
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
	session, err := k.session(e)
	if err != nil {
		return nil, err
	}
	plain, err := session.open(e, octets)
	if err != nil {
		return nil, failed(broken, "its integrity check failed, it was changed or cut off: %w", err)
	}
	if err := e.end(); err != nil {
		return nil, err
	}
	c := contents{limit: limit, reserve: reserve}
	return c.literal(plain)
}

// session is what decrypts the data: AES, which openMDC can use, or the library.
type session struct {
	aes     cipher.Block  // for version 1 of the packet
	library io.ReadCloser // Close is the integrity check
}

// session finds the session key.
func (k *Keys) session(e *envelope) (*session, error) {
	attempts, isLocked := 0, false
	var unusable error
	for _, encrypted := range e.keys {
		if (encrypted.Version == 6) != (e.tag == tagProtected && e.version == 2) {
			continue // the versions belong together (RFC 9580 10.3.2.1)
		}
		for _, key := range k.private {
			if !isFor(encrypted, key) {
				continue
			}
			if key.Encrypted {
				isLocked = true
				continue
			}
			if attempts++; attempts > mostAttempts {
				return nil, failed(unsupported, "it has too many hidden recipients, of which %d were tried", mostAttempts)
			}
			s, err := e.unlock(encrypted, key)
			if err == nil {
				return s, nil
			}
			if encrypted.KeyId != 0 {
				unusable = err
			}
		}
	}
	return nil, k.unopened(e, isLocked, unusable)
}

// unlock decrypts a session key.
func (e *envelope) unlock(encrypted *packet.EncryptedKey, key *packet.PrivateKey) (*session, error) {
	if err := encrypted.Decrypt(key, nil); err != nil {
		return nil, err
	}
	if e.tag == tagProtected && e.version == 1 {
		if block := aesOf(encrypted.CipherFunc, encrypted.Key); block != nil {
			return &session{aes: block}, nil
		}
	}
	unsealed, err := e.sealed.Decrypt(encrypted.CipherFunc, encrypted.Key)
	if err != nil {
		return nil, err
	}
	return &session{library: unsealed}, nil
}

// open decrypts the data into the beginning of memory, at whose end they lie
// themselves: reading is always ahead of writing. It returns the plaintext once
// the integrity check has passed.
func (s *session) open(e *envelope, memory []byte) ([]byte, error) {
	if s.aes != nil {
		return openMDC(e.data, s.aes, memory)
	}
	n, err := drain(s.library, memory)
	if err != nil {
		return nil, err
	}
	return memory[:n], s.library.Close()
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
	return failed(noKey, "it is encrypted to %s, and the keys here are %s", m.needs(), strings.Join(k.IDs(), ", "))
}

// drain reads everything from r into the beginning of the memory that r itself
// reads from; hence by way of another buffer.
func drain(r io.Reader, memory []byte) (n int, err error) {
	buffer := make([]byte, window)
	for {
		read, err := r.Read(buffer)
		if read > len(memory)-n {
			return n, io.ErrShortBuffer
		}
		n += copy(memory[n:], buffer[:read])
		if errors.Is(err, io.EOF) {
			return n, nil
		}
		if err != nil {
			return n, err
		}
	}
}
