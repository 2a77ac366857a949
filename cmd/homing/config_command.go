package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
)

// newConfigCommand makes `homing config`, which shows the variables and, as its
// error, what is wrong with them.
func newConfigCommand(environ []string) *cobra.Command {
	return &cobra.Command{
		Use:   "config",
		Short: "Show the variables, their meaning and present values",
		Long: "Show each variable with its present value and its meaning, secrets masked, then all that is wrong with them.\n" +
			"A value that is set has (set) after it, or the file it was read from; others are defaults.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			settings, _ := readEnvironment(variables(), environ)
			if err := showSettings(cmd.OutOrStdout(), variables(), settings); err != nil {
				return err
			}
			_, err := loadConfig(environ)
			return err
		},
	}
}

// showSettings writes NAME=value and, below it, the meaning and the default.
func showSettings(w io.Writer, known []variable, settings map[string]setting) error {
	var text strings.Builder
	for _, v := range known {
		s := settings[v.Name]
		fmt.Fprintf(&text, "%s=%s%s\n    %s\n", v.Name, v.shown(s), s.origin(v), v.Meaning)
		if s.given && v.Default != "" {
			fmt.Fprintf(&text, "    default: %s\n", v.Default)
		}
	}
	_, err := io.WriteString(w, text.String())
	return err
}

// shown is a value that can be shown: on one line, and nothing of a secret.
func (v variable) shown(s setting) string {
	switch {
	case v.Secret && s.given:
		return "******"
	case inURL.MatchString(s.value), strings.ContainsFunc(s.value, func(r rune) bool { return r <= ' ' || r >= 0x7f }):
		return quote(s.value)
	}
	return s.value
}

func (s setting) origin(v variable) string {
	switch {
	case s.file != "":
		return fmt.Sprintf("  (from %s%s, %s)", v.Name, fileSuffix, quote(s.file))
	case s.given:
		return "  (set)"
	}
	return ""
}
