package main

import (
	"context"
	"errors"
	"fmt"

	"filippo.io/age"
	"github.com/spf13/cobra"

	"lifeboat/config"
	"lifeboat/crypto"
	"lifeboat/daemon"
	"lifeboat/repository"
)

func (a *app) drillEnrol() *cobra.Command {
	var x access
	c := &cobra.Command{
		Use:   "enrol NAME",
		Short: "Make this host one that drills on its own, and print the key that the backup host has to certify",
		Long: "Makes the state directory that of a drill host: one that reads the copies, restores from them, and keeps a signed journal of that, with a key of its own. It needs an\n" +
			"identity, best one of its own, and never the state directory of the backup host. Repeated, it prints the same key.",
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			cfg, err := a.config()
			if err != nil {
				return err
			}
			_, r, err := a.reader(c.Context(), x)
			if err != nil {
				return err
			}
			defer leave(r)
			if err := a.trustSheet(x, r); err != nil {
				return err
			}
			key, err := repository.Enrol(cfg.StateDir, r, args[0])
			if err != nil {
				return err
			}
			if _, err := fmt.Fprintln(a.out, key); err != nil {
				return err
			}
			a.note("On the backup host, with an identity that opens the repository:\n  lifeboat keys certify '%s' --identity FILE", key)
			a.note("For an identity of this host's own, which opens backups and no key that signs: make one with `lifeboat keygen`, add its recipient to keys.readers of the backup host's configuration, and run `lifeboat keys reseal` there.")
			return nil
		},
	}
	f := c.Flags()
	f.StringVar(&x.identity, "identity", "", "identity `FILE` in which the fingerprint of the repository is noted (default $LIFEBOAT_IDENTITY_FILE)")
	f.StringVar(&x.trust, "trust", "", "refuse any repository but the one with this `FINGERPRINT`")
	return c
}

// drillHost opens the state directory of a drill host; from is where who acts sits. closing closes it, and what it reads.
func (a *app) drillHost(ctx context.Context, x access, from string) (h *repository.DrillHost, closing func() error, err error) {
	_, r, err := a.reader(ctx, access{identity: x.identity, trust: x.trust})
	if err != nil {
		return nil, nil, err
	}
	copies := []*repository.Copy{}
	defer func() {
		if err != nil {
			daemon.CloseAll(copies)
			leave(r)
		}
	}()
	if err := a.unlock(ctx, x, r, true); err != nil {
		return nil, nil, err
	}
	c, err := a.answering(ctx)
	if err != nil {
		return nil, nil, err
	}
	copies, c.From = c.Copies, from
	if h, err = repository.OpenDrillHost(ctx, c, r); err != nil {
		return nil, nil, err
	}
	return h, func() error {
		err := h.Close()
		daemon.CloseAll(copies)
		leave(r)
		return err
	}, nil
}

// recordOnDrillHost records what waits in the journal of a drill host, and how its policies read.
func (a *app) recordOnDrillHost(ctx context.Context, x access) error {
	h, closing, err := a.drillHost(ctx, x, origin())
	if err != nil {
		return err
	}
	texts, err := config.PolicyTexts(a.cfg)
	if err == nil {
		err = h.RecordPolicies(ctx, texts)
	}
	if err == nil {
		err = h.Unheard()
	}
	for name, why := range h.Pushed {
		if err == nil && why != nil && !repository.ReadOnly(why) {
			a.note("lifeboat: warning: target %s does not take what this drill host records: %v", name, why)
		}
	}
	return errors.Join(err, closing())
}

func (a *app) certify() *cobra.Command {
	var reason string
	return a.keyCommand("certify KEY", "Let a drill host sign what it drills, by the root", "`lifeboat drill enrol` prints the KEY, on the drill host. Compare it there: whoever has this key can say what drills came to.", &reason,
		func(ctx context.Context, h *repository.Host, ids []age.Identity, key string) error {
			role, err := h.Certify(ctx, ids, key, reason)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(a.out, "certified: %s\n", role)
			return err
		})
}

func (a *app) revoke() *cobra.Command {
	var reason string
	return a.keyCommand("revoke NAME", "End that a drill host's key counts, by the root", "What the host recorded and the writer has entered stays; nothing more is entered. Its identity still opens what it opened: `lifeboat keys rotate` ends that for what is to come.", &reason,
		func(ctx context.Context, h *repository.Host, ids []age.Identity, name string) error {
			role, err := crypto.DrillRole(name)
			if err != nil {
				return usageError{err}
			}
			if _, err := h.Enter(ctx); err != nil { // what it did until now
				return err
			}
			if err := h.Revoke(ctx, ids, role, reason); err != nil {
				return err
			}
			_, err = fmt.Fprintf(a.out, "revoked: %s\n", role)
			return err
		})
}

// keyCommand is a command by which the root says something of a key.
func (a *app) keyCommand(use, short, long string, reason *string, do func(context.Context, *repository.Host, []age.Identity, string) error) *cobra.Command {
	var x access
	c := &cobra.Command{
		Use: use, Short: short, Long: long, Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			ids, err := a.identities(x)
			if err != nil || len(ids) == 0 {
				return errors.Join(err, fmt.Errorf("%w: this needs an identity that opens the root: --identity FILE", crypto.ErrIdentity))
			}
			h, err := a.host(c.Context())
			if err != nil {
				return err
			}
			err = do(c.Context(), h, ids, args[0])
			if err == nil {
				err = a.missed(h)
			}
			return errors.Join(err, h.Close())
		},
	}
	c.Flags().StringVar(&x.identity, "identity", "", "identity `FILE` that opens the root (default $LIFEBOAT_IDENTITY_FILE)")
	c.Flags().StringVar(reason, "reason", "", "`TEXT` for the audit log, where everybody can read it")
	return c
}
