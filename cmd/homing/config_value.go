package main

import (
	"errors"
	"fmt"
	"log/slog"
	"math"
	"path"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/caarlos0/env/v11"
)

type (
	count     int        // from 1 to 1000
	byteSize  int64      // at least 1
	mailbox   string     // lower-case; a domain is not needed
	filePath  string     // without control characters
	urlPath   string     // begins with "/" and is clean
	logLevel  slog.Level // one of slog's four
	logFormat string     // text or json
)

// parsers has one parser for each type of a field in Config except string, which
// stays as it is. Their errors say what would be right, and never the value: it
// may be a secret.
func parsers() map[reflect.Type]env.ParserFunc {
	all := map[reflect.Type]env.ParserFunc{}
	addParser(all, parseBool)
	addParser(all, parseCount)
	addParser(all, parseSize)
	addParser(all, parseDuration)
	addParser(all, parseMailbox)
	addParser(all, parseFilePath)
	addParser(all, parseURLPath)
	addParser(all, parseListenAddress)
	addParser(all, parseDestination)
	addParser(all, parseTopics)
	addParser(all, parseQueueURL)
	addParser(all, parseQueueURLs)
	addParser(all, parsePlaces)
	addParser(all, parseFormSecret)
	addParser(all, parseFormKeys)
	addParser(all, parseSMTPServer)
	addParser(all, parseFormPassword)
	addParser(all, parseAfterDelivery)
	addParser(all, parseSealKeys)
	addParser(all, parseLogLevel)
	addParser(all, parseLogFormat)
	return all
}

func addParser[T any](all map[reflect.Type]env.ParserFunc, parse func(string) (T, error)) {
	all[reflect.TypeFor[T]()] = func(text string) (any, error) { return parse(text) }
}

func parseBool(text string) (bool, error) {
	value, err := strconv.ParseBool(text)
	if err != nil {
		return false, errors.New("want true or false")
	}
	return value, nil
}

func parseCount(text string) (count, error) {
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || n > 1000 {
		return 0, errors.New("want a number from 1 to 1000")
	}
	return count(n), nil
}

// parseSize reads a number of bytes with an optional unit, in upper or lower
// case: KB, MB, GB and TB are powers of 1000, KiB, MiB, GiB and TiB of 1024 (IEC
// 80000-13).
func parseSize(text string) (byteSize, error) {
	digits := strings.TrimRight(text, "BKMGTIbkmgti")
	factor, known := unit(strings.ToUpper(text[len(digits):]))
	n, err := strconv.ParseUint(digits, 10, 63)
	if !known || err != nil && !errors.Is(err, strconv.ErrRange) {
		return 0, errors.New("want a whole number of bytes, alone or with a unit, as in 1048576, 500KB, 64MiB or 1GiB")
	}
	if n == 0 {
		return 0, errors.New("want more than nothing, as in 64MiB")
	}
	if err != nil || n > math.MaxInt64/factor {
		return 0, errors.New("want less than 8388608TiB")
	}
	return byteSize(n * factor), nil
}

func unit(name string) (factor uint64, known bool) {
	switch name {
	case "", "B":
		return 1, true
	case "KB":
		return 1e3, true
	case "MB":
		return 1e6, true
	case "GB":
		return 1e9, true
	case "TB":
		return 1e12, true
	case "KIB":
		return 1 << 10, true
	case "MIB":
		return 1 << 20, true
	case "GIB":
		return 1 << 30, true
	case "TIB":
		return 1 << 40, true
	}
	return 0, false
}

// parseDuration reads a duration as Go writes it, with days before it: 15m, 24h,
// 5d, 1d12h. It is never negative; a day has 24 hours.
func parseDuration(text string) (time.Duration, error) {
	const (
		day     = 24 * time.Hour
		maxDays = 36500 // a hundred years, well below what a Duration can hold
	)
	want := errors.New("want a duration such as 90s, 15m, 24h, 5d or 1d12h")
	if strings.ContainsAny(text, "+-") {
		return 0, errors.New("want a duration without a sign, such as 15m or 5d")
	}
	var total time.Duration
	rest := text
	if digits, after, inDays := strings.Cut(text, "d"); inDays {
		days, err := strconv.ParseUint(digits, 10, 64)
		if err != nil && !errors.Is(err, strconv.ErrRange) {
			return 0, want
		}
		total, rest = time.Duration(min(days, maxDays+1))*day, after
	}
	if rest != "" || text == "" {
		clock, err := time.ParseDuration(rest)
		if err != nil {
			return 0, want
		}
		total += min(clock, maxDays*day+1) // so that no sum overflows
	}
	if total > maxDays*day {
		return 0, fmt.Errorf("want at most %d days", maxDays)
	}
	return total, nil
}

// parseMailbox takes what LMTP can name (RFC 5321 4.1.2, 4.5.3.1.3), with or
// without a domain, for Dovecot has users without one.
func parseMailbox(text string) (mailbox, error) {
	local, domain := text, ""
	if at := strings.LastIndexByte(text, '@'); at >= 0 {
		local, domain = text[:at], text[at+1:]
	}
	isAtom := !strings.ContainsAny(local, `()<>[]:;@\,"`)
	switch {
	case strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r >= 0x7f || r == '<' || r == '>' }):
		return "", errors.New("want one mailbox in printable ASCII without spaces and angle brackets, as in me@example.com")
	case local == "" || strings.HasSuffix(text, "@") || !isAtom && local[0] != '"' || strings.ContainsAny(domain, `,;"`):
		return "", errors.New("want one mailbox, as in me@example.com or me")
	case len(local) > 64 || len(text) > 254:
		return "", errors.New("want a mailbox of at most 254 octets, 64 of them before the @")
	}
	return mailbox(strings.ToLower(text)), nil
}

func parseFilePath(text string) (filePath, error) {
	if hasControl(text) {
		return "", errors.New("want a path without control characters or line ends")
	}
	return filePath(text), nil
}

// parseURLPath takes a path of unreserved characters (RFC 3986 2.3) only: to
// http.ServeMux a brace, a trailing slash and a doubled one mean something else.
func parseURLPath(text string) (urlPath, error) {
	const plain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~/"
	switch {
	case !strings.HasPrefix(text, "/"):
		return "", errors.New("want a path that begins with /, as in /sns")
	case strings.Trim(text, plain) != "":
		return "", errors.New("want a path of letters, digits, and - . _ ~ /, as in /sns")
	case path.Clean(text) != text:
		return "", fmt.Errorf("want it without doubled or trailing / and without . and .. between them, as in %s", path.Clean(text))
	}
	return urlPath(text), nil
}

func parseLogLevel(text string) (logLevel, error) {
	switch strings.ToLower(text) {
	case "debug":
		return logLevel(slog.LevelDebug), nil
	case "info":
		return logLevel(slog.LevelInfo), nil
	case "warn":
		return logLevel(slog.LevelWarn), nil
	case "error":
		return logLevel(slog.LevelError), nil
	}
	return 0, errors.New("want debug, info, warn or error")
}

func parseLogFormat(text string) (logFormat, error) {
	if text != "text" && text != "json" {
		return "", errors.New("want text or json")
	}
	return logFormat(text), nil
}

func hasControl(text string) bool {
	return strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r == 0x7f })
}
