// Package container checks the container files as their own programs read them:
// the Dockerfile with the linter of docker build --check, the compose files with
// the loader of docker compose. Both are large, hence a module of its own.
package container

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/compose-spec/compose-go/v2/types"
	"github.com/moby/buildkit/client/llb"
	"github.com/moby/buildkit/client/llb/sourceresolver"
	"github.com/moby/buildkit/frontend/dockerfile/dockerfile2llb"
	"github.com/moby/buildkit/frontend/dockerui"
	"github.com/moby/buildkit/solver/pb"
	digest "github.com/opencontainers/go-digest"
)

const module = "../.."

// registry answers for every image that it has no settings; the linter asks for
// those of the base images.
type registry struct{}

func (registry) ResolveImageConfig(_ context.Context, ref string, _ sourceresolver.Opt) (string, digest.Digest, []byte, error) {
	config := []byte(`{"architecture":"amd64","os":"linux","config":{"Env":["PATH=/usr/local/go/bin:/usr/bin:/bin"]}}`)
	return ref, digest.FromBytes(config), config, nil
}

func TestDockerfile(t *testing.T) {
	if warnings := lint(t, read(t, "Dockerfile")); len(warnings) > 0 {
		t.Errorf("docker build --check would say %q", warnings)
	}
}

// The linter must find something where there is something.
func TestLinterBites(t *testing.T) {
	text := strings.ReplaceAll(read(t, "Dockerfile"), `CMD ["serve"]`, "CMD serve\nMAINTAINER nobody")
	for _, want := range []string{"JSONArgsRecommended", "MaintainerDeprecated"} {
		if warnings := lint(t, text); !slices.Contains(warnings, want) {
			t.Errorf("it says %q, not %s", warnings, want)
		}
	}
}

func lint(t *testing.T, dockerfile string) (warnings []string) {
	t.Helper()
	source := llb.NewSourceMap(nil, "Dockerfile", "Dockerfile", []byte(dockerfile))
	source.Definition = new(llb.Definition)
	caps := pb.Caps.CapSet(pb.Caps.All())
	results, err := dockerfile2llb.DockerfileLint(t.Context(), []byte(dockerfile), dockerfile2llb.ConvertOpt{
		Config: dockerui.Config{}, MetaResolver: registry{},
		SourceMap: source, LLBCaps: &caps,
	})
	if err != nil {
		t.Fatal(err)
	}
	if results.Error != nil {
		t.Fatal(results.Error.Message)
	}
	for _, warning := range results.Warnings {
		t.Logf("%s: %s", warning.RuleName, warning.Detail)
		warnings = append(warnings, warning.RuleName)
	}
	return warnings
}

func read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(module, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// load reads compose files as docker compose does in their directory, which it
// requires to be right by the schema and in itself.
func load(t *testing.T, environ []string, files ...string) *types.Project {
	t.Helper()
	options, err := cli.NewProjectOptions(files, cli.WithEnv(environ), cli.WithResolvedPaths(true), cli.WithName("test"))
	if err != nil {
		t.Fatal(err)
	}
	project, err := options.LoadProject(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return project
}
