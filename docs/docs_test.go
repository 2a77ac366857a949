// Package docs tests what the documentation says of things outside the program:
// links, commands of the AWS CLI, permissions.
package docs

import (
	"encoding/json"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/homing-mail/homing/internal/moto"
	"github.com/homing-mail/homing/internal/neighbour"
)

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// pages are all Markdown files of the repository.
func pages(t *testing.T) (paths []string) {
	t.Helper()
	err := filepath.WalkDir("..", func(path string, entry fs.DirEntry, err error) error {
		hidden := strings.HasPrefix(entry.Name(), ".") && entry.Name() != ".." && entry.Name() != ".github"
		switch {
		case err != nil:
			return err
		case entry.IsDir() && (hidden || entry.Name() == "node_modules"):
			return filepath.SkipDir
		case filepath.Ext(path) == ".md":
			paths = append(paths, path)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(paths) < 10 {
		t.Fatalf("only %q were found", paths)
	}
	return paths
}

var (
	fence   = regexp.MustCompile("(?ms)^```.*?^```$|`[^`\n]*`")
	link    = regexp.MustCompile(`\]\(([^()\s]+)\)`)
	heading = regexp.MustCompile(`(?m)^#+ +(.*)$`)
	silent  = regexp.MustCompile(`[^\p{L}\p{N}\- _]`)
)

// anchors are what the headings of a page are linked to by, as GitHub makes them.
func anchors(text string) (all []string) {
	for _, found := range heading.FindAllStringSubmatch(regexp.MustCompile("(?ms)^```.*?^```$").ReplaceAllString(text, ""), -1) {
		all = append(all, strings.ReplaceAll(silent.ReplaceAllString(strings.ToLower(found[1]), ""), " ", "-"))
	}
	return all
}

// broken says what is wrong with a link in a page, or nothing.
func broken(page, target string) string {
	path, anchor, _ := strings.Cut(target, "#")
	if path == "" {
		path = page
	} else {
		path = filepath.Join(filepath.Dir(page), path)
	}
	text, err := os.ReadFile(path)
	if st, statErr := os.Stat(path); statErr == nil && st.IsDir() && anchor == "" {
		return ""
	}
	if err != nil {
		return err.Error()
	}
	if anchor != "" && !slices.Contains(anchors(string(text)), anchor) {
		return path + " has no such heading"
	}
	return ""
}

func TestLinks(t *testing.T) {
	seen := 0
	for _, page := range pages(t) {
		text := fence.ReplaceAllString(read(t, page), "")
		for _, found := range link.FindAllStringSubmatch(text, -1) {
			target := found[1]
			if regexp.MustCompile(`^[a-z]+:`).MatchString(target) {
				// Our own pages by their address, as alerts and the dashboard name them.
				ours, here := strings.CutPrefix(target, "https://github.com/homing-mail/homing/blob/main/")
				if !here {
					continue
				}
				target = filepath.Join(strings.Repeat("../", strings.Count(page, "/")-1), ours)
			}
			seen++
			if why := broken(page, target); why != "" {
				t.Errorf("%s links to %s: %s", page, found[1], why)
			}
		}
	}
	if seen < 50 {
		t.Errorf("only %d links were found", seen)
	}
	for _, wrong := range []string{"nowhere.md", "aws.md#nowhere", "#nowhere"} {
		if broken("README.md", wrong) == "" {
			t.Errorf("nothing is said of %s", wrong)
		}
	}
}

// Every page is in the index.
func TestIndex(t *testing.T) {
	index := read(t, "README.md")
	for _, page := range pages(t) {
		if name, ok := strings.CutPrefix(page, "../docs/"); ok && name != "README.md" && !strings.Contains(index, "("+name+")") {
			t.Errorf("the index does not name %s", name)
		}
	}
}

// commands are the shell commands of a page, in their order.
func commands(t *testing.T, page string) string {
	t.Helper()
	var all strings.Builder
	for _, found := range regexp.MustCompile("(?ms)^```sh\n(.*?)^```$").FindAllStringSubmatch(read(t, page), -1) {
		all.WriteString(found[1])
	}
	return all.String()
}

// statements are the JSON blocks of iam.md.
func statements(t *testing.T) (blocks []string) {
	t.Helper()
	for _, found := range regexp.MustCompile("(?ms)^```json\n(.*?)^```$").FindAllStringSubmatch(read(t, "iam.md"), -1) {
		blocks = append(blocks, found[1])
	}
	return blocks
}

// What is to be typed in can be typed in: the AWS CLI makes all of it at moto,
// and what it has made is as the pages say.
func TestAWSCommands(t *testing.T) {
	if testing.Short() {
		t.Skip("the AWS CLI takes two seconds for each of its commands")
	}
	bash, cli := neighbour.Program(t, "bash"), "/usr/bin/aws"
	if out, err := exec.CommandContext(t.Context(), cli, "--version").CombinedOutput(); err != nil || !strings.HasPrefix(string(out), "aws-cli/2") {
		neighbour.Missing(t, "the AWS CLI, version 2", "./test.sh installs it")
	}
	dir, server := t.TempDir(), moto.Start(t)
	if err := os.WriteFile(filepath.Join(dir, "homing-policy.json"), []byte(statements(t)[0]), 0o600); err != nil {
		t.Fatal(err)
	}
	// What moto does not know the CLI itself judges.
	script := `set -eu
aws() {
	case "$1 $2" in
	"sesv2 create-email-identity" | "ses set-active-receipt-rule-set") ` + cli + ` "$@" --generate-cli-skeleton output ;;
	*) ` + cli + ` --endpoint-url "$MOTO" "$@" ;;
	esac
}
` + commands(t, "aws.md") + commands(t, "sqs.md") + `
echo ==
aws ses describe-receipt-rule-set --rule-set-name homing
aws s3api get-bucket-policy --bucket $BUCKET --query Policy --output text
aws sns list-subscriptions
for subscription in $(aws sns list-subscriptions --query 'Subscriptions[].SubscriptionArn' --output text); do
	aws sns get-subscription-attributes --subscription-arn $subscription
done
aws sns get-topic-attributes --topic-arn $TOPIC
aws sqs get-queue-attributes --queue-url $QUEUE --attribute-names All
aws sqs get-queue-attributes --queue-url $DLQ --attribute-names All
`
	cmd := exec.CommandContext(t.Context(), bash, "-c", script)
	cmd.Dir = dir
	cmd.Env = []string{"MOTO=" + server.URL, "HOME=" + dir, "PATH=/usr/bin:/bin", "AWS_ACCESS_KEY_ID=test", "AWS_SECRET_ACCESS_KEY=test", "AWS_PAGER="}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s\n%s", err, script, out)
	}
	_, made, _ := strings.Cut(string(out), "\n==\n")
	for _, want := range []string{`"TlsPolicy": "Require"`, `"ObjectKeyPrefix": "in/"`, `"aws:SourceArn": "arn:aws:ses:eu-west-1:`,
		"https://mail.example.com/sns", "deadLetterTargetArn", "healthyRetryPolicy", `"MessageRetentionPeriod": "1209600"`,
		`maxReceiveCount`, `"Protocol": "sqs"`} {
		if !strings.Contains(made, want) && !strings.Contains(strings.ReplaceAll(made, `\"`, `"`), want) {
			t.Errorf("%q is missing in what was made:\n%s", want, made)
		}
	}
}

// The policy's blocks are JSON, and name what contrib/terraform names, which is
// compared with the requests in homing's code.
func TestPermissions(t *testing.T) {
	action := regexp.MustCompile(`"((?:s3|sqs|kms):[A-Za-z]+)"`)
	actions := func(text string) []string {
		all := map[string]bool{}
		for _, found := range action.FindAllStringSubmatch(text, -1) {
			all[found[1]] = true
		}
		return slices.Sorted(maps.Keys(all))
	}
	blocks := statements(t)
	for _, block := range blocks {
		if !json.Valid([]byte(block)) {
			t.Errorf("no JSON:\n%s", block)
		}
	}
	documented, allowed := actions(strings.Join(blocks, "\n")), actions(read(t, "../contrib/terraform/aws/iam.tf"))
	if !slices.Equal(documented, allowed) || len(allowed) < 10 {
		t.Errorf("iam.md has\n%q\ncontrib/terraform\n%q", documented, allowed)
	}
}
