package snstest

import (
	"io"
	"net"
	"net/http"
	"sync"
)

// Proxy returns a proxy that connects its clients with the Signer when they ask
// for an SNS host, and with nobody else. A process that is started with
// HTTPS_PROXY set to it, and SSL_CERT_FILE to the file of CAPEM, takes the Signer
// for SNS.
func (s *Signer) Proxy() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodConnect || !snsHost.MatchString(r.Host) {
			http.Error(w, r.Host+" is not SNS", http.StatusForbidden)
			return
		}
		var d net.Dialer
		sns, err := d.DialContext(r.Context(), "tcp", s.listener.Addr().String())
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		defer sns.Close()
		client, buffered, err := http.NewResponseController(w).Hijack()
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		defer client.Close()
		if _, err := io.WriteString(client, "HTTP/1.1 200 Connection established\r\n\r\n"); err != nil {
			return
		}
		join(client, buffered, sns)
	})
}

// join passes octets both ways until one side ends.
func join(client net.Conn, fromClient io.Reader, sns net.Conn) {
	var wg sync.WaitGroup
	pass := func(to net.Conn, from io.Reader) {
		// How a connection ends is between the two ends.
		_, _ = io.Copy(to, from)
		_ = client.Close()
		_ = sns.Close()
	}
	wg.Go(func() { pass(sns, fromClient) })
	pass(client, sns)
	wg.Wait()
}
