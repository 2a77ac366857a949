package lmtp

import (
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"unicode"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

func TestReplies(t *testing.T) {
	allow := cmp.AllowUnexported(reply{})
	tests := []struct {
		name, input string
		want        []reply
		end         error
	}{
		{"nothing", "", nil, io.EOF},
		{"one", "250 2.0.0 OK\r\n", []reply{{code: 250}}, io.EOF},
		{"several at once", "250 OK\r\n354 go\r\n250\r\n", []reply{{code: 250}, {code: 354}, {code: 250}}, io.EOF},
		{"lines", "250-a\r\n250-\r\n250 b\r\n", []reply{{code: 250}}, io.EOF},
		{"refusal", "550 5.1.1 <x> unknown\r\n", []reply{{550, "5.1.1", "<x> unknown"}}, io.EOF},
		{"refusal in lines", "451-4.3.0 try\r\n451-4.3.0 again\r\n451 4.3.0 later\r\n", []reply{{451, "4.3.0", "try again later"}}, io.EOF},
		{"enhanced code alone", "451 4.3.0\r\n", []reply{{451, "4.3.0", ""}}, io.EOF},
		{"enhanced code of another class", "550 4.1.1 x\r\n", []reply{{550, "", "4.1.1 x"}}, io.EOF},
		{"not an enhanced code", "550 5.1 x\r\n550 5.1.1234 x\r\n550 5.1.a x\r\n550 5.1.1.1 x\r\n",
			[]reply{{550, "", "5.1 x"}, {550, "", "5.1.1234 x"}, {550, "", "5.1.a x"}, {550, "", "5.1.1.1 x"}}, io.EOF},
		{"control characters", "550 a\x00\x1b[31mb\tc\xff\u202e\u2028d\r\r\n", []reply{{550, "", "a[31mb c d"}}, io.EOF},
		{"LF alone", "250 OK\n550 no\n", []reply{{code: 250}, {550, "", "no"}}, io.EOF},
		{"a long text", "550 " + strings.Repeat("x", 600) + "\r\n", []reply{{550, "", strings.Repeat("x", 500)}}, io.EOF},
		{"a long text of wide characters", "550 x" + strings.Repeat("ß", 600) + "\r\n", []reply{{550, "", "x" + strings.Repeat("ß", 249)}}, io.EOF},
		{"cut in a line", "250 OK\r\n25", []reply{{code: 250}}, io.ErrUnexpectedEOF},
		{"two codes", "250-a\r\n251 b\r\n", nil, errMalformed},
		{"no digit", "2x0 OK\r\n", nil, errMalformed},
		{"out of range", "650 OK\r\n", nil, errMalformed},
		{"preliminary", "150 OK\r\n", nil, errMalformed},
		{"no separator", "250OK\r\n", nil, errMalformed},
		{"empty line", "\r\n", nil, errMalformed},
		{"line too long", "250 " + strings.Repeat("x", maxReplyLine) + "\r\n", nil, errMalformed},
		{"too many lines", strings.Repeat("250-"+strings.Repeat("x", 96)+"\r\n", maxReply/100+1), nil, errMalformed},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for _, r := range []io.Reader{strings.NewReader(tt.input), iotest.OneByteReader(strings.NewReader(tt.input))} {
				got, err := readReplies(r)
				if diff := cmp.Diff(tt.want, got, allow); diff != "" || !errors.Is(err, tt.end) {
					t.Errorf("ends in %v\n%s", err, diff)
				}
			}
		})
	}
}

func readReplies(r io.Reader) (replies []reply, err error) {
	rr := newReplyReader(r)
	for {
		r, err := rr.next()
		if err != nil {
			return replies, err
		}
		replies = append(replies, r)
	}
}

// An acceptance costs no memory.
func TestRepliesDoNotAllocate(t *testing.T) {
	rr := newReplyReader(strings.NewReader(strings.Repeat("250-2.0.0 OK\r\n250 2.0.0 OK\r\n", 1001)))
	allocations := testing.AllocsPerRun(1000, func() {
		if r, err := rr.next(); err != nil || r.code != 250 {
			t.Fatal(r, err)
		}
	})
	if allocations > 0 {
		t.Errorf("%v allocations", allocations)
	}
}

func FuzzReply(f *testing.F) {
	f.Add([]byte("250-2.0.0 a\r\n250 2.0.0 b\r\n550 5.1.1 no\r\n"))
	f.Add([]byte("550-5.1.1\r\n550 \xff\x1b[2J\r\n421"))
	f.Fuzz(func(t *testing.T, input []byte) {
		replies, err := readReplies(strings.NewReader(string(input)))
		if err == nil {
			t.Fatal("no end")
		}
		for _, r := range replies {
			if r.code < 200 || r.code > 599 || len(r.text) > maxReplyText || !utf8.ValidString(r.text) {
				t.Fatalf("%+v", r)
			}
			if strings.IndexFunc(r.text+r.enhanced, unicode.IsControl) >= 0 {
				t.Fatalf("control characters in %+v", r)
			}
			if r.enhanced != "" && (int(r.enhanced[0]-'0') != r.code/100 || strings.Count(r.enhanced, ".") != 2) {
				t.Fatalf("%+v", r)
			}
		}
	})
}
