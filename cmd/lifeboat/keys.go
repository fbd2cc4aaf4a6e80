package main

import (
	"errors"
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"lifeboat/crypto"
	"lifeboat/restore"
)

func (a *app) keys() *cobra.Command {
	c := &cobra.Command{Use: "keys", Short: "Epochs, and who can open them", Args: cobra.NoArgs}
	var x access
	list := &cobra.Command{
		Use:   "list",
		Short: "List the key files of the repository",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			_, r, err := a.reader(c.Context(), x)
			if err != nil {
				return err
			}
			rows := r.KeyFiles()
			if a.json {
				return a.printJSON(rows)
			}
			w := tabwriter.NewWriter(a.out, 0, 0, 2, ' ', 0)
			fmt.Fprintln(w, "KEY\tCLASS\tADDED\tRECORD\tOBJECT")
			for _, k := range rows {
				fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", k.What, k.Class, k.Added.Format(time.RFC3339), restore.FormatID(k.Record)[1:], k.Object)
			}
			return w.Flush()
		},
	}
	x.flags(list)
	c.AddCommand(a.jsonFlag(list), a.reseal())
	return c
}

func (a *app) reseal() *cobra.Command {
	var x access
	var yes bool
	var reason string
	c := &cobra.Command{
		Use:   "reseal",
		Short: "Seal the repository's keys anew, to the recipients in the configuration",
		Long:  "Seals the repository's keys anew, to the recipients in the configuration. New recipients can then restore. Former ones who kept a copy of the old key files still can: resealing never revokes.",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			recipients, err := a.recipients()
			if err != nil {
				return err
			}
			ids, err := identities(x)
			if err != nil {
				return err
			}
			if len(ids) == 0 {
				return fmt.Errorf("%w: resealing needs an identity that opens the present keys: --identity FILE", crypto.ErrIdentity)
			}
			if err := a.confirm(yes, fmt.Sprintf("Seal the keys to %d recipients?", len(recipients))); err != nil {
				return err
			}
			h, err := a.host(c.Context())
			if err != nil {
				return err
			}
			err = h.Reseal(c.Context(), ids, recipients, reason)
			if err == nil {
				_, err = fmt.Fprintf(a.out, "the keys are sealed to %d recipients\n", len(recipients))
				a.note("former recipients who kept the old key files can still open what they could before")
			}
			return errors.Join(err, h.Close())
		},
	}
	f := c.Flags()
	f.StringVar(&x.identity, "identity", "", "identity `FILE` that opens the present keys (default $LIFEBOAT_IDENTITY_FILE)")
	f.BoolVar(&yes, "yes", false, "do not ask")
	f.StringVar(&reason, "reason", "", "`TEXT` for the audit log, where everybody can read it")
	return c
}
