package neighbour

import (
	"net"
	"testing"
)

// A server finds its address free however often it is started; all that ask the
// kernel for a port meanwhile get others.
func TestAddress(t *testing.T) {
	mine := Address(t)
	for range 3 {
		server, err := net.Listen("tcp", mine)
		if err != nil {
			t.Fatal(err)
		}
		if err := server.Close(); err != nil {
			t.Fatal(err)
		}
		for range 1000 {
			other, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer other.Close()
			if other.Addr().String() == mine {
				t.Fatalf("%s was given to somebody else", mine)
			}
		}
	}
	if again := Address(t); again == mine {
		t.Errorf("%s twice", mine)
	}
}
