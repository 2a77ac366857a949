package main

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

const (
	topicA = "arn:aws:sns:eu-west-1:123456789012:mail"
	topicB = "arn:aws-us-gov:sns:us-gov-west-1:123456789012:Mail_2-b"
)

// enough is what serve cannot do without.
func enough(more ...string) []string {
	return append([]string{"PATH=/bin", "HOMING_BUCKETS=mail", "HOMING_SNS_TOPICS=" + topicA}, more...)
}

var compareConfig = cmp.Options{cmp.AllowUnexported(destination{}, place{}, afterDelivery{}, formKeys{}, sealKeys{}, smtpServer{}), cmpopts.IgnoreUnexported(Config{})}

// writeFile puts a value into a file and returns its path.
func writeFile(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "value")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestDefaults(t *testing.T) {
	got, err := loadConfig(enough())
	if err != nil {
		t.Fatal(err)
	}
	want := &Config{
		DeliverTo:          destination{network: "unix", address: "/run/dovecot/lmtp"},
		LMTPConnections:    4,
		Listen:             ":8025",
		WebhookPath:        "/sns",
		SNSTopics:          topics{topicA},
		SNSConfirm:         true,
		Buckets:            places{{bucket: "mail"}},
		SweepInterval:      15 * time.Minute,
		SweepGrace:         10 * time.Minute,
		AfterDelivery:      afterDelivery{action: "keep"},
		AfterDeliveryDelay: 24 * time.Hour,
		MaxMessage:         64 << 20,
		Memory:             256 << 20,
		StateDir:           "/var/lib/homing",
		RetryFor:           5 * 24 * time.Hour,
		History:            30 * 24 * time.Hour,
		MetricsListen:      ":9025",
		LogLevel:           logLevel(slog.LevelInfo),
		LogFormat:          "text",
	}
	if diff := cmp.Diff(want, got, compareConfig); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got := got.warnings(); len(got) > 0 {
		t.Errorf("the defaults are warned of: %q", got)
	}
}

func TestEverythingSet(t *testing.T) {
	got, err := loadConfig([]string{
		"HOMING_DELIVER_TO=lmtps://[2001:db8::1]:2424",
		"HOMING_LMTP_CONNECTIONS=9",
		"HOMING_RECIPIENTS=a@example.com=a, *=b@example.com\n",
		"HOMING_FALLBACK_MAILBOX=Post@Example.com",
		"HOMING_LISTEN=127.0.0.1:443",
		"HOMING_WEBHOOK_PATH=/hooks/sns-1",
		"HOMING_TLS_CERT_PATH=/etc/ssl/cert.pem",
		"HOMING_TLS_KEY_PATH=/etc/ssl/key.pem",
		"HOMING_SNS_TOPICS=" + topicA + ",\n " + topicB + "\n",
		"HOMING_SNS_CONFIRM=false",
		"HOMING_BUCKETS=mail/in/ other.bucket",
		"HOMING_SWEEP_INTERVAL=1h",
		"HOMING_SWEEP_GRACE=90s",
		"HOMING_AFTER_DELIVERY=move:done/",
		"HOMING_AFTER_DELIVERY_DELAY=0",
		"HOMING_MAX_MESSAGE=1000",
		"HOMING_MEMORY=1GiB",
		"HOMING_STATE_DIR=state",
		"HOMING_RETRY_FOR=1d12h",
		"HOMING_HISTORY=20d",
		"HOMING_METRICS_LISTEN=[::1]:9000",
		"HOMING_LOG_LEVEL=debug",
		"HOMING_LOG_FORMAT=json",
		"HOMING_S3_PATH_STYLE=true",
	})
	if err != nil {
		t.Fatal(err)
	}
	want := &Config{
		DeliverTo:       destination{network: "tcp", address: "[2001:db8::1]:2424", tls: true},
		LMTPConnections: 9,
		Recipients:      "a@example.com=a, *=b@example.com\n",
		FallbackMailbox: "post@example.com",
		Listen:          "127.0.0.1:443",
		WebhookPath:     "/hooks/sns-1",
		TLSCertPath:     "/etc/ssl/cert.pem",
		TLSKeyPath:      "/etc/ssl/key.pem",
		SNSTopics:       topics{topicA, topicB},
		Buckets:         places{{"mail", "in/"}, {"other.bucket", ""}},
		SweepInterval:   time.Hour,
		SweepGrace:      90 * time.Second,
		AfterDelivery:   afterDelivery{"move", "done/"},
		MaxMessage:      1000,
		Memory:          1 << 30,
		StateDir:        "state",
		RetryFor:        36 * time.Hour,
		History:         20 * 24 * time.Hour,
		MetricsListen:   "[::1]:9000",
		LogLevel:        logLevel(slog.LevelDebug),
		LogFormat:       "json",
		S3PathStyle:     true,
	}
	if diff := cmp.Diff(want, got, compareConfig); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestEmpty: set to nothing a variable has its default, and a listener none.
func TestEmpty(t *testing.T) {
	environ := enough()
	for _, v := range variables() {
		if v.Name != "HOMING_BUCKETS" && v.Name != "HOMING_SNS_TOPICS" {
			environ = append(environ, v.Name+"=", v.Name+"_FILE=")
		}
	}
	got, err := loadConfig(environ)
	if err != nil {
		t.Fatal(err)
	}
	want, err := loadConfig(enough())
	if err != nil {
		t.Fatal(err)
	}
	want.Listen, want.MetricsListen = "", ""
	if diff := cmp.Diff(want, got, compareConfig); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestLastOfAName(t *testing.T) {
	got, err := loadConfig(enough("HOMING_LOG_FORMAT=wrong", "HOMING_LOG_FORMAT=json"))
	if err != nil {
		t.Fatal(err)
	}
	if got.LogFormat != "json" {
		t.Errorf("format %q, want the last one", got.LogFormat)
	}
}

func TestRequired(t *testing.T) {
	const (
		buckets = "HOMING_BUCKETS is required: name the bucket in which SES stores mail, as bucket or bucket/prefix"
		topics  = "HOMING_SNS_TOPICS is required while HOMING_LISTEN is not empty: " +
			"give the ARN of the topic that SES notifies, as in arn:aws:sns:eu-west-1:123456789012:mail"
	)
	for _, test := range []struct {
		name    string
		environ []string
		want    string
	}{
		{"nothing set", nil, buckets + "\n" + topics},
		{"empty lists", []string{"HOMING_BUCKETS= ,\n", "HOMING_SNS_TOPICS=,"}, buckets + "\n" + topics},
		{"no webhook", []string{"HOMING_LISTEN="}, buckets},
		{"no webhook, a bucket", []string{"HOMING_LISTEN=", "HOMING_BUCKETS=mail"}, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			cfg, err := loadConfig(test.environ)
			if got := text(err); got != test.want {
				t.Errorf("got\n%s\nwant\n%s", got, test.want)
			}
			if (cfg == nil) != (err != nil) {
				t.Errorf("configuration %v with error %v", cfg, err)
			}
		})
	}
}

func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func TestPartialConfigRequiresNothing(t *testing.T) {
	cfg, err := loadPartialConfig([]string{"HOMING_STATE_DIR=/srv/homing"})
	if err != nil {
		t.Fatal(err)
	}
	if cfg.StateDir != "/srv/homing" || cfg.Memory != 256<<20 {
		t.Errorf("state directory %q, memory %d", cfg.StateDir, cfg.Memory)
	}
	if _, err := loadPartialConfig([]string{"HOMING_MEMORY=much"}); !strings.HasPrefix(text(err), `HOMING_MEMORY="much": want `) {
		t.Errorf("a wrong variable gives %v", err)
	}
}

func TestContradictions(t *testing.T) {
	for _, test := range []struct {
		name    string
		environ []string
		want    string // the beginning of its only line; empty: no mistake
	}{
		{"certificate without key", []string{"HOMING_TLS_CERT_PATH=/c"}, "HOMING_TLS_KEY_PATH is required with HOMING_TLS_CERT_PATH"},
		{"key without certificate", []string{"HOMING_TLS_KEY_PATH=/k"}, "HOMING_TLS_CERT_PATH is required with HOMING_TLS_KEY_PATH"},
		{"one of the pair cannot be read", []string{"HOMING_TLS_KEY_PATH=/k", "HOMING_TLS_CERT_PATH_FILE=/nowhere/c"}, "HOMING_TLS_CERT_PATH_FILE="},
		{"same listener", []string{"HOMING_LISTEN=:1", "HOMING_METRICS_LISTEN=:1"}, `HOMING_METRICS_LISTEN=":1": HOMING_LISTEN has the same port`},
		{"neither listens", []string{"HOMING_LISTEN=", "HOMING_METRICS_LISTEN="}, ""},
		{"any free port for both", []string{"HOMING_LISTEN=127.0.0.1:0", "HOMING_METRICS_LISTEN=127.0.0.1:0"}, ""},
		{"less memory than a message", []string{"HOMING_MEMORY=1MiB"}, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := loadConfig(enough(test.environ...))
			got := text(err)
			if !strings.HasPrefix(got, test.want) || strings.Contains(got, "\n") || test.want == "" && got != "" {
				t.Errorf("got\n%s\nwant one line that begins\n%s", got, test.want)
			}
		})
	}
}

func TestWarnings(t *testing.T) {
	for _, test := range []struct {
		environ []string
		want    []string
	}{
		{[]string{"HOMING_HISTORY=13d"}, []string{"HOMING_HISTORY is shorter than 14 days"}},
		{[]string{"HOMING_BUCKETS=mail/in/", "HOMING_AFTER_DELIVERY=move:old/"}, []string{"HOMING_AFTER_DELIVERY puts objects of mail under"}},
		{[]string{"HOMING_BUCKETS=mail/in/,mail/old", "HOMING_AFTER_DELIVERY=move:old/"}, nil},
		{[]string{"HOMING_SWEEP_INTERVAL=59s"}, []string{"HOMING_SWEEP_INTERVAL is shorter than a minute"}},
		{[]string{"HOMING_LISTEN="}, []string{"HOMING_LISTEN and HOMING_SQS_QUEUES are both empty, so that no notification arrives: mail is found by the sweep alone, every 15m"}},
		{[]string{"HOMING_LISTEN=", "HOMING_SWEEP_INTERVAL=0"}, []string{"HOMING_LISTEN and HOMING_SQS_QUEUES are both empty, so that no notification arrives: nothing finds mail"}},
		{[]string{"HOMING_LISTEN=", "HOMING_SQS_QUEUES=https://sqs.eu-west-1.amazonaws.com/123456789012/mail"}, nil},
		{[]string{"HOMING_SWEEP_GRACE=14d"}, []string{"HOMING_SWEEP_GRACE leaves nothing to the sweep, which looks back 14d with"}},
		{[]string{"HOMING_SWEEP_GRACE=12h", "HOMING_HISTORY=1d"}, []string{"HOMING_HISTORY is", "HOMING_SWEEP_GRACE leaves nothing"}},
		{[]string{"HOMING_SWEEP_GRACE=14d", "HOMING_SWEEP_INTERVAL=0"}, nil},
		{[]string{"HOMING_HISTORY=14d", "HOMING_RETRY_FOR=14d", "HOMING_AFTER_DELIVERY_DELAY=15d"}, nil},
	} {
		cfg, err := loadConfig(enough(test.environ...))
		if err != nil {
			t.Fatal(err)
		}
		got := cfg.warnings()
		if !slices.EqualFunc(got, test.want, strings.HasPrefix) {
			t.Errorf("%v: got %q, want %q", test.environ, got, test.want)
		}
	}
}

func TestAllMistakesAtOnce(t *testing.T) {
	_, err := loadConfig([]string{
		"HOMING_LISTN=:8025",
		"HOMING_BUCKETS=s3://mail,Mail,mail",
		"HOMING_SNS_TOPICS=mail",
		"HOMING_MAX_MESSAGE=64 MB",
		"HOMING_LOG_LEVEL=a\nb",
		"HOMING_TLS_KEY_PATH_FILE=/nowhere/key",
		"HOMING_HISTORY=-1d",
	})
	want := strings.Join([]string{
		`HOMING_TLS_KEY_PATH_FILE="/nowhere/key": no such file or directory; give the path of a file that homing may read`,
		`HOMING_LISTN is no variable of homing; did you mean HOMING_LISTEN?`,
		`HOMING_SNS_TOPICS="mail": want the ARN of an SNS topic, as in arn:aws:sns:eu-west-1:123456789012:mail`,
		`HOMING_BUCKETS="s3://mail": want the bucket's name alone, without s3:// or arn:aws:s3:::, as in bucket or bucket/prefix`,
		`HOMING_BUCKETS="Mail": want a bucket's name: 3 to 63 of a-z, 0-9, - and . with a letter or digit at both ends, no two dots together, no IP address`,
		`HOMING_MAX_MESSAGE="64 MB": want a whole number of bytes, alone or with a unit, as in 1048576, 500KB, 64MiB or 1GiB`,
		`HOMING_HISTORY="-1d": want a duration without a sign, such as 15m or 5d`,
		`HOMING_LOG_LEVEL="a\nb": want debug, info, warn or error`,
	}, "\n")
	if diff := cmp.Diff(want, text(err)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if wrong, ok := errors.AsType[*configError](err); !ok || len(wrong.mistakes) != 8 {
		t.Errorf("%T is not a *configError with 8 mistakes", err)
	}
}

// TestEveryVariableRefusesNonsense goes through all fields: one without a parser
// would take it, or be refused in other words.
func TestEveryVariableRefusesNonsense(t *testing.T) {
	for _, v := range variables() {
		_, err := loadConfig(enough(v.Name + "=\x01non sense"))
		switch {
		case v.Name == "HOMING_RECIPIENTS":
			if !strings.Contains(text(err), "HOMING_RECIPIENTS: recipient rule") {
				t.Errorf("%s: %v", v.Name, err)
			}
		case v.Secret:
			pgp := strings.HasPrefix(v.Name, "HOMING_PGP_") && strings.HasPrefix(text(err), "HOMING_PGP_KEY")
			if !pgp && !strings.HasPrefix(text(err), v.Name+": want ") || strings.Contains(text(err), "sense") {
				t.Errorf("%s: %v", v.Name, err)
			}
		case !strings.HasPrefix(text(err), v.Name+`="\x01non`) || !strings.Contains(text(err), ": want "):
			t.Errorf("%s: %v", v.Name, err)
		}
	}
}

func TestVariables(t *testing.T) {
	config := reflect.TypeFor[Config]()
	known := variables()
	secrets := []string{"HOMING_FORM_SECRET", "HOMING_FORM_KEY", "HOMING_FORM_PASSWORD", "HOMING_PGP_KEY", "HOMING_PGP_PASSPHRASE", "HOMING_PGP_ENCRYPT_TO"}
	if len(known) != config.NumField()-3 { // RecipientsFile, rules and ring are none
		t.Errorf("%d variables of %d fields", len(known), config.NumField())
	}
	for i, v := range known {
		if v.Meaning == "" || !strings.HasPrefix(v.Name, "HOMING_") || v.Secret != slices.Contains(secrets, v.Name) {
			t.Errorf("%+v", v)
		}
		if slices.ContainsFunc(known[:i], func(other variable) bool { return other.Name == v.Name }) {
			t.Errorf("%s is there twice", v.Name)
		}
	}
	want := variable{Name: "HOMING_RETRY_FOR", Default: "5d", Meaning: "how long a message is tried again before it is held"}
	if i := slices.IndexFunc(known, func(v variable) bool { return v.Name == want.Name }); i < 0 ||
		!cmp.Equal(want, known[i], cmpopts.IgnoreUnexported(variable{})) {
		t.Errorf("want %+v in %+v", want, known)
	}
}

// withSecrets stands for the keys that later variables hold.
type withSecrets struct {
	Plain  byteSize `env:"HOMING_PLAIN" default:"1KB"`
	Secret byteSize `env:"HOMING_SECRET" secret:"true"`
	Hidden string   `env:"HOMING_HIDDEN" secret:"true" doc:"a passphrase"`
	List   places   `env:"HOMING_SECRETS" secret:"true"`
}

func TestSecretsAreNotShown(t *testing.T) {
	var target withSecrets
	settings, wrong := loadInto(&target, []string{"HOMING_PLAIN=said", "HOMING_SECRET=hush1", "HOMING_HIDDEN=hush2",
		"HOMING_SECRETS=HUSH3,hush4-", "HOMING_HIDEN=hush5"})
	known := variablesOf(reflect.TypeOf(target))
	var shown strings.Builder
	if err := showSettings(&shown, known, settings); err != nil {
		t.Fatal(err)
	}
	shown.WriteString(text(&configError{wrong}))
	for _, want := range []string{`HOMING_PLAIN="said": want`, "HOMING_PLAIN=said", "\nHOMING_SECRET: want a whole number", "HOMING_SECRETS: want a bucket",
		"HOMING_HIDDEN=******  (set)\n    a passphrase\n", "HOMING_HIDEN is no variable of homing; did you mean HOMING_HIDDEN?"} {
		if !strings.Contains(shown.String(), want) {
			t.Errorf("%q is missing", want)
		}
	}
	if strings.Contains(strings.ToLower(shown.String()), "hush") {
		t.Error("a secret is shown")
	}
	if t.Failed() {
		t.Log(shown.String())
	}
	if target.Hidden != "hush2" {
		t.Errorf("the secret is read as %q", target.Hidden)
	}
}

func TestFieldWithoutParser(t *testing.T) {
	var target struct {
		Channel chan int `env:"HOMING_CHANNEL" default:"x"`
	}
	if _, wrong := loadInto(&target, nil); len(wrong) != 1 {
		t.Errorf("%d mistakes, want 1: %v", len(wrong), wrong)
	}
}
