package main

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/dustin/go-humanize/english"
	"github.com/spf13/cobra"

	"lifeboat/journal"
	"lifeboat/restore"
)

// auditRow is a record in JSON.
type auditRow struct {
	Seq    uint64    `json:"seq"`
	Time   time.Time `json:"time"`
	By     string    `json:"by"`
	Action string    `json:"action"`
	Object string    `json:"object,omitempty"`
	Reason string    `json:"reason,omitempty"`
	Hash   string    `json:"sha256"`
}

func (a *app) audit() *cobra.Command {
	c := &cobra.Command{Use: "audit", Short: "The signed log of who did what", Args: cobra.NoArgs}
	c.AddCommand(a.auditLog(), a.auditVerify(), a.auditClock())
	return c
}

func (a *app) auditLog() *cobra.Command {
	var x access
	var who, since, action string
	c := &cobra.Command{
		Use:   "log",
		Short: "Who did what, when and why",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			var from time.Time
			if since != "" {
				p, err := restore.ParsePoint(since)
				if err != nil || p.Time.IsZero() {
					return usagef("--since %q: expected a time with a zone, such as 2026-11-20T00:00:00Z", since)
				}
				from = p.Time
			}
			_, r, err := a.reader(c.Context(), x)
			if err != nil {
				return err
			}
			rows := []auditRow{}
			for _, e := range r.Chain.Entries() {
				if e.Time.Before(from) || action != "" && string(e.Type) != action || !strings.Contains(e.By, who) {
					continue
				}
				rows = append(rows, auditRow{e.Seq, e.Time, e.By, string(e.Type), object(r.Chain, e), e.Reason, journal.Hash(e.Raw)})
			}
			if a.json {
				return a.printJSON(rows)
			}
			w := tabwriter.NewWriter(a.out, 0, 0, 2, ' ', 0)
			fmt.Fprintln(w, "RECORD\tTIME\tBY\tACTION\tOBJECT\tREASON")
			for _, row := range rows {
				fmt.Fprintf(w, "%d\t%s\t%s\t%s\t%s\t%s\n", row.Seq, row.Time.Format(time.RFC3339), clean(row.By), row.Action, row.Object, clean(row.Reason))
			}
			return w.Flush()
		},
	}
	x.flags(c)
	f := c.Flags()
	f.StringVar(&who, "by", "", "only records by this `PERSON`")
	f.StringVar(&since, "since", "", "only records from this `TIME` on")
	f.StringVar(&action, "action", "", "only this `ACTION`, such as snapshot or drop")
	return a.jsonFlag(c)
}

// object names what a record is about.
func object(c *journal.Chain, e journal.Entry) string {
	switch {
	case e.Takeover != nil && c.Rotated(e.Seq):
		return "a new epoch, the same host"
	case e.Takeover != nil:
		return "a new host"
	case e.Log != nil && e.Log.Gap != "":
		return "gap: " + clean(e.Log.Gap)
	case e.Snapshot != nil:
		return restore.FormatID(e.Seq)
	case e.Drop != nil:
		return snapshotIDs(e.Drop.Seqs())
	case e.Hold != nil && e.Hold.Source == "":
		return snapshotIDs(e.Hold.Snapshots)
	case e.Hold != nil && e.Hold.Through > 0:
		return "source " + e.Hold.Source + " up to " + restore.FormatID(e.Hold.Through)
	case e.Hold != nil:
		return "source " + e.Hold.Source
	case e.Release != nil:
		return fmt.Sprintf("hold %d", e.Release.Hold)
	case e.Condemn != nil:
		return english.Plural(len(e.Condemn.Packs), "pack", "")
	case e.Sweep != nil:
		return english.Plural(len(e.Sweep.Packs), "pack", "")
	}
	return ""
}

// snapshotIDs names snapshots, the first few of many.
func snapshotIDs(seqs []uint64) string {
	var out []string
	for _, seq := range seqs[:min(len(seqs), 5)] {
		out = append(out, restore.FormatID(seq))
	}
	if more := len(seqs) - len(out); more > 0 {
		out = append(out, fmt.Sprintf("%d more", more))
	}
	return strings.Join(out, ", ")
}

// clean keeps control characters of a signed but strange text away from the terminal.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		if r < 0x20 || r == 0x7f {
			return '?'
		}
		return r
	}, s)
}

func (a *app) auditVerify() *cobra.Command {
	var x access
	c := &cobra.Command{
		Use:   "verify",
		Short: "Verify every signature and the chain, and print the Merkle root",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			name, r, err := a.reader(c.Context(), x)
			if err != nil {
				return err
			}
			root, err := r.Chain.Root(r.Chain.Len())
			if err != nil {
				return err
			}
			fingerprint, err := r.Fingerprint()
			if err != nil {
				return err
			}
			if a.json {
				err = a.printJSON(map[string]any{"records": r.Chain.Len(), "head": r.Chain.Head(), "merkle_root": base64.StdEncoding.EncodeToString(root[:]), "fingerprint": fingerprint, "verified": r.Broken == nil})
			} else {
				_, err = fmt.Fprintf(a.out, "%s: %s verified\nhead        %s\nmerkle root %s\nfingerprint %s\n", name, english.Plural(int(r.Chain.Len()), "record", ""), r.Chain.Head(), base64.StdEncoding.EncodeToString(root[:]), fingerprint)
			}
			switch head, herr := a.head(); {
			case err != nil:
				return err
			case r.Broken != nil:
				return verdictError{r.Broken}
			case herr == nil && head.Seq > r.Chain.Len():
				return verdictError{fmt.Errorf("this host knows %d records, %s holds only %d of them: it is behind, or it was cut", head.Seq, name, r.Chain.Len())}
			}
			return nil
		},
	}
	x.flags(c)
	return a.jsonFlag(c)
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
