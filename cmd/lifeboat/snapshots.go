package main

import (
	"context"
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"lifeboat/journal"
	"lifeboat/repository"
	"lifeboat/restore"
)

// snapshotRow is a snapshot in JSON.
type snapshotRow struct {
	ID       string            `json:"id"`
	Source   string            `json:"source"`
	Engine   string            `json:"engine"`
	Kind     string            `json:"kind"`
	Taken    time.Time         `json:"taken"`
	From     string            `json:"from"`
	To       string            `json:"to"`
	Size     int64             `json:"size"`
	Read     int64             `json:"bytes_read"`
	Stored   int64             `json:"bytes_stored"`
	Duration int64             `json:"duration_ms"`
	Copies   map[string]string `json:"copies"`
}

func snapshotJSON(s repository.Snapshot, copies map[string]string) snapshotRow {
	return snapshotRow{restore.FormatID(s.Seq), s.Name, s.Engine, s.Kind, s.Taken, s.From, s.To, s.Size, s.Read, s.Stored, s.Duration, copies}
}

func (a *app) snapshots() *cobra.Command {
	var x access
	c := &cobra.Command{
		Use:   "snapshots [SOURCE]",
		Short: "List what can be restored",
		Args:  cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			name, list, err := a.list(c.Context(), x, args)
			if err != nil {
				return err
			}
			rows := []snapshotRow{}
			positions := a.positions(c.Context(), x, name)
			for _, s := range list {
				rows = append(rows, snapshotJSON(s, copyStates(positions, s.Seq)))
			}
			if a.json {
				return a.printJSON(rows)
			}
			w := tabwriter.NewWriter(a.out, 0, 0, 2, ' ', 0)
			fmt.Fprintln(w, "ID\tSOURCE\tTAKEN\tKIND\tSIZE\tSTORED\tCOPIES")
			for _, r := range rows {
				complete := 0
				for _, state := range r.Copies {
					if state == "complete" {
						complete++
					}
				}
				fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%d of %d\n", r.ID, r.Source, r.Taken.UTC().Format(time.RFC3339), r.Kind,
					humanize.IBytes(uint64(r.Size)), humanize.IBytes(uint64(r.Stored)), complete, len(r.Copies))
			}
			return w.Flush()
		},
	}
	x.flags(c)
	return a.jsonFlag(c)
}

// list opens a copy and lists its snapshots, of one source where args names it.
func (a *app) list(ctx context.Context, x access, args []string) (string, []repository.Snapshot, error) {
	name, r, err := a.reader(ctx, x)
	if err != nil {
		return "", nil, err
	}
	if err := a.unlock(ctx, x, r, false); err != nil {
		return "", nil, err
	}
	source := ""
	if len(args) > 0 {
		source = args[0]
	}
	list, err := r.Snapshots(ctx, source)
	return name, list, err
}

// positions finds out how far each copy is; from a URL there is only the one.
func (a *app) positions(ctx context.Context, x access, name string) []*repository.Copy {
	copies, err := a.copies(false)
	if err != nil || x.from != "" {
		_, t, err := a.locate(x)
		copies = []*repository.Copy{{Name: name, Target: t, Err: err}}
	}
	for _, c := range copies {
		if c.Err != nil {
			continue
		}
		chain := &journal.Chain{}
		if c.Err = journal.Extend(ctx, c.Target, chain); c.Err == nil {
			c.Position = chain.Len()
		}
	}
	return copies
}

// windowRow is the reach of one source in JSON.
type windowRow struct {
	Source   string    `json:"source"`
	Earliest time.Time `json:"earliest"`
	Latest   time.Time `json:"latest"`
	From     string    `json:"from"`
	To       string    `json:"to"`
	Gaps     []gap     `json:"gaps"`
}

type gap struct {
	From   time.Time `json:"from"`
	To     time.Time `json:"to"`
	Reason string    `json:"reason"`
}

func (a *app) window() *cobra.Command {
	var x access
	c := &cobra.Command{
		Use:   "window [SOURCE]",
		Short: "Show every interval that can be restored, and each gap with its reason",
		Args:  cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			_, list, err := a.list(c.Context(), x, args)
			if err != nil {
				return err
			}
			rows := windows(list)
			if a.json {
				return a.printJSON(rows)
			}
			for _, w := range rows {
				fmt.Fprintf(a.out, "%s: from %s to %s\n", w.Source, w.Earliest.UTC().Format(time.RFC3339), w.Latest.UTC().Format(time.RFC3339))
				for _, g := range w.Gaps {
					fmt.Fprintf(a.out, "  %s .. %s  %s\n", g.From.UTC().Format(time.RFC3339), g.To.UTC().Format(time.RFC3339), g.Reason)
				}
			}
			return nil
		},
	}
	x.flags(c)
	return a.jsonFlag(c)
}

// windows groups snapshots by source. Without a log there is a gap between any two of them.
func windows(list []repository.Snapshot) []windowRow {
	rows := []windowRow{}
	at := map[string]int{}
	last := map[string]int{} // snapshot in list
	for n, s := range list {
		i, ok := at[s.Name]
		if !ok {
			at[s.Name], last[s.Name] = len(rows), n
			rows = append(rows, windowRow{s.Name, s.Taken, s.Taken, s.From, s.To, []gap{}})
			continue
		}
		w := &rows[i]
		reason := "no log is captured: a time in here means the snapshot at its beginning"
		if s.Taken.Before(list[last[s.Name]].Taken) {
			reason = "the host's clock went back here"
		}
		w.Gaps = append(w.Gaps, gap{list[last[s.Name]].Taken, s.Taken, reason})
		w.To = s.To
		if s.Taken.Before(w.Earliest) {
			w.Earliest = s.Taken
		}
		if s.Taken.After(w.Latest) {
			w.Latest = s.Taken
		}
		last[s.Name] = n
	}
	return rows
}
