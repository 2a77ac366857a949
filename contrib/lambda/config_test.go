package main

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/homing-mail/homing/fetcher/pgp"
)

func TestConfig(t *testing.T) {
	pair, err := pgp.Generate("me", "me@home.test", "")
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "key.asc")
	if err := os.WriteFile(file, pair.Public, 0o600); err != nil {
		t.Fatal(err)
	}
	const topic = "arn:aws:sns:eu-west-1:123456789012:mail"
	right := []string{varBucket + "=mail", varTopic + "=" + topic, varKeys + "=" + string(pair.Public)}
	for _, test := range []struct {
		more    []string // the last of a name counts
		mistake string
	}{
		{nil, ""},
		{[]string{varBucket + "=mail/in/", varPrefix + "=sealed/"}, ""},
		{[]string{varKeys + "=", varKeys + "_FILE=" + file}, ""},
		{[]string{varBucket + "="}, varBucket + " is required"},
		{[]string{varBucket + "=mail/in"}, "with a / at its end"},
		{[]string{varBucket + "=mail/encrypted/"}, "SES stores there"},
		{[]string{varPrefix + "=sealed"}, varPrefix},
		{[]string{varPrefix + "=/"}, varPrefix},
		{[]string{varPrefix + "=/sealed/"}, varPrefix},
		{[]string{varTopic + "=mail"}, varTopic},
		{[]string{varTopic + "=see " + topic}, varTopic},
		{[]string{varTopic + "=" + topic + ".fifo"}, varTopic},
		{[]string{varStyle + "=true"}, ""},
		{[]string{varStyle + "=yes"}, "want true or false"},
		{[]string{varKeys + "="}, "is required"},
		{[]string{varKeys + "_FILE=" + file}, "both set"},
		{[]string{varKeys + "=", varKeys + "_FILE=" + file + "x"}, "no such file"},
		{[]string{varKeys + "=nonsense"}, varKeys + ": "},
		{[]string{varKeys + "=" + string(pair.Secret)}, "secret key"},
	} {
		c, err := loadConfig(append(slices.Clone(right), test.more...))
		switch {
		case test.mistake == "" && (err != nil || len(c.to.IDs()) != 1):
			t.Errorf("%.200q: %+v, %v", test.more, c, err)
		case test.mistake != "" && (err == nil || !strings.Contains(err.Error(), test.mistake)):
			t.Errorf("%.200q: %v", test.more, err)
		}
		if err != nil && strings.Contains(err.Error(), "PRIVATE") {
			t.Error("the error shows a secret key")
		}
	}
	if _, err := loadConfig(nil); err == nil || strings.Count(err.Error(), "\n") != 2 {
		t.Errorf("not all mistakes at once: %v", err)
	}
}

// The README's table has the variables that there are.
func TestReadme(t *testing.T) {
	text, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	var documented []string
	for _, row := range regexp.MustCompile("(?m)^\\| `(HOMING_[A-Z0-9_]+)`").FindAllStringSubmatch(string(text), -1) {
		documented = append(documented, row[1])
	}
	if want := []string{varBucket, varPrefix, varTopic, varKeys, varKeys + "_FILE", varStyle}; !slices.Equal(documented, want) {
		t.Errorf("the table has %q, want %q", documented, want)
	}
	if !strings.Contains(string(text), "-tags lambda.norpc") {
		t.Error("the README builds it in another way than the tests")
	}
}
