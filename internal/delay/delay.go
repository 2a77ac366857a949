// Package delay is a delay line in user space: a relay that makes a connection's
// round trip longer, for benchmarks.
//
// The whole delay is on the way back. What a client sees of a server depends on
// the sum of both ways only, and so the octets of its mail pass as fast as the
// kernel copies them; from TCP to TCP they do not even enter the process.
package delay

import (
	"errors"
	"io"
	"net"
	"sync"
	"time"
)

// Line relays connections to a server.
type Line struct {
	Network, Address string        // of the server
	By               time.Duration // what a round trip takes longer
}

// Serve relays what the listener accepts until that is closed, and returns the
// error that says so; connections that are open then last until one side ends
// them.
func (l Line) Serve(listener net.Listener) error {
	for {
		client, err := listener.Accept()
		if err != nil {
			return err
		}
		go l.relay(client)
	}
}

// relay connects a client to the server, and closes it at once where that fails.
func (l Line) relay(client net.Conn) {
	defer client.Close()
	server, err := net.Dial(l.Network, l.Address)
	if err != nil {
		return
	}
	defer server.Close()
	var both sync.WaitGroup
	both.Go(func() {
		buffer := make([]byte, 256<<10) // for unix sockets, which the kernel does not splice
		io.CopyBuffer(server, client, buffer)
		closeWrite(server)
	})
	both.Go(func() {
		if l.back(client, server) != nil { // the client has gone
			server.Close()
		}
		closeWrite(client)
	})
	both.Wait()
}

func closeWrite(conn net.Conn) {
	if half, ok := conn.(interface{ CloseWrite() error }); ok {
		half.CloseWrite()
	}
}

// part is what one read returned.
type part struct {
	octets []byte
	due    time.Time
}

// back copies each read once its time has come, in order. It reads on meanwhile:
// the delay is no limit on the rate. It returns the error of a write.
func (l Line) back(to io.Writer, from io.Reader) error {
	const most = 4096 // parts on their way: replies are some tens of octets
	parts, failed := make(chan part, most), make(chan error, 1)
	go func() { failed <- release(to, parts) }()
	for {
		octets := make([]byte, 4<<10)
		n, err := from.Read(octets)
		if n > 0 {
			select {
			case parts <- part{octets[:n], time.Now().Add(l.By)}:
			case err := <-failed:
				return err
			}
		}
		if err != nil { // also when the server reset the connection
			close(parts)
			return <-failed
		}
	}
}

// release writes parts when they are due.
func release(to io.Writer, parts <-chan part) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for p := range parts {
		timer.Reset(time.Until(p.due))
		<-timer.C
		if _, err := to.Write(p.octets); err != nil {
			return errors.Join(errors.New("the client has gone"), err)
		}
	}
	return nil
}
