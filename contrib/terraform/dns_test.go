package terraform

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestZoneFile(t *testing.T) {
	w := newWorkbench(t)
	for _, test := range []struct {
		vars
		want string
	}{
		{enough(nil), `
			_dmarc.example.com. 300 IN TXT "v=DMARC1; p=none"
			bounce.example.com. 300 IN MX 10 feedback-smtp.eu-west-1.amazonses.com.
			bounce.example.com. 300 IN TXT "v=spf1 include:amazonses.com ~all"
			example.com. 300 IN MX 10 inbound-smtp.eu-west-1.amazonaws.com.
			example.com. 300 IN TXT "v=spf1 include:amazonses.com ~all"
			token1._domainkey.example.com. 300 IN CNAME token1.dkim.amazonses.com.
			token2._domainkey.example.com. 300 IN CNAME token2.dkim.amazonses.com.
			token3._domainkey.example.com. 300 IN CNAME token3.dkim.amazonses.com.`},
		{enough(vars{"domains": []string{"example.com", "lists.example.com"}, "subdomains": true, "spf": nil, "dmarc": nil, "mail_from": "mf"}), `
			*.example.com. 300 IN MX 10 inbound-smtp.eu-west-1.amazonaws.com.
			*.lists.example.com. 300 IN MX 10 inbound-smtp.eu-west-1.amazonaws.com.
			example.com. 300 IN MX 10 inbound-smtp.eu-west-1.amazonaws.com.
			lists.example.com. 300 IN MX 10 inbound-smtp.eu-west-1.amazonaws.com.
			mf.example.com. 300 IN MX 10 feedback-smtp.eu-west-1.amazonses.com.
			mf.example.com. 300 IN TXT "v=spf1 include:amazonses.com ~all"
			mf.lists.example.com. 300 IN MX 10 feedback-smtp.eu-west-1.amazonses.com.
			mf.lists.example.com. 300 IN TXT "v=spf1 include:amazonses.com ~all"
			token1._domainkey.example.com. 300 IN CNAME token1.dkim.amazonses.com.
			token1._domainkey.lists.example.com. 300 IN CNAME token1.dkim.amazonses.com.
			token2._domainkey.example.com. 300 IN CNAME token2.dkim.amazonses.com.
			token2._domainkey.lists.example.com. 300 IN CNAME token2.dkim.amazonses.com.
			token3._domainkey.example.com. 300 IN CNAME token3.dkim.amazonses.com.
			token3._domainkey.lists.example.com. 300 IN CNAME token3.dkim.amazonses.com.`},
	} {
		got := strings.Split(strings.TrimSpace(w.apply(t, test.vars).outputs["dns_zone_file"].(string)), "\n")
		slices.Sort(got)
		if want := strings.Split(strings.TrimSpace(strings.ReplaceAll(test.want, "\t", "")), "\n"); !slices.Equal(got, want) {
			t.Errorf("%v:\n%s\nwant\n%s", test.vars, strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	}
}

// What receives mail has an MX record in the zone that it belongs to, and
// nothing else has.
func TestMX(t *testing.T) {
	m := newWorkbench(t).apply(t, enough(vars{
		"domains":    []string{"example.com", "lists.example.com", "example.org"},
		"recipients": []string{"alice@example.com", "bob@example.com", ".example.com", "lists.example.com", "x@a.lists.example.com", ".b.example.com"}}))
	want := map[string][]string{
		"example.com":       {"*.b.example.com", "*.example.com", "example.com"},
		"lists.example.com": {"a.lists.example.com", "lists.example.com"},
		"example.org":       nil,
	}
	for domain, records := range m.outputs["dns_records"].(map[string]any) {
		var got []string
		for _, r := range records.(map[string]any) {
			if record := r.(map[string]any); record["type"] == "MX" && strings.HasPrefix(record["content"].(string), "inbound-smtp.") {
				got = append(got, record["name"].(string))
			}
		}
		slices.Sort(got)
		if !slices.Equal(got, want[domain]) {
			t.Errorf("%s has MX records at %q, want %q", domain, got, want[domain])
		}
	}
}

// A domain in use is verified before its mail is brought here.
func TestWithoutMX(t *testing.T) {
	m := newWorkbench(t).apply(t, enough(vars{"mx": false, "subdomains": true}))
	zone := m.outputs["dns_zone_file"].(string)
	if strings.Contains(zone, "inbound-smtp") || !strings.Contains(zone, "feedback-smtp") || !strings.Contains(zone, "_domainkey") {
		t.Errorf("without mx there is\n%s", zone)
	}
}

// Some regions have DKIM keys in a zone of their own.
func TestDKIMZone(t *testing.T) {
	w := newWorkbench(t)
	for at, want := range map[string]string{"eu-west-1": "token1.dkim.amazonses.com.", "eu-south-1": "token1.dkim.eu-south-1.amazonses.com."} {
		w.move(t, at)
		zone := w.apply(t, enough(nil)).outputs["dns_zone_file"].(string)
		if !strings.Contains(zone, want) || !strings.Contains(zone, "MX 10 inbound-smtp."+at+".amazonaws.com.") {
			t.Errorf("%s: no %s in\n%s", at, want, zone)
		}
	}
}

// Cloudflare and Route 53 get the records that the output has.
func TestRecordsAreMade(t *testing.T) {
	s := open(t, "tofu")
	for example, address := range map[string]string{"webhook": "cloudflare_dns_record.mail", "subdomains": "aws_route53_record.mail"} {
		dir := filepath.Join("examples", example)
		path := filepath.Join(s.dir, dir, "outputs.tf")
		write(t, path, "output \"records\" {\n  value = module.mail.dns_records[\"example.com\"]\n}\n")
		s.run(t, dir, "init")
		s.run(t, dir, append([]string{"apply", "-auto-approve"}, examples[example]...)...)
		m := s.show(t, dir, "terraform.tfstate")
		records := m.outputs["records"].(map[string]any)
		for key, r := range records {
			record := r.(map[string]any)
			made := m.resources[fmt.Sprintf("%s[%q]", address, key)]
			content, priority := record["content"], record["priority"]
			switch {
			case made == nil:
				t.Errorf("%s: no record for %s", example, key)
			case example == "webhook" && record["type"] == "TXT":
				content = `"` + content.(string) + `"`
				fallthrough
			case example == "webhook":
				if made["content"] != content || made["priority"] != priority || made["proxied"] != false || made["name"] != record["name"] || made["type"] != record["type"] {
					t.Errorf("%s: %s is %v, want %v", example, key, made, record)
				}
			default:
				if priority != nil {
					content = fmt.Sprint(priority, " ", content)
				}
				if fmt.Sprint(made["records"]) != fmt.Sprint([]any{content}) || made["name"] != record["name"] || made["type"] != record["type"] {
					t.Errorf("%s: %s is %v, want %v", example, key, made, record)
				}
			}
		}
		if len(records) < 8 {
			t.Errorf("%s: only %q", example, slices.Sorted(maps.Keys(records)))
		}
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
}
