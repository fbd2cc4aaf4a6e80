package main

import (
	"errors"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"lifeboat/journal"
	"lifeboat/repository"
)

// sourceStatus is one source in JSON.
type sourceStatus struct {
	Source  string            `json:"source"`
	Last    *snapshotRow      `json:"last_snapshot"`
	Age     int64             `json:"age_seconds"`
	Copies  map[string]string `json:"copies"`
	Count   int               `json:"snapshots"`
	Verdict string            `json:"verdict"`
}

// copyStatus is one copy in JSON.
type copyStatus struct {
	Target  string `json:"target"`
	State   string `json:"state"`
	Records uint64 `json:"records"`
	Behind  uint64 `json:"behind"`
	Damaged int    `json:"damaged_objects"`
	Error   string `json:"error,omitempty"`
}

type statusReport struct {
	Repository  string         `json:"repository"`
	Fingerprint string         `json:"fingerprint"`
	Verdict     string         `json:"verdict"`
	Sources     []sourceStatus `json:"sources"`
	Copies      []copyStatus   `json:"copies"`
	Foreign     string         `json:"foreign,omitempty"` // somebody else writes
}

func (a *app) status() *cobra.Command {
	c := &cobra.Command{
		Use:   "status",
		Short: "Show the last backup of every source and the state of every copy",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			x := access{}
			r, list, err := a.list(c.Context(), x, nil)
			if err != nil {
				return err
			}
			report := statusReport{Repository: r.Chain.Repository().String(), Verdict: "ok", Sources: []sourceStatus{}}
			if report.Fingerprint, err = r.Fingerprint(); err != nil {
				return err
			}
			positions := a.positions(c.Context(), x, r)
			var head uint64
			for _, p := range positions {
				head = max(head, p.Position)
			}
			if known, err := journal.ReadHead(a.cfg.StateDir); err == nil {
				head = max(head, known.Seq) // copies that were all cut back are behind, too
			}
			report.copies(a.cfg.StateDir, positions, head)
			if known, err := journal.ReadHead(a.cfg.StateDir); err == nil && known.Seq <= r.Chain.Len() && (known.Seq < r.Chain.Len() || journal.Hash(r.Chain.Entries()[known.Seq-1].Raw) != known.Hash) {
				report.Foreign = "the copies hold records that this host did not write: every backup will be refused; run `lifeboat backup` to see what to do"
			}
			if report.Foreign != "" {
				report.Verdict = "bad"
			}
			for _, s := range a.cfg.Sources {
				report.source(s.Name, list, positions, a.now())
			}
			return a.reported(report)
		},
	}
	return a.jsonFlag(c)
}

func (r *statusReport) copies(stateDir string, positions []*repository.Copy, head uint64) {
	host := repository.Host{Config: repository.Config{StateDir: stateDir}}
	for _, p := range positions {
		s := copyStatus{Target: p.Name, State: "complete", Records: p.Position, Behind: head - p.Position, Damaged: len(host.Damaged(p.Name))}
		switch {
		case p.Err != nil:
			s.State, s.Error = "unreachable", p.Err.Error()
		case s.Damaged > 0:
			s.State = "damaged"
		case s.Behind > 0:
			s.State = "behind"
		}
		if s.State != "complete" {
			r.Verdict = "bad"
		}
		r.Copies = append(r.Copies, s)
	}
}

func (r *statusReport) source(name string, list []repository.Snapshot, positions []*repository.Copy, now time.Time) {
	s := sourceStatus{Source: name, Copies: map[string]string{}, Verdict: "never backed up"}
	for _, snap := range list {
		if snap.Name != name {
			continue
		}
		row := snapshotJSON(snap, copyStates(positions, snap.Seq))
		s.Last, s.Copies, s.Verdict = &row, row.Copies, "ok"
		s.Age = int64(now.Sub(snap.Taken).Seconds())
		s.Count++
	}
	if s.Last == nil {
		r.Verdict = "bad"
	}
	r.Sources = append(r.Sources, s)
}

func (a *app) reported(r statusReport) error {
	if a.json {
		if err := a.printJSON(r); err != nil {
			return err
		}
	} else {
		w := tabwriter.NewWriter(a.out, 0, 0, 2, ' ', 0)
		fmt.Fprintln(w, "SOURCE\tLAST SNAPSHOT\tAGE\tSIZE\tREADS\tSNAPSHOTS\tVERDICT")
		for _, s := range r.Sources {
			if s.Last == nil {
				fmt.Fprintf(w, "%s\t-\t-\t-\t-\t0\t%s\n", s.Source, s.Verdict)
				continue
			}
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%.2f x\t%d\t%s\n", s.Source, s.Last.ID, humanize.RelTime(s.Last.Taken, s.Last.Taken.Add(time.Duration(s.Age)*time.Second), "", ""), humanize.IBytes(uint64(s.Last.Size)), s.Last.Reads, s.Count, s.Verdict)
		}
		fmt.Fprintln(w, "\nCOPY\tSTATE\tRECORDS\tBEHIND\tDAMAGED")
		for _, c := range r.Copies {
			fmt.Fprintf(w, "%s\t%s\t%d\t%d\t%d\n", c.Target, c.State, c.Records, c.Behind, c.Damaged)
		}
		if err := w.Flush(); err != nil {
			return err
		}
	}
	var bad []string
	if r.Foreign != "" {
		bad = append(bad, r.Foreign)
	}
	for _, s := range r.Sources {
		if s.Last == nil {
			bad = append(bad, fmt.Sprintf("source %s was never backed up", s.Source))
		}
	}
	for _, c := range r.Copies {
		switch {
		case c.Error != "":
			bad = append(bad, fmt.Sprintf("target %s is %s: %s", c.Target, c.State, c.Error))
		case c.State != "complete":
			bad = append(bad, fmt.Sprintf("target %s is %s", c.Target, c.State))
		}
	}
	if len(bad) > 0 {
		return verdictError{errors.New(strings.Join(bad, "\nlifeboat: "))}
	}
	return nil
}
