package fetcher

import (
	"encoding/pem"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/homing-mail/homing/internal/s3test"
)

// awsEnvironment leaves nothing of the machine's own configuration.
func awsEnvironment(t testing.TB, variables map[string]string) {
	for _, variable := range os.Environ() {
		if name, _, _ := strings.Cut(variable, "="); strings.HasPrefix(name, "AWS_") {
			t.Setenv(name, "")
		}
	}
	nothing := filepath.Join(t.TempDir(), "nothing")
	t.Setenv("AWS_CONFIG_FILE", nothing)
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", nothing)
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	for name, value := range variables {
		t.Setenv(name, value)
	}
}

func TestNewClient(t *testing.T) {
	for _, test := range []struct {
		name   string
		set    map[string]string
		region string // empty: an error
		text   string // part of it
	}{
		{"region", map[string]string{"AWS_REGION": "eu-west-1"}, "eu-west-1", ""},
		{"endpoint", map[string]string{"AWS_ENDPOINT_URL_S3": "http://127.0.0.1:9"}, defaultRegion, ""},
		{"endpoint of all", map[string]string{"AWS_ENDPOINT_URL": "http://127.0.0.1:9"}, defaultRegion, ""},
		{"both", map[string]string{"AWS_ENDPOINT_URL_S3": "http://127.0.0.1:9", "AWS_REGION": "garage"}, "garage", ""},
		{"nothing", nil, "", "AWS_REGION"},
		{"no such bundle", map[string]string{"AWS_REGION": "eu-west-1", "AWS_CA_BUNDLE": "/nowhere"}, "", "/nowhere"},
	} {
		t.Run(test.name, func(t *testing.T) {
			awsEnvironment(t, test.set)
			client, err := NewClient(t.Context(), false)
			if test.region == "" {
				if err == nil || !strings.Contains(err.Error(), test.text) {
					t.Errorf("error %v, want one that names %s", err, test.text)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got := client.Options().Region; got != test.region {
				t.Errorf("region %s, want %s", got, test.region)
			}
		})
	}
}

func TestNewClientWithoutCredentials(t *testing.T) {
	awsEnvironment(t, map[string]string{"AWS_ENDPOINT_URL_S3": "http://127.0.0.1:9"})
	client, err := NewClient(t.Context(), true)
	if err != nil {
		t.Fatal(err)
	}
	_, err = fetcherOf(once(client)).Fetch(t.Context(), Ref{Bucket: "mail", Key: "key"})
	if reason(err) != configuration || !strings.Contains(err.Error(), "credentials") {
		t.Errorf("error %v", err)
	}
}

func TestNewClientNobodyThere(t *testing.T) {
	awsEnvironment(t, map[string]string{"AWS_ENDPOINT_URL_S3": "http://127.0.0.1:1",
		"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "AWS_MAX_ATTEMPTS": "1"})
	client, err := NewClient(t.Context(), true)
	if err != nil {
		t.Fatal(err)
	}
	if _, err = fetcherOf(client).Fetch(t.Context(), Ref{Bucket: "mail", Key: "key"}); reason(err) != network {
		t.Errorf("error %v", err)
	}
}

// TestNewClientCABundle is for S3 servers behind a certificate of one's own.
func TestNewClientCABundle(t *testing.T) {
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Write([]byte("octets"))
	}))
	server.Config.ErrorLog = log.New(io.Discard, "", 0) // of the handshake that has to fail
	server.StartTLS()
	defer server.Close()
	bundle := filepath.Join(t.TempDir(), "ca.pem")
	certificate := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	if err := os.WriteFile(bundle, certificate, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct{ bundle, reason string }{{bundle, ""}, {"", network}} {
		awsEnvironment(t, map[string]string{"AWS_ENDPOINT_URL_S3": server.URL, "AWS_CA_BUNDLE": test.bundle,
			"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"})
		client, err := NewClient(t.Context(), true)
		if err != nil {
			t.Fatal(err)
		}
		object, err := fetcherOf(once(client)).Fetch(t.Context(), Ref{Bucket: "mail", Key: "key"})
		if test.reason != "" {
			if reason(err) != test.reason || !strings.Contains(err.Error(), "certificate") {
				t.Errorf("error %v", err)
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		object.Release()
	}
}

// TestNewClientSilence tells a slow answer from one that has stopped.
func TestNewClientSilence(t *testing.T) {
	const silence = 2 * time.Second
	server, _ := start(t)
	ref := put(t, server, "key", octets(maxMessage))
	awsEnvironment(t, map[string]string{"AWS_ENDPOINT_URL_S3": server.URL(),
		"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "AWS_MAX_ATTEMPTS": "1"})
	client, err := newClient(t.Context(), true, silence)
	if err != nil {
		t.Fatal(err)
	}
	f := fetcherOf(client)
	for _, test := range []struct {
		name   string
		fault  s3test.Fault
		reason string
	}{
		{"slow", s3test.Fault{Pause: silence / 16}, ""}, // 32 pieces: twice the silence
		{"no header", s3test.Fault{Delay: time.Minute}, network},
		{"stalled", s3test.Fault{Stall: true, After: maxMessage / 2}, network},
	} {
		server.Inject(func(*http.Request) *s3test.Fault { return &test.fault })
		before := time.Now()
		object, err := f.Fetch(t.Context(), ref)
		if test.reason != "" && reason(err) != test.reason {
			t.Errorf("%s: error %v", test.name, err)
		}
		if test.reason == "" {
			if err != nil {
				t.Fatalf("%s: %v", test.name, err)
			}
			object.Release()
		}
		if took := time.Since(before); took < silence || took > 20*silence {
			t.Errorf("%s: took %v", test.name, took)
		}
	}
}
