package system

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/homing-mail/homing/internal/neighbour"
	"github.com/homing-mail/homing/internal/snstest"
)

// front is a real reverse proxy before homing, with the certificate of a test.
type front struct {
	url    string
	client *http.Client
}

// What contrib/proxy ships lets SNS in and nothing else, and passes on what is
// signed as it is.
func TestBehindProxies(t *testing.T) {
	t.Parallel()
	for name, start := range map[string]func(*testing.T, *home) *front{"Caddy": caddy, "nginx": nginx} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := withoutDovecot(t)
			f := start(t, h)
			for _, version := range []string{"1", "2"} {
				subject := "Amazon SES Email Receipt Notification"
				notification := site.signer.Notification(topic(), &subject, receipt(h.store(letter("proxied")), "ann@far.test", address("alice")), version)
				if status, answer, err := snstest.Post(t.Context(), f.client, f.url+"/sns", notification); status != 200 || err != nil {
					t.Errorf("version %s: %d %q, %v; want 200", version, status, answer, err)
				}
			}
			h.awaitIdle()

			large := sign(strings.Repeat("x", 1<<20))
			if status, answer, err := snstest.Post(t.Context(), f.client, f.url+"/sns", large); status != http.StatusRequestEntityTooLarge || !strings.Contains(answer, "1 MiB") {
				t.Errorf("too large: %d %q, %v; want homing's own 413", status, answer, err)
			}
			for path, want := range map[string]int{"/sns": 405, "/metrics": 404, "/healthz": 404, "/": 404, "/sns/more": 404} {
				if got := f.get(t, path); got != want {
					t.Errorf("GET %s: %d, want %d", path, got, want)
				}
			}

			h.kill()
			if status, _, err := snstest.Post(t.Context(), f.client, f.url+"/sns", sign("{}")); status < 500 {
				t.Errorf("without homing: %d, %v; want a 5xx, after which SNS comes again", status, err)
			}
		})
	}
}

func (f *front) get(t *testing.T, path string) int {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, f.url+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := f.client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	return response.StatusCode
}

func caddy(t *testing.T, h *home) *front {
	t.Helper()
	program := neighbour.Program(t, "caddy")
	return behind(t, "Caddy", func(dir, address string) *exec.Cmd {
		_, port, _ := net.SplitHostPort(address)
		config := shippedProxy(t, "Caddyfile", map[string]string{
			"\nmail.example.com {\n": "\nhttps://:" + port + " {\n\ttls " + dir + "/cert.pem " + dir + "/key.pem\n",
			"127.0.0.1:8025 {":       h.webhook + " {",
		})
		config = "{\n\tadmin off\n\tauto_https disable_redirects\n\tskip_install_trust\n}\n" + config
		putFile(t, dir, "Caddyfile", config)
		cmd := exec.CommandContext(t.Context(), program, "run", "--config", filepath.Join(dir, "Caddyfile"), "--adapter", "caddyfile")
		cmd.Env = []string{"HOME=" + dir}
		return cmd
	})
}

func nginx(t *testing.T, h *home) *front {
	t.Helper()
	program := neighbour.Program(t, "nginx")
	return behind(t, "nginx", func(dir, address string) *exec.Cmd {
		_, port, _ := net.SplitHostPort(address)
		server := shippedProxy(t, "nginx.conf", map[string]string{
			"listen 443 ssl http2;":                                "listen " + "127.0.0.1:" + port + " ssl http2;",
			"listen [::]:443 ssl http2;":                           "",
			"/etc/letsencrypt/live/mail.example.com/fullchain.pem": dir + "/cert.pem",
			"/etc/letsencrypt/live/mail.example.com/privkey.pem":   dir + "/key.pem",
		})
		if strings.Count(server, "http://127.0.0.1:8025;") != 2 {
			t.Fatalf("the snippet does not pass on to homing twice:\n%s", server)
		}
		server = strings.ReplaceAll(server, "http://127.0.0.1:8025;", "http://"+h.webhook+";")
		var temporary strings.Builder
		for _, kind := range []string{"client_body", "proxy", "fastcgi", "uwsgi", "scgi"} {
			fmt.Fprintf(&temporary, "%s_temp_path %s/%s;\n", kind, dir, kind)
		}
		putFile(t, dir, "nginx.conf", "daemon off;\nuser root;\npid "+dir+"/pid;\nerror_log stderr;\nevents {}\nhttp {\naccess_log off;\n"+
			temporary.String()+server+"}\n")
		return exec.CommandContext(t.Context(), program, "-e", "stderr", "-p", dir, "-c", filepath.Join(dir, "nginx.conf"))
	})
}

// shippedProxy is a file of contrib/proxy, each of whose texts is changed once.
func shippedProxy(t *testing.T, name string, changes map[string]string) string {
	t.Helper()
	octets, err := os.ReadFile("../../contrib/proxy/" + name)
	if err != nil {
		t.Fatal(err)
	}
	text := string(octets)
	for from, to := range changes {
		if strings.Count(text, from) != 1 {
			t.Fatalf("%s does not say %q once", name, from)
		}
		text = strings.Replace(text, from, to, 1)
	}
	return text
}

// behind starts a proxy on a port that the kernel chose, and waits until it
// answers.
func behind(t *testing.T, name string, command func(dir, address string) *exec.Cmd) *front {
	t.Helper()
	dir := t.TempDir()
	certificate := writeCertificate(t, filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem"), 1)
	address := neighbour.Address(t)
	var said journal
	cmd := command(dir, address)
	cmd.Stdout, cmd.Stderr = &said, &said
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Wait() }) // it was interrupted
	f := &front{url: "https://" + address, client: trusting(certificate)}
	await(t, name+" to answer", func() error {
		conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", address)
		if err != nil {
			return fmt.Errorf("%w: %s", err, said.all())
		}
		return conn.Close()
	})
	return f
}

func putFile(t *testing.T, dir, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
