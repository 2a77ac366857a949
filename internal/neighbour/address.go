package neighbour

import "net"

// Address returns an address of loopback where nobody listens, as the kernel
// chose it, for a program that must be told one. Another program may take it
// before that one listens there: who minds starts again with the next.
func Address() (string, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer listener.Close()
	return listener.Addr().String(), nil
}
