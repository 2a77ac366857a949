package main

import (
	"log/slog"
	"math"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

// parsed is one text and what a parser makes of it; wrong ones must be refused
// with a hint.
type parsed[T any] struct {
	text  string
	want  T
	wrong bool
}

func good[T any](text string, want T) parsed[T] { return parsed[T]{text: text, want: want} }

func bad[T any](texts ...string) (all []parsed[T]) {
	for _, text := range texts {
		all = append(all, parsed[T]{text: text, wrong: true})
	}
	return all
}

func checkParser[T any](t *testing.T, parse func(string) (T, error), tests ...parsed[T]) {
	t.Helper()
	for _, test := range tests {
		got, err := parse(test.text)
		switch {
		case (err != nil) != test.wrong:
			t.Errorf("%.200q: error %v, want one: %v", test.text, err, test.wrong)
		case err != nil && !strings.Contains(err.Error(), "want "):
			t.Errorf("%.200q: %q does not say what would be right", test.text, err)
		case err != nil && !utf8.ValidString(err.Error()):
			t.Errorf("%.200q: the error repeats the text", test.text)
		case !test.wrong && !cmp.Equal(test.want, got, compareConfig):
			t.Errorf("%.200q: got %v, want %v", test.text, got, test.want)
		}
	}
}

func TestParseSize(t *testing.T) {
	checkParser(t, parseSize, append(bad[byteSize](
		"", "0", "0MiB", "-1", "+1", "MiB", "64 MiB", " 64MiB", "64M", "64Mi", "64iB", "64MBi", "64MM", "1.5GiB", "1e6", "0x10", "1_000", "64MiBs",
		"64bytes", "9223372036854775808", "8388608TiB", "99999999999999999999TB", "9223373TB", "\xff"),
		good[byteSize]("1", 1),
		good[byteSize]("1048576", 1<<20),
		good[byteSize]("12B", 12),
		good[byteSize]("500KB", 500_000),
		good[byteSize]("500kB", 500_000),
		good[byteSize]("500KiB", 500<<10),
		good[byteSize]("25mb", 25_000_000),
		good[byteSize]("64MiB", 64<<20),
		good[byteSize]("064mib", 64<<20),
		good[byteSize]("2GB", 2_000_000_000),
		good[byteSize]("1GiB", 1<<30),
		good[byteSize]("1TB", 1_000_000_000_000),
		good[byteSize]("8388607TiB", 8388607<<40),
		good[byteSize]("9223372036854775807", math.MaxInt64),
	)...)
}

func FuzzParseSize(f *testing.F) {
	for _, seed := range []string{"64MiB", "0", "9223372036854775807", "8388608TiB", "1.5GB", "iB"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		size, err := parseSize(text)
		if err != nil {
			return
		}
		digits := strings.TrimRight(strings.ToUpper(text), "BKMGTI")
		if size < 1 || digits == "" || strings.Trim(digits, "0123456789") != "" {
			t.Errorf("%q is taken as %d", text, size)
		}
		if more, err := parseSize("1" + text); err == nil && more <= size {
			t.Errorf("%q is %d, and with a digit more %d", text, size, more)
		}
	})
}

func TestParseDuration(t *testing.T) {
	const day = 24 * time.Hour
	checkParser(t, parseDuration, append(bad[time.Duration](
		"", "d", "5", "5 d", " 5d", "5D", "-5d", "-1m", "+5d", "5d-1h", "5d+1h", "1.5d", "1h5d", "5dd", "5d5d", "0x5d", "5w", "never",
		"36501d", "36500d1s", "876001h", "99999999999999999999d", "99999999999999999h", "\xff"),
		good("0", 0*time.Second),
		good("0d", 0*time.Second),
		good("15m", 15*time.Minute),
		good("24h", day),
		good("5d", 5*day),
		good("30d", 30*day),
		good("1d12h", 36*time.Hour),
		good("1d0", day),
		good("2d1h30m10s", 2*day+time.Hour+30*time.Minute+10*time.Second),
		good("1.5h", 90*time.Minute),
		good("250ms", 250*time.Millisecond),
		good("36500d", 36500*day),
		good("876000h", 36500*day),
	)...)
}

func FuzzParseDuration(f *testing.F) {
	for _, seed := range []string{"5d", "1d12h", "0", "36500d", "-1h", "d", "1h2d", "1d.5s"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		got, err := parseDuration(text)
		if err != nil {
			return
		}
		if got < 0 || got > 36500*24*time.Hour {
			t.Errorf("%q is taken as %v", text, got)
		}
		if want, err := time.ParseDuration(text); err == nil && got != want {
			t.Errorf("%q is %v, and %v to Go", text, got, want)
		}
	})
}

func TestParseMailbox(t *testing.T) {
	checkParser(t, parseMailbox, append(bad[mailbox](
		"@", "@example.com", "me@", "a b", "a@b c", "<me@example.com>", "me@example.com\n", "me@exämple.com", "me\x00", "a@b,c@d", "a,b",
		"a@b@c", "me@b;c", "me:you", "me@\x7f", strings.Repeat("x", 65)+"@example.com", "me@"+strings.Repeat("x", 252), "\xff"),
		good[mailbox]("me@example.com", "me@example.com"),
		good[mailbox]("Me+Work@Example.COM", "me+work@example.com"),
		good[mailbox]("me", "me"),
		good[mailbox](`"a@b"@example.com`, `"a@b"@example.com`),
		good[mailbox]("me@[192.0.2.1]", "me@[192.0.2.1]"),
		good[mailbox]("o'neil=x!#$%&*/?^`{|}~@example.com", "o'neil=x!#$%&*/?^`{|}~@example.com"),
		good(strings.Repeat("x", 64)+"@"+strings.Repeat("y", 189), mailbox(strings.Repeat("x", 64)+"@"+strings.Repeat("y", 189))),
	)...)
}

func TestParseURLPath(t *testing.T) {
	checkParser(t, parseURLPath, append(bad[urlPath](
		"", "sns", "/sns/", "//sns", "/a//b", "/a/../b", "/./a", "/{id}", "/a b", "/a?b", "/a#b", "/a%2fb", "/ä", "http://x/sns", "/a\n", "\xff"),
		good[urlPath]("/", "/"),
		good[urlPath]("/sns", "/sns"),
		good[urlPath]("/hooks/SNS-1_a.b~c", "/hooks/SNS-1_a.b~c"),
	)...)
}

func TestParseSmallTypes(t *testing.T) {
	checkParser(t, parseBool, append(bad[bool]("", "yes", "on", "2", "true "), good("true", true), good("1", true), good("FALSE", false), good("0", false))...)
	checkParser(t, parseCount, append(bad[count]("", "0", "-1", "1001", "4.0", "0x4", "99999999999999999999"), good[count]("1", 1), good[count]("1000", 1000))...)
	checkParser(t, parseFilePath, append(bad[filePath]("/a\n", "/a\x00b", "/a\x7f"), good[filePath]("/var/lib/homing", "/var/lib/homing"), good[filePath]("./ä b", "./ä b"))...)
	checkParser(t, parseLogFormat, append(bad[logFormat]("", "JSON", "xml"), good[logFormat]("text", "text"), good[logFormat]("json", "json"))...)
	checkParser(t, parseLogLevel, append(bad[logLevel]("", "warning", "info+2", "-4"),
		good("debug", logLevel(slog.LevelDebug)), good("INFO", logLevel(slog.LevelInfo)),
		good("Warn", logLevel(slog.LevelWarn)), good("error", logLevel(slog.LevelError)))...)
}
