package main

import (
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"
)

func (a *app) audit() *cobra.Command {
	c := &cobra.Command{Use: "audit", Short: "The signed log of who did what", Args: cobra.NoArgs}
	c.AddCommand(a.auditLog(), a.auditVerify(), a.auditCheckpoint(), a.auditProve(), a.auditDocument(), a.auditClock())
	return c
}

func (a *app) auditClock() *cobra.Command {
	var yes bool
	var reason string
	c := &cobra.Command{
		Use:   "clock",
		Short: "Accept that the journal's clock was wrong, and go on with the host's",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			h, err := a.host(c.Context())
			if err != nil {
				return err
			}
			err = a.confirm(yes, fmt.Sprintf("The journal's time is %s, the host's %s. Is the host's right?", h.Chain().Time().Format(time.RFC3339), a.now().UTC().Format(time.RFC3339)))
			if err == nil {
				err = h.AcceptClock(c.Context(), reason)
			}
			return errors.Join(err, h.Close())
		},
	}
	c.Flags().BoolVar(&yes, "yes", false, "do not ask")
	c.Flags().StringVar(&reason, "reason", "", "`TEXT` for the audit log, where everybody can read it")
	return c
}
