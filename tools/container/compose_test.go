package container

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/types"
)

// Each compose file is loaded together with what it is put beside.
func TestCompose(t *testing.T) {
	for _, test := range []struct {
		name      string
		files     []string
		environ   []string
		service   string
		deliverTo string
		complete  bool // all that it names is in this repository
	}{
		{"compose", []string{"contrib/compose/compose.yaml"}, nil, "homing", "lmtp:/run/homing-lmtp/lmtp", true},
		{"mailcow", []string{"tools/container/testdata/mailcow.yml", "contrib/mailcow/docker-compose.override.yml"},
			[]string{"MAILCOW_HOSTNAME=mail.example.com"}, "homing-mailcow", "lmtp://dovecot:24", false},
		{"docker-mailserver", []string{"tools/container/testdata/mailserver.yaml", "contrib/docker-mailserver/compose.override.yaml"},
			nil, "homing", "lmtp:/run/homing-lmtp/lmtp", false},
	} {
		t.Run(test.name, func(t *testing.T) {
			for i, name := range test.files {
				test.files[i] = filepath.Join(module, name)
			}
			project := load(t, test.environ, test.files...)
			homing, err := project.GetService(test.service)
			if err != nil {
				t.Fatal(err)
			}
			checkHoming(t, homing, project)
			if to := homing.Environment["HOMING_DELIVER_TO"]; to == nil || *to != test.deliverTo {
				t.Errorf("it delivers to %v, want %s", to, test.deliverTo)
			}
			checkSockets(t, project)
			if test.complete {
				checkComplete(t, project)
			}
		})
	}
}

// checkHoming requires what every homing in a container should have.
func checkHoming(t *testing.T, homing types.ServiceConfig, project *types.Project) {
	t.Helper()
	if !homing.ReadOnly || !slices.Contains(homing.CapDrop, "ALL") || !slices.Contains(homing.SecurityOpt, "no-new-privileges:true") {
		t.Error("it has rights that it does not need")
	}
	if homing.StopGracePeriod == nil || homing.StopGracePeriod.String() != "30s" {
		t.Errorf("it is killed after %v", homing.StopGracePeriod)
	}
	if homing.Restart != "always" && homing.Restart != "unless-stopped" {
		t.Errorf("restart: %q", homing.Restart)
	}
	if !slices.ContainsFunc(homing.Volumes, func(v types.ServiceVolumeConfig) bool {
		return v.Type == types.VolumeTypeVolume && v.Target == "/var/lib/homing" && !v.ReadOnly
	}) {
		t.Error("its state is in no volume")
	}
	for name, value := range homing.Environment {
		if value != nil && (strings.Contains(name, "SECRET_ACCESS_KEY") || strings.HasSuffix(name, "_PASSPHRASE")) {
			t.Errorf("%s stands in the open", name)
		}
		// A secret is a file at this path.
		secret, isSecret := strings.CutPrefix(text(value), "/run/secrets/")
		if isSecret && (project.Secrets[secret].File == "" || !slices.ContainsFunc(homing.Secrets, func(s types.ServiceSecretConfig) bool { return s.Source == secret })) {
			t.Errorf("%s names a secret that is not given to it", name)
		}
	}
}

func text(value *string) string {
	if value == nil {
		return ""
	}
	return *value
}

// checkSockets requires that the directory of a socket which is open to all lets
// in homing's group only.
func checkSockets(t *testing.T, project *types.Project) {
	t.Helper()
	for name, volume := range project.Volumes {
		if options := volume.DriverOpts["o"]; strings.Contains(name, "lmtp") && !strings.Contains(options, "gid=65532,mode=0750") {
			t.Errorf("the volume %s has the options %q", name, options)
		}
	}
}

// checkComplete requires that all files are there, and that images are pinned.
func checkComplete(t *testing.T, project *types.Project) {
	t.Helper()
	for name, service := range project.Services {
		for _, volume := range service.Volumes {
			if volume.Type != types.VolumeTypeBind {
				continue
			}
			if _, err := os.Stat(volume.Source); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
		if _, tag, tagged := strings.Cut(service.Image, ":"); service.Build == nil && (!tagged || tag == "latest") {
			t.Errorf("%s: the image %s is whatever is there that day", name, service.Image)
		}
		if service.Build != nil {
			if _, err := os.Stat(filepath.Join(service.Build.Context, "Dockerfile")); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
	for name, secret := range project.Secrets {
		if _, err := os.Stat(secret.File); err != nil {
			t.Errorf("the secret %s: %v", name, err)
		}
	}
}
