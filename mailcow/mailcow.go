// Package mailcow asks a mailcow which of its addresses reach which mailboxes.
// mailcow's Postfix looks that up for each mail; mail that is handed to its
// Dovecot directly needs the answers beforehand.
package mailcow

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
)

const (
	// patience is how long one list may take: mailcow makes several queries for
	// each entry of it, and some have thousands.
	patience = 2 * time.Minute
	// maxAnswer is several times the list of mailboxes of a mailcow that has
	// ten thousand.
	maxAnswer = 64 << 20
	// maxWords is how much of an answer that is not understood is shown.
	maxWords = 200
)

// Client asks one mailcow's API, https://mailcow.docs.apiary.io.
type Client struct {
	base *url.URL
	key  string
	http *http.Client
}

// New makes a client of the mailcow at address, such as
// https://mail.example.com. The key is only sent under TLS, or to this machine.
// Without a transport it is Go's, with the system's roots and the proxy that the
// environment names. Errors are of the address or the key.
func New(address, key string, transport http.RoundTripper) (*Client, error) {
	base, err := parseAddress(address)
	if err != nil {
		return nil, err
	}
	if key = strings.TrimSpace(key); key == "" || strings.ContainsFunc(key, notInKey) {
		return nil, errors.New("mailcow's API key is of letters, digits and hyphens; copy it from System > Configuration > Access > API")
	}
	client := &http.Client{
		Transport: transport,
		// Go would carry the key along to wherever a redirection leads.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return &Client{base: base, key: key, http: client}, nil
}

func parseAddress(address string) (*url.URL, error) {
	base, err := url.Parse(address)
	switch {
	case err != nil || base.Host == "" || base.User != nil || base.RawQuery != "" || base.Fragment != "":
		return nil, errors.New("mailcow's address is wanted as https://mail.example.com")
	case base.Scheme == "https", base.Scheme == "http" && isHere(base.Hostname()):
		return base, nil
	}
	return nil, errors.New("mailcow's address must begin with https://, for the API key is a secret; http:// is only for localhost")
}

func isHere(host string) bool {
	return host == "localhost" || host == "127.0.0.1" || host == "::1"
}

func notInKey(r rune) bool {
	return (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z') && r != '-'
}

// Read asks for all that says where mail goes. It is all or nothing: with an
// error there is no directory, and it may be asked again. An answer that
// contradicts itself or another is an error, as one is that was cut short.
func (c *Client) Read(ctx context.Context) (*Directory, error) {
	d := new(Directory)
	for _, list := range []struct {
		of   string
		read func([]byte) error
	}{
		{"domain", func(text []byte) (err error) { d.domains, err = decode[domain](text); return err }},
		{"alias-domain", func(text []byte) (err error) { d.aliasDomains, err = decode[aliasDomain](text); return err }},
		{"mailbox", func(text []byte) (err error) { d.mailboxes, err = decode[mailbox](text); return err }},
		{"alias", func(text []byte) (err error) { d.aliases, err = decode[alias](text); return err }},
	} {
		at := c.base.JoinPath("api/v1/get", list.of, "all").String()
		text, err := c.get(ctx, at)
		if err == nil {
			err = list.read(text)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", at, err)
		}
	}
	if err := d.check(); err != nil {
		return nil, fmt.Errorf("%s: the lists do not fit together: %w; was something changed just now? Try again", c.base, err)
	}
	return d, nil
}

// get returns the body of a 200. The error names no address.
func (c *Client) get(ctx context.Context, at string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, at, nil)
	if err != nil {
		return nil, err
	}
	request.Header.Set("X-API-Key", c.key)
	request.Header.Set("Accept", "application/json")
	response, err := c.http.Do(request)
	if err != nil {
		return nil, plain(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer+1))
	switch {
	case response.StatusCode == http.StatusOK && err != nil:
		return nil, fmt.Errorf("the answer broke off: %w", plain(err))
	case response.StatusCode == http.StatusOK && len(text) > maxAnswer:
		return nil, fmt.Errorf("the answer has more than %d MiB, which is not believed", maxAnswer>>20)
	case response.StatusCode == http.StatusOK:
		return text, nil
	}
	return nil, refusal(response, text)
}

// refusal says what another status than 200 means to whoever set this up.
func refusal(response *http.Response, text []byte) error {
	said := response.Status
	if words := complaint(text); words != "" {
		said += ": " + words
	}
	switch {
	case response.StatusCode == http.StatusUnauthorized || response.StatusCode == http.StatusForbidden:
		return fmt.Errorf("refused (%s): is the API key active, and this machine's address among those that may use it? See System > Configuration > Access > API", said)
	case response.StatusCode/100 == 3:
		return fmt.Errorf("it leads elsewhere (%s to %.200q), where the API key is not sent: give the address it really has", said, response.Header.Get("Location"))
	}
	return fmt.Errorf("answered %s", said)
}

// plain drops the address that net/http puts before its errors.
func plain(err error) error {
	if failed, ok := errors.AsType[*url.Error](err); ok {
		if failed.Timeout() {
			return fmt.Errorf("no whole answer within %s", patience)
		}
		return failed.Err
	}
	return err
}
