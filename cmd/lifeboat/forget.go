package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"lifeboat/repository"
	"lifeboat/restore"
)

func (a *app) forget() *cobra.Command {
	var yes, dry bool
	var reason string
	c := &cobra.Command{
		Use:   "forget SNAPSHOT",
		Short: "Drop one snapshot",
		Long:  "Drops one snapshot. What nothing else needs is deleted a week later, by the forget or backup that comes then.",
		Args:  cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			seq, err := restore.ParseID(args[0])
			if err != nil {
				return usageError{err}
			}
			h, err := a.host(c.Context())
			if err != nil {
				return err
			}
			err = func() error {
				if err := h.Droppable(seq); err != nil {
					return err
				}
				if dry {
					_, err := fmt.Fprintf(a.out, "would forget %s\n", args[0])
					return err
				}
				if err := a.confirm(yes, fmt.Sprintf("Forget %s for ever?", args[0])); err != nil {
					return err
				}
				if err := h.Forget(c.Context(), seq, reason); err != nil {
					return err
				}
				got, err := h.Collect(c.Context())
				if err != nil {
					return fmt.Errorf("%s is forgotten, but what it used could not be collected: %w: the next forget tries again", args[0], err)
				}
				missed := errors.Join(a.missed(h), a.left(got))
				if a.json {
					return errors.Join(a.printJSON(got), missed)
				}
				fmt.Fprintf(a.out, "forgot %s\n", args[0])
				a.collected(got)
				return missed
			}()
			return errors.Join(err, h.Close())
		},
	}
	f := c.Flags()
	f.BoolVar(&yes, "yes", false, "do not ask")
	f.BoolVar(&dry, "dry-run", false, "show what would be done, and do nothing")
	f.StringVar(&reason, "reason", "", "`TEXT` for the audit log, where everybody can read it")
	return a.jsonFlag(c)
}

// left tells what a collection could not do. Objects that are protected from deletion are no failure.
func (a *app) left(c repository.Collected) (err error) {
	for _, l := range c.Left {
		a.note("%s", l)
		if l.Err != "" {
			err = verdictError{errors.New("it is done, but not everything that nothing needs could be deleted: the next forget tries again")}
		}
	}
	for _, name := range c.Damaged {
		a.note("DAMAGED: %s: its frames were left where they are", name)
		err = verdictError{errors.New("it is done, and damage was found: run `lifeboat check`")}
	}
	return err
}
