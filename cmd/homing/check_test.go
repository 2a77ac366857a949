package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/homing-mail/homing/internal/s3test"
)

// collected keeps the lines of a check.
type collected []checkLine

func (c *collected) line(l checkLine) error { *c = append(*c, l); return nil }
func (c *collected) end(int, int) error     { return nil }

// tried runs all checks. Each line that is not well must say how to mend it.
func tried(t *testing.T, with neighbours, environ ...string) (collected, error) {
	t.Helper()
	c := &checker{patience: checkTime, with: with}
	c.configure(environ)
	return c.all(t, c.groups())
}

func (c *checker) all(t *testing.T, groups []group) (lines collected, err error) {
	t.Helper()
	err = c.run(t.Context(), &lines, groups)
	for _, l := range lines {
		if l.Name == "" || l.Target == "" || (!l.OK || l.Warning) != (l.Mend != "") || !l.OK && l.Warning {
			t.Errorf("a line that helps nobody: %+v", l)
		}
	}
	return lines, err
}

// find returns the lines of this name.
func (c collected) find(name string) (found collected) {
	for _, l := range c {
		if l.Name == name {
			found = append(found, l)
		}
	}
	return found
}

// one returns the only line of this name.
func (c collected) one(t *testing.T, name string) checkLine {
	t.Helper()
	found := c.find(name)
	if len(found) != 1 {
		t.Fatalf("%d lines of %q in\n%s", len(found), name, c)
	}
	return found[0]
}

func (c collected) String() string {
	var text strings.Builder
	show := &textReport{w: &text}
	for _, l := range c {
		if err := show.line(l); err != nil {
			return err.Error()
		}
	}
	return text.String()
}

// wantFailed fails the test unless the line failed with these words.
func wantFailed(t *testing.T, l checkLine, detail, mend string) {
	t.Helper()
	if l.OK || !strings.Contains(l.Detail, detail) || !strings.Contains(l.Mend, mend) {
		t.Errorf("want a failure with %q and %q:\n%s", detail, mend, collected{l})
	}
}

func wantWarning(t *testing.T, l checkLine, detail, mend string) {
	t.Helper()
	if !l.OK || !l.Warning || !strings.Contains(l.Detail, detail) || !strings.Contains(l.Mend, mend) {
		t.Errorf("want a warning with %q and %q:\n%s", detail, mend, collected{l})
	}
}

func wantWell(t *testing.T, l checkLine, detail string) {
	t.Helper()
	if !l.OK || l.Warning || !strings.Contains(l.Detail, detail) {
		t.Errorf("want success with %q:\n%s", detail, collected{l})
	}
}

// checkVariables are those of a rig that is checked while it runs, or before.
func (r *rig) checkVariables(more ...string) []string {
	listen, metrics := "127.0.0.1:0", "127.0.0.1:0"
	if r.app != nil {
		listen, metrics = r.app.webhookAddress(), r.app.metricsAddress()
	}
	return append([]string{"HOMING_BUCKETS=" + testBucket + "/in/", "HOMING_SNS_TOPICS=" + testTopic, "HOMING_STATE_DIR=" + r.state,
		"HOMING_DELIVER_TO=maildir:" + r.mail + "/%d/%n", "HOMING_LISTEN=" + listen, "HOMING_METRICS_LISTEN=" + metrics}, more...)
}

func (r *rig) neighbours() neighbours {
	with := neighbours{sns: r.sns.Transport(), s3: r.bucket, free: r.free}
	if r.kms != nil {
		with.kms = r.kms.Client()
	}
	return with
}

// TestCheckOfRunningHoming: all is well, and nothing is disturbed.
func TestCheckOfRunningHoming(t *testing.T) {
	r := newRig(t)
	s := newSink(t)
	r.start(s.variable)
	r.put("in/m1", testMail)
	lines, err := tried(t, r.neighbours(), r.checkVariables(s.variable, "HOMING_RECIPIENTS=*=alice@example.com", "HOMING_FALLBACK_MAILBOX=bob@example.com")...)
	if err != nil {
		t.Errorf("%v\n%s", err, lines)
	}
	var names []string
	for _, l := range lines {
		names = append(names, l.Name)
		wantWell(t, l, "")
	}
	want := []string{"configuration", "state directory", "disk", "spool", "aws credentials", "s3 list", "s3 get", "kms", "sns", "clock",
		"lmtp", "mailbox", "mailbox", "webhook", "metrics"}
	if !slices.Equal(names, want) {
		t.Errorf("the lines are\n%s\nwant %q", lines, want)
	}
	wantWell(t, lines.one(t, "webhook"), "taken by a homing that runs")
	wantWell(t, lines.one(t, "metrics"), "taken by a homing that runs "+version())
	wantWell(t, lines.one(t, "s3 get"), `the beginning of "in/m1" was read`)
	if mails := append(s.took("alice@example.com"), s.took("bob@example.com")...); len(mails) != 0 {
		t.Errorf("the check delivered %q", mails)
	}
	// homing works on as if nothing had been.
	r.notify(inline("m2", testMail, testAddress))
	await(t, "the mail", func() bool { return len(s.took(testAddress)) == 1 })
}

// TestCheckGoesOn: with mistakes in it the rest of the configuration is tried,
// and what they make meaningless is not.
func TestCheckGoesOn(t *testing.T) {
	r := newRig(t)
	lines, err := tried(t, r.neighbours(), r.checkVariables("HOMING_MEMORY=much", "HOMING_RECIPIENTS=bob,*=a@", "HOMING_BUCKET=x",
		"HOMING_HISTORY=1d")...)
	if _, usage := errors.AsType[usageError](err); !usage {
		t.Errorf("error %v, want one of configuration", err)
	}
	var found []string
	for _, l := range lines.find("configuration") {
		found = append(found, fmt.Sprint(l.Target, " ", l.OK, " ", l.Warning))
	}
	want := []string{"HOMING_BUCKET false false", "HOMING_MEMORY false false", "HOMING_RECIPIENTS false false",
		"HOMING_RECIPIENTS false false", "HOMING_HISTORY true true"}
	slices.Sort(found)
	slices.Sort(want)
	if !slices.Equal(found, want) {
		t.Errorf("got %q, want %q", found, want)
	}
	wantWell(t, lines.one(t, "maildir"), "")
	wantWell(t, lines.one(t, "s3 list"), "")

	lines, err = tried(t, r.neighbours(), "HOMING_DELIVER_TO=smtp:x", "HOMING_STATE_DIR=a\nb", "HOMING_LISTEN=x", "HOMING_METRICS_LISTEN=y",
		"HOMING_BUCKETS=B", "HOMING_SNS_TOPICS=t")
	if n := len(lines.find("configuration")); err == nil || n != 6 || len(lines) != n+2 {
		t.Errorf("%v\n%s", err, lines)
	}
}

// TestCheckOrder: groups run side by side, and show in their order.
func TestCheckOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &checker{patience: checkTime}
		began := time.Now()
		slow := func(name string, takes time.Duration) group {
			return func(ctx context.Context, p *page) {
				p.try(ctx, name, "x", func(ctx context.Context) finding {
					await := time.NewTimer(takes)
					select {
					case <-await.C:
						return well("came")
					case <-ctx.Done():
						return broken(ctx.Err(), "wait")
					}
				})
			}
		}
		lines, err := c.all(t, []group{slow("a", 10*time.Second), slow("b", time.Second), slow("c", time.Minute)})
		if took := time.Since(began); took != checkTime {
			t.Errorf("it took %v", took)
		}
		if len(lines) != 3 || lines[0].Name+lines[1].Name+lines[2].Name != "abc" || lines[0].Seconds != 10 || lines[1].Seconds != 1 {
			t.Errorf("the lines are\n%s", lines)
		}
		wantFailed(t, lines[2], "no answer in time", "wait")
		if err == nil || err.Error() != "1 of 3 checks failed" {
			t.Errorf("error %v", err)
		}
	})
}

// TestCheckHangs: a check that does not heed its context, as on a dead network
// file system, is left behind.
func TestCheckHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		defer close(release)
		c := &checker{patience: checkTime}
		began := time.Now()
		lines, err := c.all(t, []group{func(ctx context.Context, p *page) {
			if p.try(ctx, "disk", "x", func(context.Context) finding { <-release; return well("") }) || !p.hung {
				t.Error("it did not hang")
			}
		}})
		if took := time.Since(began); took != checkTime+checkSlack || err == nil {
			t.Errorf("after %v: %v", took, err)
		}
		wantFailed(t, lines[0], "no answer in time", "it hangs")
	})
}

// TestCheckCommand is the program from its command line, with an S3 in the
// process and no other neighbour.
func TestCheckCommand(t *testing.T) {
	alone(t)
	r := newRig(t)
	t.Setenv("AWS_REGION", "us-east-1")
	t.Setenv("AWS_ENDPOINT_URL_S3", r.s3.URL())
	r.put("in/m1", testMail)
	pull := r.checkVariables("HOMING_LISTEN=", "HOMING_SNS_TOPICS=", "HOMING_S3_PATH_STYLE=true")
	for _, test := range []struct {
		name    string
		environ []string
		args    []string
		code    int
		stdout  string
		stderr  string
	}{
		{"well but for the queue", pull, nil, exitDone, "11 checks, none failed, 1 with warnings\n", ""},
		{"a warning", append(slices.Clone(pull), "HOMING_AFTER_DELIVERY=delete"), nil, exitDone, "warning   0.000s  s3 write", ""},
		{"a failure", append(slices.Clone(pull), "HOMING_BUCKETS=nowhere"), nil, exitFailed, "FAILED ", "homing: 1 of 9 checks failed\n"},
		{"wrong configuration", append(slices.Clone(pull), "HOMING_MEMORY=much"), nil, exitUsage, "FAILED    0.000s  configuration   HOMING_MEMORY: \"much\": want", "homing: 1 of 12 checks failed\n"},
		{"wrong certificate", append(slices.Clone(pull), "HOMING_TLS_CERT_PATH=/none", "HOMING_TLS_KEY_PATH=/none"), nil, exitUsage, "FAILED ", "homing: 1 of "},
		{"argument", pull, []string{"s3"}, exitUsage, "", `homing: unknown command "s3" for "homing check"`},
		{"health with a probe", pull, []string{"--health", "--probe"}, exitUsage, "", "homing: --health asks"},
		{"nobody to probe", pull, []string{"--probe"}, exitUsage, "", "homing: --probe needs a mailbox"},
		{"wrong mailbox to probe", pull, []string{"--probe-to", "a b"}, exitUsage, "", `homing: --probe-to "a b": want one mailbox`},
		{"a Maildir to probe", pull, []string{"--probe", "--probe-to", "a"}, exitUsage, "", "homing: --probe tries a rule of Dovecot's"},
		{"health of nobody", append(slices.Clone(pull), "HOMING_METRICS_LISTEN=127.0.0.1:1"), []string{"--health"}, exitFailed, "connection refused", "homing: 1 of 1 checks failed\n"},
		{"health without a port", append(slices.Clone(pull), "HOMING_METRICS_LISTEN="), []string{"--health"}, exitUsage, "names no port", "homing: 1 of 1 checks failed\n"},
	} {
		t.Run(test.name, func(t *testing.T) {
			code, stdout, stderr := command(t, test.environ, "", append([]string{"check"}, test.args...)...)
			if code != test.code || !strings.Contains(stdout, test.stdout) || !strings.HasPrefix(stderr, test.stderr) || test.stderr == "" && stderr != "" {
				t.Errorf("exit code %d, want %d\n%s\n%s", code, test.code, stdout, stderr)
			}
		})
	}
}

// TestCheckJSON is what machines read.
func TestCheckJSON(t *testing.T) {
	alone(t)
	r := newRig(t)
	t.Setenv("AWS_REGION", "us-east-1")
	t.Setenv("AWS_ENDPOINT_URL_S3", "http://user:never-said@"+strings.TrimPrefix(r.s3.URL(), "http://"))
	r.s3.Inject(func(*http.Request) *s3test.Fault { return &s3test.Fault{Status: 403, Code: "Access\x1b[31mDenied"} })
	code, stdout, _ := command(t, r.checkVariables("HOMING_LISTEN=", "HOMING_SNS_TOPICS=", "HOMING_S3_PATH_STYLE=true"), "", "check", "--json")
	var lines []map[string]any
	if err := json.Unmarshal([]byte(stdout), &lines); err != nil || code != exitFailed {
		t.Fatalf("exit code %d, %v\n%s", code, err, stdout)
	}
	if len(lines) == 0 {
		t.Fatal("no lines")
	}
	for _, l := range lines {
		var names []string
		for name := range l {
			names = append(names, name)
		}
		slices.Sort(names)
		if want := []string{"detail", "mend", "name", "ok", "seconds", "target", "warning"}; !slices.Equal(names, want) {
			t.Errorf("a line has %q", names)
		}
	}
	if strings.Contains(stdout, "never-said") || strings.Contains(stdout, `\u001b`) || strings.Contains(stdout, "\x1b") {
		t.Errorf("it says what it should not:\n%s", stdout)
	}
}

// TestCheckHealth asks a running homing, whatever else is wrong.
func TestCheckHealth(t *testing.T) {
	r := newRig(t)
	free := int64(1 << 40)
	var full bool
	r.free = func(string) (int64, error) {
		if full {
			return 0, nil
		}
		return free, nil
	}
	r.start()
	environ := []string{"HOMING_METRICS_LISTEN=" + r.app.metricsAddress(), "HOMING_MEMORY=much"}
	if code, stdout, stderr := command(t, environ, "", "check", "--health"); code != exitDone || !strings.Contains(stdout, "/readyz: ready\n") {
		t.Errorf("exit code %d\n%s%s", code, stdout, stderr)
	}
	full = true
	code, stdout, _ := command(t, environ, "", "check", "--health", "--json")
	if code != exitFailed || !strings.Contains(stdout, "answered 503: not ready") || !strings.HasPrefix(stdout, "[\n") {
		t.Errorf("exit code %d\n%s", code, stdout)
	}
}

// TestCheckSaysWhenItCannot: a broken pipe is no success.
func TestCheckSaysWhenItCannot(t *testing.T) {
	c := &checker{patience: checkTime}
	c.configure([]string{"HOMING_STATE_DIR=" + filepath.Join(t.TempDir(), "x")})
	for _, show := range []reporter{&textReport{w: brokenWriter{}}, &jsonReport{w: brokenWriter{}}} {
		if err := c.run(t.Context(), show, []group{c.state}); err == nil || !strings.Contains(err.Error(), "broken pipe") {
			t.Errorf("error %v", err)
		}
	}
}
