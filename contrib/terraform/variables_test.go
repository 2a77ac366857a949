package terraform

import (
	"strings"
	"testing"
)

// A wrong value is refused before anything is made, and the message names the
// variable. Each line is one run, and all that is named is refused in it: only
// where one condition looks at two variables does the other have to be right.
func TestVariables(t *testing.T) {
	w, key := newWorkbench(t), string(read(t, publicKey(t)))
	for _, test := range []struct {
		vars
		refused string
	}{
		{vars{"name": "Homing", "domains": []string{}, "bucket": "my.mail", "prefix": "/inbox/", "noncurrent_days": 0, "webhook_url": "http://mail.example.com/sns",
			"identity": "root", "mail_from": "a.b", "spf": "include:x", "dmarc": "p=none"}, "name domains bucket prefix noncurrent_days webhook_url identity mail_from spf dmarc"},
		{vars{"name": "h-", "domains": []string{"example.com", "example.com"}, "bucket": "Mail", "prefix": "inbox", "noncurrent_days": 1.5,
			"webhook_url": "https://user@mail.example.com/sns", "rule_after": "first", "trust_policy": "{}", "mail_from": "", "spf": "v=spf1 \"",
			"dmarc": "v=DMARC1; " + strings.Repeat("x", 250)}, "name domains bucket prefix noncurrent_days webhook_url rule_after trust_policy mail_from spf dmarc"},
		{vars{"domains": []string{"*.example.com"}, "prefix": "", "identity": "role", "rule_set": "theirs", "webhook_url": "https://mail.example.com/sns?x=1"},
			"domains prefix trust_policy activate_rule_set webhook_url"},
		{vars{"domains": []string{"Example.com"}, "prefix": "in box/"}, "domains prefix"},
		{vars{"domains": []string{"example.com."}, "after_delivery": "remove"}, "domains after_delivery"},
		{vars{"recipients": []string{}, "after_delivery": "move:delivered"}, "recipients after_delivery"},
		{vars{"recipients": []string{"alice@example.net"}, "after_delivery": "move:/"}, "recipients after_delivery"},
		{vars{"recipients": []string{"Alice@example.com"}, "after_delivery": "tag:x/"}, "recipients after_delivery"},
		{vars{"recipients": []string{"alice@notexample.com"}, "after_delivery": "move:in/", "prefix": "in/new/"}, "recipients after_delivery"},
		{vars{"after_delivery": "move:inbox/"}, "after_delivery"}, // what waits would expire
		{vars{"after_delivery": "encrypt:encrypted/"}, "after_delivery"},
		{vars{"lambda_package": "x.zip", "kms": true, "encrypt_to": key}, "lambda_package"},
		{vars{"lambda_package": "x.zip", "prefix": "encrypted/", "encrypt_to": key}, "lambda_package"},
		{vars{"lambda_package": "x.zip", "encrypt_to": key + strings.Repeat("x", 3500)}, "encrypt_to"},
		{vars{"lambda_package": "x.zip"}, "encrypt_to"},
		{vars{"encrypt_to": strings.ReplaceAll(key, "PUBLIC", "PRIVATE")}, "encrypt_to"},
		{vars{"expire_delivered_days": 30, "after_delivery": "encrypt"}, "expire_delivered_days"},
		{vars{"expire_delivered_days": 30}, "expire_delivered_days"},
		{vars{"expire_delivered_days": 30, "after_delivery": "delete"}, "expire_delivered_days"},
		{vars{"expire_delivered_days": 0, "after_delivery": "tag"}, "expire_delivered_days"},
	} {
		out, err := w.try(t, "aws", w.args(t, "plan", enough(test.vars))...)
		if err == nil {
			t.Errorf("%v is accepted", test.vars)
		}
		for name := range strings.FieldsSeq(test.refused) {
			if !strings.Contains(out, "variable \""+name+"\" {") || !strings.Contains(out, "\n"+name+" ") {
				t.Errorf("%s = %v is accepted in\n%s", name, test.vars[name], out)
			}
		}
	}
	for _, right := range []vars{
		{"domains": []string{"a.b-c.example.co.uk", "xn--bcher-kva.example"}, "name": "h2", "prefix": "a/b_C/", "bucket": "123"},
		{"recipients": []string{"alice@example.com", "alice@lists.example.com", ".example.com", "lists.example.com"}},
		{"after_delivery": "move:inbox/done/", "expire_delivered_days": 1, "webhook_url": "https://192.0.2.1:8443", "spf": nil, "dmarc": nil},
		{"after_delivery": "move:i/", "identity": "role", "trust_policy": `{"Statement":[]}`},
	} {
		w.run(t, "aws", w.args(t, "plan", enough(right))...)
	}
}
