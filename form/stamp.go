package form

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// The header fields that the edge worker adds.
const (
	headerTime      = "X-Homing-Timestamp"
	headerNonce     = "X-Homing-Nonce"
	headerSignature = "X-Homing-Signature"
)

// window is how far the worker's clock may be from ours. A message is taken once
// whatever its time: the window is only for how long a stolen request is of use
// to whoever might delete the spool.
const window = 5 * time.Minute

const version = "v1"

// stamp is what a request says of itself in its header. Nothing in it is to be
// believed before verify.
type stamp struct {
	time      string // seconds since 1970
	nonce     string // 32 lower-case hexadecimal digits
	signature []byte
}

// readStamp reads the header. Its error is a refusal with the code bad_header.
func readStamp(header http.Header) (*stamp, error) {
	kind, _, err := mime.ParseMediaType(header.Get("Content-Type"))
	if err != nil || kind != "application/pgp-encrypted" && kind != "text/plain" || header.Get("Content-Encoding") != "" {
		return nil, malformed("bad_header", "send the armored message alone, with Content-Type: application/pgp-encrypted and no Content-Encoding")
	}
	values := map[string]string{}
	for _, name := range []string{headerTime, headerNonce, headerSignature} {
		if len(header.Values(name)) != 1 {
			return nil, malformed("bad_header", "want the header "+name+" once; only the edge worker can send to this address")
		}
		values[name] = header.Get(name)
	}
	s := &stamp{time: values[headerTime], nonce: values[headerNonce]}
	if len(s.time) > 12 || !consistsOf(s.time, "0123456789") {
		return nil, malformed("bad_header", headerTime+": want seconds since 1970")
	}
	if len(s.nonce) != 32 || !consistsOf(s.nonce, "0123456789abcdef") {
		return nil, malformed("bad_header", headerNonce+": want 32 lower-case hexadecimal digits")
	}
	digits, found := strings.CutPrefix(values[headerSignature], version+"=")
	if !found || len(digits) != 2*sha256.Size || !consistsOf(digits, "0123456789abcdef") {
		return nil, malformed("bad_header", headerSignature+": want v1= and 64 lower-case hexadecimal digits")
	}
	s.signature, err = hex.DecodeString(digits)
	return s, err
}

// consistsOf reports whether text is not empty and has only these characters.
func consistsOf(text, characters string) bool {
	return text != "" && strings.Trim(text, characters) == ""
}

// fresh refuses what was signed too long ago, or by a clock that is wrong.
func (s *stamp) fresh(now time.Time) error {
	seconds, err := strconv.ParseInt(s.time, 10, 64)
	if err != nil {
		return err
	}
	if off := now.Sub(time.Unix(seconds, 0)).Abs(); off > window {
		return &refusal{status: http.StatusUnauthorized, code: "stale",
			message: "signed " + off.Round(time.Second).String() + " away from this server's time, 5 minutes are allowed: send it anew, or set the clocks"}
	}
	return nil
}

// verify compares the signature with the one that this body should have, in
// constant time, and returns the body's checksum in hexadecimal digits.
func (s *stamp) verify(secret, body []byte) (sum string, err error) {
	digest := sha256.Sum256(body)
	sum = hex.EncodeToString(digest[:])
	mac := hmac.New(sha256.New, secret)
	_, _ = io.WriteString(mac, version+"\n"+s.time+"\n"+s.nonce+"\n"+sum) // never fails
	if !hmac.Equal(mac.Sum(nil), s.signature) {
		return "", &refusal{status: http.StatusUnauthorized, code: "bad_signature",
			message: "the signature is not right: the edge worker and homing need the same HOMING_FORM_SECRET, and nothing between them may change the body"}
	}
	return sum, nil
}
