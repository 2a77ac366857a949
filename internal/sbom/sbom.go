// Command sbom writes what a Go program is made of as a CycloneDX 1.6 document
// (https://cyclonedx.org/docs/1.6/json/): every module that the linker has put
// into it, and the standard library, as the program itself tells. The same
// program gives the same document.
package main

import (
	"crypto/sha256"
	"debug/buildinfo"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
)

type (
	document struct {
		Format       string       `json:"bomFormat"`
		Spec         string       `json:"specVersion"`
		Version      int          `json:"version"`
		Metadata     metadata     `json:"metadata"`
		Components   []component  `json:"components"`
		Dependencies []dependency `json:"dependencies"`
	}
	metadata struct {
		Component component `json:"component"`
	}
	component struct {
		Type    string `json:"type"`
		Ref     string `json:"bom-ref"`
		Name    string `json:"name"`
		Version string `json:"version"`
		URL     string `json:"purl"` // https://github.com/package-url/purl-spec
		Hashes  []hash `json:"hashes,omitempty"`
	}
	hash struct {
		Algorithm string `json:"alg"`
		Content   string `json:"content"`
	}
	dependency struct {
		Ref string   `json:"ref"`
		On  []string `json:"dependsOn"`
	}
)

func main() {
	if err := run(os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "sbom:", err)
		os.Exit(1)
	}
}

// run writes the document of the program args[1], which is released as args[0].
func run(args []string, w io.Writer) error {
	if len(args) != 2 {
		return errors.New("want the version and the path of the program")
	}
	d, err := describe(args[0], args[1])
	if err != nil {
		return err
	}
	encoder := json.NewEncoder(w)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	return encoder.Encode(d)
}

func describe(version, path string) (document, error) {
	info, err := buildinfo.ReadFile(path)
	if err != nil {
		return document{}, err
	}
	octets, err := os.ReadFile(path)
	if err != nil {
		return document{}, err
	}
	sum := sha256.Sum256(octets)
	program := module("application", info.Main.Path, version)
	program.Name, program.Hashes = filepath.Base(info.Path), []hash{{"SHA-256", hex.EncodeToString(sum[:])}}
	d := document{Format: "CycloneDX", Spec: "1.6", Version: 1, Metadata: metadata{program}, Components: components(info)}
	used := dependency{Ref: program.Ref}
	for _, c := range d.Components {
		used.On = append(used.On, c.Ref)
	}
	d.Dependencies = []dependency{used}
	return d, nil
}

// components are the modules, in the order in which the program lists them.
func components(info *debug.BuildInfo) []component {
	all := []component{module("library", "std", strings.TrimPrefix(info.GoVersion, "go"))}
	for _, m := range info.Deps {
		if m.Replace != nil {
			m = m.Replace
		}
		all = append(all, module("library", m.Path, m.Version))
	}
	return all
}

func module(kind, path, version string) component {
	url := "pkg:golang/" + path + "@" + strings.ReplaceAll(version, "+", "%2B")
	if path == "std" {
		url = "pkg:golang/stdlib@" + version // as vulnerability scanners know it
	}
	return component{Type: kind, Ref: url, Name: path, Version: version, URL: url}
}
