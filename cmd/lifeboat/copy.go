package main

import (
	"errors"
	"fmt"
	"text/tabwriter"

	"github.com/dustin/go-humanize/english"
	"github.com/spf13/cobra"
)

// copyRow is what was brought to one copy, in JSON.
type copyRow struct {
	Target  string `json:"target"`
	Records uint64 `json:"records"`
	New     uint64 `json:"new_records"`
	Error   string `json:"error,omitempty"`
}

func (a *app) copyCommand() *cobra.Command {
	var to string
	c := &cobra.Command{
		Use:   "copy",
		Short: "Bring the copies up to date from each other",
		Long:  "Brings every copy that lags behind what the others have: the objects that its journal lacks, each verified on the way. Backups do this by themselves; it is for a target that was away.",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			h, err := a.host(c.Context())
			if err != nil {
				return err
			}
			return errors.Join(func() error {
				var only []string
				before := map[string]uint64{}
				for _, copied := range h.Copies {
					before[copied.Name] = copied.Position
					if copied.Name == to {
						only = append(only, to)
					}
				}
				if to != "" && only == nil {
					return usagef("there is no target %q in the configuration", to)
				}
				p := a.progress("copy")
				h.Progress = p.follow
				p.copied()
				err := h.Replicate(c.Context(), only...)
				p.done()
				if err != nil {
					return err
				}
				if n, err := h.Enter(c.Context()); err != nil {
					return err
				} else if n > 0 {
					a.note("%s of drill hosts entered", english.Plural(n, "record", ""))
				}
				rows := []copyRow{}
				for _, copied := range h.Copies {
					if to != "" && copied.Name != to {
						continue
					}
					row := copyRow{Target: copied.Name, Records: copied.Position, New: copied.Position - before[copied.Name]}
					if copied.Err != nil {
						row.Error = copied.Err.Error()
					}
					rows = append(rows, row)
				}
				return errors.Join(a.copied(rows), a.missed(h))
			}(), h.Close())
		},
	}
	c.Flags().StringVar(&to, "to", "", "bring only `TARGET` up to date")
	return a.jsonFlag(c)
}

func (a *app) copied(rows []copyRow) error {
	if a.json {
		return a.printJSON(rows)
	}
	w := tabwriter.NewWriter(a.out, 0, 0, 2, ' ', 0)
	for _, r := range rows {
		switch {
		case r.Error != "":
			fmt.Fprintf(w, "%s\tnot reached\n", r.Target)
		case r.New == 0:
			fmt.Fprintf(w, "%s\tup to date\t%s\n", r.Target, english.Plural(int(r.Records), "record", ""))
		default:
			fmt.Fprintf(w, "%s\tbrought up to date\t%s, %d of them new\n", r.Target, english.Plural(int(r.Records), "record", ""), r.New)
		}
	}
	return w.Flush()
}
