package terraform

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// Where things are in these tests.
const (
	inboxAt     = "/inbox/x"
	deliveredAt = "/delivered/x"
)

// uses says what each request of homing's needs, for the options that make it:
// https://docs.aws.amazon.com/AmazonS3/latest/userguide/using-with-s3-policy-actions.html
var uses = map[string]func(vars) []string{
	"s3.GetObjectInput":  reads("s3:GetObject", "s3:GetObjectVersion"),
	"s3.HeadObjectInput": reads("s3:GetObject", "s3:GetObjectVersion"),
	"s3.ListObjectsV2Input": func(vars) []string {
		return []string{"s3:ListBucket " + bucket}
	},
	"s3.GetObjectTaggingInput": reads("s3:GetObjectTagging", "s3:GetObjectVersionTagging"),
	"s3.PutObjectTaggingInput": when("tag", "s3:PutObjectTagging "+bucket+inboxAt, "s3:PutObjectVersionTagging "+bucket+inboxAt),
	"s3.DeleteObjectInput": func(v vars) []string {
		if after := v["after_delivery"]; after == "keep" || after == "tag" {
			return nil
		}
		return []string{"s3:DeleteObject " + bucket + inboxAt, "s3:DeleteObjectVersion " + bucket + inboxAt}
	},
	"s3.CopyObjectInput": when("move:delivered/", "s3:GetObject "+bucket+inboxAt, "s3:GetObjectTagging "+bucket+inboxAt,
		"s3:PutObject "+bucket+deliveredAt, "s3:PutObjectTagging "+bucket+deliveredAt),
	"s3.PutObjectInput": func(v vars) []string { // with tags
		return append(when("encrypt", "s3:PutObject "+bucket+inboxAt, "s3:PutObjectTagging "+bucket+inboxAt)(v),
			when("encrypt:delivered/", "s3:PutObject "+bucket+deliveredAt, "s3:PutObjectTagging "+bucket+deliveredAt)(v)...)
	},

	"sqs.ReceiveMessageInput":               onBoth("sqs:ReceiveMessage"),
	"sqs.DeleteMessageBatchInput":           onBoth("sqs:DeleteMessage"),
	"sqs.GetQueueAttributesInput":           onBoth("sqs:GetQueueAttributes"),
	"sqs.ChangeMessageVisibilityInput":      onQueue("sqs:ChangeMessageVisibility"),
	"sqs.ChangeMessageVisibilityBatchInput": onQueue("sqs:ChangeMessageVisibility"),
	"sqs.SendMessageInput":                  onQueue("sqs:SendMessage"),

	"kms.DecryptInput": func(v vars) []string {
		if v["kms"] != true {
			return nil
		}
		return []string{"kms:Decrypt " + keyARN}
	},
}

func reads(actions ...string) func(vars) []string {
	return func(v vars) (needed []string) {
		for _, action := range actions {
			needed = append(needed, action+" "+bucket+inboxAt)
			if after, _ := v["after_delivery"].(string); strings.HasSuffix(after, ":delivered/") {
				needed = append(needed, action+" "+bucket+deliveredAt)
			}
		}
		return needed
	}
}

func when(after string, needed ...string) func(vars) []string {
	return func(v vars) []string {
		if v["after_delivery"] != after {
			return nil
		}
		return needed
	}
}

func onQueue(action string) func(vars) []string {
	return func(v vars) []string {
		if v["sqs"] != true {
			return nil
		}
		return []string{action + " " + queueARN}
	}
}

func onBoth(action string) func(vars) []string {
	return func(v vars) []string { return append(onQueue(action)(v), action+" "+queueARN+"-dlq") }
}

// homing is allowed what its code asks for with these options, and nothing else.
func TestPermissions(t *testing.T) {
	requests := requestsOfHoming(t)
	w := newWorkbench(t)
	for _, after := range []string{"keep", "tag", "delete", "move:delivered/", "encrypt", "encrypt:delivered/"} {
		for _, sqs := range []bool{false, true} {
			values := enough(vars{"after_delivery": after, "sqs": sqs, "kms": sqs})
			needed := map[string]bool{}
			for name, use := range uses {
				if !slices.Contains(requests, name) {
					t.Errorf("homing makes no %s any more", name)
				}
				for _, n := range use(values) {
					needed[n] = true
				}
			}
			m := w.apply(t, values)
			if m.text(t, "aws_iam_user_policy.homing[0]", "policy") != m.outputs["policy"] {
				t.Error("the output has another policy than the user")
			}
			granted := grants(t, parsePolicy(t, m.outputs["policy"].(string)))
			if want := slices.Sorted(maps.Keys(needed)); !slices.Equal(granted, want) {
				t.Errorf("%v: allowed\n%s\nneeded\n%s", values, strings.Join(granted, "\n"), strings.Join(want, "\n"))
			}
		}
	}
	for _, name := range requests {
		if uses[name] == nil {
			t.Errorf("homing makes a %s; say here, and in iam.tf, what it needs", name)
		}
	}
}

// grants lists what a policy allows of what there is: an object in each place,
// the bucket, the queues, the key. A pattern that reaches further is a mistake.
func grants(t *testing.T, p policy) (all []string) {
	t.Helper()
	narrow := regexp.MustCompile(`^arn:aws:(s3:::[^*?]+(/(inbox|in|delivered|encrypted)/\*)?|(sqs|kms|sns):[^*?]+|logs:[^*?]+:\*)$`)
	for _, s := range p.Statement {
		if s.Effect != "Allow" || s.Condition != nil || s.Principal != nil {
			t.Errorf("%s is more than this test knows", s.Sid)
		}
		for _, resource := range s.Resource {
			if !narrow.MatchString(resource) {
				t.Errorf("%s reaches to %s", s.Sid, resource)
			}
			resource = strings.Replace(resource, "/*", "/x", 1)
			for _, action := range s.Action {
				if strings.Contains(action, "*") {
					t.Errorf("%s allows %s", s.Sid, action)
				}
				all = append(all, action+" "+resource)
			}
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// The Lambda function is allowed what its own page says, and to log.
func TestLambdaPermissions(t *testing.T) {
	page := string(read(t, "../lambda/README.md"))
	_, page, _ = strings.Cut(page, "```json")
	page, _, _ = strings.Cut(page, "```")
	want := grants(t, parsePolicy(t, page))
	m := newWorkbench(t).apply(t, encrypting(t, vars{"name": "mail", "bucket": "example-mail", "prefix": "in/"}))
	granted := grants(t, parsePolicy(t, m.text(t, "aws_iam_role_policy.lambda[0]", "policy")))
	granted = slices.DeleteFunc(granted, func(g string) bool { return strings.HasPrefix(g, "logs:") })
	if !slices.Equal(granted, want) {
		t.Errorf("allowed\n%s\nwant\n%s", strings.Join(granted, "\n"), strings.Join(want, "\n"))
	}
	// homing reads both places, and takes away from both.
	m = newWorkbench(t).apply(t, encrypting(t, vars{"after_delivery": "delete"}))
	p := parsePolicy(t, m.outputs["policy"].(string))
	for _, action := range []string{"s3:GetObject", "s3:DeleteObject"} {
		for _, at := range []string{inboxAt, "/encrypted/x"} {
			if !p.allows(t, request{action: action, resource: bucket + at}) {
				t.Errorf("homing is not allowed %s of %s", action, at)
			}
		}
	}
}

// requestsOfHoming finds the inputs of AWS requests in the code of the daemon
// and its commands; the demo has an S3 of its own.
func requestsOfHoming(t *testing.T) []string {
	t.Helper()
	found := map[string]bool{}
	for _, root := range []string{"fetcher", "poller", "cmd/homing"} {
		err := filepath.WalkDir(filepath.Join("..", "..", root), func(path string, entry fs.DirEntry, err error) error {
			name := entry.Name()
			if err != nil || entry.IsDir() || !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") || strings.HasPrefix(name, "demo") {
				return err
			}
			file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
			if err != nil {
				return err
			}
			for node := range ast.Preorder(file) {
				if literal, isLiteral := node.(*ast.CompositeLit); isLiteral {
					if kind := requestType(literal); kind != "" {
						found[kind] = true
					}
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return slices.Sorted(maps.Keys(found))
}

func requestType(literal *ast.CompositeLit) string {
	selector, isSelector := literal.Type.(*ast.SelectorExpr)
	if !isSelector {
		return ""
	}
	of, isName := selector.X.(*ast.Ident)
	if !isName || !slices.Contains([]string{"s3", "sqs", "kms", "sns"}, of.Name) || !strings.HasSuffix(selector.Sel.Name, "Input") {
		return ""
	}
	return of.Name + "." + selector.Sel.Name
}

// Who sends through SES may do so as these domains, and nothing else.
func TestSendPermission(t *testing.T) {
	m := newWorkbench(t).apply(t, enough(vars{"smtp_user": true, "domains": []string{"example.com", "example.org"}}))
	p := parsePolicy(t, m.text(t, "aws_iam_user_policy.smtp[0]", "policy"))
	for identity, want := range map[string]bool{"example.com": true, "example.org": true, "example.net": false} {
		r := request{action: "ses:SendRawEmail", resource: fmt.Sprintf("arn:aws:ses:%s:%s:identity/%s", region, account, identity)}
		if got := p.allows(t, r); got != want {
			t.Errorf("sending as %s: %v, want %v", identity, got, want)
		}
	}
	for _, r := range []request{
		{action: "ses:DeleteEmailIdentity", resource: fmt.Sprintf("arn:aws:ses:%s:%s:identity/example.com", region, account)},
		{action: "s3:GetObject", resource: bucket + inboxAt},
	} {
		if p.allows(t, r) {
			t.Errorf("the sender is allowed %s", r.action)
		}
	}
	smtp := m.outputs["smtp"].(map[string]any)
	if smtp["host"] != "email-smtp."+region+".amazonaws.com" || smtp["username"] == "" || smtp["password"] == "" {
		t.Errorf("smtp is %v", smtp)
	}
}
