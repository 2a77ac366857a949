// Package systemd_test has systemd judge the units. The package in contrib/debian
// has tests that run them.
package systemd_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/homing-mail/homing/internal/debian"
)

const (
	units = "usr/lib/systemd/system"
	// exposed is how much of the machine may be open to a unit, of 100, as
	// `systemd-analyze security` counts: what remains is the network and Dovecot's
	// socket.
	exposed = "12"
)

// install puts the units and something to start into a root.
func install(t *testing.T) (root *debian.Root, names []string) {
	t.Helper()
	root = debian.New(t)
	found, err := filepath.Glob("homing*.*")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range found {
		if filepath.Ext(name) != ".service" && filepath.Ext(name) != ".timer" {
			continue
		}
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		at := filepath.Join(root.Changes, units, name)
		if err := os.MkdirAll(filepath.Dir(at), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(at, text, 0o644); err != nil {
			t.Fatal(err)
		}
		names = append(names, name)
	}
	if len(names) != 3 {
		t.Fatalf("the units are %q, want three", names)
	}
	root.Run(t, "printf '#!/bin/sh\n' > /usr/bin/homing && chmod 755 /usr/bin/homing")
	return root, names
}

func TestVerify(t *testing.T) {
	root, names := install(t)
	if said := root.Run(t, "systemd-analyze verify --man=no "+strings.Join(names, " ")); said != "" {
		t.Errorf("systemd says:\n%s", said)
	}
	if out, err := root.Command(t.Context(), "sh", "-c", "sed -i 's/^Type=/Typ=/' /"+units+"/homing.service; systemd-analyze verify --man=no homing.service").CombinedOutput(); !strings.Contains(string(out), "Typ") {
		t.Errorf("a wrong unit passes: %v\n%s", err, out)
	}
}

func TestSecurity(t *testing.T) {
	root, names := install(t)
	for _, name := range names {
		if filepath.Ext(name) != ".service" {
			continue
		}
		said := root.Run(t, "systemd-analyze security --no-pager --offline=yes --threshold="+exposed+" "+name)
		t.Log(regexp.MustCompile("Overall.*").FindString(said))
	}
}
