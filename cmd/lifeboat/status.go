package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/dustin/go-humanize/english"
	"github.com/spf13/cobra"

	"lifeboat/config"
	"lifeboat/daemon"
	"lifeboat/journal"
	"lifeboat/policies"
	"lifeboat/repository"
	"lifeboat/target"
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

	Media       string     `json:"media"`
	Offsite     bool       `json:"offsite"`
	Lag         int64      `json:"lag_seconds"`  // since the first record that it lacks
	LockedUntil *time.Time `json:"locked_until"` // what the newest snapshot added
	LastCheck   *time.Time `json:"last_check"`   // of all of it
	LastDrill   *time.Time `json:"last_drill"`   // the last real restore from it that passed
	LocksLapse  *time.Time `json:"locks_lapse"`  // when the first lock on what is needed can lapse; null without locks
	lapsing     bool
}

type statusReport struct {
	Repository  string               `json:"repository"`
	Fingerprint string               `json:"fingerprint"`
	Verdict     string               `json:"verdict"`
	Sources     []sourceStatus       `json:"sources"`
	Copies      []copyStatus         `json:"copies"`
	Policies    []policyStatus       `json:"policies"`
	Drills      []daemon.DrillStatus `json:"drills"`
	Underway    []drillUnderway      `json:"drills_under_way"`  // with this state directory, those that were killed too
	IdentityOn  []string             `json:"identity_on_host"`  // policies that let this host read its own backups
	Foreign     string               `json:"foreign,omitempty"` // somebody else writes
	Unrecorded  int                  `json:"unrecorded"`        // what happened here and no record has yet
	Oldest      *time.Time           `json:"unrecorded_since"`
	Daemon      *daemon.Status       `json:"daemon"` // null where none runs
}

func (a *app) status() *cobra.Command {
	var watch bool
	var x access
	c := &cobra.Command{
		Use:   "status",
		Short: "Show the last backup of every source, the state of every copy, and what the daemon does",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if watch {
				return a.watch(c.Context())
			}
			before, _ := a.head() // than the copies, so that a commit meanwhile leaves none behind; without one they alone tell
			r, list, err := a.list(c.Context(), x, nil)
			if err != nil {
				return err
			}
			report := statusReport{Repository: r.Chain.Repository().String(), Verdict: "ok", Sources: []sourceStatus{}, Policies: []policyStatus{}}
			if report.Fingerprint, err = r.Fingerprint(); err != nil {
				return err
			}
			positions := a.positions(c.Context(), x, r)
			head := before.Seq // copies that were all cut back are behind, too
			for _, p := range positions {
				head = max(head, p.Position)
			}
			report.copies(positions, head)
			if known, err := a.head(); err == nil && known.Seq <= r.Chain.Len() && (known.Seq < r.Chain.Len() || journal.Hash(r.Chain.Entries()[known.Seq-1].Raw) != known.Hash) {
				report.Foreign = "the copies hold records that this host did not write: every backup will be refused; run `lifeboat backup` to see what to do"
			}
			if report.Foreign != "" {
				report.Verdict = "bad"
			}
			for _, s := range a.cfg.Sources {
				report.source(s.Name, list, positions, a.now())
			}
			a.details(c.Context(), &report, positions, r)
			a.drillsStatus(&report, r)
			if report.Underway, err = underway(a.cfg.StateDir); err != nil {
				return fmt.Errorf("look for drills under way: %w", err)
			}
			if slices.ContainsFunc(report.Underway, func(d drillUnderway) bool { return d.Killed }) {
				report.Verdict = "bad"
			}
			report.judge(a.cfg, positions)
			if report.Daemon, err = a.askDaemon(c.Context()); err != nil {
				return err
			}
			if report.Daemon != nil && report.Daemon.Trouble() != "" {
				report.Verdict = "bad"
			}
			return a.reported(report)
		},
	}
	c.Flags().StringVar(&x.identity, "identity", "", "identity `FILE`, which a drill host needs (default $LIFEBOAT_IDENTITY_FILE)")
	c.Flags().BoolVar(&watch, "watch", false, "show what the daemon does, until interrupted")
	return a.jsonFlag(c)
}

func (r *statusReport) copies(positions []*repository.Copy, head uint64) {
	for _, p := range positions {
		s := copyStatus{Target: p.Name, State: "complete", Records: p.Position, Behind: head - p.Position, Damaged: p.Damaged}
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

// details adds what is known of each copy beyond its state.
func (a *app) details(ctx context.Context, report *statusReport, positions []*repository.Copy, r *repository.Reader) {
	var newest []target.Object
	founded := r.Chain.Entries()[0].Time
	if all := r.Chain.Snapshots(); len(all) > 0 {
		last := all[len(all)-1]
		newest = append(slices.Clone(last.Objects), target.Object{Name: journal.Name(last.Seq)})
	}
	for i, p := range positions {
		s := &report.Copies[i]
		if t, ok := a.cfg.Target(p.Name); ok {
			s.Media, s.Offsite = mediaOf(t), t.Offsite
		}
		if at := repository.LastCheck(a.cfg.StateDir, p.Name).Time; !at.IsZero() {
			s.LastCheck = &at
		}
		if p.Err != nil {
			continue
		}
		if p.Position < r.Chain.Len() {
			s.Lag = int64(a.now().Sub(r.Chain.Entries()[p.Position].Time).Seconds())
		}
		s.LockedUntil = locked(ctx, p.Target, newest, a.now())
		if r, ok := p.Target.(target.Retainer); ok {
			at := repository.LocksLapse(a.cfg.StateDir, p.Name, r, founded)
			s.LocksLapse = &at
			if repository.LocksLapsing(at, r.Term(), a.now()) {
				report.Verdict, s.lapsing = "bad", true
			}
		}
	}
}

// recordSoon is how long what was noted may wait for a record.
const recordSoon = 10 * time.Minute

// drillsStatus adds what was drilled.
func (a *app) drillsStatus(report *statusReport, r *repository.Reader) {
	opaque := func(name string) string { return r.IDs.NewHasher().Source(name) }
	report.Drills = daemon.DrillsOf(a.cfg.StateDir, r.Chain, opaque, a.cfg, a.now())
	report.IdentityOn = []string{}
	for _, p := range a.cfg.Policies {
		if p.Drill.IdentityAccepted && !repository.IsDrillHost(a.cfg.StateDir) {
			report.IdentityOn = append(report.IdentityOn, p.Name)
		}
	}
	for _, d := range report.Drills {
		if d.Trouble() != "" {
			report.Verdict = "bad"
		}
	}
	if n, oldest := repository.Unrecorded(a.cfg.StateDir); n > 0 && a.now().Sub(oldest) > recordSoon { // or a command that runs now records it
		report.Unrecorded, report.Oldest, report.Verdict = n, &oldest, "bad"
	}
	for _, d := range repository.Drills(r.Chain, nil) {
		for i := range report.Copies {
			if c := &report.Copies[i]; d.Result == policies.Passed && d.Mode != string(config.DrillTier1) && d.Copy == opaque(repository.OpaqueTarget+c.Target) {
				c.LastDrill = &d.At
			}
		}
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
		fmt.Fprintln(w, "\nCOPY\tSTATE\tRECORDS\tBEHIND\tDAMAGED\tMEDIA\tLOCKED UNTIL\tLAST CHECK\tLAST DRILL")
		for _, c := range r.Copies {
			media := c.Media
			if c.Offsite {
				media += ", offsite"
			}
			fmt.Fprintf(w, "%s\t%s\t%d\t%d\t%d\t%s\t%s\t%s\t%s\n", c.Target, c.State, c.Records, c.Behind, c.Damaged, media, day(c.LockedUntil), day(c.LastCheck), day(c.LastDrill))
		}
		if len(r.Policies) > 0 {
			fmt.Fprintln(w, "\nPOLICY\tSOURCE\tCOPIES-MEDIA-OFFSITE-LOCKED\tWANTED\tVERDICT")
		}
		for _, p := range r.Policies {
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", p.Name, p.Source, p.Have, p.Want, p.Verdict)
		}
		if len(r.Drills) > 0 {
			fmt.Fprintln(w, "\nPOLICY\tLAST DRILL\tFROM\tRESULT\tRTO\tNEXT")
		}
		for _, d := range r.Drills {
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", d.Policy, day(d.Last), cmp.Or(d.Copy, "-"), cmp.Or(d.Result, "never drilled"), (time.Duration(d.RTO) * time.Millisecond).Round(time.Millisecond), day(d.Next))
		}
		if len(r.IdentityOn) > 0 {
			fmt.Fprintf(w, "\nidentity_on_host is accepted by %s: whoever gets into this host can read its backups\n", english.OxfordWordSeries(r.IdentityOn, "and"))
		}
		if len(r.Underway) > 0 {
			fmt.Fprintln(w, "\nDRILL\tPOLICY\tSOURCE\tFROM\tBY\tSTATE")
		}
		for _, d := range r.Underway {
			state := "under way for " + a.now().Sub(d.Since).Round(time.Second).String()
			if d.Killed {
				state = "killed"
			}
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", clean(d.ID), dash(clean(d.Policy)), dash(clean(d.Source)), dash(clean(d.Target)), dash(clean(d.By)), state)
		}
		if err := w.Flush(); err != nil {
			return err
		}
		if err := showDaemon(a.out, r.Daemon, a.now()); err != nil {
			return err
		}
	}
	var bad []string
	if r.Daemon != nil && r.Daemon.Trouble() != "" {
		bad = append(bad, r.Daemon.Trouble())
	}
	if r.Foreign != "" {
		bad = append(bad, r.Foreign)
	}
	for _, s := range r.Sources {
		if s.Last == nil {
			bad = append(bad, fmt.Sprintf("source %s was never backed up", s.Source))
		}
	}
	for _, p := range r.Policies {
		if len(p.Unmet) > 0 {
			bad = append(bad, fmt.Sprintf("policy %s is not met for %s: %s", p.Name, p.Source, strings.Join(p.Unmet, "; ")))
		}
	}
	if r.Unrecorded > 0 {
		bad = append(bad, fmt.Sprintf("%d things that happened here since %s are in no record yet: `lifeboat copy` records them once a target takes records", r.Unrecorded, day(r.Oldest)))
	}
	for _, d := range r.Drills {
		if trouble := d.Trouble(); trouble != "" {
			bad = append(bad, trouble)
		}
	}
	for _, d := range r.Underway {
		if trouble := d.trouble(); trouble != "" {
			bad = append(bad, trouble)
		}
	}
	for _, c := range r.Copies {
		switch {
		case c.Error != "":
			bad = append(bad, fmt.Sprintf("target %s is %s: %s", c.Target, c.State, c.Error))
		case c.lapsing:
			bad = append(bad, fmt.Sprintf("target %s: locks begin to lapse at %s: `lifeboat backup` renews them", c.Target, day(c.LocksLapse)))
		case c.State != "complete":
			bad = append(bad, fmt.Sprintf("target %s is %s", c.Target, c.State))
		}
	}
	if len(bad) > 0 {
		return verdictError{errors.New(strings.Join(bad, "\nlifeboat: "))}
	}
	return nil
}

// day is a time for people, to the minute.
func day(t *time.Time) string {
	if t == nil {
		return "-"
	}
	return t.UTC().Format("2006-01-02 15:04Z")
}
