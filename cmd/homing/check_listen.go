package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"syscall"
)

// maxPage bounds what is read of another server's answer.
const maxPage = 1 << 20

// listeners tries each port. One that is taken is asked who has it.
func (c *checker) listeners(ctx context.Context, p *page) {
	if at := c.cfg.Listen; at != "" && !c.isWrong("HOMING_LISTEN") {
		scheme := "http"
		if c.cfg.TLSCertPath != "" {
			scheme = "https"
		}
		p.try(ctx, "webhook", string(at), func(ctx context.Context) finding {
			path := c.cfg.WebhookPath
			if len(c.cfg.SNSTopics) == 0 {
				path = c.cfg.FormPath
			}
			return listenFinding(ctx, "HOMING_LISTEN", at, scheme+"://"+at.local()+string(path), webhookWords)
		})
	}
	if at := c.cfg.MetricsListen; at != "" && !c.isWrong("HOMING_METRICS_LISTEN") {
		p.try(ctx, "metrics", string(at), func(ctx context.Context) finding {
			return listenFinding(ctx, "HOMING_METRICS_LISTEN", at, "http://"+at.local()+"/metrics", metricsWords)
		})
	}
}

// What only a homing answers: its webhook or form to a GET, its metrics to everybody.
var (
	webhookWords = regexp.MustCompile(`(?:SNS|the edge worker) posts to()`)
	metricsWords = regexp.MustCompile(`homing_build_info\{[^}\n]{0,200}\bversion="([^"\n]{0,60})"`)
)

// listenFinding listens for a moment. A running homing, which is as good as a free
// port, is known by the words of its page.
func listenFinding(ctx context.Context, variable string, at listenAddress, page string, words *regexp.Regexp) finding {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", string(at))
	switch {
	case err == nil:
		if err := listener.Close(); err != nil {
			return broken(err, "try again")
		}
		return well("free; no homing listens there now")
	case errors.Is(err, syscall.EADDRINUSE):
		// Another program's certificate, or none, is no matter: nothing is told to it.
		_, text, _ := get(ctx, page)
		if found := words.FindStringSubmatch(text); found != nil {
			return well("%s", strings.TrimSpace("taken by a homing that runs "+found[1]))
		}
		return broken(errors.New("taken by a program that is not homing"),
			"stop it (`ss -ltnp` shows what listens), or set "+variable+" to another port")
	case errors.Is(err, fs.ErrPermission):
		return broken(err, "a port below 1024 needs the capability CAP_NET_BIND_SERVICE; or set "+variable+" to a higher one")
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return broken(err, "set "+variable+" to an address of this machine, or to a port alone, as in :8025")
	}
	return broken(err, "correct "+variable)
}

// local is where a listener of this machine is reached.
func (a listenAddress) local() string {
	host, port, err := net.SplitHostPort(string(a))
	switch {
	case err != nil:
		return string(a)
	case host == "::":
		host = "::1"
	case isEverywhere(host):
		host = "127.0.0.1"
	}
	return net.JoinHostPort(host, port)
}

// get gets a page of this machine, without a proxy. Whose certificate it has does
// not matter: nothing is told to it, and it is not believed much.
func get(ctx context.Context, address string) (status int, text string, err error) {
	client := &http.Client{
		Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}},
		// It might lead away from this machine.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return 0, "", err
	}
	response, err := client.Do(request)
	if whole, ok := errors.AsType[*url.Error](err); ok {
		err = whole.Err
	}
	if err != nil {
		return 0, "", err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, maxPage))
	return response.StatusCode, string(body), err
}

// health asks the running homing whether it is ready.
func (c *checker) health(ctx context.Context, p *page) {
	at := c.cfg.MetricsListen
	_, port, err := net.SplitHostPort(string(at))
	if c.isWrong("HOMING_METRICS_LISTEN") || err != nil || port == "0" {
		p.add("health", "HOMING_METRICS_LISTEN", 0, misset(errors.New("it names no port to ask at"), "set it to where homing shows its metrics, as in :9025"))
		return
	}
	p.try(ctx, "health", "http://"+at.local()+"/readyz", func(ctx context.Context) finding {
		status, text, err := get(ctx, "http://"+at.local()+"/readyz")
		switch {
		case err != nil:
			return broken(err, "is homing running here, with the same HOMING_METRICS_LISTEN?")
		case status != http.StatusOK:
			return broken(fmt.Errorf("answered %d: %s", status, strings.TrimSpace(text)), "see homing's log: its spool cannot take mail")
		}
		return well("%s", strings.TrimSpace(text))
	})
}
