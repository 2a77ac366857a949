package terraform

import (
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

func TestFormat(t *testing.T) {
	s := open(t, "tofu")
	if out, err := s.try(t, ".", "fmt", "-check", "-recursive", "-diff"); err != nil {
		t.Errorf("%v\n%s\nrun: tofu fmt -recursive contrib/terraform", err, out)
	}
}

// examples are the directories of examples, and the variables that they need.
var examples = map[string][]string{
	"encrypted":  nil,
	"webhook":    {"-var=zone_id=0123456789abcdef0123456789abcdef"},
	"sqs":        nil,
	"subdomains": {"-var=zone_id=Z0123456789ABCDEFGHIJ"},
}

// Each example is applied as it is, is then complete, and says what homing
// itself takes.
func TestExamples(t *testing.T) {
	dirs, err := os.ReadDir("examples")
	if err != nil || len(dirs) != len(examples) {
		t.Fatalf("%d examples are tested of %d: %v", len(examples), len(dirs), err)
	}
	programs := []string{"tofu"}
	if _, err := exec.LookPath("terraform"); err == nil {
		programs = append(programs, "terraform")
	}
	for _, program := range programs {
		s := open(t, program)
		write(t, filepath.Join(s.dir, "examples/encrypted/homing-lambda.zip"), "not looked into")
		write(t, filepath.Join(s.dir, "examples/encrypted/me.asc"), string(read(t, publicKey(t))))
		for name, variables := range examples {
			t.Run(program+" "+name, func(t *testing.T) {
				dir := filepath.Join("examples", name)
				s.run(t, dir, "init")
				s.run(t, dir, "validate")
				s.run(t, dir, append([]string{"apply", "-auto-approve"}, variables...)...)
				s.run(t, dir, append([]string{"plan", "-detailed-exitcode"}, variables...)...)
				checkComplete(t, s.show(t, dir, "terraform.tfstate"))
			})
		}
	}
}

// checkComplete finds what the stand-in had to make up where somebody would
// build on it, and has homing read the environment.
func checkComplete(t *testing.T, m *made) {
	t.Helper()
	if text := fmt.Sprint(m.outputs); strings.Contains(text, " of a ") {
		t.Errorf("an output says what only AWS knows: %s", text)
	}
	for address, values := range m.resources {
		for _, name := range []string{"policy", "assume_role_policy", "redrive_policy", "topic_arn", "kms_key_arn", "content", "endpoint"} {
			if text, _ := values[name].(string); strings.Contains(text, " of a ") {
				t.Errorf("%s: %s is %q", address, name, text)
			}
		}
	}
	environment, _ := m.outputs["environment"].(string)
	accepted(t, strings.Split(strings.TrimSpace(environment), "\n"))
}

// accepted has homing read an environment, which refuses names and values that
// it does not know.
func accepted(t *testing.T, environment []string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), built.homing, "config")
	cmd.Env = environment
	if strings.Contains(fmt.Sprint(environment), "HOMING_AFTER_DELIVERY=encrypt") {
		cmd.Env = append(slices.Clone(environment), "HOMING_PGP_ENCRYPT_TO_FILE="+publicKey(t)) // which is the user's to give
	}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("homing config with %q: %v\n%s", environment, err, out)
	}
	for _, entry := range environment {
		if strings.HasPrefix(entry, "HOMING_") && !strings.Contains(string(out), "\n"+entry+"  (set)\n") {
			t.Errorf("homing config does not show %s", entry)
		}
	}
	if len(environment) < 4 {
		t.Errorf("only %q", environment)
	}
}

func TestEnvironment(t *testing.T) {
	w := newWorkbench(t)
	const at = "homing-mail-" + account + "-" + region
	for _, test := range []struct {
		vars
		want map[string]string // "-": not there
	}{
		{enough(nil), map[string]string{
			"AWS_REGION": region, "HOMING_LISTEN": "", "HOMING_WEBHOOK_PATH": "-", "HOMING_SQS_QUEUES": "-",
			"HOMING_SNS_TOPICS": "arn:aws:sns:" + region + ":" + account + ":homing",
			"HOMING_DLQ":        "https://sqs." + region + ".amazonaws.com/" + account + "/homing-dlq",
			"HOMING_BUCKETS":    at + "/inbox/", "HOMING_AFTER_DELIVERY": "keep"}},
		{enough(vars{"webhook_url": "https://mail.example.com"}), map[string]string{"HOMING_LISTEN": "-", "HOMING_WEBHOOK_PATH": "/"}},
		{enough(vars{"webhook_url": "https://mail.example.com:8443/a/sns", "name": "post"}), map[string]string{"HOMING_LISTEN": "-", "HOMING_WEBHOOK_PATH": "/a/sns"}},
		{enough(vars{"sqs": true, "after_delivery": "move:done/", "bucket": "my-mail", "prefix": "mail/in/"}), map[string]string{
			"HOMING_LISTEN": "", "HOMING_SQS_QUEUES": "https://sqs." + region + ".amazonaws.com/" + account + "/homing",
			"HOMING_BUCKETS": "my-mail/mail/in/,my-mail/done/", "HOMING_AFTER_DELIVERY": "move:done/"}},
		{enough(vars{"after_delivery": "encrypt"}), map[string]string{"HOMING_BUCKETS": at + "/inbox/", "HOMING_AFTER_DELIVERY": "encrypt"}},
		{enough(vars{"after_delivery": "encrypt:sealed/"}), map[string]string{"HOMING_BUCKETS": at + "/inbox/," + at + "/sealed/", "HOMING_AFTER_DELIVERY": "encrypt:sealed/"}},
	} {
		m := w.apply(t, test.vars)
		got := m.outputs["environment"].(map[string]any)
		for name, want := range test.want {
			if value, there := got[name]; there != (want != "-") || there && value != want {
				t.Errorf("%v: %s is %v, want %s", test.vars, name, value, want)
			}
		}
		var lines []string
		for _, name := range slices.Sorted(maps.Keys(got)) {
			lines = append(lines, name+"="+got[name].(string))
		}
		if file := m.outputs["environment_file"]; file != strings.Join(lines, "\n")+"\n" {
			t.Errorf("the file is %q, the map %q", file, lines)
		}
		accepted(t, lines)
	}
}

// All that is optional comes and goes without breaking the rest.
func TestOptions(t *testing.T) {
	w := newWorkbench(t)
	least := enough(vars{"activate_rule_set": false, "identity": "none"})
	bare := maps.Clone(w.apply(t, least).resources)
	all := w.apply(t, everything())
	for _, address := range []string{
		"aws_sns_topic_subscription.webhook[0]", "aws_sns_topic_subscription.sqs[0]", "aws_sqs_queue.mail[0]", "aws_kms_key.mail[0]",
		"aws_s3_bucket_versioning.mail[0]", "aws_ses_active_receipt_rule_set.mail[0]", "aws_iam_access_key.homing[0]", "aws_iam_access_key.smtp[0]",
	} {
		if bare[address] != nil || all.resources[address] == nil {
			t.Errorf("%s is there without being asked for, or is not", address)
		}
	}
	again := w.apply(t, least).resources
	if got, want := slices.Sorted(maps.Keys(again)), slices.Sorted(maps.Keys(bare)); !slices.Equal(got, want) {
		t.Errorf("after everything and back there are\n%q, want\n%q", got, want)
	}
	// The environment is right from the beginning, so that homing can be there.
	early := w.apply(t, enough(vars{"webhook_url": "https://mail.example.com/sns", "subscribe": false}))
	if path := early.outputs["environment"].(map[string]any)["HOMING_WEBHOOK_PATH"]; early.resources["aws_sns_topic_subscription.webhook[0]"] != nil || path != "/sns" {
		t.Errorf("without subscribe there is a subscription, or no path (%v)", path)
	}
	foreign := w.apply(t, enough(vars{"activate_rule_set": false, "rule_set": "theirs", "rule_after": "first", "identity": "role",
		"trust_policy": `{"Statement":[]}`, "create_access_key": false, "require_tls": false}))
	rule := foreign.resources["aws_ses_receipt_rule.mail"]
	if rule["rule_set_name"] != "theirs" || rule["after"] != "first" || rule["tls_policy"] != "Optional" || foreign.resources["aws_ses_receipt_rule_set.mail[0]"] != nil {
		t.Errorf("in another's rule set: %v", rule)
	}
	if foreign.outputs["role_arn"] != "arn:aws:iam::"+account+":role/homing" || foreign.outputs["credentials_file"] != "" {
		t.Errorf("with a role: %v", foreign.outputs)
	}
}

// everything is all options that go together.
func everything() vars {
	return enough(vars{"subdomains": true, "webhook_url": "https://mail.example.com/sns", "sqs": true, "kms": true, "versioning": true,
		"after_delivery": "move:delivered/", "expire_delivered_days": 30, "smtp_user": true})
}

// The rule, as SES is to have it.
func TestRule(t *testing.T) {
	w := newWorkbench(t)
	for _, test := range []struct {
		vars
		recipients []any
	}{
		{enough(nil), []any{"example.com"}},
		{enough(vars{"subdomains": true}), []any{".example.com", "example.com"}},
		{enough(vars{"recipients": []string{"alice@example.com", ".lists.example.com"}}), []any{".lists.example.com", "alice@example.com"}},
	} {
		m := w.apply(t, test.vars)
		rule := m.resources["aws_ses_receipt_rule.mail"]
		if !slices.Equal(rule["recipients"].([]any), test.recipients) || rule["scan_enabled"] != true || rule["tls_policy"] != "Require" || rule["enabled"] != true {
			t.Errorf("%v: the rule is %v", test.vars, rule)
		}
		action := rule["s3_action"].([]any)[0].(map[string]any)
		if action["topic_arn"] != m.outputs["topic_arn"] || action["bucket_name"] != m.outputs["bucket"] || action["object_key_prefix"] != "inbox/" || action["kms_key_arn"] != nil {
			t.Errorf("%v: the action is %v", test.vars, action)
		}
	}
}

// With the function SES does not notify the topic, for the message is not where
// it will be.
func TestLambda(t *testing.T) {
	values := encrypting(t, nil)
	m := newWorkbench(t).apply(t, values)
	rule := m.resources["aws_ses_receipt_rule.mail"]
	store, call := rule["s3_action"].([]any)[0].(map[string]any), rule["lambda_action"].([]any)[0].(map[string]any)
	function := m.resources["aws_lambda_function.encrypt[0]"]
	if store["topic_arn"] != nil || store["position"] != 1.0 || call["position"] != 2.0 || call["invocation_type"] != "Event" || call["function_arn"] != function["arn"] {
		t.Errorf("the rule is %v", rule)
	}
	environment := function["environment"].([]any)[0].(map[string]any)["variables"].(map[string]any)
	want := map[string]any{"HOMING_BUCKET": strings.TrimPrefix(bucket, "arn:aws:s3:::") + "/inbox/", "HOMING_ENCRYPTED_PREFIX": "encrypted/",
		"HOMING_TOPIC": topicARN, "HOMING_PGP_ENCRYPT_TO": values["encrypt_to"]}
	if !maps.Equal(environment, want) {
		t.Errorf("the function's environment is %v, want %v", environment, want)
	}
	code := string(read(t, "../lambda/config.go"))
	for name := range environment {
		if !strings.Contains(code, `"`+name+`"`) {
			t.Errorf("contrib/lambda knows no %s", name)
		}
	}
	if got, want := m.outputs["environment"].(map[string]any)["HOMING_BUCKETS"], "homing-mail-"+account+"-"+region; got != want+"/encrypted/,"+want+"/inbox/" {
		t.Errorf("HOMING_BUCKETS is %v", got)
	}
	permission := m.resources["aws_lambda_permission.ses[0]"]
	if permission["principal"] != "ses.amazonaws.com" || permission["source_account"] != account || permission["source_arn"] != ruleARN {
		t.Errorf("the function may be called by %v", permission)
	}
}

// What a resource needs to be there before it, though it does not name it: SES
// and SNS try, or silently put up with, what they are not allowed.
func TestOrder(t *testing.T) {
	w := newWorkbench(t)
	graph := map[string][]string{}
	edge := regexp.MustCompile(`"\[root\] (\S+)[^"]*" -> "\[root\] (\S+)[^"]*"`)
	for _, e := range edge.FindAllStringSubmatch(w.run(t, "aws", "graph"), -1) {
		graph[e[1]] = append(graph[e[1]], e[2])
	}
	needs := func(what, before string) bool {
		seen := map[string]bool{}
		var reach func(string) bool
		reach = func(node string) bool {
			if node == before || seen[node] {
				return node == before
			}
			seen[node] = true
			return slices.ContainsFunc(graph[node], reach)
		}
		return reach(what)
	}
	for what, before := range map[string][]string{
		"aws_ses_receipt_rule.mail": {"aws_s3_bucket_policy.mail", "aws_sns_topic_policy.mail", "aws_kms_key.mail", "aws_s3_bucket_ownership_controls.mail",
			"aws_lambda_permission.ses", "aws_iam_role_policy.lambda"},
		"aws_s3_bucket_policy.mail":            {"aws_s3_bucket_public_access_block.mail"},
		"aws_sns_topic_subscription.webhook":   {"aws_sqs_queue_policy.from_topic"},
		"aws_sns_topic_subscription.sqs":       {"aws_sqs_queue_policy.from_topic"},
		"aws_ses_active_receipt_rule_set.mail": {"aws_ses_receipt_rule.mail", "aws_sns_topic_subscription.webhook", "aws_sns_topic_subscription.sqs"},
	} {
		for _, b := range before {
			if !needs(what, b) {
				t.Errorf("%s does not wait for %s", what, b)
			}
		}
	}
	if needs("aws_s3_bucket_policy.mail", "aws_ses_receipt_rule.mail") || needs("aws_sns_topic.mail", "aws_ses_receipt_rule.mail") {
		t.Error("this test finds every way")
	}
}

// The stand-in must find what a provider would find, if not when a configuration
// is validated then when it is planned.
func TestTypingsBite(t *testing.T) {
	w, s := newWorkbench(t), open(t, "tofu")
	s.run(t, "examples/webhook", "init")
	module := w.args(t, "plan", everything())
	example := append([]string{"plan", "-no-color"}, examples["webhook"]...)
	for _, test := range []struct{ file, from, to, want string }{
		{"aws/rule.tf", "scan_enabled ", "scan_enable ", `An argument named "scan_enable" is not expected`},
		{"aws/rule.tf", "position          = 1\n", "", `The argument "position" is required`},
		{"aws/rule.tf", "s3_action {", "s3_actions {", `Blocks of type "s3_actions" are not expected`},
		{"aws/rule.tf", "enabled       = true", `enabled       = "on"`, `a bool is required`},
		{"aws/rule.tf", "recipients    = local.recipients", "recipients    = local.account", `set of string required`},
		{"aws/rule.tf", `"aws_ses_receipt_rule" "mail"`, `"aws_ses_receipt_rules" "mail"`, `does not support resource type "aws_ses_receipt_rules"`},
		{"aws/bucket.tf", "versioning_configuration {\n    status = \"Enabled\"\n  }", "versioning_configuration = \"Enabled\"", `An argument named "versioning_configuration" is not expected`},
		{"aws/bucket.tf", "versioning_configuration {\n    status = \"Enabled\"\n  }", "", `Insufficient versioning_configuration blocks`},
		{"aws/bucket.tf", "noncurrent_days = var", "days = var", `An argument named "days" is not expected`},
		{"aws/identity.tf", "[0].tokens[i]}._", ".tokens[i]}._", "Unsupported attribute"},
		{"aws/identity.tf", "next_signing_key_length", "signing_key_length", `"signing_key_length" is not expected`},
		{"aws/topic.tf", "aws_sqs_queue.dlq.arn", "aws_sqs_queue.dlq.queue_arn", `no argument, nested block, or exported attribute named "queue_arn"`},
		{"aws/topic.tf", "raw_message_delivery = false", "raw_delivery = false", `"raw_delivery" is not expected`},
		{"aws/iam.tf", "user  = aws_iam_user.smtp[0].name\n\n", "", `The argument "user" is required`},
		{"aws/main.tf", "current.account_id", "current.account", `named "account"`},
		{"aws/outputs.tf", "ses_smtp_password_v4", "ses_smtp_password_v5", `named "ses_smtp_password_v5"`},
		{"dns-cloudflare/main.tf", "content = each", "value = each", `"value" is not expected`},
		{"dns-cloudflare/main.tf", "ttl      = 300\n", "", `The argument "ttl" is required`},
		{"examples/webhook/main.tf", "default_tags {", "tags {", `"tags" are not expected`},
		{"examples/webhook/main.tf", "activate_rule_set = true", "#", `The argument "activate_rule_set" is required`},
	} {
		at, dir, args := s, "examples/webhook", example
		if strings.HasPrefix(test.file, "aws/") {
			at, dir, args = w.shop, "aws", module
		}
		path := filepath.Join(at.dir, test.file)
		right := string(read(t, path))
		wrong := strings.ReplaceAll(right, test.from, test.to)
		if wrong == right {
			t.Errorf("%s has no %q", test.file, test.from)
		}
		write(t, path, wrong)
		out, err := at.try(t, dir, args...)
		said := strings.Join(strings.Fields(strings.NewReplacer("│", "", "╷", "", "╵", "").Replace(out)), " ")
		if err == nil || !strings.Contains(said, test.want) {
			t.Errorf("%s with %q: %v, want %q in\n%s", test.file, test.to, err, test.want, out)
		}
		write(t, path, right)
	}
	w.run(t, "aws", module...)
	s.run(t, "examples/webhook", example...)
}
