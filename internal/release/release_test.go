// Package release tests how releases are made: that the same source gives the
// same program, and that the workflows are careful.
package release

import (
	"debug/elf"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"
)

const (
	root    = "../.."
	version = "v0.0.0-test"
)

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// build builds the source in a directory as it is released.
func build(t *testing.T, source string) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "homing")
	cmd := exec.CommandContext(t.Context(), filepath.Join(source, ".ci", "build"), version, runtime.GOARCH, path)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return path
}

// Built again from another directory the program has the same octets, and needs
// nothing of the system. That the compiler does the same each time is Go's own
// promise (https://go.dev/blog/rebuild), and need not be paid for here: what does
// not depend on the directory comes from its cache.
func TestBuildIsReproducible(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("releases are for Linux")
	}
	first, source := build(t, root), filepath.Join(t.TempDir(), "elsewhere")
	copySource(t, source)
	second := build(t, source)
	one, other := read(t, first), read(t, second)
	if one != other {
		t.Errorf("two builds differ: %d and %d octets", len(one), len(other))
	}
	for _, trace := range []string{source, strings.TrimSuffix(os.Getenv("HOME"), "/")} {
		if trace != "" && (strings.Contains(one, trace+"/") || strings.Contains(other, trace+"/")) {
			t.Errorf("the program names %s", trace)
		}
	}
	out, err := exec.CommandContext(t.Context(), second, "version").Output()
	if err != nil || !strings.HasPrefix(string(out), "homing "+version+" ") {
		t.Errorf("it says %q, %v", out, err)
	}
	static(t, second)
}

// copySource copies the repository without what begins with a dot, but for the
// script that builds: git is at work in .git while other tests build.
func copySource(t *testing.T, to string) {
	t.Helper()
	if err := os.Mkdir(to, 0o755); err != nil {
		t.Fatal(err)
	}
	paths, err := filepath.Glob(root + "/[^.]*")
	if err != nil {
		t.Fatal(err)
	}
	args := append([]string{"-R", "--"}, append(paths, root+"/.ci", to)...)
	if out, err := exec.CommandContext(t.Context(), "cp", args...).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

// static wants a program that no dynamic linker loads.
func static(t *testing.T, path string) {
	t.Helper()
	file, err := elf.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	for _, part := range file.Progs {
		if part.Type == elf.PT_INTERP || part.Type == elf.PT_DYNAMIC {
			t.Errorf("it has a part %v", part.Type)
		}
	}
}

// The image is built with the flags and the Go of the release.
func TestImageHasTheSameProgram(t *testing.T) {
	flags := regexp.MustCompile(`go build (.*) -ldflags "([^"]*)main\.release=`)
	script, image := flags.FindStringSubmatch(read(t, root+"/.ci/build")), flags.FindStringSubmatch(read(t, root+"/Dockerfile"))
	if script == nil || image == nil || script[1] != image[1] || script[2] != image[2] {
		t.Errorf("the release is built by\n%q\nthe image by\n%q", script, image)
	}
	compiler := regexp.MustCompile(`FROM .* golang:([0-9.]+)-`).FindStringSubmatch(read(t, root+"/Dockerfile"))
	if compiler == nil || !strings.Contains(read(t, root+"/.github/workflows/release.yml"), `go-version: "`+compiler[1]+`"`) {
		t.Errorf("the image is built by Go %q, the release by another", compiler)
	}
}

// Workflows name the code of others by its commit, with the version beside it,
// and are allowed nothing that they do not ask for job by job.
func TestWorkflowsAreCareful(t *testing.T) {
	paths, err := filepath.Glob(root + "/.github/workflows/*.yml")
	if err != nil || len(paths) < 4 {
		t.Fatalf("%q, %v", paths, err)
	}
	pinned := regexp.MustCompile(`^[a-z-]+/[a-z-]+@[0-9a-f]{40} # v[0-9]+\.[0-9]+\.[0-9]+$`)
	commits := map[string]string{}
	for _, path := range paths {
		text := read(t, path)
		if !strings.Contains(text, "\npermissions: {}\n") {
			t.Errorf("%s allows every job something", path)
		}
		for job := range strings.SplitSeq(text[strings.Index(text, "\njobs:\n"):], "\n\n  ") {
			if !strings.Contains(job, "    permissions:\n") || !strings.Contains(job, "timeout-minutes: ") && !strings.Contains(job, "uses: ./") {
				t.Errorf("%s: permissions and a limit of time are wanted in\n%s", path, job)
			}
		}
		for _, found := range regexp.MustCompile(`(?m)^\s*(?:- )?uses: (.*)$`).FindAllStringSubmatch(text, -1) {
			name, at, _ := strings.Cut(found[1], "@")
			if strings.HasPrefix(found[1], "./") {
				continue
			}
			if !pinned.MatchString(found[1]) {
				t.Errorf("%s uses %s, which is no commit", path, found[1])
			}
			if other, known := commits[name]; known && other != at {
				t.Errorf("%s uses another %s: %s, elsewhere %s", path, name, at, other)
			}
			commits[name] = at
		}
		for _, found := range regexp.MustCompile(`\bgo run (\S+)`).FindAllStringSubmatch(text, -1) {
			if !regexp.MustCompile(`@v[0-9]+\.[0-9]+\.[0-9]+$`).MatchString(found[1]) {
				t.Errorf("%s runs %s without a version", path, found[1])
			}
		}
	}
	if len(commits) < 3 {
		t.Errorf("only %v are used", commits)
	}
}
