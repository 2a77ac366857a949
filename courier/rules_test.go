package courier

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestRules(t *testing.T) {
	const text = `
# people
alice@example.com=alice
Bob@Example.com = bob@home.example carol@home.example
info@=office@home.example
sales+eu@example.com=eu@home.example, list@example.com=list+inbox
@.example.com=sub@home.example
@example.com=rest@home.example
`
	rules, err := ParseRules(text)
	if err != nil {
		t.Fatal(err)
	}
	for address, want := range map[string][]string{
		"alice@example.com":            {"alice"},
		"ALICE+Work@EXAMPLE.com":       {"alice+work"},
		"bob@example.com":              {"bob@home.example", "carol@home.example"},
		"bob+x+y@example.com":          {"bob+x+y@home.example", "carol+x+y@home.example"},
		"info@anything.test":           {"office@home.example"},
		"info+a@anything.test":         {"office+a@home.example"},
		"sales+eu@example.com":         {"eu@home.example"},
		"sales@example.com":            {"rest@home.example"},
		"list+more@example.com":        {"list+inbox"},
		"x@a.b.example.com":            {"sub@home.example"},
		"x+detail@example.com":         {"rest@home.example"},
		"x@notexample.com":             {"x@notexample.com"},
		"prvs=12=x@elsewhere.test":     {"prvs=12=x@elsewhere.test"},
		`"a@b"@example.com`:            {"rest@home.example"},
		"nodomain":                     {"nodomain"},
		"+tag@example.com":             {"rest@home.example"},
		"alice+@example.com":           {"alice"},
		"alice@example.com.evil.test":  {"alice@example.com.evil.test"},
		"evil@x.test@alice@other.test": {"evil@x.test@alice@other.test"},
	} {
		if diff := cmp.Diff(want, rules.Map(address)); diff != "" {
			t.Errorf("%s: %s", address, diff)
		}
	}
	if got := new(Rules).Map("Any+One@Example.COM"); !slices.Equal(got, []string{"any+one@example.com"}) {
		t.Errorf("without rules: %v", got)
	}
}

func TestRulesFirstMatchWins(t *testing.T) {
	rules, err := ParseRules("*=all, alice@example.com=never")
	if err != nil {
		t.Fatal(err)
	}
	if got := rules.Map("alice@example.com"); !slices.Equal(got, []string{"all"}) {
		t.Errorf("got %v", got)
	}
}

func TestRulesReportEveryMistake(t *testing.T) {
	_, err := ParseRules("alice\nbob=bob@x\n@=x\n*@x=y\na@b=\na@.x=y\nok@x=y\na@b=<evil>\nc@d=@x")
	if err == nil {
		t.Fatal("accepted")
	}
	lines := strings.Split(err.Error(), "\n")
	if len(lines) != 8 {
		t.Errorf("%d mistakes reported, want 8:\n%v", len(lines), err)
	}
	for i, want := range []string{"line 1", "line 2", "line 3", "line 4", "line 5", "line 6", "line 8", "line 9"} {
		if !strings.Contains(lines[i], want) {
			t.Errorf("%q does not name %s", lines[i], want)
		}
	}
}

func FuzzRules(f *testing.F) {
	f.Add("a@b=c, @x=y z\n*=w", "a+d@b")
	f.Add("@.x=y", "a@b.x")
	f.Fuzz(func(t *testing.T, text, address string) {
		rules, err := ParseRules(text)
		if err != nil {
			return
		}
		mailboxes := rules.Map(address)
		if len(mailboxes) == 0 {
			t.Fatal("an address leads nowhere")
		}
		for _, m := range mailboxes {
			if m != strings.ToLower(m) {
				t.Errorf("mailbox %q is not lower-case", m)
			}
		}
	})
}

func TestAddressesThatCannotBeExpressed(t *testing.T) {
	for _, address := range []string{
		"a@b\r\nRCPT TO:<evil@x>", "a@b\nX: y", "a\x00@b", "a b@c", "a>@b", "<a@b>", "ü@b", "a@bü", "a\x7f@b", "a\t@b",
		"a@" + strings.Repeat("d", 319),
	} {
		if err := checkAddress(address); err == nil {
			t.Errorf("%q passed", address)
		} else if strings.ContainsAny(err.Error(), "\r\n\x00") {
			t.Errorf("the error for %q carries it on: %v", address, err)
		}
		if checkMailbox(address) == nil {
			t.Errorf("%q passed as a mailbox", address)
		}
	}
	for _, address := range []string{"", "a@b", "prvs=1=a@b.example", `"quoted"@b`, "a@[192.0.2.1]", "alice", strings.Repeat("verp=", 14) + "@x"} {
		if err := checkAddress(address); err != nil {
			t.Errorf("%q: %v", address, err)
		}
	}
	for _, mailbox := range []string{"", "@b", "a@"} {
		if checkMailbox(mailbox) == nil {
			t.Errorf("%q passed as a mailbox", mailbox)
		}
	}
}

func FuzzAddress(f *testing.F) {
	f.Add("a@b")
	f.Add("a@b\r\nX")
	f.Fuzz(func(t *testing.T, address string) {
		if checkAddress(address) != nil {
			return
		}
		if strings.ContainsFunc(address, func(r rune) bool { return r <= ' ' || r > '~' || r == '<' || r == '>' }) || len(address) > maxAddress {
			t.Errorf("%q passed", address)
		}
	})
}
