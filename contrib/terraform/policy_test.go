package terraform

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// policy is what a person wrote, as AWS reads it:
// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic.html
type policy struct{ Statement []statement }

type statement struct {
	Sid, Effect string
	Principal   principals
	Action      texts
	Resource    texts
	Condition   map[string]map[string]texts
}

// texts are one text or several.
type texts []string

// UnmarshalJSON takes both.
func (s *texts) UnmarshalJSON(text []byte) error {
	var one string
	if json.Unmarshal(text, &one) == nil {
		*s = texts{one}
		return nil
	}
	return json.Unmarshal(text, (*[]string)(s))
}

// principals are everybody ("*") or some of a kind, as in Service.
type principals map[string]texts

// UnmarshalJSON takes both.
func (p *principals) UnmarshalJSON(text []byte) error {
	if string(text) == `"*"` {
		*p = principals{"*": {"*"}}
		return nil
	}
	return json.Unmarshal(text, (*map[string]texts)(p))
}

// request is what somebody asks of AWS.
type request struct {
	who      string // as in "Service ses.amazonaws.com", or empty in a policy of an identity
	action   string
	resource string
	context  map[string]string
}

func parsePolicy(t *testing.T, text string) policy {
	t.Helper()
	var p policy
	decoder := json.NewDecoder(strings.NewReader(text))
	if err := decoder.Decode(&p); err != nil || len(p.Statement) == 0 {
		t.Fatalf("no policy: %v\n%s", err, text)
	}
	return p
}

// allows tells whether some statement allows a request and none denies it.
func (p policy) allows(t *testing.T, r request) bool {
	t.Helper()
	allowed := false
	for _, s := range p.Statement {
		if s.applies(t, r) {
			if s.Effect == "Deny" {
				return false
			}
			allowed = true
		}
	}
	return allowed
}

func (s statement) applies(t *testing.T, r request) bool {
	t.Helper()
	for operator, keys := range s.Condition {
		for key, values := range keys {
			if !holds(t, operator, r.context[key], values) {
				return false
			}
		}
	}
	return s.Principal.has(r.who) && s.Action.match(strings.EqualFold, r.action) && s.Resource.match(nil, r.resource)
}

func (p principals) has(who string) bool {
	kind, name, _ := strings.Cut(who, " ")
	return p == nil || p["*"] != nil || slices.Contains(p[kind], name)
}

// match compares with patterns, of which * and ? stand for other characters.
func (s texts) match(equal func(a, b string) bool, value string) bool {
	return slices.ContainsFunc(s, func(pattern string) bool {
		p := strings.NewReplacer(`\*`, ".*", `\?`, ".").Replace(regexp.QuoteMeta(pattern))
		return equal != nil && equal(pattern, value) || regexp.MustCompile("^(?s:"+p+")$").MatchString(value)
	})
}

func holds(t *testing.T, operator, value string, values texts) bool {
	t.Helper()
	switch operator {
	case "StringEquals", "Bool":
		return slices.Contains(values, value)
	case "ArnEquals":
		return values.match(nil, value)
	}
	t.Fatalf("the condition %s is not known to this test", operator)
	return false
}

const (
	ses = "Service ses.amazonaws.com"
	sns = "Service sns.amazonaws.com"
)

var (
	ruleARN  = fmt.Sprintf("arn:aws:ses:%s:%s:receipt-rule-set/homing:receipt-rule/homing", region, account)
	topicARN = fmt.Sprintf("arn:aws:sns:%s:%s:homing", region, account)
	bucket   = fmt.Sprintf("arn:aws:s3:::homing-mail-%s-%s", account, region)
	keyARN   = fmt.Sprintf("arn:aws:kms:%s:%s:key/1234abcd-12ab-34cd-56ef-1234567890ab", region, account)
	queueARN = fmt.Sprintf("arn:aws:sqs:%s:%s:homing", region, account)
)

// from is the context of a request that a service makes for somebody.
func from(account, arn string) map[string]string {
	return map[string]string{"aws:SourceAccount": account, "aws:SourceArn": arn, "aws:SecureTransport": "true"}
}

// The policies of resources let in whom they should, and nobody in their name
// for another's sake.
func TestResourcePolicies(t *testing.T) {
	m := newWorkbench(t).apply(t, everything())
	ours, insecure := from(account, ruleARN), from(account, ruleARN)
	insecure["aws:SecureTransport"] = "false"
	otherRule := from(account, strings.Replace(ruleARN, "rule/homing", "rule/other", 1))
	foreign := from("210987654321", strings.Replace(ruleARN, account, "210987654321", 1))
	ourTopic, otherTopic := from(account, topicARN), from(account, topicARN+"2")
	everybody := "AWS arn:aws:iam::210987654321:root"
	for _, test := range []struct {
		address string
		request
		want bool
	}{
		{"aws_s3_bucket_policy.mail", request{ses, "s3:PutObject", bucket + "/inbox/x", ours}, true},
		{"aws_s3_bucket_policy.mail", request{ses, "s3:PutObject", bucket + "/delivered/x", ours}, false},
		{"aws_s3_bucket_policy.mail", request{ses, "s3:GetObject", bucket + "/inbox/x", ours}, false},
		{"aws_s3_bucket_policy.mail", request{ses, "s3:PutObject", bucket + "/inbox/x", insecure}, false},
		{"aws_s3_bucket_policy.mail", request{ses, "s3:PutObject", bucket + "/inbox/x", otherRule}, false},
		{"aws_s3_bucket_policy.mail", request{ses, "s3:PutObject", bucket + "/inbox/x", foreign}, false},
		{"aws_s3_bucket_policy.mail", request{ses, "s3:PutObject", bucket + "/inbox/x", from("210987654321", ruleARN)}, false},
		{"aws_s3_bucket_policy.mail", request{ses, "s3:PutObject", bucket + "/inbox/x", nil}, false},
		{"aws_s3_bucket_policy.mail", request{sns, "s3:PutObject", bucket + "/inbox/x", ours}, false},
		{"aws_s3_bucket_policy.mail", request{everybody, "s3:GetObject", bucket + "/inbox/x", ours}, false},
		{"aws_sns_topic_policy.mail", request{ses, "sns:Publish", topicARN, ours}, true},
		{"aws_sns_topic_policy.mail", request{ses, "sns:Subscribe", topicARN, ours}, false},
		{"aws_sns_topic_policy.mail", request{ses, "sns:Publish", topicARN, otherRule}, false},
		{"aws_sns_topic_policy.mail", request{ses, "sns:Publish", topicARN, foreign}, false},
		{"aws_sns_topic_policy.mail", request{everybody, "sns:Publish", topicARN, ours}, false},
		{`aws_sqs_queue_policy.from_topic["mail"]`, request{sns, "sqs:SendMessage", queueARN, ourTopic}, true},
		{`aws_sqs_queue_policy.from_topic["mail"]`, request{sns, "sqs:SendMessage", queueARN, otherTopic}, false},
		{`aws_sqs_queue_policy.from_topic["mail"]`, request{sns, "sqs:ReceiveMessage", queueARN, ourTopic}, false},
		{`aws_sqs_queue_policy.from_topic["mail"]`, request{everybody, "sqs:SendMessage", queueARN, ourTopic}, false},
		{`aws_sqs_queue_policy.from_topic["dlq"]`, request{sns, "sqs:SendMessage", queueARN + "-dlq", ourTopic}, true},
		{`aws_sqs_queue_policy.from_topic["dlq"]`, request{sns, "sqs:SendMessage", queueARN + "-dlq", otherTopic}, false},
		{`aws_sqs_queue_policy.from_topic["dlq"]`, request{sns, "sqs:SendMessage", queueARN, ourTopic}, false},
		{"aws_kms_key.mail[0]", request{ses, "kms:GenerateDataKey", "*", ours}, true},
		{"aws_kms_key.mail[0]", request{ses, "kms:GenerateDataKey", "*", foreign}, false},
		{"aws_kms_key.mail[0]", request{ses, "kms:Decrypt", "*", ours}, false},
		{"aws_kms_key.mail[0]", request{"AWS arn:aws:iam::" + account + ":root", "kms:PutKeyPolicy", "*", nil}, true},
		{"aws_kms_key.mail[0]", request{everybody, "kms:Decrypt", "*", nil}, false},
	} {
		p := parsePolicy(t, m.text(t, test.address, "policy"))
		if got := p.allows(t, test.request); got != test.want {
			t.Errorf("%s allows %+v: %v, want %v", test.address, test.request, got, test.want)
		}
	}
}

// No policy of a resource allows anything to everybody, and each names the
// service's reason.
func TestPolicyPrincipals(t *testing.T) {
	m := newWorkbench(t).apply(t, everything())
	checked := 0
	for address, values := range m.resources {
		text, _ := values["policy"].(string)
		if text == "" || strings.HasPrefix(address, "aws_iam_") {
			continue
		}
		for _, s := range parsePolicy(t, text).Statement {
			_, service := s.Principal["Service"]
			switch {
			case s.Effect == "Allow" && s.Principal.has("AWS arn:aws:iam::210987654321:root"):
				t.Errorf("%s, %s: allowed to everybody", address, s.Sid)
			case s.Effect == "Allow" && service && !slices.ContainsFunc(slices.Collect(conditionKeys(s)), func(key string) bool { return key == "aws:SourceArn" }):
				t.Errorf("%s, %s: for whomever the service works", address, s.Sid)
			}
			checked++
		}
	}
	if checked < 7 {
		t.Errorf("only %d statements", checked)
	}
}

func conditionKeys(s statement) func(func(string) bool) {
	return func(yield func(string) bool) {
		for _, keys := range s.Condition {
			for key := range keys {
				if !yield(key) {
					return
				}
			}
		}
	}
}
