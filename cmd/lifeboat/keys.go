package main

import (
	"context"
	"errors"
	"fmt"
	"text/tabwriter"
	"time"

	"filippo.io/age"
	"github.com/dustin/go-humanize/english"
	"github.com/spf13/cobra"

	"lifeboat/crypto"
	"lifeboat/repository"
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
	c.AddCommand(a.jsonFlag(list), a.reseal(), a.rotate(), a.certify(), a.revoke())
	return c
}

// newKeys is a command that writes key files for the recipients in the configuration.
type newKeys struct {
	use, short, long, question, done, note string
	write                                  func(*repository.Host, context.Context, []age.Identity, []crypto.Recipient, string) error
}

func (a *app) reseal() *cobra.Command {
	return a.newKeys(newKeys{
		use: "reseal", short: "Seal the repository's keys anew, to the recipients in the configuration",
		long:     "Seals the repository's keys anew, to the recipients in the configuration. New recipients can then restore. Former ones who kept a copy of the old key files still can: resealing never revokes.",
		question: "Seal the keys to %s?", done: "the keys are sealed to %s\n",
		note:  "former recipients who kept the old key files can still open what they could before",
		write: (*repository.Host).Reseal,
	})
}

func (a *app) rotate() *cobra.Command {
	return a.newKeys(newKeys{
		use: "rotate", short: "Begin a new epoch: a new key for everything that is stored from now on",
		long:     "Begins a new epoch, and seals the keys of all epochs to the recipients in the configuration. Who is no recipient any more cannot read what is stored from now on. What was stored before stays as it is, under its own key, and snapshots go on sharing it: who kept the old key files can still read that.",
		question: "Begin a new epoch for %s?", done: "a new epoch begins, sealed to %s\n",
		note:  "what was stored before stays under the keys of its time: former recipients who kept the old key files can still open that",
		write: (*repository.Host).Rotate,
	})
}

func (a *app) newKeys(k newKeys) *cobra.Command {
	var x access
	var yes bool
	var reason string
	c := &cobra.Command{
		Use:   k.use,
		Short: k.short,
		Long:  k.long,
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			recipients, err := a.recipients()
			if err != nil {
				return err
			}
			ids, err := a.identities(x)
			if err != nil {
				return err
			}
			if len(ids) == 0 {
				return fmt.Errorf("%w: this needs an identity that opens the present keys: --identity FILE", crypto.ErrIdentity)
			}
			if err := a.confirm(yes, fmt.Sprintf(k.question, english.Plural(len(recipients), "recipient", ""))); err != nil {
				return err
			}
			h, err := a.host(c.Context())
			if err != nil {
				return err
			}
			err = k.write(h, c.Context(), ids, recipients, reason)
			if err == nil {
				_, err = fmt.Fprintf(a.out, k.done, english.Plural(len(recipients), "recipient", ""))
				a.note("%s", k.note)
				err = errors.Join(err, a.missed(h))
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
