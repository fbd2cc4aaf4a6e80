package main

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/dustin/go-humanize/english"
	"github.com/spf13/cobra"

	"lifeboat/daemon"
	"lifeboat/repository"
	"lifeboat/restore"
)

// pruneRow is what retention says of one snapshot, in JSON.
type pruneRow struct {
	ID      string    `json:"id"`
	Source  string    `json:"source"`
	Taken   time.Time `json:"taken"`
	Keep    bool      `json:"keep"`
	Reasons []string  `json:"reasons"`
}

// pruneReport is all that retention says, and what was done, in JSON.
type pruneReport struct {
	Snapshots []pruneRow            `json:"snapshots"`
	Logs      map[string]int        `json:"log_objects"` // that no kept point needs, by source
	Done      *repository.Collected `json:"done"`        // null for a dry run
}

func (a *app) prune() *cobra.Command {
	var yes, dry bool
	c := &cobra.Command{
		Use:   "prune",
		Short: "Drop what retention does not keep",
		Long: "Shows of each snapshot whether the retention of its policy keeps it, and why, and drops the others. What nothing else needs is deleted a week later. " +
			"Nothing is dropped of a source that is in no policy, or whose policy has no retention.",
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			h, err := a.host(c.Context())
			if err != nil {
				return err
			}
			err = func() error {
				plan, err := h.Prunable(daemon.KeepOf(a.cfg, a.now()))
				if err != nil {
					return err
				}
				report := pruneJSON(h, plan)
				if !a.json {
					if err := a.pruned(report); err != nil {
						return err
					}
				}
				drop, logs := report.drops()
				if !dry && drop+logs > 0 {
					if err := a.confirm(yes, fmt.Sprintf("Drop %s and %s for ever?", english.Plural(drop, "snapshot", ""), english.Plural(logs, "piece of log", "pieces of log"))); err != nil {
						return err
					}
				}
				var left error
				if !dry {
					if err := daemon.RecordPolicies(c.Context(), h, a.cfg); err != nil {
						return err
					}
					got, err := h.Prune(c.Context(), plan)
					if err != nil {
						return err
					}
					report.Done = &got
					left = errors.Join(a.missed(h), a.left(got))
				}
				if a.json {
					return errors.Join(a.printJSON(report), left)
				}
				if report.Done != nil {
					a.collected(*report.Done)
				}
				return left
			}()
			return errors.Join(err, h.Close())
		},
	}
	f := c.Flags()
	f.BoolVar(&yes, "yes", false, "do not ask")
	f.BoolVar(&dry, "dry-run", false, "show what would be done, and do nothing")
	return a.jsonFlag(c)
}

func pruneJSON(h *repository.Host, plan []repository.Pruning) pruneReport {
	r := pruneReport{Snapshots: []pruneRow{}, Logs: map[string]int{}}
	taken := map[uint64]time.Time{}
	for _, e := range h.Chain().Snapshots() {
		taken[e.Seq] = e.Snapshot.Taken
	}
	for _, p := range plan {
		for _, d := range p.Decisions {
			r.Snapshots = append(r.Snapshots, pruneRow{restore.FormatID(d.Seq), p.Source, taken[d.Seq], d.Keep, d.Reasons})
		}
		r.Logs[p.Source] = len(p.Logs)
	}
	return r
}

// drops counts what is not kept.
func (r pruneReport) drops() (snapshots, logs int) {
	for _, s := range r.Snapshots {
		if !s.Keep {
			snapshots++
		}
	}
	for _, n := range r.Logs {
		logs += n
	}
	return snapshots, logs
}

// pruned shows every decision.
func (a *app) pruned(r pruneReport) error {
	w := tabwriter.NewWriter(a.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "ID\tSOURCE\tTAKEN\t\tWHY")
	for _, s := range r.Snapshots {
		what := "drop"
		if s.Keep {
			what = "keep"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", s.ID, s.Source, s.Taken.UTC().Format(restore.Time), what, clean(strings.Join(s.Reasons, "; ")))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	for _, source := range slices.Sorted(maps.Keys(r.Logs)) {
		if n := r.Logs[source]; n > 0 {
			fmt.Fprintf(a.out, "%s: %s that no kept point needs\n", source, english.Plural(n, "piece of log", "pieces of log"))
		}
	}
	return nil
}

// collected tells what became of what nothing needs any more.
func (a *app) collected(got repository.Collected) {
	if got.Compacted > 0 {
		fmt.Fprintf(a.out, "moved %s out of %s\n", humanize.IBytes(uint64(got.Moved)), english.Plural(got.Compacted, "half-empty pack", ""))
	}
	if got.Condemned+got.Logs > 0 {
		fmt.Fprintf(a.out, "%s that nothing else needs are deleted after %s\n", humanize.IBytes(uint64(got.Bytes)), got.SweepAt.Format(time.RFC3339))
	}
	if n := got.Swept + got.Orphans; n > 0 {
		fmt.Fprintf(a.out, "deleted %s that nothing needs\n", english.Plural(n, "object", ""))
	}
}
