package edge_test

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"text/template"
)

// platform is where the worker runs.
type platform struct {
	name  string
	start func(tb testing.TB, env map[string]string) (url string)
}

// platforms are all that the worker is made for. Bunny's own cannot be had: its
// runtime is Deno's, and its global is put in its place.
func platforms() []platform {
	return []platform{{"deno", startDeno}, {"workerd", startWorkerd}, {"bunny", startBunny}}
}

func startDeno(tb testing.TB, env map[string]string) string {
	tb.Helper()
	return serveDeno(tb, env, "worker/deno.js")
}

func startBunny(tb testing.TB, env map[string]string) string {
	tb.Helper()
	bundled := filepath.Join(tb.TempDir(), "worker.js")
	bundle(tb, bundled)
	return serveDeno(tb, env, "testdata/bunny.js", "file://"+bundled)
}

// bundle makes the one file that `npm run bundle` makes.
func bundle(tb testing.TB, file string) {
	tb.Helper()
	var pack struct{ Scripts map[string]string }
	text, err := os.ReadFile("package.json")
	if err != nil {
		tb.Fatal(err)
	}
	if err := json.Unmarshal(text, &pack); err != nil {
		tb.Fatal(err)
	}
	args := strings.Fields(strings.Replace(pack.Scripts["bundle"], "dist/worker.js", file, 1))
	cmd := exec.CommandContext(tb.Context(), inModules(tb, "@esbuild/*/bin/"+args[0]), args[1:]...)
	if out, err := cmd.CombinedOutput(); err != nil {
		tb.Fatalf("%q: %v\n%s", args, err, out)
	}
}

// serveDeno runs an entry with the permissions that the README names, and no others.
func serveDeno(tb testing.TB, env map[string]string, entry ...string) string {
	tb.Helper()
	names := slices.Collect(maps.Keys(env))
	args := []string{"run", "--no-prompt", "--allow-net", "--allow-env=HOMING_FORM_URL,HOMING_FORM_SECRET,ALLOWED_ORIGINS,MAX_BYTES,PROOF_BITS,RATE"}
	if len(entry) > 1 {
		args = append(args, "--allow-read="+strings.TrimPrefix(entry[1], "file://"))
	}
	cmd := exec.Command(denoProgram(tb), append(args, entry...)...)
	cmd.Env = append(denoEnvironment(tb), "DENO_SERVE_ADDRESS=tcp:127.0.0.1:0")
	for _, name := range names {
		cmd.Env = append(cmd.Env, name+"="+env[name])
	}
	p := start(tb, cmd)
	listening := regexp.MustCompile(`Listening on (http://\S+)`)
	var url string
	p.await(tb, "Deno to listen", func() error {
		found := listening.FindStringSubmatch(p.log.text())
		if found == nil {
			return errors.New("it has not said where")
		}
		url = found[1]
		return nil
	})
	silent(tb, p, listening)
	return url
}

// silent checks at the end of the test that the worker logged nothing.
func silent(tb testing.TB, p *process, but *regexp.Regexp) {
	tb.Helper()
	tb.Cleanup(func() {
		if rest := strings.TrimSpace(but.ReplaceAllString(p.log.text(), "")); rest != "" {
			tb.Errorf("the worker logged:\n%s", rest)
		}
	})
}

// startWorkerd runs the worker on the open part of Cloudflare's platform.
func startWorkerd(tb testing.TB, env map[string]string) string {
	tb.Helper()
	dir := layWorkerd(tb, env)
	cmd := exec.Command(inModules(tb, "@cloudflare/workerd-*/bin/workerd"), "serve", "--control-fd=3", filepath.Join(dir, "config.capnp"))
	read, write, err := os.Pipe()
	if err != nil {
		tb.Fatal(err)
	}
	defer read.Close()
	cmd.ExtraFiles = []*os.File{write}
	p := start(tb, cmd)
	write.Close()
	// It says on this pipe which port it was given, or ends, and with it the pipe.
	var event struct {
		Event, Socket string
		Port          int
	}
	line, err := bufio.NewReader(read).ReadBytes('\n')
	if err == nil {
		err = json.Unmarshal(line, &event)
	}
	if err != nil || event.Event != "listen" {
		tb.Fatalf("workerd said %q (%v):\n%s", line, err, p.log.text())
	}
	silent(tb, p, regexp.MustCompile(`^$`))
	return "http://127.0.0.1:" + strconv.Itoa(event.Port) + "/"
}

// layWorkerd makes a directory with the modules, as they are, and a
// configuration with the date of wrangler.toml.
func layWorkerd(tb testing.TB, env map[string]string) (dir string) {
	tb.Helper()
	dir = tb.TempDir()
	modules, err := filepath.Glob("worker/*.js")
	if err != nil {
		tb.Fatal(err)
	}
	modules = slices.DeleteFunc(modules, func(name string) bool {
		return strings.HasSuffix(name, "_test.js") || name == "worker/deno.js"
	})
	// The first is the one that is called.
	entry := slices.Index(modules, "worker/cloudflare.js")
	modules[0], modules[entry] = modules[entry], modules[0]
	for i, name := range modules {
		text, err := os.ReadFile(name)
		if err != nil {
			tb.Fatal(err)
		}
		modules[i] = filepath.Base(name)
		if err := os.WriteFile(filepath.Join(dir, modules[i]), text, 0o644); err != nil {
			tb.Fatal(err)
		}
	}
	wrangler, err := os.ReadFile("worker/wrangler.toml")
	if err != nil {
		tb.Fatal(err)
	}
	date := regexp.MustCompile(`(?m)^compatibility_date = "(.*)"$`).FindSubmatch(wrangler)
	if date == nil {
		tb.Fatal("wrangler.toml has no compatibility_date")
	}
	config, err := os.Create(filepath.Join(dir, "config.capnp"))
	if err != nil {
		tb.Fatal(err)
	}
	defer config.Close()
	what := map[string]any{"Modules": modules, "Variables": env, "Date": string(date[1])}
	if err := template.Must(template.ParseFiles("testdata/workerd.capnp.tmpl")).Execute(config, what); err != nil {
		tb.Fatal(fmt.Errorf("the configuration of workerd: %w", err))
	}
	return dir
}
