package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/homing-mail/homing/internal/neighbour"
)

// header tells what is measured on, as facts of the raw file; the processor is
// told by Go itself.
func header(ctx context.Context, repeat uint) string {
	packages := said(ctx, "dpkg-query", "-W", "-f", "${Package} ${Version}, ", "postfix", "fetchmail", "getmail6", "dovecot-core")
	newer := said(ctx, "dpkg-query", "--admindir", filepath.Join(neighbour.TrixiePath(), "var/lib/dpkg"), "-W", "-f", "${Package} ${Version}", "dovecot-core")
	filesystem := strings.Fields(said(ctx, "df", "--output=fstype", os.TempDir()))
	load, _, _ := strings.Cut(said(ctx, "cat", "/proc/loadavg"), " ")
	return fmt.Sprintf(`date: %s
commit: %s
command: make bench REPEAT=%d
machine: %d processors, Linux %s, mailboxes and spools on %s
software: %s, %s and %s
load: %s
`, time.Now().UTC().Format(time.DateOnly), said(ctx, "git", "describe", "--always", "--dirty"), repeat,
		runtime.NumCPU(), said(ctx, "uname", "-r"), filesystem[len(filesystem)-1],
		runtime.Version(), strings.TrimSuffix(packages, ","), newer, load)
}

// said is what a program prints; some have things to say and fail.
func said(ctx context.Context, name string, args ...string) string {
	out, err := exec.CommandContext(ctx, name, args...).Output()
	if text := strings.TrimSpace(string(out)); text != "" {
		return text
	}
	return fmt.Sprintf("(%s: %v)", name, err)
}
