package lmtpbench

import (
	"bufio"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/homing-mail/homing/internal/delay"
	"github.com/homing-mail/homing/internal/program"
)

// added is by how much the delay line makes a round trip longer.
const added = time.Millisecond

// delayed has this program be a delay line, as one of the tests starts it.
var delayed = flag.String("delayed", "", "be a delay line before network,address, listening at network,address")

func TestMain(m *testing.M) {
	flag.Parse()
	if *delayed == "" {
		os.Exit(m.Run())
	}
	if err := serveDelay(strings.Split(*delayed, ",")); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// serveDelay says where it listens, and ends with its input.
func serveDelay(to []string) error {
	listener, err := net.Listen(to[0], to[2])
	if err != nil {
		return err
	}
	fmt.Println(listener.Addr())
	go delay.Line{Network: to[0], Address: to[1], By: added}.Serve(listener)
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}

// delayLine starts a delay line before a server and returns its address. It is a
// process of its own, so that its work is in nobody's processor time.
func delayLine(tb testing.TB, network, server string) (address string) {
	tb.Helper()
	self, err := os.Executable()
	if err != nil {
		tb.Fatal(err)
	}
	listen := "127.0.0.1:0"
	if network == "unix" {
		listen = filepath.Join(program.Open(tb), "delayed")
	}
	cmd := exec.Command(self, "-delayed", strings.Join([]string{network, server, listen}, ","))
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		tb.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		tb.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		in.Close()
		if err := cmd.Wait(); err != nil {
			tb.Error(err)
		}
	})
	address, err = bufio.NewReader(out).ReadString('\n')
	if err != nil {
		tb.Fatalf("the delay line does not start: %v", err)
	}
	return strings.TrimSpace(address)
}
