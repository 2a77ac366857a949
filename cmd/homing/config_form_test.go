package main

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp/armor"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
	openpgp "github.com/ProtonMail/go-crypto/openpgp/v2"

	"github.com/homing-mail/homing/fetcher/pgp"
)

const testSecret = "0123456789abcdef0123456789abcdef"

// publicKey makes a key that has been valid for a time from a day ago; 0: for ever.
func publicKey(t *testing.T, lifetime time.Duration) string {
	t.Helper()
	e, err := openpgp.NewEntity("me", "", "me@example.com", &packet.Config{
		Time: func() time.Time { return time.Now().Add(-24 * time.Hour) }, KeyLifetimeSecs: uint32(lifetime / time.Second),
	})
	if err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	w, err := armor.Encode(&text, openpgp.PublicKeyType, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Serialize(w); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return text.String()
}

// formEnvironment is what a form needs, and more.
func formEnvironment(t *testing.T, more ...string) []string {
	t.Helper()
	return append([]string{"HOMING_FORM_PATH=/form", "HOMING_FORM_SECRET=" + testSecret, "HOMING_FORM_KEY=" + publicKey(t, 0),
		"HOMING_FORM_MAILBOX=Me@Example.com"}, more...)
}

func TestFormConfig(t *testing.T) {
	key := publicKey(t, 0)
	ids, err := pgp.ReadIDs([]byte(key))
	if err != nil {
		t.Fatal(err)
	}
	cfg, err := loadConfig(enough("HOMING_FORM_PATH=/form", "HOMING_FORM_SECRET_FILE="+writeFile(t, testSecret+"\n"),
		"HOMING_FORM_KEY_FILE="+writeFile(t, key), "HOMING_FORM_MAILBOX=Me@Example.com"))
	if err != nil {
		t.Fatal(err)
	}
	if string(cfg.FormSecret) != testSecret || !slices.Equal(cfg.FormKey.ids, ids) || cfg.formFrom() != "me@example.com" || cfg.formOnly() {
		t.Errorf("%+v", cfg)
	}
	if got := cfg.warnings(); len(got) != 0 {
		t.Errorf("warned of %q", got)
	}
}

// A form needs nothing of AWS; with the rest of homing it takes nothing away
// from what that needs.
func TestFormAlone(t *testing.T) {
	for _, test := range []struct {
		name    string
		environ []string
		want    string // the beginning of the only line; empty: no mistake
		alone   bool
	}{
		{"alone", formEnvironment(t), "", true},
		{"with a topic", formEnvironment(t, "HOMING_SNS_TOPICS="+topicA), "HOMING_BUCKETS is required", false},
		{"with a bucket for the sweep", formEnvironment(t, "HOMING_BUCKETS=mail"), "", false},
		{"with queues", formEnvironment(t, "HOMING_BUCKETS=mail", "HOMING_SQS_QUEUES=https://sqs.eu-west-1.amazonaws.com/123456789012/mail"), "HOMING_SNS_TOPICS is required with queues", false},
		{"with raw queues", formEnvironment(t, "HOMING_BUCKETS=mail", "HOMING_SQS_RAW=true", "HOMING_SQS_QUEUES=https://sqs.eu-west-1.amazonaws.com/123456789012/mail"), "", false},
		{"with everything", formEnvironment(t, enough()...), "", false},
	} {
		t.Run(test.name, func(t *testing.T) {
			cfg, err := loadConfig(test.environ)
			if got := text(err); !strings.HasPrefix(got, test.want) || strings.Contains(got, "\n") || test.want == "" && got != "" {
				t.Fatalf("got\n%s\nwant one line that begins\n%s", got, test.want)
			}
			if cfg != nil && cfg.formOnly() != test.alone {
				t.Errorf("alone: %v", cfg.formOnly())
			}
		})
	}
}

func TestFormMistakes(t *testing.T) {
	for _, test := range []struct {
		name    string
		environ []string
		want    string // the beginning of each line
	}{
		{"path only", []string{"HOMING_FORM_PATH=/form"}, "HOMING_FORM_SECRET is required\nHOMING_FORM_KEY is required\nHOMING_FORM_MAILBOX is required"},
		{"no listener", formEnvironment(t, "HOMING_LISTEN="), "HOMING_LISTEN is required with HOMING_FORM_PATH"},
		{"webhook's path", formEnvironment(t, "HOMING_FORM_PATH=/sns"), "HOMING_FORM_PATH is HOMING_WEBHOOK_PATH"},
		{"short secret", formEnvironment(t, "HOMING_FORM_SECRET="+testSecret[1:]), "HOMING_FORM_SECRET: want at least 32 characters"},
		{"no key", formEnvironment(t, "HOMING_FORM_KEY=hello"), `HOMING_FORM_KEY: want the public keys`},
		{"secret key", formEnvironment(t, "HOMING_FORM_KEY="+strings.ReplaceAll(string(newKey(t, "").Secret), "BLOCK-----\n", "BLOCK-----\nComment: hush\n")), `HOMING_FORM_KEY: want the public keys`},
		{"mailbox without domain", formEnvironment(t, "HOMING_FORM_MAILBOX=me"), "HOMING_FORM_FROM is required"},
		{"from without domain", formEnvironment(t, "HOMING_FORM_FROM=me"), `HOMING_FORM_FROM="me": want an address with a domain`},
		{"user without password", formEnvironment(t, "HOMING_FORM_DELIVER_TO=submission://me@mx.test:587"), "HOMING_FORM_PASSWORD is required"},
		{"password without user", formEnvironment(t, "HOMING_FORM_DELIVER_TO=submission://mx.test:587", "HOMING_FORM_PASSWORD=hush"), "HOMING_FORM_DELIVER_TO names no user"},
		{"password in the address", formEnvironment(t, "HOMING_FORM_DELIVER_TO=submission://me:hush@mx.test:587"), `HOMING_FORM_DELIVER_TO="submission://me:******@mx.test:587": want no password`},
		{"mailbox elsewhere without domain", formEnvironment(t, "HOMING_FORM_MAILBOX=me", "HOMING_FORM_FROM=form@example.com", "HOMING_FORM_DELIVER_TO=submission://mx.test:587"), `HOMING_FORM_MAILBOX="me": with HOMING_FORM_DELIVER_TO want`},
		{"short history", formEnvironment(t, "HOMING_HISTORY=59m"), "HOMING_HISTORY is shorter than an hour"},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := loadConfig(enough(test.environ...))
			got, want := strings.Split(text(err), "\n"), strings.Split(test.want, "\n")
			if !slices.EqualFunc(got, want, strings.HasPrefix) {
				t.Errorf("got\n%s\nwant lines that begin\n%s", text(err), test.want)
			}
			if _, shown, _ := command(t, enough(test.environ...), "", "config"); strings.Contains(shown+text(err), testSecret[1:]) || strings.Contains(shown+text(err), "hush") {
				t.Errorf("a secret is shown:\n%s\n%s", shown, text(err))
			}
		})
	}
}

func TestFormWarnings(t *testing.T) {
	for _, test := range []struct {
		name    string
		environ []string
		want    string // the beginning of the only one
	}{
		{"no path", []string{"HOMING_FORM_MAILBOX=me", "HOMING_BUCKETS=mail", "HOMING_SNS_TOPICS=" + topicA}, "HOMING_FORM_PATH is empty"},
		{"expired key", formEnvironment(t, "HOMING_FORM_KEY="+publicKey(t, time.Hour)), "HOMING_FORM_KEY: browsers will refuse to encrypt: key "},
		{"no topics", formEnvironment(t, "HOMING_BUCKETS=mail"), "HOMING_SNS_TOPICS is empty"},
	} {
		t.Run(test.name, func(t *testing.T) {
			cfg, err := loadConfig(test.environ)
			if err != nil {
				t.Fatal(err)
			}
			if got := cfg.warnings(); len(got) != 1 || !strings.HasPrefix(got[0], test.want) {
				t.Errorf("warned of %q, want one that begins %q", got, test.want)
			}
		})
	}
}

func TestSubmissionServer(t *testing.T) {
	for _, test := range []struct {
		text string
		want smtpServer
		says string // what the error says; empty: none
	}{
		{"submission://me@mx.example.com:587", smtpServer{"mx.example.com:587", false, "me"}, ""},
		{"submissions://mx.example.com:465", smtpServer{"mx.example.com:465", true, ""}, ""},
		{"submission://me@example.com@mx.example.com:587", smtpServer{"mx.example.com:587", false, "me@example.com"}, ""},
		{"submission://me%40example.com@[::1]:587", smtpServer{"[::1]:587", false, "me@example.com"}, ""},
		{"smtp://me@mx.example.com:587", smtpServer{}, "want submission://"},
		{"mx.example.com:587", smtpServer{}, "want submission://"},
		{"submission://mx.example.com", smtpServer{}, "a host and a port"},
		{"submission://me@", smtpServer{}, "a host and a port"},
		{"submission://@mx.example.com:587", smtpServer{}, "want a user before the @"},
		{"submission://a%0d%0ab@mx.example.com:587", smtpServer{}, "want a user before the @"},
		{"submission://100%@mx.example.com:587", smtpServer{}, "% as %25"},
		{"submission://me:secret@mx.example.com:587", smtpServer{}, "HOMING_FORM_PASSWORD"},
		{"submission://mx.example.com:587/x", smtpServer{}, "nothing after it"},
	} {
		got, err := parseSMTPServer(test.text)
		if test.says != "" {
			if err == nil || !strings.Contains(err.Error(), test.says) {
				t.Errorf("%s: %v, want an error that says %q", test.text, err, test.says)
			}
			continue
		}
		if err != nil || got != test.want {
			t.Errorf("%s: %+v, %v", test.text, got, err)
		}
		if again, err := parseSMTPServer(got.String()); err != nil || again != got {
			t.Errorf("%s shown as %s is %+v, %v", test.text, got, again, err)
		}
	}
}
