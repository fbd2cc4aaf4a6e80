package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"filippo.io/age"
	"github.com/spf13/cobra"

	"lifeboat/restore"
)

func (a *app) keygen() *cobra.Command {
	var file string
	var classic bool
	c := &cobra.Command{
		Use:   "keygen",
		Short: "Make an identity; keep it offline, configure its recipient",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			secret, public, err := generate(classic)
			if err != nil {
				return fmt.Errorf("generate an identity: %w", err)
			}
			text := fmt.Sprintf("# created: %s\n# public key: %s\n%s\n", a.now().UTC().Format(time.RFC3339), public, secret)
			if classic {
				a.note("warning: a classic identity does not resist a future quantum computer; it is for software that cannot take a hybrid one")
			}
			if file == "" {
				_, err := fmt.Fprint(a.out, text)
				return err
			}
			f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
			if errors.Is(err, fs.ErrExist) {
				return fmt.Errorf("%w: write %s: it exists already: an identity is never overwritten; choose another name", restore.ErrRefused, file)
			}
			if err != nil {
				return fmt.Errorf("write the identity: %w", err)
			}
			_, err = f.WriteString(text)
			if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
				return fmt.Errorf("write the identity: %w", err)
			}
			_, err = fmt.Fprintln(a.out, public)
			a.note("%s holds the identity: without it nothing can be restored. Keep copies offline, and never on the backup host.", file)
			return err
		},
	}
	c.Flags().StringVarP(&file, "output", "o", "", "write the identity to `FILE` and print the recipient")
	c.Flags().BoolVar(&classic, "classic", false, "X25519 only, without post-quantum protection")
	return c
}

func generate(classic bool) (secret, public string, err error) {
	if classic {
		id, err := age.GenerateX25519Identity()
		if err != nil {
			return "", "", err
		}
		return id.String(), id.Recipient().String(), nil
	}
	id, err := age.GenerateHybridIdentity()
	if err != nil {
		return "", "", err
	}
	return id.String(), id.Recipient().String(), nil
}
