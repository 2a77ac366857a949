package main

import (
	"crypto/tls"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
	"time"
)

// certificateLook is how often a handshake looks whether the files have changed.
const certificateLook = time.Second

// certificates serves HOMING_TLS_CERT_PATH and HOMING_TLS_KEY_PATH, and follows
// them when they are renewed. A nil one stands for plain HTTP.
type certificates struct {
	cert, key string
	log       *slog.Logger

	mu      sync.Mutex
	looked  time.Time
	stamp   string // of the files that are served
	serving *tls.Certificate
	trouble string // that was logged, so that it is said once
}

func newCertificates(cfg *Config, log *slog.Logger) (*certificates, error) {
	if cfg.TLSCertPath == "" {
		return nil, nil
	}
	c := &certificates{cert: string(cfg.TLSCertPath), key: string(cfg.TLSKeyPath), log: log}
	stamp, err := c.stamps()
	if err == nil {
		err = c.load(stamp)
	}
	if err != nil {
		return nil, misconfigured("HOMING_TLS_CERT_PATH", fmt.Errorf("HOMING_TLS_CERT_PATH and HOMING_TLS_KEY_PATH: %w", err))
	}
	return c, nil
}

// config is nil for plain HTTP.
func (c *certificates) config() *tls.Config {
	if c == nil {
		return nil
	}
	return &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: c.get}
}

// get is current for a handshake.
func (c *certificates) get(*tls.ClientHelloInfo) (*tls.Certificate, error) { return c.current(), nil }

// expiry is when the certificate expires that is served now.
func (c *certificates) expiry() time.Time { return c.current().Leaf.NotAfter }

// current returns the certificate to serve now. Files that are wrong, as for a
// moment during a renewal, leave the one before in place.
func (c *certificates) current() *tls.Certificate {
	c.mu.Lock()
	defer c.mu.Unlock()
	if time.Since(c.looked) < certificateLook {
		return c.serving
	}
	stamp, err := c.stamps()
	if err == nil && stamp != c.stamp {
		if err = c.load(stamp); err == nil {
			c.log.Info("the TLS certificate was read again", "file", c.cert)
		}
	}
	c.complain(err)
	c.looked = time.Now()
	return c.serving
}

// complain logs why new files are not served, each reason once.
func (c *certificates) complain(err error) {
	if err == nil {
		c.trouble = ""
		return
	}
	if err.Error() != c.trouble {
		c.trouble = err.Error()
		c.log.Error("the TLS certificate stays as it was", "file", c.cert, "error", err)
	}
}

func (c *certificates) load(stamp string) error {
	pair, err := tls.LoadX509KeyPair(c.cert, c.key)
	if err != nil {
		return err
	}
	c.serving, c.stamp, c.looked = &pair, stamp, time.Now()
	return nil
}

// stamps tells one pair of files from another.
func (c *certificates) stamps() (string, error) {
	var both strings.Builder
	for _, path := range []string{c.cert, c.key} {
		st, err := os.Stat(path)
		if err != nil {
			return "", err
		}
		fmt.Fprintf(&both, "%d %d;", st.ModTime().UnixNano(), st.Size())
	}
	return both.String(), nil
}
