package mailcow

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// house is a directory in words, one entry a line: what it is, its names, and
// "off" or "internal" at the end.
func house(t *testing.T, text string) *Directory {
	t.Helper()
	d := new(Directory)
	for line := range strings.Lines(text) {
		words := strings.Fields(line)
		if len(words) == 0 {
			continue
		}
		active, internal := number{true, 1}, number{true, 0}
		switch words[len(words)-1] {
		case "off":
			active.value = 0
		case "nologin":
			active.value = 2
		case "internal":
			internal.value = 1
		}
		_, home, _ := strings.Cut(words[1], "@")
		switch words[0] {
		case "domain":
			d.domains = append(d.domains, domain{Name: words[1], Active: active})
		case "aliasdomain":
			d.aliasDomains = append(d.aliasDomains, aliasDomain{words[1], words[2], active})
		case "mailbox":
			d.mailboxes = append(d.mailboxes, mailbox{words[1], home, active})
		case "alias":
			d.aliases = append(d.aliases, alias{words[1], home, words[2], active, internal})
		default:
			t.Fatalf("what is %q?", line)
		}
	}
	if err := d.check(); err != nil {
		t.Fatalf("not a possible mailcow: %v", err)
	}
	return d
}

func TestRules(t *testing.T) {
	const two = `
		domain example.com
		mailbox alice@example.com
		mailbox bob@example.com
	`
	for _, test := range []struct {
		name, house string
		rules       []string // pattern=mailboxes
		warnings    []string // parts of them
	}{
		{"mailboxes need none", two, nil, nil},
		{"an alias", two + `alias info@example.com alice@example.com`, []string{"info@example.com=alice@example.com"}, nil},
		{"upper case", two + `alias INFO@example.com Alice@Example.com`, []string{"info@example.com=alice@example.com"}, nil},
		{"several targets", two + `alias info@example.com bob@example.com,alice@example.com`, []string{"info@example.com=bob@example.com alice@example.com"}, nil},
		{"a target twice", two + `alias info@example.com bob@example.com,bob@example.com`, []string{"info@example.com=bob@example.com"}, nil},
		{"an alias of an alias", two + `
			alias info@example.com team@example.com,alice@example.com
			alias team@example.com alice@example.com,bob@example.com`,
			[]string{"info@example.com=alice@example.com bob@example.com", "team@example.com=alice@example.com bob@example.com"}, nil},
		{"an inactive alias", two + `alias info@example.com alice@example.com off`, nil, nil},
		{"an internal alias", two + `alias staff@example.com alice@example.com internal`, nil, nil},
		{"through an internal alias", two + `
			alias info@example.com staff@example.com
			alias staff@example.com alice@example.com internal`, []string{"info@example.com=alice@example.com"}, nil},
		{"no login, but mail", two + `
			mailbox carol@example.com nologin
			alias info@example.com carol@example.com nologin`, []string{"info@example.com=carol@example.com"}, nil},
		{"partly outside", two + `alias info@example.com friend@far.example,alice@example.com`,
			[]string{"info@example.com=alice@example.com"}, []string{`info@example.com: goes only to alice@example.com; "friend@far.example" is no active mailbox here`}},
		{"all outside", two + `alias info@example.com friend@far.example`, nil,
			[]string{`info@example.com: Dovecot will refuse its mail, for it leads to no mailbox; "friend@far.example" is no active mailbox here`}},
		{"an inactive mailbox", two + `
			mailbox carol@example.com off
			alias info@example.com carol@example.com`, nil, []string{`no mailbox; "carol@example.com" is no active mailbox`}},
		{"thrown away", two + `alias noreply@example.com null@localhost`, nil, []string{"throws mail away"}},
		{"learnt", two + `
			alias isham@example.com ham@localhost
			alias isspam@example.com spam@localhost`, nil, []string{"Rspamd learns", "Rspamd learns"}},
		{"a loop", two + `
			alias a@example.com b@example.com
			alias b@example.com a@example.com`, nil, []string{"a@example.com: Dovecot will refuse", "b@example.com: Dovecot will refuse"}},
		{"a loop with a way out", two + `
			alias a@example.com b@example.com
			alias b@example.com a@example.com,bob@example.com`, []string{"a@example.com=bob@example.com", "b@example.com=bob@example.com"}, nil},
		{"a mailbox that keeps a copy", two + `alias alice@example.com alice@example.com,bob@example.com`,
			[]string{"alice@example.com=alice@example.com bob@example.com"}, nil},
		{"a mailbox whose mail goes elsewhere", two + `alias alice@example.com bob@example.com`, []string{"alice@example.com=bob@example.com"}, nil},
		{"itself, without a mailbox", two + `alias a@example.com a@example.com,bob@example.com`,
			[]string{"a@example.com=bob@example.com"}, []string{`"a@example.com" is no active mailbox`}},
		{"a detail in a target", two + `alias shop@example.com alice+shop@example.com`, []string{"shop@example.com=alice+shop@example.com"}, nil},
		{"a detail on the way", two + `
			alias shop@example.com info+shop@example.com
			alias info@example.com alice@example.com,bob+info@example.com`,
			[]string{"info@example.com=alice@example.com bob+info@example.com", "shop@example.com=alice+shop@example.com bob+info@example.com"}, nil},
		{"a detail of its own", two + `
			alias info@example.com alice@example.com
			alias info+vip@example.com bob@example.com`,
			[]string{"info+vip@example.com=bob@example.com", "info@example.com=alice@example.com"}, nil},
		{"a catch-all", two + `alias @example.com bob@example.com`,
			[]string{"alice@example.com=alice@example.com", "bob@example.com=bob@example.com", "@example.com=bob@example.com"}, nil},
		{"what a catch-all must not take", two + `
			mailbox carol@example.com off
			alias @example.com bob@example.com
			alias away@example.com friend@far.example
			alias never@example.com alice@example.com off
			alias staff@example.com alice@example.com internal`,
			[]string{"alice@example.com=alice@example.com", "away@example.com=away@example.com", "bob@example.com=bob@example.com",
				"staff@example.com=staff@example.com", "@example.com=bob@example.com"},
			[]string{"away@example.com: Dovecot will refuse"}},
		{"a target that only a catch-all takes", two + `
			domain example.org
			alias @example.org alice@example.com
			alias info@example.com anything@example.org`,
			[]string{"info@example.com=alice@example.com", "@example.org=alice@example.com"}, nil},
		{"a catch-all to outside", two + `alias @example.com friend@far.example`,
			[]string{"alice@example.com=alice@example.com", "bob@example.com=bob@example.com"},
			[]string{`@example.com: no rule, for it leads to no mailbox; "friend@far.example"`}},
		{"a catch-all to a domain", two + `alias @example.com @far.example`,
			[]string{"alice@example.com=alice@example.com", "bob@example.com=bob@example.com"},
			[]string{`@example.com: no rule, for it leads to no mailbox; "@far.example"`}},
		{"an alias domain", two + `
			aliasdomain example.net example.com
			mailbox carol@example.com off
			alias info@example.com alice@example.com`,
			[]string{"alice@example.net=alice@example.com", "bob@example.net=bob@example.com", "info@example.com=alice@example.com"}, nil},
		{"an alias in an alias domain", two + `
			aliasdomain example.net example.com
			alias alice@example.net bob@example.net
			alias @example.net alice@example.com`,
			[]string{"alice@example.net=bob@example.com", "bob@example.net=bob@example.com", "@example.net=alice@example.com"}, nil},
		{"an inactive alias domain", two + `
			aliasdomain example.net example.com off
			alias info@example.net alice@example.com`, nil, nil},
		{"an inactive domain", two + `
			domain old.example off
			aliasdomain older.example old.example
			alias @old.example alice@example.com
			alias info@older.example alice@example.com`, nil, nil},
		{"what no rule can say", two + `
			alias #1@example.com alice@example.com
			alias a=b@example.com alice@example.com
			alias *@example.com alice@example.com
			alias müll@example.com alice@example.com`, nil,
			[]string{"#1@example.com: no rule", "*@example.com: no rule", "a=b@example.com: no rule", "müll@example.com: no rule"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			rules, warnings := house(t, test.house).Rules()
			var got []string
			for _, rule := range rules {
				got = append(got, rule.Pattern+"="+strings.Join(rule.Mailboxes, " "))
			}
			if diff := cmp.Diff(test.rules, got); diff != "" {
				t.Errorf("rules (-want +got):\n%s", diff)
			}
			said := strings.Join(warnings, "\n")
			rest := said
			for _, want := range test.warnings {
				_, after, found := strings.Cut(rest, want)
				if !found {
					t.Errorf("nothing about %q in\n%s", want, said)
				}
				rest = after
			}
			if len(warnings) != len(test.warnings) {
				t.Errorf("%d warnings, want %d:\n%s", len(warnings), len(test.warnings), said)
			}
		})
	}
}

// A directory must be whole before anything is made of it.
func TestCheck(t *testing.T) {
	yes := number{true, 1}
	example := domain{Name: "example.com", Active: yes}
	for _, test := range []struct {
		name string
		d    Directory
		want string
	}{
		{"nothing", Directory{}, "no domain"},
		{"a domain without a name", Directory{domains: []domain{{Active: yes}}}, "has no name"},
		{"a domain twice", Directory{domains: []domain{example, example}}, "given twice"},
		{"a domain without a flag", Directory{domains: []domain{{Name: "example.com"}}}, "says not whether"},
		{"an alias domain of nothing", Directory{domains: []domain{example}, aliasDomains: []aliasDomain{{"example.net", "example.org", yes}}}, "no such target"},
		{"an alias domain without a flag", Directory{domains: []domain{example}, aliasDomains: []aliasDomain{{"example.net", "example.com", number{}}}}, "says not whether"},
		{"a mailbox of another domain", Directory{domains: []domain{example}, mailboxes: []mailbox{{"a@example.org", "example.com", yes}}}, "the mailbox \"a@example.org\""},
		{"a mailbox without a flag", Directory{domains: []domain{example}, mailboxes: []mailbox{{"a@example.com", "example.com", number{}}}}, "says not whether"},
		{"an alias of another domain", Directory{domains: []domain{example}, aliases: []alias{{"a@example.org", "example.com", "b@example.com", yes, number{}}}}, "the alias \"a@example.org\""},
		{"a mailbox without an address", Directory{domains: []domain{example}, mailboxes: []mailbox{{"", "", yes}}}, "the mailbox \"\""},
		{"a mailbox of nowhere", Directory{domains: []domain{example}, mailboxes: []mailbox{{"a@example.org", "example.org", yes}}}, "no such domain"},
		{"an alias of nowhere", Directory{domains: []domain{example}, aliases: []alias{{"a@example.org", "example.org", "b@example.com", yes, number{}}}}, "not in the list of domains"},
		{"an alias without a target", Directory{domains: []domain{example}, aliases: []alias{{"a@example.com", "example.com", "", yes, number{}}}}, "no target"},
		{"an alias without a flag", Directory{domains: []domain{example}, aliases: []alias{{"a@example.com", "example.com", "b@example.com", number{}, number{}}}}, "says not whether"},
		{"mailboxes missing", Directory{domains: []domain{{"example.com", yes, number{true, 2}, number{}}}, mailboxes: []mailbox{{"a@example.com", "example.com", yes}}}, "has 2 mailboxes, and 1 were listed"},
		{"aliases missing", Directory{domains: []domain{{"example.com", yes, number{true, 0}, number{true, 7}}}}, "has 7 aliases, and none was listed"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if err := test.d.check(); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want %q", err, test.want)
			}
		})
	}
}
