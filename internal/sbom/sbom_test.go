package main

import (
	"bytes"
	"encoding/json"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// The document has what `go version -m` says of a program, no less and no more.
func TestDescribe(t *testing.T) {
	program := filepath.Join(t.TempDir(), "homing")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", program, "github.com/homing-mail/homing/internal/grafana")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	var first, second bytes.Buffer
	for _, w := range []*bytes.Buffer{&first, &second} {
		if err := run([]string{"v1.2.3", program}, w); err != nil {
			t.Fatal(err)
		}
	}
	if first.String() != second.String() {
		t.Error("twice the same is not the same")
	}
	var d document
	if err := json.Unmarshal(first.Bytes(), &d); err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), "go", "version", "-m", program).Output()
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	for line := range strings.Lines(string(out)) {
		if fields := strings.Fields(line); len(fields) >= 3 && fields[0] == "dep" {
			want = append(want, "pkg:golang/"+fields[1]+"@"+fields[2])
		}
	}
	var got []string
	for _, c := range d.Components {
		got = append(got, c.URL)
	}
	if len(want) < 5 || !slices.Equal(got[1:], want) || !strings.HasPrefix(got[0], "pkg:golang/stdlib@1.") {
		t.Errorf("it lists\n%q\nwant the standard library and\n%q", got, want)
	}
	if p := d.Metadata.Component; p.Name != "grafana" || p.URL != "pkg:golang/github.com/homing-mail/homing@v1.2.3" || len(p.Hashes) != 1 || len(p.Hashes[0].Content) != 64 {
		t.Errorf("the program is %+v", p)
	}
	if len(d.Dependencies) != 1 || !slices.Equal(d.Dependencies[0].On, got) {
		t.Errorf("it depends on %+v", d.Dependencies)
	}
	for _, args := range [][]string{nil, {"v1.2.3", program + "x"}, {"v1.2.3", "sbom.go"}} {
		if err := run(args, new(bytes.Buffer)); err == nil {
			t.Errorf("%q was taken", args)
		}
	}
}
