package image

import (
	"bufio"
	"encoding/json"
	"os"
	"path"
	"path/filepath"
	"strings"
	"testing"
)

// instruction is one line of a Dockerfile, continuation lines joined to it.
type instruction struct {
	name  string            // upper-case
	flags map[string]string // --name=value
	words []string
	text  string // what stands after the flags
}

func parseDockerfile(t *testing.T, name string) (stages [][]instruction) {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	var whole strings.Builder
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(strings.TrimSpace(line), "#") {
			continue
		}
		if before, goesOn := strings.CutSuffix(strings.TrimRight(line, "\n"), `\`); goesOn {
			whole.WriteString(before)
			continue
		}
		whole.WriteString(line)
	}
	for line := range strings.Lines(whole.String()) {
		name, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		if name == "" {
			continue
		}
		one := instruction{name: strings.ToUpper(name), flags: map[string]string{}}
		for rest = strings.TrimSpace(rest); strings.HasPrefix(rest, "--"); rest = strings.TrimSpace(rest) {
			flag, after, _ := strings.Cut(rest, " ")
			key, value, _ := strings.Cut(strings.TrimPrefix(flag, "--"), "=")
			one.flags[key], rest = value, after
		}
		one.text, one.words = rest, strings.Fields(rest)
		if one.name == "FROM" {
			stages = append(stages, nil)
		}
		if len(stages) == 0 {
			t.Fatalf("%s before FROM", one.name)
		}
		stages[len(stages)-1] = append(stages[len(stages)-1], one)
	}
	return stages
}

// list reads the ["a", "b"] form; a shell form would need a shell in the image.
func (i instruction) list(t *testing.T) (words []string) {
	t.Helper()
	if err := json.Unmarshal([]byte(i.text), &words); err != nil {
		t.Fatalf("%s %s: want the JSON form: %v", i.name, i.text, err)
	}
	return words
}

// ignored reads a .dockerignore of plain patterns and "**/pattern", and returns
// what decides of a path (https://docs.docker.com/build/concepts/context/#dockerignore-files).
func ignored(t *testing.T, name string) func(string) bool {
	t.Helper()
	file, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	var patterns []string
	for lines := bufio.NewScanner(file); lines.Scan(); {
		if line := strings.TrimSpace(lines.Text()); line != "" && line[0] != '#' {
			patterns = append(patterns, line)
		}
	}
	return func(name string) bool {
		for _, pattern := range patterns {
			inner, anywhere := strings.CutPrefix(pattern, "**/")
			of := filepath.ToSlash(name)
			if anywhere {
				of = path.Base(of)
			}
			if matched, err := path.Match(inner, of); err != nil {
				t.Fatalf("%s: %v", pattern, err)
			} else if matched {
				return true
			}
		}
		return false
	}
}
