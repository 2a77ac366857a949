package main

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

const (
	fileSuffix = "_FILE"
	// maxValueFile is room for thousands of recipient rules, and little enough
	// to read a wrong path without harm.
	maxValueFile = 1 << 20
)

// setting is what the environment says about one variable.
type setting struct {
	value string // its default where nothing else is given
	file  string // path of the file that the value is from; empty: from none
	given bool   // value is not the default
}

// readEnvironment settles each known variable, from itself, its file or its
// default, and finds the names that mean nothing to homing.
func readEnvironment(known []variable, environ []string) (map[string]setting, []mistake) {
	given := map[string]string{}
	for _, entry := range environ {
		if name, value, _ := strings.Cut(entry, "="); strings.HasPrefix(name, "HOMING_") {
			given[name] = value
		}
	}
	settings := make(map[string]setting, len(known))
	var wrong []mistake
	for _, v := range known {
		s, err := v.read(given)
		if err != nil {
			wrong = append(wrong, mistake{v.Name, err})
		}
		settings[v.Name] = s
		delete(given, v.Name)
		delete(given, v.Name+fileSuffix)
	}
	for _, name := range slices.Sorted(maps.Keys(given)) {
		if !serviceLink(name, given[name]) {
			// The value stays unsaid: it may be a secret under a misspelt name.
			wrong = append(wrong, mistake{name, fmt.Errorf("%s is no variable of homing; did you mean %s?", quoteName(name), nearest(name, known))})
		}
	}
	return settings, wrong
}

// read settles one variable. Set to nothing it counts as not set, unless nothing
// is a value of its own.
func (v variable) read(given map[string]string) (setting, error) {
	value, isSet := given[v.Name]
	isSet = isSet && (value != "" || v.takesEmpty)
	path := given[v.Name+fileSuffix]
	switch {
	case path != "" && isSet:
		return setting{}, fmt.Errorf("%s and %s%s are both set; unset one of them", v.Name, v.Name, fileSuffix)
	case path != "":
		value, err := v.readFile(path)
		if err != nil {
			return setting{}, fmt.Errorf("%s%s=%s: %w", v.Name, fileSuffix, quote(path), err)
		}
		if value == "" && !v.takesEmpty {
			return setting{value: v.Default, file: path}, nil
		}
		return setting{value: value, file: path, given: true}, nil
	case isSet:
		return setting{value: value, given: true}, nil
	}
	return setting{value: v.Default}, nil
}

func (v variable) readFile(path string) (string, error) {
	if v.binary {
		return readOctets(path)
	}
	return readValue(path)
}

// readValue reads the value in a file, without the one line end that an editor
// or echo leaves there.
func readValue(path string) (string, error) {
	text, err := readOctets(path)
	value, ended := strings.CutSuffix(text, "\n")
	if ended {
		value = strings.TrimSuffix(value, "\r")
	}
	return value, err
}

func readOctets(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", fmt.Errorf("%w; give the path of a file that homing may read", withoutPath(err))
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxValueFile+1))
	if err != nil {
		return "", fmt.Errorf("%w; give the path of a file that holds the value", withoutPath(err))
	}
	if len(text) > maxValueFile {
		return "", errors.New("the file is larger than 1 MiB, which no value is; is it the right one?")
	}
	return string(text), nil
}

// withoutPath is what the system said, without the path, which the message
// already has.
func withoutPath(err error) error {
	if failed, ok := errors.AsType[*os.PathError](err); ok {
		return failed.Err
	}
	return err
}

// kubernetesLink fits what Kubernetes puts into every container of a namespace
// for a service whose name is homing or begins with homing-
// (https://kubernetes.io/docs/tutorials/services/connect-applications-service/#environment-variables).
var kubernetesLink = regexp.MustCompile(
	`^HOMING_([A-Z0-9_]+_)?(SERVICE_HOST|SERVICE_PORT(_[A-Z0-9_]+)?|PORT_[0-9]+_(TCP|UDP|SCTP)(_PROTO|_PORT|_ADDR)?)$`)

// serviceLink says whether a variable comes from Kubernetes. The plain
// HOMING_X_PORT is told from a misspelt name by its value, which is a URL.
func serviceLink(name, value string) bool {
	return name == "HOMING_PORT" || strings.HasPrefix(name, "HOMING_PORT_") || kubernetesLink.MatchString(name) ||
		strings.HasSuffix(name, "_PORT") && strings.Contains(value, "://")
}

// nearest is the known name that the fewest edits turn the given one into; the
// path of a file is meant only by what ends so.
func nearest(name string, known []variable) string {
	name = name[:min(len(name), 64)] // longer than every known one by far
	best, fewest := "", len(name)+64
	for _, v := range known {
		candidates := []string{v.Name}
		if strings.HasSuffix(name, fileSuffix) {
			candidates = append(candidates, v.Name+fileSuffix)
		}
		for _, candidate := range candidates {
			if n := edits(name, candidate); n < fewest {
				best, fewest = candidate, n
			}
		}
	}
	return best
}

// edits is the Levenshtein distance: how many octets must be inserted, removed
// or replaced to turn a into b. One row of the usual table is kept.
func edits(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			replaced := diagonal
			if a[i] != b[j] {
				replaced++
			}
			diagonal = row[j+1]
			row[j+1] = min(replaced, row[j+1]+1, row[j]+1)
		}
	}
	return row[len(b)]
}

// inURL is a password where a URL has one, which none of homing's may.
var inURL = regexp.MustCompile(`(://[^/:\s]*):[^/\s]*@`)

// quote shows a value on one line, its beginning where it is long, and no password
// of a URL.
func quote(value string) string {
	const enough = 100
	value = inURL.ReplaceAllString(value, "$1:******@")
	if len(value) > enough {
		return strconv.Quote(value[:enough]) + "..."
	}
	return strconv.Quote(value)
}

// quoteName shows a name as it is unless that could break the line.
func quoteName(name string) string {
	if quoted := quote(name); quoted != `"`+name+`"` {
		return quoted
	}
	return name
}
