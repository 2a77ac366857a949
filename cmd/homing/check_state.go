package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/homing-mail/homing/spool"
)

// configuration has a line for each mistake and each warning, or one for all.
func (c *checker) configuration(_ context.Context, p *page) {
	for _, m := range addNew(c.wrong, c.cfg.keyring().wrong) {
		for text := range strings.Lines(m.Error()) {
			// The variable is the line's target already.
			text = strings.TrimLeft(strings.TrimPrefix(strings.TrimSpace(text), m.variable), ":= ")
			p.add("configuration", m.variable, 0, misset(errors.New(text),
				"correct the variable; `homing config` shows them all with their meaning"))
		}
	}
	for _, warning := range c.cfg.warnings() {
		if slices.ContainsFunc(c.wrong, func(m mistake) bool { return strings.Contains(warning, m.variable) }) {
			continue // what could not be read looks as if it were not set
		}
		variable, _, _ := strings.Cut(warning, " ")
		p.add("configuration", variable, 0, doubtful(warning, "set it as the warning says, or leave it if it is meant"))
	}
	if len(p.lines) == 0 {
		p.add("configuration", "HOMING_*", 0, well("no mistakes"))
	}
}

// state tries the state directory, its disk and the spool in it.
func (c *checker) state(ctx context.Context, p *page) {
	dir := string(c.cfg.StateDir)
	if c.isWrong("HOMING_STATE_DIR") || dir == "" {
		return
	}
	exists := false
	if !p.try(ctx, "state directory", dir, func(context.Context) finding {
		var f finding
		f, exists = writable(dir, "HOMING_STATE_DIR")
		return f
	}) {
		return
	}
	p.try(ctx, "disk", dir, c.room)
	if exists {
		p.try(ctx, "spool", filepath.Join(dir, spool.FileName), c.spool)
	}
}

// writable reports whether files can be made in a directory or, where there is
// none yet, in the nearest above it.
func writable(dir, variable string) (f finding, exists bool) {
	mend := "make it a directory that homing's user may write to, or set " + variable
	st, err := os.Stat(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		above := existing(dir)
		if err := tryWrite(above); err != nil {
			return broken(fmt.Errorf("there is none, and in %s none can be made: %w", above, err), mend), false
		}
		return doubtful("there is none yet", "homing makes it when it starts; in a container mount a volume there first, so that it is kept"), false
	case err != nil:
		return broken(withoutPath(err), mend), false
	case !st.IsDir():
		return broken(errors.New("this is no directory"), mend), false
	}
	if err := tryWrite(dir); err != nil {
		return broken(fmt.Errorf("cannot be written to: %w", err), mend), true
	}
	return well("writable"), true
}

// tryWrite makes a small file, has it written to the disk, and removes it.
func tryWrite(dir string) error {
	file, err := os.CreateTemp(dir, ".homing-check-*")
	if err != nil {
		return withoutPath(err)
	}
	_, err = file.WriteString("homing check\n")
	return errors.Join(err, file.Sync(), file.Close(), os.Remove(file.Name()))
}

// existing is the directory, or the first above it that exists.
func existing(dir string) string {
	for {
		if _, err := os.Stat(dir); err == nil || dir == filepath.Dir(dir) {
			return dir
		}
		dir = filepath.Dir(dir)
	}
}

// room looks whether the spool may grow, or has room inside.
func (c *checker) room(ctx context.Context) finding {
	free := c.with.free
	if free == nil {
		free = spool.Free
	}
	there, err := free(existing(string(c.cfg.StateDir)))
	if err != nil {
		return broken(err, "look at the disk that holds the state directory")
	}
	text := fmt.Sprintf("%d MiB are free", there>>20)
	if there >= spool.EnoughFree {
		return well("%s", text)
	}
	room := max(c.roomInside(ctx), there)
	if room > there {
		text = fmt.Sprintf("%d MiB are free, %d of them inside %s", room>>20, (room-there)>>20, spool.FileName)
	}
	if room >= spool.EnoughFree {
		return well("%s", text)
	}
	return broken(fmt.Errorf("%s, and below %d MiB homing takes no mail (it answers 503)", text, spool.EnoughFree>>20),
		"make room on this disk, or move the state directory to another")
}

// roomInside is the disk's room with what the spool has inside; 0 where it cannot
// be asked, which has a line of its own.
func (c *checker) roomInside(ctx context.Context) int64 {
	s, err := c.openSpool(ctx)
	if err != nil {
		return 0
	}
	room, err := s.Room(ctx)
	if errors.Join(err, s.Close()) != nil {
		return 0
	}
	return room
}

// openSpool opens the spool beside a daemon that may run.
func (c *checker) openSpool(ctx context.Context) (*spool.Spool, error) {
	return spool.Open(ctx, spool.Options{Dir: string(c.cfg.StateDir), History: c.cfg.History, Guest: true, Free: c.with.free})
}

// spool reads the spool as `homing queue` does, beside a daemon that may run.
func (c *checker) spool(ctx context.Context) finding {
	st, err := os.Stat(filepath.Join(string(c.cfg.StateDir), spool.FileName))
	if errors.Is(err, fs.ErrNotExist) {
		return well("there is none yet: homing makes it when it starts")
	}
	const mend = "run this as homing's user; if the file itself is damaged, restore it, or move it away and let the mail be found again in the bucket"
	if err != nil {
		return broken(withoutPath(err), mend)
	}
	s, err := c.openSpool(ctx)
	if err != nil {
		return broken(err, mend)
	}
	counts, err := s.Counts(ctx)
	if err = errors.Join(err, s.Close()); err != nil {
		return broken(err, mend)
	}
	if counts.Held > 0 {
		return doubtful(fmt.Sprintf("%d messages are held, %d wait", counts.Held, counts.Due+counts.Waiting+counts.Active),
			"`homing queue list` says why they are held, `homing queue retry` tries them again")
	}
	if owner, ok := st.Sys().(*syscall.Stat_t); ok && int(owner.Uid) != os.Geteuid() {
		return doubtful(fmt.Sprintf("%d messages wait; the file belongs to user %d and this is run by user %d", counts.Due+counts.Waiting+counts.Active, owner.Uid, os.Geteuid()),
			"run this as homing's user: what is allowed to another proves nothing")
	}
	return well("%d messages wait, none are held", counts.Due+counts.Waiting+counts.Active)
}

// certificate looks at the files that HTTPS is served with.
func (c *checker) certificate(ctx context.Context, p *page) {
	path := string(c.cfg.TLSCertPath)
	if path == "" || c.cfg.TLSKeyPath == "" || c.isWrong("HOMING_TLS_CERT_PATH") || c.isWrong("HOMING_TLS_KEY_PATH") {
		return
	}
	p.try(ctx, "certificate", path, func(context.Context) finding {
		pair, err := tls.LoadX509KeyPair(path, string(c.cfg.TLSKeyPath))
		if err != nil {
			return misset(err, "give PEM files of one certificate and its key in HOMING_TLS_CERT_PATH and HOMING_TLS_KEY_PATH, readable by homing's user")
		}
		return judgeCertificate(pair, time.Now())
	})
}

// judgeCertificate: SNS speaks only to certificates that are valid and from an
// authority that it knows
// (https://docs.aws.amazon.com/sns/latest/dg/sns-http-https-endpoint-as-subscriber.html).
func judgeCertificate(pair tls.Certificate, now time.Time) finding {
	const soon = 14 * 24 * time.Hour
	leaf := pair.Leaf
	left := leaf.NotAfter.Sub(now)
	switch {
	case now.Before(leaf.NotBefore):
		return broken(fmt.Errorf("not valid before %s", leaf.NotBefore.UTC().Format(time.RFC1123)), "wait for that, or set the clock of this machine")
	case left <= 0:
		return broken(fmt.Errorf("expired %s", leaf.NotAfter.UTC().Format(time.RFC1123)), "renew it: SNS refuses it; homing reads the new files by itself")
	case left < soon:
		return doubtful(fmt.Sprintf("expires in %s, on %s", span(left), leaf.NotAfter.UTC().Format(time.RFC1123)),
			"renew it, and see why that has not happened by itself; homing reads the new files by itself")
	}
	above := x509.NewCertPool()
	for _, der := range pair.Certificate[1:] {
		if cert, err := x509.ParseCertificate(der); err == nil {
			above.AddCert(cert)
		}
	}
	if _, err := leaf.Verify(x509.VerifyOptions{Intermediates: above, CurrentTime: now}); err != nil {
		return doubtful(err.Error(), "SNS needs a certificate of a public authority with the intermediate ones after it in the file; behind a proxy that has one, nothing is to be done")
	}
	return well("for %s, until %s", strings.Join(leaf.DNSNames, " "), leaf.NotAfter.UTC().Format(time.RFC1123))
}
