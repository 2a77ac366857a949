package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/homing-mail/homing/fetcher/pgp"
)

func newPGPCommand(environ []string) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "pgp",
		Short: "Make OpenPGP keys for mail at rest, and look at what is encrypted",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newKeygenCommand(), newInspectCommand(environ))
	return cmd
}

// keygen is what `homing pgp keygen` was asked for.
type keygen struct{ out, name, email, passphraseFile string }

func newKeygenCommand() *cobra.Command {
	var k keygen
	cmd := &cobra.Command{
		Use:   "keygen",
		Short: "Make a key for mail at rest, and the public part of it",
		Long: "Make an OpenPGP key on curve 25519 that never expires, and write it into a file and its public part into\n" +
			"another, both armored. Files that are there already are left alone. GnuPG reads both.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return k.run(cmd.OutOrStdout()) },
	}
	cmd.Flags().StringVar(&k.out, "out", "homing-key.asc", "file for the secret key; the public one goes beside it, as in homing-key.pub.asc")
	cmd.Flags().StringVar(&k.name, "name", "homing", "name in the key")
	cmd.Flags().StringVar(&k.email, "email", "", "address in the key")
	cmd.Flags().StringVar(&k.passphraseFile, "passphrase-file", "", "file with a passphrase that is to protect the key; none: it needs no passphrase")
	return cmd
}

func (k *keygen) run(out io.Writer) error {
	passphrase, err := k.passphrase()
	if err != nil {
		return usageError{err}
	}
	if strings.Trim(k.out, ".") == "" || strings.HasSuffix(k.out, "/") {
		return usageError{errors.New("--out needs the name of a file to make")}
	}
	pair, err := pgp.Generate(k.name, k.email, passphrase)
	if err != nil {
		return usageError{err}
	}
	public := strings.TrimSuffix(k.out, ".asc") + ".pub.asc"
	if err := writePair(k.out, pair.Secret, public, pair.Public); err != nil {
		return err
	}
	return k.report(out, pair, public)
}

func (k *keygen) passphrase() (string, error) {
	if k.passphraseFile == "" {
		return "", nil
	}
	passphrase, err := readValue(k.passphraseFile)
	if err == nil && passphrase == "" {
		err = errors.New("there is no passphrase in it")
	}
	if err != nil {
		return "", fmt.Errorf("--passphrase-file %s: %w", quote(k.passphraseFile), err)
	}
	return passphrase, nil
}

// writePair makes both files or neither.
func writePair(secretPath string, secret []byte, publicPath string, public []byte) error {
	if err := writeNew(publicPath, public); err != nil {
		return taken(err)
	}
	if err := writeNew(secretPath, secret); err != nil {
		return errors.Join(taken(err), os.Remove(publicPath))
	}
	return nil
}

// taken says what to do about a file that is there already.
func taken(err error) error {
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%w; a key is never overwritten: give another name with --out", err)
	}
	return err
}

// report says what there is now, and what to do with it.
func (k *keygen) report(out io.Writer, pair *pgp.Pair, public string) error {
	secretPath, publicPath := absolute(k.out), absolute(public)
	var text strings.Builder
	fmt.Fprintf(&text, "%s\n    the secret key %s, subkey %s\n", k.out, pair.ID, pair.Subkey)
	fmt.Fprintf(&text, "%s\n    its public part\n\n", public)
	with := ""
	if k.passphraseFile != "" {
		with = ", and its passphrase elsewhere"
	}
	fmt.Fprintf(&text, "Put a copy of the secret key where nothing that happens to this machine or to the bucket reaches it%s.\n"+
		"Whoever loses it loses the mail that is encrypted to it; nobody can help then.\n\nFor homing to decrypt:\n"+
		"    HOMING_PGP_KEY_FILE=%s\n", with, secretPath)
	if k.passphraseFile != "" {
		fmt.Fprintf(&text, "    HOMING_PGP_PASSPHRASE_FILE=%s\n", absolute(k.passphraseFile))
	}
	fmt.Fprintf(&text, "For whatever encrypts, as contrib/lambda, or homing with HOMING_AFTER_DELIVERY=encrypt:\n"+
		"    HOMING_PGP_ENCRYPT_TO_FILE=%s\n", publicPath)
	_, err := io.WriteString(out, text.String())
	return err
}

// absolute is a path for another directory, as it is where there is none.
func absolute(path string) string {
	if whole, err := filepath.Abs(path); err == nil {
		return whole
	}
	return path
}
