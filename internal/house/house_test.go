// Package house keeps the rules of this module's house, as tests: which package
// may know which, how long a function may be, and what only main may do.
package house

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/homing-mail/homing"

const (
	root              = "../.."
	mostFileLines     = 300
	mostFunctionLines = 60
)

// arrows are the packages of this module that a package may import. Commands
// may import everything, and so may internal/..., which holds the rigs of the
// tests and the demo. A new package gets its line here.
var arrows = map[string][]string{
	"awsclient":        nil,
	"body":             nil,
	"courier":          {"spool"},
	"fetcher":          {"awsclient", "fetcher/awserror", "fetcher/envelope", "fetcher/kms", "fetcher/pgp"},
	"fetcher/awserror": nil,
	"fetcher/envelope": nil,
	"fetcher/kms":      {"awsclient", "fetcher/awserror"},
	"fetcher/pgp":      nil,
	"form":             {"body", "spool"},
	"intake":           {"notice", "spool"},
	"lmtp":             nil,
	"mailcow":          nil,
	"maildir":          nil,
	"metrics":          nil,
	"notice":           nil,
	"poller":           {"awsclient", "notice", "spool"},
	"report":           {"spool"},
	"spool":            nil,
	"submission":       nil,
	"webhook":          {"body", "notice"},
}

// calls are what only some may call; tests are free but for time.Sleep.
var calls = []struct {
	name    string // package.Function, or the name of a builtin
	why     string
	allowed func(file) bool
}{
	{"time.Sleep", "wait for a condition, a channel or a deadline", nowhere},
	{"context.Background", "take the caller's context", inMainOrTests},
	{"context.TODO", "take the caller's context", inMainOrTests},
	{"os.Getenv", "only the command reads the environment", inMainOrTests},
	{"os.LookupEnv", "only the command reads the environment", inMainOrTests},
	{"os.Environ", "only the command reads the environment", inMainOrTests},
	{"os.Exit", "return an error", inMainOrTests},
	{"signal.Notify", "only the command handles signals", inMainOrTests},
	{"signal.NotifyContext", "only the command handles signals", inMainOrTests},
	{"log.Fatal", "return an error", inTests},
	{"log.Fatalf", "return an error", inTests},
	{"panic", "return an error", inTests},
}

// file is one Go file of the module.
type file struct {
	name   string // relative to the module's root, with slashes
	lines  int
	set    *token.FileSet
	syntax *ast.File
}

func (f file) dir() string  { return path.Dir(f.name) }
func (f file) isTest() bool { return strings.HasSuffix(f.name, "_test.go") }
func (f file) within(dir string) bool {
	return f.dir() == dir || strings.HasPrefix(f.name, dir+"/")
}

func nowhere(file) bool         { return false }
func inTests(f file) bool       { return f.isTest() || f.within("internal") }
func inMainOrTests(f file) bool { return inTests(f) || isCommand(f) }

// isCommand: the Lambda is a command, too, though users find it beside what else
// they copy.
func isCommand(f file) bool { return f.within("cmd") || f.within("contrib/lambda") }

func TestArrows(t *testing.T) {
	report(t, wrongArrows)
}

// Every arrow is there because a package needs it.
func TestArrowsAreUsed(t *testing.T) {
	used := map[string]bool{}
	for _, f := range sources(t) {
		for _, spec := range f.syntax.Imports {
			if !f.isTest() {
				used[f.dir()+" -> "+strings.Trim(spec.Path.Value, `"`)] = true
			}
		}
	}
	for from, all := range arrows {
		for _, to := range all {
			if !used[from+" -> "+module+"/"+to] {
				t.Errorf("%s does not import %s, and need not be allowed to", from, to)
			}
		}
	}
}

func TestSizes(t *testing.T) {
	report(t, wrongSizes)
}

func TestCalls(t *testing.T) {
	report(t, wrongCalls)
}

func TestNoInit(t *testing.T) {
	report(t, initFunctions)
}

// report runs a rule over the module's files.
func report(t *testing.T, rule func(file) []string) {
	t.Helper()
	files := sources(t)
	if len(files) < 10 {
		t.Fatalf("only %d files found: this test looks in the wrong place", len(files))
	}
	for _, f := range files {
		for _, mistake := range rule(f) {
			t.Error(mistake)
		}
	}
}

func wrongArrows(f file) (mistakes []string) {
	if f.isTest() || isCommand(f) || f.within("internal") {
		return nil
	}
	may, known := arrows[f.dir()]
	if !known {
		return []string{fmt.Sprintf("%s: package %s has no line in arrows", f.name, f.dir())}
	}
	for _, spec := range f.syntax.Imports {
		imported, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			return []string{fmt.Sprintf("%s: %v", f.name, err)}
		}
		sibling, ours := strings.CutPrefix(imported, module+"/")
		if ours && !slices.Contains(may, sibling) {
			mistakes = append(mistakes, fmt.Sprintf("%s imports %s; package %s may import %q only", f.name, sibling, f.dir(), may))
		}
	}
	return mistakes
}

func wrongSizes(f file) (mistakes []string) {
	if f.isTest() {
		return nil
	}
	if f.lines > mostFileLines {
		mistakes = append(mistakes, fmt.Sprintf("%s has %d lines, more than %d", f.name, f.lines, mostFileLines))
	}
	for _, declared := range f.syntax.Decls {
		function, ok := declared.(*ast.FuncDecl)
		if !ok {
			continue
		}
		lines := f.set.Position(function.End()).Line - f.set.Position(function.Pos()).Line + 1
		if lines > mostFunctionLines {
			mistakes = append(mistakes, fmt.Sprintf("%s: function %s has %d lines, more than %d", f.name, function.Name, lines, mostFunctionLines))
		}
	}
	return mistakes
}

func wrongCalls(f file) (mistakes []string) {
	for node := range ast.Preorder(f.syntax) {
		call, ok := node.(*ast.CallExpr)
		if !ok {
			continue
		}
		for _, rule := range calls {
			if callee(call) == rule.name && !rule.allowed(f) {
				mistakes = append(mistakes, fmt.Sprintf("%s: %s: %s", f.set.Position(call.Pos()), rule.name, rule.why))
			}
		}
	}
	return mistakes
}

// callee returns what is called as it is written: package.Function or function.
func callee(call *ast.CallExpr) string {
	switch function := call.Fun.(type) {
	case *ast.Ident:
		return function.Name
	case *ast.SelectorExpr:
		if of, ok := function.X.(*ast.Ident); ok {
			return of.Name + "." + function.Sel.Name
		}
	}
	return ""
}

func initFunctions(f file) (mistakes []string) {
	for _, declared := range f.syntax.Decls {
		if function, ok := declared.(*ast.FuncDecl); ok && function.Recv == nil && function.Name.Name == "init" {
			mistakes = append(mistakes, f.name+": a function init; construct it where it is needed")
		}
	}
	return mistakes
}

// sources parses the module's Go files; a directory with a go.mod is a module of
// its own.
func sources(t *testing.T) (files []file) {
	t.Helper()
	err := filepath.WalkDir(root, func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		relative, err := filepath.Rel(root, name)
		if err != nil {
			return err
		}
		if entry.IsDir() && skipped(name, relative) {
			return filepath.SkipDir
		}
		if entry.IsDir() || filepath.Ext(name) != ".go" {
			return nil
		}
		text, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		parsed, err := parse(filepath.ToSlash(relative), text)
		if err != nil {
			return err
		}
		files = append(files, parsed)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func skipped(name, dir string) bool {
	base := filepath.Base(dir)
	_, notModule := os.Stat(filepath.Join(name, "go.mod"))
	return base != "." && (notModule == nil || base == "testdata" || strings.HasPrefix(base, "."))
}

func parse(name string, text []byte) (file, error) {
	set := token.NewFileSet()
	syntax, err := parser.ParseFile(set, name, text, parser.SkipObjectResolution)
	return file{name: name, lines: bytes.Count(text, []byte("\n")), set: set, syntax: syntax}, err
}

// The rules must find what they look for.
func TestRulesBite(t *testing.T) {
	long := strings.Repeat("\n", mostFunctionLines)
	for _, test := range []struct {
		rule       func(file) []string
		name, text string
		want       int
	}{
		{wrongArrows, "spool/a.go", `import "github.com/homing-mail/homing/lmtp"`, 1},
		{wrongArrows, "spool/a.go", `import "github.com/homing-mail/homing/internal/dovecot"`, 1},
		{wrongArrows, "spool/a_test.go", `import "github.com/homing-mail/homing/internal/dovecot"`, 0},
		{wrongArrows, "webhook/a.go", `import "github.com/homing-mail/homing/notice"`, 0},
		{wrongArrows, "cmd/homing/a.go", `import "github.com/homing-mail/homing/lmtp"`, 0},
		{wrongArrows, "newcomer/a.go", ``, 1},
		{wrongSizes, "lmtp/a.go", "func f() {" + long + "}", 1},
		{wrongSizes, "lmtp/a.go", "func (T) f() {" + long + "}", 1},
		{wrongSizes, "lmtp/a.go", "func f() {" + long[1:] + "}", 0},
		{wrongSizes, "lmtp/a.go", strings.Repeat("\n", mostFileLines+1), 1},
		{wrongSizes, "lmtp/a_test.go", "func f() {" + long + "}", 0},
		{wrongCalls, "lmtp/a_test.go", "func f() { time.Sleep(1) }", 1},
		{wrongCalls, "lmtp/a.go", "func f() { g(context.Background()); panic(1) }", 2},
		{wrongCalls, "cmd/homing/main.go", "func f() { g(context.Background()); os.Exit(1) }", 0},
		{wrongCalls, "cmd/homing/main.go", "func f() { log.Fatal() }", 1},
		{wrongArrows, "contrib/lambda/main.go", `import "github.com/homing-mail/homing/fetcher"`, 0},
		{wrongCalls, "contrib/lambda/main.go", "func f() { os.Environ(); os.Exit(1) }", 0},
		{wrongCalls, "contrib/lambda/event.go", "func f() { panic(1) }", 1},
		{wrongArrows, "contrib/other/a.go", ``, 1},
		{initFunctions, "lmtp/a.go", "func init() {}", 1},
		{initFunctions, "lmtp/a.go", "func (T) init() {}", 0},
	} {
		f, err := parse(test.name, []byte("package p\n"+test.text+"\n"))
		if err != nil {
			t.Fatal(err)
		}
		if got := test.rule(f); len(got) != test.want {
			t.Errorf("%s with %q: got %q, want %d mistakes", test.name, test.text, got, test.want)
		}
	}
}
