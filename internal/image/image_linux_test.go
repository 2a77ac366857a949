// Package image builds what the Dockerfile describes without Docker: its RUN and
// COPY lines are followed in a Debian 13 with Go, as the image golang:trixie is
// one, and what comes out is run as Docker would run it: as an unprivileged user,
// with a read-only root and a volume.
package image

import (
	"debug/elf"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/homing-mail/homing/internal/debian"
	"github.com/homing-mail/homing/internal/neighbour"
)

const (
	module  = "../.."
	largest = 40 << 20
	version = "v1.2.3-test"
)

// built is an image as a directory.
type built struct {
	root, volume        string
	volumeAt, user      string
	environ             []string
	entrypoint, command []string
	health              []string
}

func build(t *testing.T) *built {
	t.Helper()
	stages := parseDockerfile(t, filepath.Join(module, "Dockerfile"))
	if len(stages) != 2 || !slices.Equal(stages[1][0].words, []string{"scratch"}) {
		t.Fatal("want a stage that builds and one from scratch")
	}
	if from, want := stages[0][0].words[0], "golang:"+strings.TrimPrefix(runtime.Version(), "go")+"-trixie"; from != want {
		t.Logf("the image is built with %s; this test uses %s", from, want)
	}
	root := compile(t, stages[0])
	image := &built{root: t.TempDir(), volume: t.TempDir()}
	image.assemble(t, root, stages[1])
	return image
}

// compile follows the first stage.
func compile(t *testing.T, stage []instruction) *debian.Root {
	t.Helper()
	root := debian.New(t)
	for _, at := range [][2]string{{"GOROOT", "/usr/local/go"}, {"GOMODCACHE", "/go/pkg/mod"}, {"GOCACHE", "/root/.cache/go-build"}} {
		root.Bind(t, goEnv(t, at[0]), at[1])
	}
	workdir := "/"
	for _, one := range stage[1:] {
		switch one.name {
		case "WORKDIR":
			workdir = one.words[0]
		case "COPY":
			if one.text != ". ." {
				t.Fatalf("COPY %s: this test copies the whole context only", one.text)
			}
			copyContext(t, filepath.Join(root.Changes, workdir))
		case "ARG":
		case "RUN":
			cmd := root.Command(t.Context(), "sh", "-euc", "mkdir -p "+workdir+" && cd "+workdir+"\n"+one.text)
			cmd.Env = append(cmd.Env, "PATH=/usr/local/go/bin:/usr/sbin:/usr/bin:/sbin:/bin", "GOPATH=/go", "GOTOOLCHAIN=local", "GOPROXY=off",
				"TARGETOS="+runtime.GOOS, "TARGETARCH="+runtime.GOARCH, "VERSION="+version)
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Fatalf("RUN %s: %v\n%s", one.text, err, out)
			}
		default:
			t.Fatalf("what does %s do while building?", one.name)
		}
	}
	return root
}

func goEnv(t *testing.T, name string) string {
	t.Helper()
	out, err := exec.Command("go", "env", name).Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(out))
}

// copyContext copies what Docker would be sent.
func copyContext(t *testing.T, to string) {
	t.Helper()
	leftOut := ignored(t, filepath.Join(module, ".dockerignore"))
	err := filepath.WalkDir(module, func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		inside, err := filepath.Rel(module, name)
		switch {
		case err != nil:
			return err
		case inside != "." && leftOut(inside) && entry.IsDir():
			return filepath.SkipDir
		case inside != "." && leftOut(inside):
			return nil
		case entry.IsDir():
			return os.MkdirAll(filepath.Join(to, inside), 0o755)
		}
		text, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(to, inside), text, 0o644)
	})
	if err != nil {
		t.Fatal(err)
	}
}

// assemble follows the second stage.
func (b *built) assemble(t *testing.T, from *debian.Root, stage []instruction) {
	t.Helper()
	from.Bind(t, b.root, "/image")
	for _, one := range stage[1:] {
		switch one.name {
		case "COPY":
			owner := one.flags["chown"]
			if owner == "" {
				owner = "0:0"
			}
			source, target := one.words[0], "/image"+one.words[1]
			from.Run(t, fmt.Sprintf(`mkdir -p %[3]s
				if [ -d %[1]s ]; then mkdir -p %[2]s && cp -a %[1]s/. %[2]s; else cp -a %[1]s %[2]s; fi
				chown -R %[4]s %[2]s`, source, target, filepath.Dir(target), owner))
		case "ENV":
			b.environ = append(b.environ, one.words...)
		case "VOLUME":
			b.volumeAt = one.text
		case "USER":
			b.user = one.text
		case "ENTRYPOINT":
			b.entrypoint = one.list(t)
		case "CMD":
			b.command = one.list(t)
		case "HEALTHCHECK":
			one.text = strings.TrimPrefix(one.text, "CMD ")
			b.health = one.list(t)
		case "ARG", "LABEL", "EXPOSE":
		default:
			t.Fatalf("what does %s do?", one.name)
		}
	}
	// A new volume has the owner of what is in its place.
	info, err := os.Stat(filepath.Join(b.root, b.volumeAt))
	if err != nil {
		t.Fatal(err)
	}
	owner := info.Sys().(*syscall.Stat_t)
	if err := os.Chown(b.volume, int(owner.Uid), int(owner.Gid)); err != nil {
		t.Fatal(err)
	}
}

// start is how a container begins: its root read-only, a volume in it, and a user
// of no rights.
const start = `set -e
root=$1 volume=$2 at=$3 user=$4
shift 4
mount --bind "$root" "$root"
mount -o remount,bind,ro "$root"
mount --bind "$volume" "$root$at"
exec chroot --userspec="$user" --groups= "$root" "$@"`

func (b *built) run(t *testing.T, environ []string, command ...string) *exec.Cmd {
	t.Helper()
	arguments := append([]string{"--mount", "--propagation", "private", "sh", "-c", start, "sh", b.root, b.volume, b.volumeAt, b.user}, command...)
	cmd := exec.CommandContext(t.Context(), "unshare", arguments...)
	cmd.Env = slices.Concat([]string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin"}, b.environ, environ)
	return cmd
}

func (b *built) must(t *testing.T, environ []string, command ...string) string {
	t.Helper()
	out, err := b.run(t, environ, command...).CombinedOutput()
	if err != nil {
		t.Fatalf("%q: %v\n%s", command, err, out)
	}
	return string(out)
}

func TestImage(t *testing.T) {
	image := build(t)
	t.Run("content", func(t *testing.T) { image.checkContent(t) })
	t.Run("static", func(t *testing.T) { checkStatic(t, filepath.Join(image.root, image.entrypoint[0])) })
	t.Run("version", func(t *testing.T) {
		if got := image.must(t, nil, append(image.entrypoint, "version")...); !strings.HasPrefix(got, "homing "+version+" ") {
			t.Errorf("it says %q", got)
		}
	})
	t.Run("demo", func(t *testing.T) {
		if got := image.must(t, nil, append(image.entrypoint, "demo")...); !strings.Contains(got, "The mails are in the Maildir /var/lib/homing/homing-demo-") {
			t.Errorf("nothing was delivered:\n%s", got)
		}
	})
	t.Run("read-only", func(t *testing.T) {
		out, err := image.run(t, serving("127.0.0.1:0", "HOMING_STATE_DIR=/state"), append(image.entrypoint, image.command...)...).CombinedOutput()
		if err == nil || !strings.Contains(string(out), "/state") {
			t.Errorf("a state directory outside the volume: %v\n%s", err, out)
		}
	})
	t.Run("health", func(t *testing.T) { image.checkHealth(t) })
}

// checkContent requires nothing but homing, certificates and directories: above
// all no shell.
func (b *built) checkContent(t *testing.T) {
	var files []string
	var size int64
	err := filepath.WalkDir(b.root, func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		size += info.Size()
		files = append(files, strings.TrimPrefix(name, b.root))
		if owner := info.Sys().(*syscall.Stat_t); owner.Uid != 0 || info.Mode().Perm()&0o022 != 0 {
			t.Errorf("%s is %s and of user %d: homing could change it", name, info.Mode(), owner.Uid)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"/etc/ssl/certs/ca-certificates.crt", "/homing"}; !slices.Equal(files, want) {
		t.Errorf("the image holds %q, want %q", files, want)
	}
	if size >= largest {
		t.Errorf("the image has %d bytes, want less than %d", size, largest)
	}
	t.Logf("the image has %.1f MB", float64(size)/1e6)
}

// checkStatic requires a program that needs no other file.
func checkStatic(t *testing.T, program string) {
	file, err := elf.Open(program)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	for _, part := range file.Progs {
		if part.Type == elf.PT_INTERP || part.Type == elf.PT_DYNAMIC {
			t.Errorf("it has a %s: it is not static", part.Type)
		}
	}
	if symbols, err := file.Symbols(); !errors.Is(err, elf.ErrNoSymbols) {
		t.Errorf("it has %d symbols, %v: it is not stripped", len(symbols), err)
	}
}

// serving is enough for a homing that delivers into its volume.
func serving(metrics string, more ...string) []string {
	return append([]string{
		"AWS_REGION=eu-west-1", "AWS_ACCESS_KEY_ID=test", "AWS_SECRET_ACCESS_KEY=test", "AWS_EC2_METADATA_DISABLED=true",
		"AWS_ENDPOINT_URL=http://127.0.0.1:1", "HOMING_SWEEP_INTERVAL=0",
		"HOMING_BUCKETS=mail", "HOMING_SNS_TOPICS=arn:aws:sns:eu-west-1:123456789012:mail",
		"HOMING_LISTEN=127.0.0.1:0", "HOMING_METRICS_LISTEN=" + metrics, "HOMING_DELIVER_TO=maildir:/var/lib/homing/mail/%d/%n",
	}, more...)
}

// checkHealth runs the health check before, while and after homing serves.
func (b *built) checkHealth(t *testing.T) {
	metrics := neighbour.Address(t)
	environ := serving(metrics, "TZ=Asia/Kathmandu")
	if out, err := b.run(t, environ, b.health...).CombinedOutput(); exitCode(err) != 1 {
		t.Errorf("before: %v\n%s", err, out)
	}
	homing := b.run(t, environ, append(b.entrypoint, b.command...)...)
	homing.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	log := new(strings.Builder)
	homing.Stdout, homing.Stderr = log, log
	if err := homing.Start(); err != nil {
		t.Fatal(err)
	}
	b.awaitHealth(t, environ)
	if err := homing.Process.Signal(syscall.SIGTERM); err != nil {
		t.Error(err)
	}
	if err := homing.Wait(); err != nil {
		t.Errorf("homing ended with %v\n%s", err, log)
	}
	if !strings.Contains(log.String(), "+05:45") {
		t.Errorf("the log is not in the time of Kathmandu:\n%s", log)
	}
	if out, err := b.run(t, environ, b.health...).CombinedOutput(); exitCode(err) != 1 {
		t.Errorf("after: %v\n%s", err, out)
	}
	spool, err := os.Stat(filepath.Join(b.volume, "homing.db"))
	if err != nil {
		t.Fatal(err)
	}
	if owner := spool.Sys().(*syscall.Stat_t); fmt.Sprintf("%d:%d", owner.Uid, owner.Gid) != b.user {
		t.Errorf("the spool is of %d:%d, want %s", owner.Uid, owner.Gid, b.user)
	}
}

func (b *built) awaitHealth(t *testing.T, environ []string) {
	t.Helper()
	again := time.NewTicker(50 * time.Millisecond)
	defer again.Stop()
	for end := time.After(3 * time.Minute); ; {
		out, err := b.run(t, environ, b.health...).CombinedOutput()
		if err == nil {
			return
		}
		select {
		case <-end:
			t.Fatalf("it was never healthy: %v\n%s", err, out)
		case <-again.C:
		}
	}
}

func exitCode(err error) int {
	if failed, ok := errors.AsType[*exec.ExitError](err); ok {
		return failed.ExitCode()
	}
	return 0
}
