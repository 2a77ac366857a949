package fetcher

import (
	"context"
	"errors"
	"net/url"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestPlace(t *testing.T) {
	places := mostSpecificFirst([]Place{{Bucket: "whole"}, {Bucket: "mail", Prefix: "in"}, {Bucket: "mail", Prefix: "inbox/"}})
	for _, test := range []struct {
		bucket, key string
		below       string // empty: outside
	}{
		{"whole", "key", "key"},
		{"whole", "a/b/key", "a/b/key"},
		{"whole", "a..b/c...", "a..b/c..."},
		{"whole", "/key", "key"},
		{"mail", "inbox/key", "key"},
		{"mail", "inbox/2026/key", "2026/key"},
		{"mail", "inbox//key", "key"},
		{"mail", "in/key", "key"},
		{"mail", "in", "in"},
		{"mail", "inbox/", ""},
		{"whole", "", ""},
		{"mail", "key", ""},
		{"mail", "Inbox/key", ""},
		{"mail", "/inbox/key", ""},
		{"mail", "inbox/../secret", ""},
		{"mail", "inbox/./key", ""},
		{"mail", "inbox/..", ""},
		{"whole", "..", ""},
		{"Whole", "key", ""},
		{"whole2", "key", ""},
		{"", "key", ""},
	} {
		f := &Fetcher{places: places}
		place, err := f.place(Ref{Bucket: test.bucket, Key: test.key})
		below := ""
		if err == nil {
			below = place.below(test.key)
		}
		if below != test.below {
			t.Errorf("%s %q: %q, want %q", test.bucket, test.key, below, test.below)
		}
		if test.below == "" && err != nil && reasonOf(err) != outside {
			t.Errorf("%s %q: reason %s", test.bucket, test.key, reasonOf(err))
		}
	}
}

// TestOutside is about the order: what is outside is refused before a request is
// made or memory is taken.
func TestOutside(t *testing.T) {
	f := New(Config{Places: []Place{{Bucket: "mail"}}, Budget: NewBudget(1)}) // no client: any request would be a nil dereference
	ref := Ref{Bucket: "other", Key: "key", Size: 1}
	for name, call := range map[string]func(context.Context) error{
		"fetch":  func(ctx context.Context) error { _, err := f.Fetch(ctx, ref); return err },
		"delete": func(ctx context.Context) error { return f.Delete(ctx, ref) },
		"tag":    func(ctx context.Context) error { return f.Tag(ctx, ref) },
		"move":   func(ctx context.Context) error { _, err := f.Move(ctx, ref, "done/", "id"); return err },
	} {
		err := call(t.Context())
		failure, ok := errors.AsType[*Error](err)
		if !ok || failure.Reason() != outside || !failure.Permanent() {
			t.Errorf("%s: %v", name, err)
		}
		if !strings.Contains(err.Error(), "HOMING_BUCKETS") || !strings.HasPrefix(err.Error(), name) {
			t.Errorf("%s: the error does not say what to do: %v", name, err)
		}
	}
}

// TestCopySource reads the header back as AWS does, and as servers do that take
// a plus for a space.
func TestCopySource(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		key, version := rapid.String().Draw(t, "key"), rapid.String().Draw(t, "version")
		source := copySource(Ref{Bucket: "mail", Key: key}, &version)
		for i, unescape := range []func(string) (string, error){url.PathUnescape, url.QueryUnescape} {
			path, query, ok := strings.Cut(source, "?versionId=")
			gotKey, err1 := unescape(path)
			gotVersion, err2 := unescape(query)
			if !ok || err1 != nil || err2 != nil || gotKey != "mail/"+key || gotVersion != version {
				t.Fatalf("%d: %q is read as %q, %q", i, source, gotKey, gotVersion)
			}
		}
		for _, c := range []byte(source) {
			if c <= ' ' || c > '~' {
				t.Fatalf("%q cannot be a header", source)
			}
		}
	})
}
