// Package terraform tests the modules that a user copies: with OpenTofu itself,
// and with stand-ins for the providers, which have their schemas and make
// nothing (internal/standin).
package terraform

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/homing-mail/homing/internal/neighbour"
)

const (
	account = "123456789012" // the stand-in's
	region  = "eu-west-1"
)

// built are the programs that all tests share. Only TestMain writes it.
var built struct {
	err             error
	standin, homing string
}

func TestMain(m *testing.M) {
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "homing-terraform-")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(dir)
		built.standin, built.homing = filepath.Join(dir, "standin"), filepath.Join(dir, "homing")
		if built.err = build("../../internal/standin", built.standin, "."); built.err == nil {
			built.err = build("../..", built.homing, "./cmd/homing")
		}
		return m.Run()
	}())
}

func build(dir, program, what string) error {
	cmd := exec.Command("go", "build", "-o", program, what)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go build %s: %w\n%s", what, err, out)
	}
	return nil
}

// shop is a copy of the modules and examples with all that is needed to work on
// them.
type shop struct {
	program string // tofu or terraform
	dir     string // of the copy
	env     []string
}

// open makes a shop with a program, or ends the test where something is missing.
func open(t *testing.T, name string) *shop {
	t.Helper()
	s := &shop{program: neighbour.Program(t, name), dir: t.TempDir()}
	typings := neighbour.Directory(t, "typings")
	if built.err != nil {
		t.Fatal(built.err)
	}
	home := t.TempDir()
	config := filepath.Join(home, "rc")
	write(t, config, fmt.Sprintf("provider_installation {\n  filesystem_mirror {\n    path = %q\n  }\n}\n", mirror(t, typings)))
	s.env = []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + home, "TF_CLI_CONFIG_FILE=" + config, "STANDIN_TYPINGS=" + typings,
		"TF_IN_AUTOMATION=1", "TF_INPUT=0", "CHECKPOINT_DISABLE=1",
	}
	if err := os.CopyFS(s.dir, modules{os.DirFS(".")}); err != nil {
		t.Fatal(err)
	}
	return s
}

// modules hides what is no part of them: these tests, and what somebody's own
// trial has left.
type modules struct{ fs.FS }

// ReadDir leaves out what is hidden.
func (m modules) ReadDir(name string) ([]fs.DirEntry, error) {
	all, err := fs.ReadDir(m.FS, name)
	var shown []fs.DirEntry
	for _, e := range all {
		if !strings.HasPrefix(e.Name(), ".") && (e.IsDir() || strings.HasSuffix(e.Name(), ".tf")) {
			shown = append(shown, e)
		}
	}
	return shown, err
}

// mirror lays the stand-in out as providers of the versions whose typings there
// are, for both registries.
func mirror(t *testing.T, typings string) string {
	t.Helper()
	root := t.TempDir()
	for _, name := range []string{"hashicorp/aws", "cloudflare/cloudflare"} {
		provider := filepath.Base(name)
		var about struct {
			CDKTF struct{ Provider struct{ Version string } }
		}
		unmarshal(t, read(t, filepath.Join(typings, provider, "package.json")), &about)
		version := about.CDKTF.Provider.Version
		for _, registry := range []string{"registry.opentofu.org", "registry.terraform.io"} {
			dir := filepath.Join(root, registry, name, version, runtime.GOOS+"_"+runtime.GOARCH)
			if err := os.MkdirAll(dir, 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.Symlink(built.standin, filepath.Join(dir, "terraform-provider-"+provider+"_v"+version)); err != nil {
				t.Fatal(err)
			}
		}
	}
	return root
}

// try runs the program in a directory of the shop and returns what it printed.
func (s *shop) try(t *testing.T, dir string, args ...string) (string, error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), s.program, args...)
	cmd.Dir, cmd.Env = filepath.Join(s.dir, dir), s.env
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	return out.String(), err
}

func (s *shop) run(t *testing.T, dir string, args ...string) string {
	t.Helper()
	out, err := s.try(t, dir, args...)
	if err != nil {
		t.Fatalf("%s %v in %s: %v\n%s", filepath.Base(s.program), args, dir, err, out)
	}
	return out
}

// workbench is the module aws as a root, with a provider, and ready to use.
type workbench struct {
	*shop
	state string
}

func newWorkbench(t *testing.T) *workbench {
	t.Helper()
	w := &workbench{open(t, "tofu"), filepath.Join(t.TempDir(), "state")}
	w.move(t, region)
	w.run(t, "aws", "init")
	return w
}

// move goes on in another region.
func (w *workbench) move(t *testing.T, region string) {
	t.Helper()
	write(t, filepath.Join(w.dir, "aws", "provider.tf"), fmt.Sprintf("provider \"aws\" {\n  region = %q\n}\n", region))
	w.state = filepath.Join(t.TempDir(), "state")
}

// vars are the values of variables; enough has what has no default.
type vars map[string]any

func enough(more vars) vars {
	all := vars{"domains": []string{"example.com"}, "activate_rule_set": true}
	maps.Copy(all, more)
	return all
}

// encrypting is enough, with the Lambda function.
func encrypting(t *testing.T, more vars) vars {
	t.Helper()
	path := filepath.Join(t.TempDir(), "lambda.zip")
	write(t, path, "not looked into")
	all := enough(vars{"lambda_package": path, "encrypt_to": string(read(t, publicKey(t)))})
	maps.Copy(all, more)
	return all
}

// publicKey has homing make a pair of keys and returns the path of the public one.
func publicKey(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "key.asc")
	if out, err := exec.CommandContext(t.Context(), built.homing, "pgp", "keygen", "--out", path).CombinedOutput(); err != nil {
		t.Fatalf("homing pgp keygen: %v\n%s", err, out)
	}
	return strings.TrimSuffix(path, ".asc") + ".pub.asc"
}

func (w *workbench) args(t *testing.T, command string, values vars) []string {
	t.Helper()
	text, err := json.Marshal(values)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "vars.json")
	write(t, file, string(text))
	return []string{command, "-no-color", "-state=" + w.state, "-var-file=" + file}
}

// apply applies the module and returns what there is then.
func (w *workbench) apply(t *testing.T, values vars) *made {
	t.Helper()
	w.run(t, "aws", append(w.args(t, "apply", values), "-auto-approve")...)
	return w.show(t, "aws", w.state)
}

// made is what was applied.
type made struct {
	outputs   map[string]any
	resources map[string]map[string]any // by address, without that of modules
}

func (s *shop) show(t *testing.T, dir, state string) *made {
	t.Helper()
	type module struct {
		Resources []struct {
			Address, Mode, Module string
			Values                map[string]any
		}
		Children []json.RawMessage `json:"child_modules"`
	}
	var shown struct {
		Values struct {
			Outputs map[string]struct{ Value any }
			Root    json.RawMessage `json:"root_module"`
		}
	}
	unmarshal(t, []byte(s.run(t, dir, "show", "-json", state)), &shown)
	m := &made{map[string]any{}, map[string]map[string]any{}}
	for name, o := range shown.Values.Outputs {
		m.outputs[name] = o.Value
	}
	for rest := []json.RawMessage{shown.Values.Root}; len(rest) > 0; {
		var root module
		unmarshal(t, rest[0], &root)
		rest = append(rest[1:], root.Children...)
		for _, r := range root.Resources {
			_, address, inModule := strings.Cut(strings.TrimPrefix(r.Address, "module."), ".")
			if !inModule || !strings.HasPrefix(r.Address, "module.") {
				address = r.Address
			}
			m.resources[address] = r.Values
		}
	}
	return m
}

// text is an attribute of a resource, "" where there is none.
func (m *made) text(t *testing.T, address, attribute string) string {
	t.Helper()
	values, there := m.resources[address]
	if !there {
		t.Fatalf("there is no %s", address)
	}
	text, _ := values[attribute].(string)
	return text
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func unmarshal(t *testing.T, text []byte, into any) {
	t.Helper()
	if err := json.Unmarshal(text, into); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
}
