package pgp

import (
	"errors"
	"fmt"
)

// The reasons why an object could not be decrypted.
const (
	noKey       = "no_key"       // none of the keys opens it
	locked      = "passphrase"   // one would, were it not itself locked by a passphrase
	password    = "password"     // encrypted with a password, and to no key
	broken      = "broken"       // the integrity check failed
	noIntegrity = "no_integrity" // there is no integrity check
	tooLarge    = "too_large"    // the plaintext is larger than the limit
	malformed   = "malformed"    // not a well-formed message
	unsupported = "unsupported"  // a kind of message or an algorithm that is not known
)

// Reasons lists every value of Error.Reason, for a table of metrics.
func Reasons() []string {
	return []string{noKey, locked, password, broken, noIntegrity, tooLarge, malformed, unsupported}
}

// Error says why an object was not decrypted. Another attempt with the same keys
// and limit cannot succeed.
type Error struct {
	reason  string
	wrapped error
}

// Error is the cause, in words for whoever owns the keys.
func (e *Error) Error() string { return e.wrapped.Error() }

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.wrapped }

// Reason is one of Reasons.
func (e *Error) Reason() string { return e.reason }

func failed(reason, format string, args ...any) error {
	return &Error{reason, fmt.Errorf(format, args...)}
}

// contain makes an error of a panic. The library reads what anybody may have
// written; were it to fail so on one object, homing would end, start again, and
// end at the same object, and no mail would come at all.
func contain(err *error) {
	if failure := recover(); failure != nil {
		*err = failed(malformed, "the OpenPGP library cannot take it: %v", failure)
	}
}

// asMalformed gives an error this reason, unless it has one or is the caller's.
func asMalformed(err error) error {
	if known, ok := errors.AsType[*Error](err); ok {
		return known
	}
	if r, ok := errors.AsType[refusal](err); ok {
		return r.error
	}
	return &Error{malformed, err}
}

// refusal is an error of the caller's.
type refusal struct{ error }

func (r refusal) Unwrap() error { return r.error }

// because adds a detail to one of the package's own errors.
func because(err error, detail string) error { return fmt.Errorf("%w: %s", err, detail) }
