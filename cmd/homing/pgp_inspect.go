package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/homing-mail/homing/fetcher/pgp"
)

func newInspectCommand(environ []string) *cobra.Command {
	return &cobra.Command{
		Use:   "inspect FILE",
		Short: "Say which keys an encrypted object needs, and whether HOMING_PGP_KEY opens it",
		Long: "Say which keys an object needs that was stored encrypted with OpenPGP, how it is protected, and, if HOMING_PGP_KEY\n" +
			"is set, whether that opens it. The file is an object as it lies in the bucket; - is the standard input.",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			cfg, err := loadPartialConfig(environ)
			if err != nil {
				return err
			}
			octets, err := readObject(cmd.InOrStdin(), args[0], int64(cfg.MaxMessage))
			if err != nil {
				return err
			}
			return inspect(cmd.OutOrStdout(), cfg, octets)
		},
	}
}

// readObject reads a file, or the standard input.
func readObject(in io.Reader, path string, limit int64) ([]byte, error) {
	if path != "-" {
		f, err := os.Open(path)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		in = f
	}
	octets, err := io.ReadAll(io.LimitReader(in, limit+1))
	if err == nil && int64(len(octets)) > limit {
		err = fmt.Errorf("it is larger than HOMING_MAX_MESSAGE, %d bytes: homing holds such objects", limit)
	}
	return octets, err
}

// inspect writes what there is to say. Its error is why homing would not deliver
// the object as a message.
func inspect(out io.Writer, cfg *Config, octets []byte) error {
	if !pgp.Encrypted(octets) {
		return errors.New("this is no object that was stored encrypted with OpenPGP; homing delivers it as it is")
	}
	m, err := pgp.Inspect(octets)
	if err != nil {
		return err
	}
	keys, err := cfg.openKeys()
	if err != nil {
		return err
	}
	if keys == nil {
		_, err := fmt.Fprint(out, describe(m, len(octets), nil), "HOMING_PGP_KEY is not set, so nothing was tried on it\n")
		return err
	}
	if _, err := io.WriteString(out, describe(m, len(octets), keys.IDs())); err != nil {
		return err
	}
	plaintext, err := keys.Decrypt(octets, int64(cfg.MaxMessage), nil)
	if err != nil {
		return &pgpError{error: err, mend: mendPGP(decryptResult(err))}
	}
	_, err = fmt.Fprintf(out, "HOMING_PGP_KEY opens it: %d bytes\n", len(plaintext))
	return err
}

// describe says what a message shows without a key; ids are those that are here.
func describe(m *pgp.Message, size int, ids []string) string {
	form := "binary"
	if m.Armored {
		form = "armored"
	}
	protection := map[string]string{"none": "no integrity protection", "AEAD": "AEAD of RFC 9580", "OCB": "OCB of GnuPG"}
	var text strings.Builder
	fmt.Fprintf(&text, "OpenPGP message, %s, %d bytes, %s\n", form, size, cmp.Or(protection[m.Integrity], m.Integrity))
	for _, r := range m.Recipients {
		name, here := cmp.Or(r.Fingerprint, r.ID), ""
		switch {
		case r.ID == "":
			name = "hidden"
		case slices.Contains(ids, r.ID):
			here = ", which is in HOMING_PGP_KEY"
		}
		fmt.Fprintf(&text, "needs key %s%s\n", name, here)
	}
	if m.Passwords > 0 {
		fmt.Fprintf(&text, "can be opened with a password (%d), which homing never does\n", m.Passwords)
	}
	return text.String()
}
