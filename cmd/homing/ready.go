package main

import (
	"fmt"
	"net"
)

// tellManager tells systemd about this service's state, if systemd wants to know
// (Type=notify; https://www.freedesktop.org/software/systemd/man/latest/sd_notify.html).
func tellManager(environ []string, state string) error {
	socket := asMap(environ)["NOTIFY_SOCKET"]
	if socket == "" {
		return nil
	}
	// A leading @ means an abstract socket to Go as it does to systemd.
	conn, err := net.Dial("unixgram", socket)
	if err != nil {
		return fmt.Errorf("telling systemd %s: %w", state, err)
	}
	defer conn.Close()
	if _, err := conn.Write([]byte(state)); err != nil {
		return fmt.Errorf("telling systemd %s: %w", state, err)
	}
	return nil
}
