package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/spf13/cobra"

	"github.com/homing-mail/homing/courier"
	"github.com/homing-mail/homing/mailcow"
)

func newMailcowAliasesCommand(environ []string) *cobra.Command {
	var flags mailcowFlags
	cmd := &cobra.Command{
		Use:   "mailcow-aliases",
		Short: "Write recipient rules from the aliases of a mailcow",
		Long: "Ask mailcow's API for its domains, mailboxes and aliases, and write what they mean as recipient rules into a file\n" +
			"that homing reads as HOMING_RECIPIENTS_FILE. The file is replaced at once and only when all was read and made\n" +
			"sense; nothing new leaves it untouched. Run it every few minutes.\n\n" +
			"Variables for what no flag says: MAILCOW_URL, MAILCOW_API_KEY or MAILCOW_API_KEY_FILE (a read-only key will do),\n" +
			"HOMING_RECIPIENTS_FILE.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			task, err := flags.task(environ, nil)
			if err != nil {
				return err
			}
			return task.run(cmd.Context(), cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	cmd.Flags().StringVar(&flags.url, "url", "", "where mailcow is, as in https://mail.example.com")
	cmd.Flags().StringVar(&flags.keyFile, "key-file", "", "file with a key of mailcow's API")
	cmd.Flags().StringVar(&flags.to, "to", "", "file to write the rules to")
	cmd.Flags().StringVar(&flags.before, "before", "", "file with rules of your own, which are put before mailcow's")
	cmd.Flags().BoolVar(&flags.dryRun, "dry-run", false, "print the rules and write nothing")
	cmd.Flags().BoolVar(&flags.force, "force", false, "write also when most rules would go, or over a file that this command did not write")
	return cmd
}

// mailcowFlags are the command's flags as they were given.
type mailcowFlags struct {
	url, keyFile, to, before string
	dryRun, force            bool
}

// mailcowTask is what is to be done.
type mailcowTask struct {
	client *mailcow.Client
	from   string
	own    string // rules that come first
	file   recipientsFile
	dryRun bool
}

// task judges the flags and the variables; transport is nil but for tests.
func (f mailcowFlags) task(environ []string, transport http.RoundTripper) (*mailcowTask, error) {
	given := asMap(environ)
	t := &mailcowTask{
		from:   cmp.Or(f.url, given["MAILCOW_URL"]),
		file:   recipientsFile{path: cmp.Or(f.to, given["HOMING_RECIPIENTS_FILE"]), force: f.force},
		dryRun: f.dryRun,
	}
	if f.keyFile != "" {
		given["MAILCOW_API_KEY"], given["MAILCOW_API_KEY_FILE"] = "", f.keyFile
	}
	key, err := variable{Name: "MAILCOW_API_KEY"}.read(given)
	switch {
	case err != nil:
		return nil, usageError{err}
	case t.from == "" || !key.given:
		return nil, usageError{errors.New("mailcow-aliases needs mailcow's address and a key: --url or MAILCOW_URL, --key-file or MAILCOW_API_KEY_FILE")}
	case t.file.path == "" && !f.dryRun:
		return nil, usageError{errors.New("mailcow-aliases needs a file to write to: --to or HOMING_RECIPIENTS_FILE; or --dry-run")}
	}
	if t.client, err = mailcow.New(t.from, key.value, transport); err != nil {
		return nil, usageError{err}
	}
	if f.before != "" {
		if t.own, err = readValue(f.before); err != nil {
			return nil, usageError{fmt.Errorf("--before %s: %w", quote(f.before), err)}
		}
	}
	if _, err := courier.ParseRules(t.own); err != nil {
		return nil, usageError{fmt.Errorf("--before %s: %w", quote(f.before), err)}
	}
	return t, nil
}

// run reads everything, then writes.
func (t *mailcowTask) run(ctx context.Context, out, warn io.Writer) error {
	directory, err := t.client.Read(ctx)
	if err != nil {
		return fmt.Errorf("%w; the rules stay as they were", err)
	}
	rules, warnings := directory.Rules()
	for _, warning := range warnings {
		fmt.Fprintln(warn, "warning:", clean(warning))
	}
	text, err := t.compose(rules)
	if err != nil {
		return fmt.Errorf("%w; the rules stay as they were", err)
	}
	if t.dryRun {
		_, err := io.WriteString(out, text)
		return err
	}
	done, err := t.file.replace(text)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(out, "%s: %s\n%s: %s\n", t.from, directory, t.file.path, done)
	return err
}

// compose writes the rules down, and reads them again as homing will: what does
// not come out as it went in is not written.
func (t *mailcowTask) compose(rules []mailcow.Rule) (string, error) {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n# from %s: what is changed here is lost, --before adds rules of your own.\n", recipientsMark, t.from)
	if t.own != "" {
		fmt.Fprintf(&b, "%s\n", strings.TrimRight(t.own, "\n"))
	}
	generated := new(strings.Builder)
	for _, rule := range rules {
		fmt.Fprintf(generated, "%s=%s\n", rule.Pattern, strings.Join(rule.Mailboxes, " "))
	}
	parsed, err := courier.ParseRules(generated.String())
	if err != nil {
		return "", err
	}
	for _, rule := range rules {
		if mapped := parsed.Map(rule.Pattern); strings.Join(mapped, " ") != strings.Join(rule.Mailboxes, " ") {
			return "", fmt.Errorf("the rule for %s would mean %q, not %q", rule.Pattern, mapped, rule.Mailboxes)
		}
	}
	if b.WriteString(generated.String()); b.Len() > maxValueFile {
		return "", fmt.Errorf("the rules have %d bytes, and homing reads %d of a file", b.Len(), maxValueFile)
	}
	return b.String(), nil
}

// asMap has the variables of an environment by name.
func asMap(environ []string) map[string]string {
	given := make(map[string]string, len(environ))
	for _, entry := range environ {
		name, value, _ := strings.Cut(entry, "=")
		given[name] = value
	}
	return given
}
