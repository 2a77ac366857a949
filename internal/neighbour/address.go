package neighbour

import (
	"errors"
	"math/rand/v2"
	"net"
	"strconv"
)

// Ports from firstPort to lastPort are not among those that Linux gives to whoever
// asks for any, by default (net.ipv4.ip_local_port_range), and few are anybody's.
const (
	firstPort = 12_000
	lastPort  = 32_000
)

// Address returns an address of loopback where nobody listens, for a program that
// must be told one. Nobody is given it by chance before that program listens
// there, or while it is started again; another call may name it, once in 20,000:
// who minds starts again with the next.
func Address() (string, error) {
	var errs []error
	for range 50 {
		address := net.JoinHostPort("127.0.0.1", strconv.Itoa(firstPort+rand.IntN(lastPort-firstPort)))
		listener, err := net.Listen("tcp", address)
		if err == nil {
			return address, listener.Close()
		}
		errs = append(errs, err)
	}
	return "", errors.Join(errs...)
}
