package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"lifeboat/journal"
	"lifeboat/repository"
	"lifeboat/restore"
)

func (a *app) holds() *cobra.Command {
	c := &cobra.Command{
		Use:   "hold",
		Short: "Keep snapshots against retention and forget",
		Args:  cobra.NoArgs,
	}
	c.AddCommand(a.holdAdd(), a.holdRelease(), a.holdList())
	return c
}

func (a *app) holdAdd() *cobra.Command {
	var reason string
	c := &cobra.Command{
		Use:   "add SNAPSHOT|SOURCE",
		Short: "Hold one snapshot, or all snapshots of a source, those to come too, and its log",
		Long:  "Holds one snapshot, or all snapshots of a source, those to come too, and its log. Where a source has the name of a snapshot, snapshot:ID is the snapshot.",
		Args:  cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if reason == "" {
				return usagef("hold add needs --reason: whoever finds the hold in a year asks for it")
			}
			cfg, err := a.config()
			if err != nil {
				return err
			}
			_, source := cfg.Source(args[0])
			what := "source"
			seq, err := restore.ParseID(strings.TrimPrefix(args[0], "snapshot:"))
			if err != nil && !source {
				return usagef("%q is neither a snapshot nor a source of the configuration", args[0])
			}
			return a.withHost(c.Context(), func(h *repository.Host) (err error) {
				var id uint64
				if source {
					id, err = h.HoldSource(c.Context(), args[0], 0, reason)
				} else {
					what = "snapshot"
					id, err = h.HoldSnapshot(c.Context(), seq, reason)
				}
				if err != nil {
					return err
				}
				_, err = fmt.Fprintf(a.out, "hold %d: %s %s is kept until `lifeboat hold release %d`\n", id, what, strings.TrimPrefix(args[0], "snapshot:"), id)
				return errors.Join(err, a.missed(h))
			})
		},
	}
	c.Flags().StringVar(&reason, "reason", "", "`TEXT` for the audit log, where everybody can read it")
	return c
}

func (a *app) holdRelease() *cobra.Command {
	var yes bool
	var reason string
	c := &cobra.Command{
		Use:   "release HOLD",
		Short: "End a hold",
		Args:  cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			id, err := strconv.ParseUint(args[0], 10, 64)
			if err != nil {
				return usagef("%q is not the number of a hold: `lifeboat hold list` lists them", args[0])
			}
			return a.withHost(c.Context(), func(h *repository.Host) error {
				if err := a.confirm(yes, fmt.Sprintf("Release hold %d? Retention drops what nothing else keeps.", id)); err != nil {
					return err
				}
				if err := h.Release(c.Context(), id, reason); err != nil {
					return err
				}
				_, err := fmt.Fprintf(a.out, "released hold %d\n", id)
				return errors.Join(err, a.missed(h))
			})
		},
	}
	f := c.Flags()
	f.BoolVar(&yes, "yes", false, "do not ask")
	f.StringVar(&reason, "reason", "", "`TEXT` for the audit log, where everybody can read it")
	return c
}

// holdRow is a hold in JSON.
type holdRow struct {
	ID     uint64    `json:"id"`
	Time   time.Time `json:"time"`
	By     string    `json:"by"`
	What   string    `json:"what"`
	Reason string    `json:"reason"`
}

func (a *app) holdList() *cobra.Command {
	var x access
	c := &cobra.Command{
		Use:   "list",
		Short: "Show what is held, by whom and why",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			_, r, err := a.reader(c.Context(), x)
			if err != nil {
				return err
			}
			rows := []holdRow{}
			for _, e := range r.Chain.Holds() {
				rows = append(rows, holdRow{e.Seq, e.Time, e.By, a.held(r, e), e.Reason})
			}
			if a.json {
				return a.printJSON(rows)
			}
			w := tabwriter.NewWriter(a.out, 0, 0, 2, ' ', 0)
			fmt.Fprintln(w, "HOLD\tSINCE\tBY\tWHAT\tREASON")
			for _, row := range rows {
				fmt.Fprintf(w, "%d\t%s\t%s\t%s\t%s\n", row.ID, row.Time.UTC().Format(restore.Time), clean(row.By), row.What, clean(row.Reason))
			}
			return w.Flush()
		},
	}
	x.flags(c)
	return a.jsonFlag(c)
}

// held says what a hold keeps, by the source's name where this host knows it.
func (a *app) held(r *repository.Reader, e journal.Entry) string {
	what := object(r.Chain, e)
	cfg, err := a.config()
	if err != nil || e.Hold.Source == "" {
		return what
	}
	keys, err := repository.HostKeys(cfg.StateDir)
	if err != nil {
		return what // elsewhere than on the backup host
	}
	for _, s := range cfg.Sources {
		if keys.IDs.NewHasher().Source(s.Name) != e.Hold.Source {
			continue
		}
		if e.Hold.Through > 0 {
			return s.Name + " up to " + restore.FormatID(e.Hold.Through)
		}
		return s.Name
	}
	return what
}

// withHost does something with the repository open for writing.
func (a *app) withHost(ctx context.Context, do func(*repository.Host) error) error {
	h, err := a.host(ctx)
	if err != nil {
		return err
	}
	return errors.Join(do(h), h.Close())
}
