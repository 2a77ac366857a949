package main

import (
	"io/fs"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// documents are the files that tell users of commands and variables.
func documents(t *testing.T) (paths []string) {
	t.Helper()
	kinds := []string{".md", ".yml", ".yaml", ".env", ".service", ".timer", ".conf", ".tf"}
	err := filepath.WalkDir("../..", func(path string, entry fs.DirEntry, err error) error {
		if entry != nil && entry.IsDir() && slices.Contains([]string{".git", ".tools", "node_modules", "testdata", "cmd"}, entry.Name()) && entry.Name() != "../.." {
			return filepath.SkipDir
		}
		if err == nil && !entry.IsDir() && slices.Contains(kinds, filepath.Ext(path)) {
			paths = append(paths, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(paths) < 20 {
		t.Fatalf("only %q were found", paths)
	}
	return paths
}

// strangers are names that only look like variables of homing: those that
// Kubernetes makes, and a placeholder.
var strangers = []string{"HOMING_PORT", "HOMING_SERVICE", "HOMING_X", "HOMING_X_FILE"}

// unknownVariables are the names in a text that homing would refuse.
func unknownVariables(text string) (unknown []string) {
	for _, name := range regexp.MustCompile(`\bHOMING_[A-Z0-9_]+`).FindAllString(text, -1) {
		known := slices.ContainsFunc(variables(), func(v variable) bool { return name == v.Name || name == v.Name+"_FILE" })
		// HOMING_TLS_* stands for several.
		if !known && !strings.HasSuffix(name, "_") && !slices.Contains(strangers, name) {
			unknown = append(unknown, name)
		}
	}
	return unknown
}

// Every variable that the documentation names is one.
func TestDocumentedVariables(t *testing.T) {
	for _, path := range documents(t) {
		if filepath.Base(path) == "CHANGELOG.md" || strings.Contains(path, "lambda") || strings.Contains(path, "contrib/edge") {
			continue // one names those of the past, the others those of other programs
		}
		for _, name := range unknownVariables(read(t, path)) {
			t.Errorf("%s names %s, which is no variable", path, name)
		}
	}
	if got := unknownVariables("HOMING_TLS_*, HOMING_BUCKET and HOMING_BUCKETS_FILE"); !slices.Equal(got, []string{"HOMING_BUCKET"}) {
		t.Errorf("found %q", got)
	}
}

// code is what a Markdown file shows as code: spans, and the lines of blocks.
func code(text string) (pieces []string) {
	block := regexp.MustCompile("(?ms)^```[a-z]*\n(.*?)^```$")
	for _, found := range block.FindAllStringSubmatch(text, -1) {
		pieces = append(pieces, strings.Split(found[1], "\n")...)
	}
	text = block.ReplaceAllString(text, "")
	for _, found := range regexp.MustCompile("`([^`\n]+)`").FindAllStringSubmatch(text, -1) {
		pieces = append(pieces, found[1])
	}
	return append(pieces, regexp.MustCompile(`(?m)^ {4,}.*$`).FindAllString(text, -1)...)
}

// wrongUse says what is wrong with the commands of homing in a piece of code.
func wrongUse(root *cobra.Command, piece string) (wrong []string) {
	piece, _, _ = strings.Cut(piece, "#")
	for command := range strings.FieldsFuncSeq(piece, func(r rune) bool { return strings.ContainsRune("|;&()", r) }) {
		wrong = append(wrong, wrongWords(root, strings.FieldsFunc(command, func(r rune) bool { return strings.ContainsRune(" '\"", r) }))...)
	}
	return wrong
}

func wrongWords(root *cobra.Command, words []string) (wrong []string) {
	for i, word := range words {
		if filepath.Base(word) != "homing" || i+1 == len(words) || !regexp.MustCompile(`^[a-z][a-z-]+$`).MatchString(words[i+1]) {
			continue
		}
		command, rest, err := root.Find(words[i+1:])
		if err != nil || command == root {
			wrong = append(wrong, "homing "+words[i+1]+" is no command")
			continue
		}
		if command.HasSubCommands() && len(rest) > 0 && !strings.HasPrefix(rest[0], "-") {
			wrong = append(wrong, command.CommandPath()+" "+rest[0]+" is no command")
		}
		for _, word := range rest {
			name, _, _ := strings.Cut(strings.TrimLeft(word, "-"), "=")
			long, short := strings.HasPrefix(word, "--"), len(word) == 2 && word[0] == '-'
			if long && name != "help" && command.Flags().Lookup(name) == nil || short && command.Flags().ShorthandLookup(name) == nil && name != "h" {
				wrong = append(wrong, command.CommandPath()+" has no flag "+word)
			}
		}
	}
	return wrong
}

// Every command and flag of homing in the documentation is one.
func TestDocumentedCommands(t *testing.T) {
	root := newRootCommand(nil, streams{})
	seen := map[string]bool{}
	for _, path := range documents(t) {
		if filepath.Ext(path) != ".md" || filepath.Base(path) == "CHANGELOG.md" {
			continue
		}
		for _, piece := range code(read(t, path)) {
			for _, wrong := range wrongUse(root, piece) {
				t.Errorf("%s: %s (in %q)", path, wrong, piece)
			}
			for _, found := range regexp.MustCompile(`\bhoming ([a-z-]+)`).FindAllStringSubmatch(piece, -1) {
				seen[found[1]] = true
			}
		}
	}
	for _, c := range root.Commands() {
		if !c.Hidden && c.Name() != "help" && c.Name() != "completion" && !seen[c.Name()] {
			t.Errorf("no page shows `homing %s`", c.Name())
		}
	}
}

func TestDocumentedCommandsBite(t *testing.T) {
	root := newRootCommand(nil, streams{})
	for piece, want := range map[string]int{
		"homing queue list --state held":                             0,
		"sudo -u homing /usr/bin/homing backfill --since 30d | tail": 0,
		"homing queue export ITEM -o message.eml":                    0,
		"systemctl status homing":                                    0,
		"aws iam put-user-policy --user-name homing --policy-name x": 0,
		"homing queues":                       1,
		"homing queue lists":                  1,
		"homing queue list --status held":     1,
		"homing queue list -o x":              1,
		"homing backfill --since 1d --sinc 2": 1,
	} {
		if got := wrongUse(root, piece); len(got) != want {
			t.Errorf("%s: %q", piece, got)
		}
	}
	if got := code("a `b` c\n\n    d\n\n```sh\ne\nf\n```\n"); len(got) < 4 || !slices.Contains(got, "b") || !slices.Contains(got, "e") || !slices.Contains(got, "    d") {
		t.Errorf("%q", got)
	}
}
