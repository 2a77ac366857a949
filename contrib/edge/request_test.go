package edge_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/bits"
	"net/http"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// prove makes a proof of work as worker/proof.js wants it, by another SHA-256
// than the page's.
func prove(body []byte, when time.Time, least int) string {
	for counter := 0; ; counter++ {
		if zeros(body, when, counter) >= least {
			return proof(when, counter)
		}
	}
}

// borrow makes a proof for a body that is not one for mine too, as one in 2^least
// would be by chance.
func borrow(mine []byte, when time.Time, least int) string {
	for counter := 0; ; counter++ {
		if zeros([]byte("another"), when, counter) >= least && zeros(mine, when, counter) < least {
			return proof(when, counter)
		}
	}
}

func proof(when time.Time, counter int) string {
	return fmt.Sprintf("v1 %d %d", when.Unix(), counter)
}

// zeros counts the bits that lead the counter's hash.
func zeros(body []byte, when time.Time, counter int) int {
	hash := sha256.Sum256(fmt.Appendf(nil, "v1\n%d\n%x\n%d", when.Unix(), sha256.Sum256(body), counter))
	return bits.LeadingZeros32(binary.BigEndian.Uint32(hash[:]))
}

// said is an answer in JSON.
type said struct{ Status, ID, Error, Message string }

// post sends a request that no browser would, and returns what it is answered.
func post(tb testing.TB, url string, body []byte, header http.Header) (status int, answer said) {
	tb.Helper()
	status, text, err := exchange(tb, url, body, header)
	// Who refuses a request before all of it has come may end the connection, and
	// the answer is lost with it now and then.
	for tries := 0; tries < 10 && (errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNRESET)); tries++ {
		status, text, err = exchange(tb, url, body, header)
	}
	if err != nil {
		tb.Fatal(err)
	}
	if err := json.Unmarshal(text, &answer); err != nil {
		tb.Fatalf("%s is answered %q, want JSON", url, text)
	}
	return status, answer
}

func exchange(tb testing.TB, url string, body []byte, header http.Header) (status int, text []byte, err error) {
	tb.Helper()
	request, err := http.NewRequestWithContext(tb.Context(), http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		tb.Fatal(err)
	}
	request.Header = header
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, nil, err
	}
	defer response.Body.Close()
	text, err = io.ReadAll(response.Body)
	return response.StatusCode, text, err
}

// Whoever leaves the page out meets the worker, and whoever leaves out the
// worker meets homing: on each platform the same.
func TestWithoutThePage(t *testing.T) {
	for _, on := range platforms() {
		t.Run(on.name, func(t *testing.T) { withoutThePage(t, on) })
	}
}

func withoutThePage(t *testing.T, on platform) {
	const origin = "https://www.example.org"
	h := settle(t, household{})
	between := lay(t, h.url)
	worker := on.start(t, h.environment(origin, "HOMING_FORM_URL", between.url, "MAX_BYTES", "100000"))
	entity := "Content-Type: multipart/mixed; protected-headers=\"v1\"; boundary=x\r\nSubject: s\r\n\r\n--x\r\nContent-Type: text/plain\r\n\r\nhello\r\n--x--\r\n"
	encrypted := h.gpg.Run(t, []byte(entity), "--armor", "--encrypt", "--recipient", h.key.fingerprint)
	signed := h.gpg.Run(t, []byte(entity), "--armor", "--sign", "--local-user", h.key.fingerprint)
	symmetric := h.gpg.Run(t, []byte(entity), "--armor", "--symmetric", "--passphrase", "x")
	send := func(body []byte, change func(http.Header)) (int, said) {
		t.Helper()
		header := http.Header{"Origin": {origin}, "Content-Type": {"application/pgp-encrypted"}, "X-Homing-Proof": {prove(body, time.Now(), 8)}}
		if change != nil {
			change(header)
		}
		return post(t, worker, body, header)
	}
	set := func(name, value string) func(http.Header) {
		return func(header http.Header) { header.Set(name, value) }
	}
	public, err := os.ReadFile(h.key.file)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name   string
		body   []byte
		change func(http.Header)
		status int
		code   string
	}{
		{"plain text", []byte("hello"), nil, 400, "not_openpgp"},
		{"text before", append([]byte("hello\n"), encrypted...), nil, 400, "not_openpgp"},
		{"text behind", append(bytes.Clone(encrypted), "hello\n"...), nil, 400, "not_openpgp"},
		{"text in a header of the armor", bytes.Replace(encrypted, []byte("\n\n"), []byte("\nComment: hello\n\n"), 1), nil, 400, "not_openpgp"},
		{"signed only", signed, nil, 400, "not_openpgp"},
		{"to a password", symmetric, nil, 400, "not_openpgp"},
		{"a key", public, nil, 400, "not_openpgp"},
		{"a form", encrypted, set("Content-Type", "application/x-www-form-urlencoded"), 415, "not_openpgp"},
		{"another page", encrypted, set("Origin", "https://example.com"), 403, "wrong_origin"},
		{"no page", encrypted, func(header http.Header) { header.Del("Origin") }, 403, "wrong_origin"},
		{"no proof", encrypted, func(header http.Header) { header.Del("X-Homing-Proof") }, 403, "bad_proof"},
		{"another's proof", encrypted, set("X-Homing-Proof", borrow(encrypted, time.Now(), 8)), 403, "bad_proof"},
		{"an old proof", encrypted, set("X-Homing-Proof", prove(encrypted, time.Now().Add(-time.Hour), 8)), 403, "stale_proof"},
		{"too large", bytes.Repeat(encrypted, 1000), nil, 413, "too_large"},
	} {
		if status, answer := send(c.body, c.change); status != c.status || answer.Error != c.code || answer.Message == "" {
			t.Errorf("%s: %d %+v, want %d %s", c.name, status, answer, c.status, c.code)
		}
	}
	if n, _, _ := between.posted(); n != 0 {
		t.Fatalf("%d requests went on to homing, want none", n)
	}

	// Sent again, by whoever recorded it: to the worker, and to homing.
	status, first := send(encrypted, nil)
	if status != http.StatusAccepted || first.Status != "accepted" || first.ID == "" {
		t.Fatalf("%d %+v, want 202 and an id", status, first)
	}
	if status, again := send(encrypted, nil); status != http.StatusAccepted || again != first {
		t.Errorf("again: %d %+v, want 202 %+v", status, again, first)
	}
	_, request, body := between.posted()
	kept := func(change func(http.Header)) http.Header {
		header := request.Header.Clone()
		if change != nil {
			change(header)
		}
		return header
	}
	for _, c := range []struct {
		name   string
		body   []byte
		change func(http.Header)
		status int
		code   string
	}{
		{"the same", body, nil, 202, ""},
		{"another body", bytes.TrimSpace(body), nil, 401, "bad_signature"},
		{"another nonce", body, set("X-Homing-Nonce", strings.Repeat("0", 32)), 401, "bad_signature"},
		{"another time", body, set("X-Homing-Timestamp", strconv.FormatInt(time.Now().Unix()-10, 10)), 401, "bad_signature"},
		{"an old time", body, set("X-Homing-Timestamp", "1600000000"), 401, "stale"},
		{"no signature", body, func(header http.Header) { header.Del("X-Homing-Signature") }, 400, "bad_header"},
	} {
		if status, answer := post(t, h.url, c.body, kept(c.change)); status != c.status || answer.Error != c.code {
			t.Errorf("to homing, %s: %d %+v, want %d %s", c.name, status, answer, c.status, c.code)
		}
	}
	if got := h.letters(t, 1)[0].text; got != "hello" || h.queued(t) != 1 {
		t.Errorf("%q arrived, %d messages at homing", got, h.queued(t))
	}
}

// Who sends is known by what the platform says, and not by what the sender says.
func TestClientsAreToldApart(t *testing.T) {
	const origin = "https://www.example.org"
	says := map[string]string{"deno": "", "workerd": "CF-Connecting-IP", "bunny": "X-Real-IP"}
	for _, on := range platforms() {
		t.Run(on.name, func(t *testing.T) {
			worker := on.start(t, map[string]string{
				"HOMING_FORM_URL": "http://127.0.0.1:1/", "HOMING_FORM_SECRET": secret, "ALLOWED_ORIGINS": origin, "RATE": "1",
			})
			send := func(name, address string) int {
				t.Helper()
				header := http.Header{"Origin": {origin}, "Content-Type": {"application/pgp-encrypted"}}
				if name != "" {
					header.Set(name, address)
				}
				status, _ := post(t, worker, []byte("x"), header)
				return status
			}
			own := says[on.name]
			if got := send(own, "192.0.2.1"); got != http.StatusForbidden { // for want of a proof
				t.Errorf("the first: %d", got)
			}
			if got := send(own, "192.0.2.1"); got != http.StatusTooManyRequests {
				t.Errorf("the second: %d", got)
			}
			if got := send(own, "192.0.2.2"); own != "" && got != http.StatusForbidden {
				t.Errorf("another client: %d", got)
			}
			if got := send("X-Forwarded-For", "192.0.2.3"); own == "" && got != http.StatusTooManyRequests {
				t.Errorf("a client with a forged address: %d", got)
			}
		})
	}
}
