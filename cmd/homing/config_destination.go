package main

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// destination is where mail goes: an LMTP server or Maildirs.
type destination struct {
	network string // of the server, unix or tcp; empty: Maildirs
	address string // of the server: a socket's path, or host:port
	tls     bool   // the server speaks TLS from the first octet
	maildir string // absolute path with %u, %n and %d; empty: a server
}

// String is the text that means this destination.
func (d destination) String() string {
	switch {
	case d.network == "unix":
		return "lmtp:" + d.address
	case d.tls:
		return "lmtps://" + d.address
	case d.network == "tcp":
		return "lmtp://" + d.address
	}
	return "maildir:" + d.maildir
}

// maxSocketPath is what sockaddr_un holds on Linux, with its closing NUL
// (unix(7)).
const maxSocketPath = 107

func parseDestination(text string) (destination, error) {
	switch {
	case strings.HasPrefix(text, "lmtps://"):
		address, err := parseHostPort(text[len("lmtps://"):], "lmtps")
		return destination{network: "tcp", address: address, tls: true}, err
	case strings.HasPrefix(text, "lmtp://"):
		address, err := parseHostPort(text[len("lmtp://"):], "lmtp")
		return destination{network: "tcp", address: address}, err
	case strings.HasPrefix(text, "lmtp:"):
		address, err := parseSocketPath(text[len("lmtp:"):])
		return destination{network: "unix", address: address}, err
	case strings.HasPrefix(text, "maildir:"):
		path, err := parseMaildirPath(text[len("maildir:"):])
		return destination{maildir: path}, err
	}
	return destination{}, errors.New("want lmtp:/path/of/socket, lmtp://host:port, lmtps://host:port or maildir:/path/%d/%n")
}

func parseHostPort(text, scheme string) (string, error) {
	if strings.HasPrefix(text, "/") {
		return "", fmt.Errorf("no host; want %s://host:port, or lmtp:/path with one slash for a unix socket", scheme)
	}
	host, port, err := net.SplitHostPort(text)
	if err != nil {
		return "", fmt.Errorf("want a host and a port, as in %s://dovecot:24 or %s://[::1]:24", scheme, scheme)
	}
	if host == "" || !isHost(host) {
		return "", fmt.Errorf("want the name or address of a host, as in %s://dovecot:24", scheme)
	}
	if n, err := parsePort(port); err != nil || n == 0 {
		return "", fmt.Errorf("want a port from 1 to 65535 and nothing after it, as in %s://dovecot:24", scheme)
	}
	return text, nil
}

// parsePort takes digits only: net would take names of services and signs too.
func parsePort(text string) (uint16, error) {
	n, err := strconv.ParseUint(text, 10, 16)
	return uint16(n), err
}

// hostname is a name as DNS, /etc/hosts and Docker have them; the last allow "_".
var hostname = regexp.MustCompile(`^[A-Za-z0-9_]([A-Za-z0-9._-]{0,252})$`)

func isHost(text string) bool {
	_, err := netip.ParseAddr(text)
	return err == nil || hostname.MatchString(text)
}

func parseSocketPath(text string) (string, error) {
	switch {
	case !filepath.IsAbs(text) || hasControl(text):
		return "", errors.New("want the absolute path of a unix socket, as in lmtp:/run/dovecot/lmtp, or lmtp://host:port")
	case len(text) > maxSocketPath:
		return "", fmt.Errorf("want a path of at most %d octets: the system allows no more for a socket", maxSocketPath)
	}
	return text, nil
}

func parseMaildirPath(text string) (string, error) {
	if !filepath.IsAbs(text) || hasControl(text) || slices.Contains(strings.Split(text, "/"), "..") {
		return "", errors.New("want an absolute path without .., as in maildir:/var/mail/%d/%n")
	}
	for _, after := range strings.Split(text, "%")[1:] {
		if after == "" || !strings.ContainsRune("und", rune(after[0])) {
			return "", errors.New("after % want u (address), n (local part) or d (domain), as in maildir:/var/mail/%d/%n")
		}
	}
	return filepath.Clean(text), nil
}
