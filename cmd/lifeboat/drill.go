package main

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/dustin/go-humanize/english"
	"github.com/spf13/cobra"

	"lifeboat/config"
	"lifeboat/daemon"
	"lifeboat/evidence"
	"lifeboat/repository"
	"lifeboat/restore"
)

func (a *app) drills() *cobra.Command {
	c := &cobra.Command{Use: "drill", Short: "Prove that backups restore, and show the proof", Args: cobra.NoArgs}
	c.AddCommand(a.drillRun(), a.drillList(), a.drillShow(), a.drillVerify(), a.drillReview(), a.drillBundle(), a.drillEnrol())
	return c
}

func (a *app) drillRun() *cobra.Command {
	var x access
	var q drillRequest
	var mode, source string
	c := &cobra.Command{
		Use:   "run POLICY",
		Short: "Restore, start and ask a database now, in isolation, and sign what came of it",
		Long: "Restores a database of the policy from one copy into a directory of its own, starts it cut off from everything, asks it what the policy says, measures every\n" +
			"phase, removes it again, and signs a report. Production is not touched. Exit code 3 means that the drill failed or stayed inconclusive.",
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			cfg, err := a.config()
			if err != nil {
				return err
			}
			if q.rule, err = policyNamed(cfg, args[0]); err != nil {
				return err
			}
			if q.mode = q.rule.Drill.Mode; mode != "" {
				q.mode = config.DrillMode(mode)
			}
			if !slices.Contains([]config.DrillMode{config.DrillTier1, config.DrillRestore, config.DrillFull}, q.mode) {
				return usagef("--mode %q: expected tier1, restore or full", mode)
			}
			if q.at != "" {
				if _, err := restore.ParsePoint(q.at); err != nil {
					return usageError{err}
				}
			}
			if _, ok := cfg.Target(q.target); q.target != "" && !ok {
				return usagef("there is no target %q in the configuration", q.target)
			}
			if _, err := seedOf(q.seed); err != nil {
				return err
			}
			if q.database, err = drillSource(cfg, q.rule, source); err != nil {
				return err
			}
			a.unlimited = true // as a restore is
			return a.drillNow(c.Context(), x, q)
		},
	}
	f := c.Flags()
	f.StringVar(&x.identity, "identity", "", "identity `FILE` that opens the repository (default $LIFEBOAT_IDENTITY_FILE)")
	f.StringVar(&x.trust, "trust", "", "refuse any repository but the one with this `FINGERPRINT`")
	f.StringVar(&mode, "mode", "", "`MODE`: tier1 decrypts and hashes only, restore starts the database, full brings the policy's files too (default: as the policy says)")
	f.StringVar(&source, "source", "", "the `DATABASE` of the policy (default: the one whose last drill is the oldest)")
	f.StringVar(&q.at, "at", "", "`POINT` to restore, as of lifeboat restore (default: as the policy selects)")
	f.StringVar(&q.target, "from", "", "the `TARGET` to restore from (default: as the policy says)")
	f.StringVar(&q.seed, "seed", "", "draw with this `SEED`, 32 hex digits of an earlier report, instead of a new one")
	f.StringVar(&q.reason, "reason", "", "`TEXT` for the report and the audit log, where everybody can read it")
	return a.jsonFlag(c)
}

// policyNamed finds a policy of the configuration.
func policyNamed(cfg *config.Config, name string) (config.Policy, error) {
	var names []string
	for _, p := range cfg.Policies {
		if p.Name == name {
			return p, nil
		}
		names = append(names, p.Name)
	}
	return config.Policy{}, usagef("there is no policy %q in the configuration, which has %s", name, english.OxfordWordSeries(append(names, "no other"), "and"))
}

// drillSource is the database that somebody names, or the policy; empty where it is that whose turn it is.
func drillSource(cfg *config.Config, p config.Policy, name string) (string, error) {
	all := daemon.Databases(cfg, p)
	name = cmp.Or(name, p.Drill.Source)
	switch {
	case len(all) == 0:
		return "", usagef("policy %s has no database: there is nothing to start in a snapshot of files", p.Name)
	case name != "" && !slices.Contains(all, name):
		return "", usagef("policy %s has no database %q: it has %s", p.Name, name, strings.Join(all, ", "))
	}
	return name, nil
}

// recordFirst and recordLast are how long a drill waits for targets that take records, before it begins and once it has its report: it needs neither.
const (
	recordFirst = 30 * time.Second
	recordLast  = time.Minute
)

// drillNow makes a drill that somebody asked for, and says what came of it.
func (a *app) drillNow(ctx context.Context, x access, q drillRequest) error {
	dead, err := a.died(ctx)
	for _, d := range dead {
		a.note("lifeboat: warning: drill %s was killed: it is reported as failed", d.ID)
	}
	if err != nil {
		return err
	}
	soon, cancel := context.WithTimeout(ctx, recordFirst)
	if err := a.recordNoted(soon, x); err != nil { // by which policy it goes, before it
		a.note("lifeboat: warning: the policies in use could not be recorded: %v", err)
	}
	cancel()
	d, err := a.drill(ctx, x, q)
	if err != nil {
		return err
	}
	soon, cancel = context.WithTimeout(ctx, recordLast)
	d.recorded = a.recordNoted(soon, x)
	cancel()
	a.unrecorded("report", d.recorded)
	if a.json {
		err = a.printJSON(d.Report)
	} else {
		err = a.summary(d)
	}
	if err == nil && d.Result != evidence.Pass {
		err = verdictError{fmt.Errorf("the drill of %s ended with the result: %s", d.Policy.Source, d.Result)}
	}
	return err
}

// unrecorded warns that something is kept on this host alone.
func (a *app) unrecorded(what string, err error) {
	next := "the next backup or `lifeboat copy`"
	if repository.IsDrillHost(a.cfg.StateDir) {
		next = "the next drill, or the daemon,"
	}
	if err != nil {
		a.note("lifeboat: warning: the %s is kept here and on no copy yet: %s records it: %v", what, next, err)
	}
}

// summary tells people what a drill came to.
func (a *app) summary(d *drilled) error {
	r := d.Report
	w := tabwriter.NewWriter(a.out, 0, 0, 2, ' ', 0)
	ms := func(n int64) string {
		return (time.Duration(n) * time.Millisecond).Round(10 * time.Millisecond).String()
	}
	fmt.Fprintf(w, "RESULT\t%s\n", strings.ToUpper(string(r.Result)))
	fmt.Fprintf(w, "drill\t%s, %s of %s from %s\n", r.ID, r.Selection.Mode, r.Policy.Source, cmp.Or(r.Backup.Copy.Target, "no copy"))
	if r.Point.Requested == "" {
		fmt.Fprintf(w, "point\t%s: none was found\n", r.Selection.Algorithm)
	} else {
		fmt.Fprintf(w, "point\t%s: %s, %s: %s\n", r.Selection.Algorithm, r.Point.Requested, clean(r.Point.Reached), r.Point.Verdict)
	}
	if r.RTO.Actual > 0 {
		fmt.Fprintf(w, "RTO\t%s of %s: %s\n", ms(r.RTO.Actual), ms(r.RTO.Target), r.RTO.Verdict)
	} else {
		fmt.Fprintf(w, "RTO\tnot measured; %s is promised\n", ms(r.RTO.Target))
	}
	if r.RPO.Target > 0 {
		fmt.Fprintf(w, "RPO\t%s of %s: %s\n", ms(r.RPO.Actual), ms(r.RPO.Target), r.RPO.Verdict)
	} else {
		fmt.Fprintf(w, "RPO\t%s\n", ms(r.RPO.Actual))
	}
	if p := r.Projection; p != nil {
		fmt.Fprintf(w, "projected\t%s for production, from %s (%s to %s)\n", ms(p.Duration), p.Copy, ms(p.Low), ms(p.High))
	}
	for _, c := range r.Checks {
		fmt.Fprintf(w, "%s\t%s: %s\n", clean(c.ID), c.Verdict, clean(c.Observed))
		if c.Verdict != evidence.Pass && c.Why != "" {
			fmt.Fprintf(w, "\t%s\n", cleanLines(c.Why))
		}
	}
	for _, e := range r.Errors {
		fmt.Fprintf(w, "error\t%s\n", cleanLines(e))
	}
	fmt.Fprintf(w, "report\t%s: `lifeboat drill show %s --html FILE`\n", d.digest, r.ID)
	if slices.ContainsFunc(r.Checks, func(c evidence.Check) bool {
		return c.Verdict == evidence.Fail && (c.ID == "inventory" || c.ID == "counts")
	}) {
		a.note("If that was done on purpose, somebody else than you says so with `lifeboat drill review %s --as NAME --note WHY`: the next drill compares with this one then.", r.ID)
	}
	return w.Flush()
}

// cleanLines is a text of several lines in a table.
func cleanLines(s string) string {
	lines := strings.Split(s, "\n")
	for i := range lines {
		lines[i] = clean(lines[i])
	}
	return strings.Join(lines, "\n\t")
}

// drillRow is a drill of the journal in JSON.
type drillRow struct {
	Report   string     `json:"report_sha256"`
	Record   uint64     `json:"record"` // 0: not recorded yet
	At       time.Time  `json:"at"`
	Source   string     `json:"source"`
	Copy     string     `json:"copy"`
	Mode     string     `json:"mode"`
	Snapshot string     `json:"snapshot"`
	Due      *time.Time `json:"due"`
	Missed   int        `json:"missed"`
	RTO      int64      `json:"rto_ms"`
	RPO      int64      `json:"rpo_ms"`
	Result   string     `json:"result"`
	Host     string     `json:"host"` // role of the drill host that made it; empty: the backup host
}

func (a *app) drillList() *cobra.Command {
	var x access
	c := &cobra.Command{
		Use:   "list",
		Short: "List the drills that the journal knows, and what they came to",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			r, all, err := a.knownDrills(c.Context(), x)
			if err != nil {
				return err
			}
			defer leave(r)
			rows := []drillRow{}
			names := a.drillNames(r)
			for _, d := range all {
				row := drillRow{Report: d.Report, At: d.At.UTC(), Source: names(d.Source), Copy: names(d.Copy), Mode: d.Mode, Due: d.Due, Missed: len(d.Missed), RTO: d.RTO, RPO: d.RPO, Result: d.Result, Host: string(d.Host)}
				if d.Entry != nil {
					row.Record = d.Entry.Seq
				}
				if d.Snapshot > 0 {
					row.Snapshot = restore.FormatID(d.Snapshot)
				}
				rows = append(rows, row)
			}
			if a.json {
				return a.printJSON(rows)
			}
			w := tabwriter.NewWriter(a.out, 0, 0, 2, ' ', 0)
			fmt.Fprintln(w, "REPORT\tTIME\tSOURCE\tCOPY\tMODE\tSNAPSHOT\tRTO\tRPO\tMISSED\tHOST\tRESULT")
			for _, row := range rows {
				fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%d\t%s\t%s\n", row.Report[:12], row.At.Format(time.RFC3339), row.Source, row.Copy, row.Mode, row.Snapshot,
					(time.Duration(row.RTO) * time.Millisecond).Round(time.Millisecond), (time.Duration(row.RPO) * time.Millisecond).Round(time.Second), row.Missed, cmp.Or(row.Host, "backup host"), row.Result)
			}
			return w.Flush()
		},
	}
	x.flags(c)
	return a.jsonFlag(c)
}

// knownDrills lists every drill.
func (a *app) knownDrills(ctx context.Context, x access) (*repository.Reader, []repository.Drilled, error) {
	waiting := repository.WaitingDrills(a.stateDir())
	_, r, err := a.reader(ctx, x)
	if err != nil {
		return nil, nil, err
	}
	if err := a.unlock(ctx, x, r, false); err != nil {
		leave(r)
		return nil, nil, err
	}
	return r, repository.Drills(r.Chain, waiting), nil
}
