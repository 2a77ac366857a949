package lmtp

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"math/big"
	"net"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/homing-mail/homing/internal/lmtpsink"
)

// pattern is n octets that are nowhere the same.
func pattern(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i ^ i>>8 ^ i>>16)
	}
	return b
}

// box is where a sink puts what it gets.
type box struct {
	mu       sync.Mutex
	messages []string
}

func (b *box) deliver(_ context.Context, sender, recipient string, octets []byte) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.messages = append(b.messages, sender+">"+recipient+":"+string(octets))
	return nil
}

// empty returns what is in the box and takes it out.
func (b *box) empty() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	messages := b.messages
	b.messages = nil
	return messages
}

func startSink(t *testing.T, config lmtpsink.Config) *lmtpsink.Server {
	t.Helper()
	sink, err := lmtpsink.New(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { sink.Close() })
	return sink
}

func startClient(t *testing.T, config Config) *Client {
	t.Helper()
	c := New(config)
	t.Cleanup(func() { c.Close() })
	return c
}

// Messages that need several writes, in pieces of all sizes, arrive whole, and
// the caller's slices stay as they were.
func TestLargeMessages(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lmtp")
	var got box
	startSink(t, lmtpsink.Config{Network: "unix", Address: path, Deliver: got.deliver})
	c := startClient(t, Config{Network: "unix", Address: path})
	whole := pattern(9<<20 + 1)
	for name, cuts := range map[string][]int{
		"one piece":             nil,
		"head and body":         {100},
		"at the write's limit":  {maxWrite, 2 * maxWrite},
		"around it":             {1, maxWrite - 1, maxWrite + 1, 3*maxWrite + 7},
		"with empty pieces":     {0, 0, 500, 500, 9<<20 + 1},
		"more than one can say": evenly(2000, len(whole)),
	} {
		t.Run(name, func(t *testing.T) {
			octets := cut(whole, cuts)
			if err := c.Deliver(t.Context(), "a@x.test", "bob@y.test", octets); err != nil {
				t.Fatal(err)
			}
			if m := got.empty(); len(m) != 1 || m[0] != "a@x.test>bob@y.test:"+string(whole) {
				t.Error("did not arrive as it was")
			}
			if !bytes.Equal(bytes.Join(octets, nil), whole) {
				t.Error("the caller's octets were changed")
			}
		})
	}
}

func evenly(n, of int) (cuts []int) {
	for i := 1; i < n; i++ {
		cuts = append(cuts, of/n*i)
	}
	return cuts
}

func cut(b []byte, at []int) (pieces [][]byte) {
	begin := 0
	for _, end := range append(at, len(b)) {
		pieces = append(pieces, b[begin:end])
		begin = end
	}
	return pieces
}

func TestTLS(t *testing.T) {
	certificate, roots := certify(t, "localhost")
	plain, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var got box
	startSink(t, lmtpsink.Config{
		Listener: tls.NewListener(plain, &tls.Config{Certificates: []tls.Certificate{certificate}}),
		Deliver:  got.deliver,
	})
	_, port, err := net.SplitHostPort(plain.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Run("delivers", func(t *testing.T) {
		c := startClient(t, Config{Network: "tcp", Address: "localhost:" + port, TLS: &tls.Config{RootCAs: roots}})
		whole := pattern(5<<20 + 1)
		for _, octets := range [][][]byte{mail(), cut(whole, []int{10, 20, 100000})} {
			if err := c.Deliver(t.Context(), "a@x.test", "bob@y.test", octets); err != nil {
				t.Fatal(err)
			}
		}
		want := []string{"a@x.test>bob@y.test:mail\n", "a@x.test>bob@y.test:" + string(whole)}
		if !slices.Equal(got.empty(), want) {
			t.Error("did not arrive as it was")
		}
		if err := c.Probe(t.Context()); err != nil {
			t.Error(err)
		}
	})
	for name, config := range map[string]Config{
		"unknown authority": {Address: "localhost:" + port, TLS: &tls.Config{RootCAs: x509.NewCertPool()}},
		"another's name":    {Address: "127.0.0.1:" + port, TLS: &tls.Config{RootCAs: roots}},
		"plain":             {Address: "localhost:" + port, Timeouts: Timeouts{Greeting: 50 * time.Millisecond}},
	} {
		t.Run(name, func(t *testing.T) {
			config.Network = "tcp"
			c := startClient(t, config)
			if err := c.Deliver(t.Context(), "a@x.test", "bob@y.test", mail()); !isAway(err) {
				t.Errorf("got %v", err)
			}
		})
	}
}

// certify makes a certificate that is its own authority.
func certify(t *testing.T, name string) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		DNSNames:     []string{name},
		NotAfter:     time.Now().Add(time.Hour),
		IsCA:         true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(certificate)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, roots
}
