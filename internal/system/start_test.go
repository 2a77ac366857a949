package system

import (
	"bytes"
	"database/sql"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Every mistake in the environment is reported at once, and nothing is begun.
func TestWrongConfiguration(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		pairs []string
		want  []string
	}{
		{"nothing set", []string{"HOMING_BUCKETS", "", "HOMING_SNS_TOPICS", ""}, []string{"HOMING_BUCKETS is required", "HOMING_SNS_TOPICS is required"}},
		{"many", []string{
			"HOMING_DELIVER_TO", "smtp://localhost", "HOMING_LMTP_CONNECTIONS", "none", "HOMING_BUCKETS", "s3://mail",
			"HOMING_SNS_TOPICS", "mail", "HOMING_MAX_MESSAGE", "much", "HOMING_RETRY_FOR", "-1h", "HOMING_AFTER_DELIVERY", "shred",
			"HOMING_BUCKET", "mail", "HOMING_LOG_LEVEL", "loud",
		}, []string{
			"HOMING_DELIVER_TO", "HOMING_LMTP_CONNECTIONS", "HOMING_BUCKETS=", "HOMING_SNS_TOPICS", "HOMING_MAX_MESSAGE", "HOMING_RETRY_FOR",
			"HOMING_AFTER_DELIVERY", "did you mean HOMING_BUCKETS?", "HOMING_LOG_LEVEL",
		}},
		{"rules", []string{"HOMING_RECIPIENTS", "a@home.test=b@home.test, nonsense"}, []string{"HOMING_RECIPIENTS", "nonsense"}},
		{"file and value", []string{"HOMING_BUCKETS_FILE", "/dev/null"}, []string{"HOMING_BUCKETS and HOMING_BUCKETS_FILE are both set"}},
		{"half of TLS", []string{"HOMING_TLS_CERT_PATH", "/dev/null"}, []string{"HOMING_TLS_KEY_PATH is required"}},
		{"one port twice", []string{"HOMING_LISTEN", ":8025", "HOMING_METRICS_LISTEN", ":8025"}, []string{"same port"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			env := bare(t, "maildir:"+t.TempDir()).with("AWS_REGION", "us-east-1").with(c.pairs...)
			code, stdout, stderr := command(t, env)
			if code != 2 || stdout != "" {
				t.Errorf("homing ended with %d and printed %q, want 2 and nothing", code, stdout)
			}
			for _, want := range c.want {
				if !strings.Contains(stderr, want) {
					t.Errorf("the error does not say %q: %s", want, stderr)
				}
			}
			if entries, err := os.ReadDir(env["HOMING_STATE_DIR"]); err != nil || len(entries) > 0 {
				t.Errorf("it left %v in the state directory, %v", entries, err)
			}
		})
	}
	if code, _, stderr := command(t, environment{}, "no-such-command"); code != 2 || !strings.Contains(stderr, "no-such-command") {
		t.Errorf("an unknown command ends with %d and %q, want 2", code, stderr)
	}
}

// A spool that cannot be trusted is an error that says so, and is left as it is.
func TestDamagedState(t *testing.T) {
	t.Parallel()
	h := withoutDovecot(t)
	for range 200 {
		h.send(letter("kept"), "ann@far.test", address("alice"))
	}
	h.awaitIdle()
	if code, _ := h.stop(t); code != 0 {
		t.Fatalf("homing ended with %d", code)
	}
	path := filepath.Join(h.env["HOMING_STATE_DIR"], "homing.db")
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	edit := func(statement string) []byte { return altered(t, whole, statement) }
	torn := bytes.Clone(whole)
	copy(torn[4096:], bytes.Repeat([]byte("torn"), 8192))
	for _, c := range []struct {
		name    string
		content []byte
		want    string
	}{
		{"garbage", bytes.Repeat([]byte("no database "), 1000), "damaged"},
		{"torn pages", torn, "damaged"},
		{"cut off", whole[:len(whole)/2], "damaged"},
		{"a newer version", edit("PRAGMA user_version = 99"), "newer homing"},
		{"another program's", edit("PRAGMA application_id = 1"), "not a homing spool"},
	} {
		t.Run(c.name, func(t *testing.T) {
			env := h.env.with("HOMING_STATE_DIR", t.TempDir())
			path := filepath.Join(env["HOMING_STATE_DIR"], "homing.db")
			if err := os.WriteFile(path, c.content, 0o600); err != nil {
				t.Fatal(err)
			}
			for _, args := range [][]string{nil, {"queue", "list"}} {
				code, _, stderr := command(t, env, args...)
				if code != 1 || !strings.Contains(stderr, c.want) || !strings.Contains(stderr, path) {
					t.Errorf("homing %v ended with %d and %q, want 1, the path and %q", args, code, stderr, c.want)
				}
			}
			if now, err := os.ReadFile(path); err != nil || !bytes.Equal(now, c.content) {
				t.Errorf("the file was changed, %v", err)
			}
		})
	}
	t.Run("a directory in its place", func(t *testing.T) {
		env := h.env.with("HOMING_STATE_DIR", t.TempDir())
		if err := os.Mkdir(filepath.Join(env["HOMING_STATE_DIR"], "homing.db"), 0o700); err != nil {
			t.Fatal(err)
		}
		if code, _, stderr := command(t, env); code != 1 || !strings.Contains(stderr, "not a regular file") {
			t.Errorf("homing ended with %d and %q, want 1", code, stderr)
		}
	})
}

// altered returns a database after a statement.
func altered(t *testing.T, database []byte, statement string) []byte {
	t.Helper()
	path := filepath.Join(t.TempDir(), "homing.db")
	if err := os.WriteFile(path, database, 0o600); err != nil {
		t.Fatal(err)
	}
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	_, err = db.Exec(statement)
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// Two daemons on one spool would deliver everything twice.
func TestSecondDaemon(t *testing.T) {
	t.Parallel()
	h := withoutDovecot(t)
	if code, _, stderr := command(t, h.env); code != 1 || !strings.Contains(stderr, "another homing is running") {
		t.Errorf("a second homing ended with %d and %q, want 1", code, stderr)
	}
	other := h.env.with("HOMING_STATE_DIR", t.TempDir(), "HOMING_LISTEN", h.webhook)
	if code, _, stderr := command(t, other); code != 1 || !strings.Contains(stderr, "HOMING_LISTEN") {
		t.Errorf("a homing whose port is taken ended with %d and %q, want 1 and the variable", code, stderr)
	}
	h.send(letter("still there"), "ann@far.test", address("alice"))
	h.awaitIdle()
}
