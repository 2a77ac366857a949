package main

import (
	"context"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"runtime/debug"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/homing-mail/homing/spool"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m)
}

// alone keeps the AWS SDK from the settings and the credentials of whoever runs
// the tests.
func alone(t *testing.T) {
	t.Helper()
	nowhere := filepath.Join(t.TempDir(), "nothing")
	for name, value := range map[string]string{
		"AWS_CONFIG_FILE": nowhere, "AWS_SHARED_CREDENTIALS_FILE": nowhere, "AWS_EC2_METADATA_DISABLED": "true",
		"AWS_REGION": "", "AWS_DEFAULT_REGION": "", "AWS_PROFILE": "", "AWS_ENDPOINT_URL": "", "AWS_ENDPOINT_URL_S3": "",
		"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "never-said", "AWS_SESSION_TOKEN": "", "AWS_CA_BUNDLE": "",
	} {
		t.Setenv(name, value)
	}
}

// listening is enough for a homing that listens on ports of the kernel's choice.
func listening(state string, more ...string) []string {
	return append(enough("HOMING_STATE_DIR="+state, "HOMING_LISTEN=127.0.0.1:0", "HOMING_METRICS_LISTEN=127.0.0.1:0",
		"HOMING_DELIVER_TO=maildir:"+filepath.Join(state, "mail", "%d", "%n")), more...)
}

func TestExitCodes(t *testing.T) {
	alone(t)
	t.Setenv("TMPDIR", t.TempDir())
	file := writeFile(t, "in the way")
	damaged := t.TempDir()
	replace(t, filepath.Join(damaged, spool.FileName), strings.Repeat("this is no database\n", 1000))
	for _, test := range []struct {
		name    string
		args    []string
		environ []string
		code    int
		stdout  string // what it contains
		stderr  string // how it begins
	}{
		{"version", []string{"version"}, nil, exitDone, "homing " + version() + " go1.", ""},
		{"help", []string{"--help"}, nil, exitDone, "Available Commands:", ""},
		{"help of a command", []string{"help", "queue"}, nil, exitDone, "homing queue [command]", ""},
		{"queue alone", []string{"queue"}, nil, exitDone, "Look at the spool and change it", ""},
		{"config", []string{"config"}, enough(), exitDone, "HOMING_BUCKETS=mail", ""},
		{"unknown command", []string{"sevre"}, enough(), exitUsage, "", `homing: unknown command "sevre" for "homing"`},
		{"unknown queue command", []string{"queue", "lst"}, nil, exitUsage, "", `homing: unknown command "lst" for "homing queue"`},
		{"unknown flag", []string{"--port", "1"}, enough(), exitUsage, "", "homing: unknown flag: --port"},
		{"unknown flag of a command", []string{"queue", "list", "--al"}, nil, exitUsage, "", "homing: unknown flag: --al"},
		{"argument too many", []string{"version", "now"}, nil, exitUsage, "", `homing: unknown command "now" for "homing version"`},
		{"argument missing", []string{"queue", "show"}, nil, exitUsage, "", "homing: accepts 1 arg(s), received 0"},
		{"wrong value of a flag", []string{"queue", "list", "--limit", "all"}, nil, exitUsage, "", `homing: invalid argument "all" for "--limit" flag`},
		{"no configuration", nil, nil, exitUsage, "", "homing: HOMING_BUCKETS is required"},
		{"wrong configuration", []string{"serve"}, []string{"HOMING_BUCKETS=s3://mail", "HOMING_MEMORY=much", "HOMING_RECIPIENTS=bob,*=a b c@"}, exitUsage, "",
			"homing: HOMING_BUCKETS="},
		{"wrong configuration of another command", []string{"queue", "list"}, []string{"HOMING_MEMORY=much"}, exitUsage, "", `homing: HOMING_MEMORY="much"`},
		{"wrong configuration shown", []string{"config"}, []string{"HOMING_MEMORY=much"}, exitUsage, "HOMING_MEMORY=much", `homing: HOMING_MEMORY="much"`},
		{"no region", nil, listening(t.TempDir()), exitUsage, "", "homing: no AWS region: set AWS_REGION"},
		{"no permission", nil, listening(filepath.Join(file, "state"), "HOMING_DELIVER_TO="), exitFailed, "", "homing: state directory: "},
		{"no permission for mail", nil, listening(t.TempDir(), "HOMING_DELIVER_TO=maildir:"+file+"/mail/%n"), exitFailed, "", "homing: "},
		{"damaged spool", nil, listening(damaged), exitFailed, "", "homing: spool " + filepath.Join(damaged, spool.FileName) + ": the database is damaged"},
		{"damaged spool, queue", []string{"queue", "list"}, []string{"HOMING_STATE_DIR=" + damaged}, exitFailed, "", "homing: spool " + damaged},
	} {
		t.Run(test.name, func(t *testing.T) {
			code, stdout, stderr := command(t, test.environ, "", test.args...)
			if code != test.code || !strings.Contains(stdout, test.stdout) || !strings.HasPrefix(stderr, test.stderr) || test.stderr == "" && stderr != "" {
				t.Errorf("exit code %d, want %d\n%s\n%s", code, test.code, stdout, stderr)
			}
		})
	}
	if got := read(t, filepath.Join(damaged, spool.FileName)); got != strings.Repeat("this is no database\n", 1000) {
		t.Error("the damaged spool was changed")
	}
}

// TestSecondSignal: a second signal ends the process at once, but not the echo of the
// first, with which timeout(1) would cut off a backfill's last words.
func TestSecondSignal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		signals := make(chan os.Signal, 1)
		stopped, ended := false, false
		var heeding sync.WaitGroup
		heeding.Go(func() {
			heed(signals, func() { stopped = true })
			ended = true
		})
		for _, step := range []struct {
			after          time.Duration
			stopped, ended bool
		}{
			{time.Hour, true, false},
			{0, true, false},
			{together - time.Millisecond, true, false},
			{time.Millisecond, true, true},
		} {
			<-time.After(step.after)
			signals <- syscall.SIGTERM
			synctest.Wait()
			if stopped != step.stopped || ended != step.ended {
				t.Fatalf("after %v: stopped %v, ended %v", step.after, stopped, ended)
			}
		}
		heeding.Wait()
	})
}

// TestAllMistakesAreListed: those of the rules too, one a line.
func TestAllMistakesAreListed(t *testing.T) {
	_, _, stderr := command(t, []string{"HOMING_BUCKETS=s3://mail", "HOMING_MEMORY=much", "HOMING_RECIPIENTS=bob,*=a@", "HOMING_BUCKET=x"}, "", "serve")
	for _, want := range []string{`HOMING_BUCKETS="s3://mail"`, `HOMING_MEMORY="much"`, `recipient rule "bob"`, `recipient rule "*=a@"`,
		"HOMING_BUCKET is no variable of homing", "HOMING_SNS_TOPICS is required"} {
		if strings.Count(stderr, want) != 1 {
			t.Errorf("%q is not said once in\n%s", want, stderr)
		}
	}
}

// serving is a homing that was started by its command line.
type serving struct {
	webhook, metrics string
	log              *transcript
	cancel           context.CancelFunc
	code             chan int
}

var addresses = regexp.MustCompile(`msg="homing serves" version=\S+ webhook=(\S+) metrics=(\S+) deliver_to=`)

func startServing(t *testing.T, environ []string, args ...string) *serving {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	s := &serving{log: &transcript{}, cancel: cancel, code: make(chan int, 1)}
	go func() { s.code <- run(ctx, args, environ, streams{strings.NewReader(""), s.log, s.log}) }()
	t.Cleanup(cancel)
	await(t, "homing to serve", func() bool {
		found := addresses.FindStringSubmatch(s.log.String())
		if found != nil {
			s.webhook, s.metrics = found[1], found[2]
		}
		return found != nil
	})
	return s
}

// stop ends it and returns its exit code.
func (s *serving) stop(t *testing.T) int {
	t.Helper()
	began := time.Now()
	s.cancel()
	code := <-s.code
	if took := time.Since(began); took > grace {
		t.Errorf("it took %v to stop", took)
	}
	return code
}

// TestServe starts the program as a user does, with nothing in the place of AWS:
// nothing is asked of it before the first notification.
func TestServe(t *testing.T) {
	alone(t)
	t.Setenv("AWS_REGION", "eu-west-1")
	for _, args := range [][]string{nil, {"serve"}} {
		state := t.TempDir()
		began := time.Now()
		s := startServing(t, listening(state, "HOMING_HISTORY=1d"), args...)
		t.Logf("it serves after %v", time.Since(began))
		client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
		if code, text := fetch(t, client, "http://"+s.metrics+"/readyz"); code != http.StatusOK {
			t.Errorf("/readyz: %d %s", code, text)
		}
		if code, text := fetch(t, client, "http://"+s.webhook+"/sns"); code != http.StatusMethodNotAllowed {
			t.Errorf("the webhook: %d %s", code, text)
		}

		// A second one does not work on the first one's spool.
		code, _, stderr := command(t, listening(state), "")
		if code != exitFailed || !strings.Contains(stderr, "homing: state directory "+state+": another homing is running on it") {
			t.Errorf("a second homing: exit code %d, %s", code, stderr)
		}
		// Nor at its address, and it gives back what it had opened until then.
		other := t.TempDir()
		for range 2 {
			code, _, stderr = command(t, listening(other, "HOMING_METRICS_LISTEN="+s.metrics), "")
			if code != exitFailed || !strings.HasPrefix(stderr, "homing: HOMING_METRICS_LISTEN: listen tcp "+s.metrics) {
				t.Errorf("a homing at the same address: exit code %d, %s", code, stderr)
			}
		}

		if code := s.stop(t); code != exitDone {
			t.Errorf("exit code %d\n%s", code, s.log)
		}
		for _, want := range []string{"level=WARN msg=\"HOMING_HISTORY is shorter", "homing has stopped"} {
			if !strings.Contains(s.log.String(), want) {
				t.Errorf("%q is missing in\n%s", want, s.log)
			}
		}
		if strings.Contains(s.log.String(), "never-said") {
			t.Error("the log says a secret")
		}
	}
}

// TestMemoryIsBounded, unless whoever runs homing has bounded it.
func TestMemoryIsBounded(t *testing.T) {
	const read = -1
	before := debug.SetMemoryLimit(read)
	defer debug.SetMemoryLimit(before)
	boundMemory(&Config{Memory: 1 << 30}, []string{"PATH=/bin", "GOMEMLIMIT=1GiB"})
	if got := debug.SetMemoryLimit(read); got != before {
		t.Errorf("with GOMEMLIMIT the limit became %d", got)
	}
	boundMemory(&Config{Memory: 1 << 30}, []string{"PATH=/bin"})
	if got := debug.SetMemoryLimit(read); got != 1<<30+overhead {
		t.Errorf("the limit is %d", got)
	}
}

// TestStateDirIsPrivate: mail lies in it.
func TestStateDirIsPrivate(t *testing.T) {
	r := newRig(t)
	r.state = filepath.Join(r.state, "a", "state")
	old := syscall.Umask(0)
	defer syscall.Umask(old)
	r.start()()
	for path, want := range map[string]os.FileMode{r.state: 0o700 | os.ModeDir, filepath.Join(r.state, spool.FileName): 0o600} {
		st, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if st.Mode() != want {
			t.Errorf("%s has mode %v, want %v", path, st.Mode(), want)
		}
	}
}

func TestVersion(t *testing.T) {
	old := release
	defer func() { release = old }()
	release = "v1.2.3"
	code, stdout, _ := command(t, nil, "", "version")
	if code != exitDone || !regexp.MustCompile(`^homing v1\.2\.3 go1\.\S+ [a-z]+/[a-z0-9]+\n$`).MatchString(stdout) {
		t.Errorf("exit code %d, %q", code, stdout)
	}
	release = ""
	if got := version(); got == "" || strings.ContainsAny(got, " \n") {
		t.Errorf("without a release it is version %q", got)
	}
}
