package main

import (
	"errors"
	"net"
	"net/netip"
)

// listenAddress is where to listen, as host:port or :port; empty: nowhere.
type listenAddress string

func parseListenAddress(text string) (listenAddress, error) {
	want := errors.New("want :port or address:port, as in :8025, 127.0.0.1:8025 or [::1]:8025")
	host, port, err := net.SplitHostPort(text)
	if err != nil || host != "" && !isHost(host) {
		return "", want
	}
	if _, err := parsePort(port); err != nil {
		return "", want
	}
	return listenAddress(text), nil
}

// overlaps says whether two listeners would ask for the same port. Port 0, which
// is any free one, is never the same.
func (a listenAddress) overlaps(b listenAddress) bool {
	hostA, portA, errA := net.SplitHostPort(string(a))
	hostB, portB, errB := net.SplitHostPort(string(b))
	if errA != nil || errB != nil {
		return false // one of them listens nowhere
	}
	numberA, _ := parsePort(portA)
	numberB, _ := parsePort(portB)
	return numberA == numberB && numberA != 0 && (hostA == hostB || isEverywhere(hostA) || isEverywhere(hostB))
}

func isEverywhere(host string) bool {
	address, err := netip.ParseAddr(host)
	return host == "" || err == nil && address.IsUnspecified()
}
