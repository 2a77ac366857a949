package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestValueFromFile(t *testing.T) {
	for _, test := range []struct{ content, want string }{
		{"*=me", "*=me"},
		{"*=me\n", "*=me"},
		{"*=me\r\n", "*=me"},
		{"*=me\n\n", "*=me\n"},
		{"*=me\r\n\r\n", "*=me\r\n"},
		{"*=me\r", "*=me\r"},
		{" *=me ", " *=me "},
		{"a@=b\nc@=d\n", "a@=b\nc@=d"},
		{"\n", ""},
		{"", ""},
	} {
		path := writeFile(t, test.content)
		cfg, err := loadConfig(enough("HOMING_RECIPIENTS_FILE="+path, "HOMING_RECIPIENTS="))
		if err != nil {
			t.Errorf("%q: %v", test.content, err)
			continue
		}
		if cfg.Recipients != test.want || cfg.RecipientsFile != path {
			t.Errorf("%q: %q from %q, want %q from %q", test.content, cfg.Recipients, cfg.RecipientsFile, test.want, path)
		}
	}
}

// TestEveryVariableFromFile gives each variable's default by a file.
func TestEveryVariableFromFile(t *testing.T) {
	for _, v := range variables() {
		value := v.Default
		switch v.Name {
		case "HOMING_SNS_TOPICS":
			value = topicA
		case "HOMING_BUCKETS":
			value = "mail"
		case "HOMING_PGP_KEY": // an empty file is a mistake, not none
			value = string(newKey(t, "").Secret)
		case "HOMING_FORM_KEY", "HOMING_PGP_ENCRYPT_TO":
			value = string(newKey(t, "").Public)
		}
		environ := []string{v.Name + "_FILE=" + writeFile(t, value+"\n")}
		for _, entry := range enough() {
			if !strings.HasPrefix(entry, v.Name+"=") {
				environ = append(environ, entry)
			}
		}
		if v.Name == "HOMING_PGP_ENCRYPT_TO" {
			environ = append(environ, "HOMING_AFTER_DELIVERY=encrypt")
		}
		if _, err := loadConfig(environ); err != nil {
			t.Errorf("%s_FILE: %v", v.Name, err)
		}
	}
}

// TestEmptyFile: as with an empty variable, a default holds and a listener is
// none.
func TestEmptyFile(t *testing.T) {
	path := writeFile(t, "\n")
	cfg, err := loadConfig(enough("HOMING_MEMORY_FILE="+path, "HOMING_LISTEN_FILE="+path))
	if err != nil {
		t.Fatal(err)
	}
	if cfg.Memory != 256<<20 || cfg.Listen != "" {
		t.Errorf("memory %d, listener %q", cfg.Memory, cfg.Listen)
	}
}

func TestFileMistakes(t *testing.T) {
	large := writeFile(t, strings.Repeat("x", maxValueFile+1))
	largest := writeFile(t, "#"+strings.Repeat("x", maxValueFile-2)+"\n")
	wrong := writeFile(t, "never\n")
	for _, test := range []struct {
		name    string
		environ []string
		want    string
	}{
		{"both", []string{"HOMING_RECIPIENTS=*=a", "HOMING_RECIPIENTS_FILE=" + wrong},
			"HOMING_RECIPIENTS and HOMING_RECIPIENTS_FILE are both set; unset one of them"},
		{"both, one set to none", []string{"HOMING_LISTEN=", "HOMING_LISTEN_FILE=" + wrong},
			"HOMING_LISTEN and HOMING_LISTEN_FILE are both set; unset one of them"},
		{"missing", []string{"HOMING_MEMORY_FILE=/nowhere/x"},
			`HOMING_MEMORY_FILE="/nowhere/x": no such file or directory; give the path of a file that homing may read`},
		{"directory", []string{"HOMING_MEMORY_FILE=/"},
			`HOMING_MEMORY_FILE="/": is a directory; give the path of a file that holds the value`},
		{"too large", []string{"HOMING_RECIPIENTS_FILE=" + large},
			`HOMING_RECIPIENTS_FILE="` + large + `": the file is larger than 1 MiB, which no value is; is it the right one?`},
		{"as large as can be", []string{"HOMING_RECIPIENTS_FILE=" + largest}, ""},
		{"wrong value", []string{"HOMING_RETRY_FOR_FILE=" + wrong},
			`HOMING_RETRY_FOR="never" (from HOMING_RETRY_FOR_FILE, "` + wrong + `"): want a duration such as 90s, 15m, 24h, 5d or 1d12h`},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := loadConfig(enough(test.environ...))
			if got := text(err); got != test.want {
				t.Errorf("got\n%s\nwant\n%s", got, test.want)
			}
		})
	}
}

// TestRequiredVariableInBadFile: the file is the mistake, not that the variable
// is missing.
func TestRequiredVariableInBadFile(t *testing.T) {
	_, err := loadConfig([]string{"HOMING_SNS_TOPICS=" + topicA, "HOMING_BUCKETS_FILE=" + filepath.Join(os.DevNull, "x")})
	if got := text(err); !strings.HasPrefix(got, "HOMING_BUCKETS_FILE=") || strings.Contains(got, "\n") {
		t.Errorf("got\n%s\nwant one line about the file", got)
	}
}

func TestUnknownNames(t *testing.T) {
	long := "HOMING_" + strings.Repeat("X", 100_000)
	for _, test := range []struct{ entry, want string }{
		{"HOMING_LISTN=x", "HOMING_LISTN is no variable of homing; did you mean HOMING_LISTEN?"},
		{"HOMING_RETRYFOR=1d", "HOMING_RETRYFOR is no variable of homing; did you mean HOMING_RETRY_FOR?"},
		{"HOMING_RECIPIENT_FILE=/x", "HOMING_RECIPIENT_FILE is no variable of homing; did you mean HOMING_RECIPIENTS_FILE?"},
		{"HOMING_TLS_CERT_FILE=/x", "HOMING_TLS_CERT_FILE is no variable of homing; did you mean HOMING_TLS_CERT_PATH?"},
		{"HOMING_LISTEN_PORT=8025", "HOMING_LISTEN_PORT is no variable of homing; did you mean HOMING_LISTEN?"},
		{"HOMING_listen=:1", "HOMING_listen is no variable of homing; did you mean HOMING_LISTEN?"},
		{"HOMING_BUCKETS\n=:1", `"HOMING_BUCKETS\n" is no variable of homing; did you mean HOMING_BUCKETS?`},
		{"HOMING_PORTS=1", "HOMING_PORTS is no variable of homing; did you mean "},
		{"HOMING_=1", "HOMING_ is no variable of homing; did you mean "},
		{long + "=1", `"HOMING_XXXX`},
		{"HOMING_PORT=tcp://10.0.0.1:8025", ""},
		{"HOMING_PORT=8025", ""},
		{"HOMING_PORT_8025=8025", ""},
		{"HOMING_PORT_8025_TCP=tcp://10.0.0.1:8025", ""},
		{"HOMING_PORT_8025_TCP_ADDR=10.0.0.1", ""},
		{"HOMING_SERVICE_HOST=10.0.0.1", ""},
		{"HOMING_SERVICE_PORT=8025", ""},
		{"HOMING_SERVICE_PORT_WEBHOOK=8025", ""},
		{"HOMING_METRICS_SERVICE_HOST=10.0.0.1", ""},
		{"HOMING_METRICS_SERVICE_PORT_HTTP=9025", ""},
		{"HOMING_METRICS_PORT=tcp://10.0.0.1:9025", ""},
		{"HOMING_METRICS_PORT_9025_TCP_PROTO=tcp", ""},
		{"HOMING=1", ""},
		{"homing_listn=1", ""},
		{"AWS_REGION=eu-west-1", ""},
		{"HOMINGS_X=1", ""},
	} {
		_, err := loadConfig(enough(test.entry))
		got := text(err)
		if !strings.HasPrefix(got, test.want) || test.want == "" && got != "" || strings.Contains(got, "\n") || len(got) > 500 {
			t.Errorf("%.80q: got %.200q, want %q", test.entry, got, test.want)
		}
	}
}

func TestEdits(t *testing.T) {
	for _, test := range []struct {
		a, b string
		want int
	}{
		{"", "", 0}, {"a", "", 1}, {"", "abc", 3}, {"abc", "abc", 0}, {"abc", "abd", 1}, {"abc", "xabc", 1},
		{"kitten", "sitting", 3}, {"flaw", "lawn", 2}, {"saturday", "sunday", 3},
	} {
		if got := edits(test.a, test.b); got != test.want {
			t.Errorf("edits(%q, %q) = %d, want %d", test.a, test.b, got, test.want)
		}
		if got := edits(test.b, test.a); got != test.want {
			t.Errorf("edits(%q, %q) = %d, want %d", test.b, test.a, got, test.want)
		}
	}
}

func TestQuote(t *testing.T) {
	for _, test := range []struct{ value, want string }{
		{"a\r\nb\x1b", `"a\r\nb\x1b"`},
		{strings.Repeat("x", 100), `"` + strings.Repeat("x", 100) + `"`},
		{strings.Repeat("x", 101), `"` + strings.Repeat("x", 100) + `"...`},
	} {
		if got := quote(test.value); got != test.want {
			t.Errorf("quote(%q) = %s, want %s", test.value, got, test.want)
		}
	}
}
