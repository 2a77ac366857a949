package edge_test

import (
	"bufio"
	"crypto/rand"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/homing-mail/homing/internal/neighbour"
)

// browser is a Chromium without a window.
type browser struct {
	*process
	orders  io.Writer
	mu      sync.Mutex
	waiting map[int]chan<- reply
	last    int
}

type reply struct {
	Order  int
	Result json.RawMessage
	Error  string
}

// openBrowser starts a browser for the test and its subtests.
func openBrowser(tb testing.TB) *browser {
	tb.Helper()
	cmd := exec.Command(neighbour.Program(tb, "node"), "testdata/browser.mjs", modules(tb), neighbour.Program(tb, "chromium"))
	cmd.Env = append(os.Environ(), "LC_ALL=C.UTF-8") // or Chromium reads the names of files as ASCII
	in, err := cmd.StdinPipe()
	if err != nil {
		tb.Fatal(err)
	}
	// Not StdoutPipe, which Wait closes under whoever reads.
	read, write := io.Pipe()
	cmd.Stdout = write
	b := &browser{orders: in, waiting: map[int]chan<- reply{}}
	b.process = start(tb, cmd)
	go b.listen(read)
	tb.Cleanup(func() {
		in.Close() // upon which it closes the browser
		select {
		case <-b.exited:
		case <-time.After(patience):
		}
	})
	return b
}

func (b *browser) listen(out io.Reader) {
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		var answer reply
		if err := json.Unmarshal(lines.Bytes(), &answer); err != nil {
			b.log.Write(append(lines.Bytes(), '\n'))
			continue
		}
		b.mu.Lock()
		waiting := b.waiting[answer.Order]
		delete(b.waiting, answer.Order)
		b.mu.Unlock()
		waiting <- answer
	}
}

// do has the browser do something, and returns its result.
func (b *browser) do(action string, what map[string]any) (json.RawMessage, error) {
	answered := make(chan reply, 1)
	b.mu.Lock()
	b.last++
	order := map[string]any{"order": b.last, "action": action}
	maps.Copy(order, what)
	b.waiting[b.last] = answered
	line, err := json.Marshal(order)
	if err == nil {
		_, err = b.orders.Write(append(line, '\n'))
	}
	b.mu.Unlock()
	if err != nil {
		return nil, err
	}
	select {
	case answer := <-answered:
		if answer.Error != "" {
			return nil, errors.New(answer.Error)
		}
		return answer.Result, nil
	case <-b.exited:
		return nil, errors.New("the browser has ended: " + b.log.text())
	case <-time.After(patience):
		return nil, errors.New("the browser does not answer")
	}
}

// tab is one visit of the page.
type tab struct {
	tb testing.TB
	b  *browser
	id string
}

// settings are Playwright's, of a visit: https://playwright.dev/docs/api/class-browser#browser-new-context
type settings map[string]any

// visit opens a page as a visitor who was never there.
func (b *browser) visit(tb testing.TB, url string, with settings) *tab {
	tb.Helper()
	t := &tab{tb: tb, b: b, id: rand.Text()}
	t.do("open", map[string]any{"url": url, "options": with})
	tb.Cleanup(func() {
		if tb.Failed() {
			tb.Logf("the browser saw: %s", t.do("seen", nil))
		}
		t.do("close", nil)
	})
	return t
}

func (t *tab) do(action string, what map[string]any) json.RawMessage {
	t.tb.Helper()
	all := map[string]any{"tab": t.id}
	maps.Copy(all, what)
	result, err := t.b.do(action, all)
	if err != nil {
		t.tb.Fatalf("%s %v: %v", action, what, err)
	}
	return result
}

func (t *tab) fill(selector, text string) {
	t.tb.Helper()
	t.do("fill", map[string]any{"selector": selector, "text": text})
}

func (t *tab) click(selector string) {
	t.tb.Helper()
	t.do("click", map[string]any{"selector": selector, "times": 1})
}

func (t *tab) press(keys ...string) {
	t.tb.Helper()
	for _, key := range keys {
		t.do("press", map[string]any{"key": key})
	}
}

func (t *tab) attach(paths ...string) {
	t.tb.Helper()
	t.do("files", map[string]any{"selector": "#homing-files", "paths": paths})
}

// evaluate returns the value of a JavaScript expression as text.
func (t *tab) evaluate(script string) string {
	t.tb.Helper()
	result := t.do("evaluate", map[string]any{"script": script})
	var text string
	if json.Unmarshal(result, &text) == nil {
		return text
	}
	return string(result)
}

func (t *tab) visible(selector string) bool {
	t.tb.Helper()
	return string(t.do("visible", map[string]any{"selector": selector})) == "true"
}

// state waits until the form is in a state.
func (t *tab) state(want string) {
	t.tb.Helper()
	t.do("wait", map[string]any{"selector": `form[data-state="` + want + `"]`})
}

// failure waits until sending has failed, and checks what the visitor is told,
// where the focus is, and that the text is still there.
func (t *tab) failure(reason string) {
	t.tb.Helper()
	t.state("failed")
	if got := t.evaluate(`document.querySelector("[data-failed]").innerText`); !strings.Contains(got, reason) || !strings.Contains(got, "was not sent") {
		t.tb.Errorf("the visitor is told %q, want %q", got, reason)
	}
	if got := t.evaluate(`"failed" in document.activeElement.dataset`); got != "true" {
		t.tb.Error("the focus is not on what failed")
	}
	if got := t.evaluate(`document.querySelector("#homing-text").value`); got == "" {
		t.tb.Error("the text is gone")
	}
	if got := t.evaluate(`document.querySelector("[data-submit]").ariaDisabled`); got != "false" {
		t.tb.Error("the visitor cannot send again")
	}
}

// requests returns what the browser asked for, with this in its address.
func (t *tab) requests(part string) (found []string) {
	t.tb.Helper()
	var seen struct{ Requests []string }
	if err := json.Unmarshal(t.do("seen", nil), &seen); err != nil {
		t.tb.Fatal(err)
	}
	for _, request := range seen.Requests {
		if strings.Contains(request, part) {
			found = append(found, request)
		}
	}
	return found
}

// accessible fails the test for what axe, a checker of accessibility, finds.
func (t *tab) accessible() {
	t.tb.Helper()
	var violations []string
	if err := json.Unmarshal(t.do("violations", nil), &violations); err != nil {
		t.tb.Fatal(err)
	}
	for _, violation := range violations {
		t.tb.Errorf("not accessible: %s", violation)
	}
}

// picture saves what the page looks like, where pictures are wanted.
func (t *tab) picture(name string) {
	t.tb.Helper()
	if *pictures == "" {
		return
	}
	t.do("picture", map[string]any{"selector": "body", "path": filepath.Join(*pictures, name+".png")})
}
