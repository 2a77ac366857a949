package main

import "testing"

func TestParseListenAddress(t *testing.T) {
	checkParser(t, parseListenAddress, append(bad[listenAddress](
		"8025", "localhost", ":", "127.0.0.1", "::1:8025", "[::1]", ":http", ":65536", ":-1", ":+1", "a b:1", "http://x:1", ":8025/sns", "\xff:1"),
		good[listenAddress](":8025", ":8025"),
		good[listenAddress]("127.0.0.1:0", "127.0.0.1:0"),
		good[listenAddress]("localhost:8025", "localhost:8025"),
		good[listenAddress]("[::1]:65535", "[::1]:65535"),
	)...)
}

func TestListenersOverlap(t *testing.T) {
	for _, test := range []struct {
		a, b listenAddress
		want bool
	}{
		{":8025", ":8025", true},
		{":8025", ":9025", false},
		{":8025", "127.0.0.1:8025", true},
		{"0.0.0.0:8025", "192.0.2.1:8025", true},
		{"[::]:8025", "localhost:8025", true},
		{"127.0.0.1:8025", "127.0.0.1:08025", true},
		{"127.0.0.1:8025", "127.0.0.2:8025", false},
		{":0", ":0", false},
		{"", "", false},
		{":8025", "", false},
	} {
		if got := test.a.overlaps(test.b); got != test.want {
			t.Errorf("%q and %q: %v, want %v", test.a, test.b, got, test.want)
		}
		if got := test.b.overlaps(test.a); got != test.want {
			t.Errorf("%q and %q: %v, want %v", test.b, test.a, got, test.want)
		}
	}
}
