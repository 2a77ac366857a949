// Package system tests the built program from outside: a process that is
// configured by its environment alone, as a user starts it, between an SNS, an
// S3 server, a Dovecot and a Prometheus.
package system

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/homing-mail/homing/internal/snstest"
)

// parallel is how many tests run at a time unless -parallel says otherwise:
// most of them wait for a retry or a probe of ten seconds, on an idle processor.
const parallel = "6"

// site is what all tests share. Only TestMain writes it.
var site struct {
	program string // the built binary
	caFile  string // the CA of the signer, for SSL_CERT_FILE
	proxy   string // URL of the way to the signer, for HTTPS_PROXY
	signer  *snstest.Signer
	poster  *http.Client // what SNS posts with
}

func TestMain(m *testing.M) {
	flag.Parse()
	code, err := run(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func run(m *testing.M) (code int, err error) {
	if err := moreAtATime(); err != nil {
		return 1, err
	}
	dir, err := os.MkdirTemp("", "homing-system-")
	if err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	// One test has another user run the program.
	if err := os.Chmod(dir, 0o755); err != nil {
		return 1, err
	}
	if err := build(dir); err != nil {
		return 1, err
	}
	if site.signer, err = snstest.New(); err != nil {
		return 1, err
	}
	defer site.signer.Close()
	proxy := httptest.NewServer(site.signer.Proxy())
	defer proxy.Close()
	site.proxy = proxy.URL
	site.caFile = filepath.Join(dir, "ca.pem")
	if err := os.WriteFile(site.caFile, site.signer.CAPEM(), 0o644); err != nil {
		return 1, err
	}
	// SNS gives up after 15 s.
	site.poster = &http.Client{Timeout: 15 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: 64}}
	return m.Run(), nil
}

// build makes the program as it is released, without C. Without -trimpath it shares
// the compiler's work with the other packages' tests.
func build(dir string) error {
	site.program = filepath.Join(dir, "homing")
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "go", "build", "-o", site.program, "github.com/homing-mail/homing/cmd/homing")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("building homing: %w\n%s", err, out)
	}
	return nil
}

func moreAtATime() error {
	chosen := false
	flag.Visit(func(f *flag.Flag) { chosen = chosen || f.Name == "test.parallel" })
	if chosen {
		return nil
	}
	return flag.Set("test.parallel", parallel)
}
