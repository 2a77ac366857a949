package neighbour

import (
	"net"
	"os"
	"strconv"
	"syscall"
	"testing"
)

// Address returns an address of loopback where nobody listens, for a program that
// must be told one, with a port that the kernel chose. Until the test's end the
// kernel gives it to nobody else, also not while that program is started again:
// a socket stays bound to it, beside which another may listen that has
// SO_REUSEADDR, too, as those of servers have (socket(7)).
func Address(tb testing.TB) string {
	tb.Helper()
	socket, port, err := hold()
	if err != nil {
		tb.Fatalf("no port on loopback: %v", os.NewSyscallError("bind", err))
	}
	tb.Cleanup(func() { syscall.Close(socket) })
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
}

// hold binds a socket to a port on which it does not listen.
func hold() (socket, port int, err error) {
	syscall.ForkLock.RLock()
	socket, err = syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	if err == nil {
		syscall.CloseOnExec(socket)
	}
	syscall.ForkLock.RUnlock()
	if err != nil {
		return 0, 0, err
	}
	err = syscall.SetsockoptInt(socket, syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 1)
	if err == nil {
		err = syscall.Bind(socket, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}})
	}
	var bound syscall.Sockaddr
	if err == nil {
		bound, err = syscall.Getsockname(socket)
	}
	if err != nil {
		syscall.Close(socket)
		return 0, 0, err
	}
	inet, ok := bound.(*syscall.SockaddrInet4)
	if !ok {
		syscall.Close(socket)
		return 0, 0, syscall.EAFNOSUPPORT
	}
	return socket, inet.Port, nil
}
