package bundle

import (
	"cmp"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"
)

// Good reports whether nothing is left to ask: the root is the one that the auditor trusts, everything is genuine, and nothing is missing.
func (r *Result) Good() bool { return r.Trusted && r.Verdict == Verified }

// headline is the verdict in words, for those who read no further.
func (r *Result) headline() string {
	switch {
	case r.Verdict == Forged:
		return "FORGED OR DAMAGED: something in it was changed, or contradicts something else. Do not rely on it."
	case !r.Trusted:
		return "ORIGIN UNVERIFIED: everything in it fits together, and anybody can make a bundle that does. Compare the fingerprint with the one that you were\n" +
			"given beforehand, or repeat with --trust FINGERPRINT."
	case r.Verdict == Incomplete:
		return "INCOMPLETE: what is there is genuine, and some evidence is missing or not as it should be."
	}
	return "VERIFIED: it is genuine, complete, and contradicts nothing that you brought along."
}

// Write writes a result for people: the verdict, what it is about, each report, and the problems.
func (r *Result) Write(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n\n", r.headline())
	t := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	r.facts(t)
	if len(r.Reports) > 0 {
		fmt.Fprintf(t, "\nRECORD\tTIME\tDRILL\tHOST\tSOURCE\tMODE\tRESULT\tRTO\tRPO\tREVIEWED BY\tEVIDENCE\n")
	}
	for _, p := range r.Reports {
		var by []string
		for _, v := range p.Reviews {
			by = append(by, v.As)
		}
		state := "genuine"
		if !p.Verified {
			state = "NOT VERIFIED"
		}
		fmt.Fprintf(t, "%d\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", p.Record, moment(p.At), clean(cmp.Or(p.ID, p.SHA256[:12])), clean(p.Host), clean(p.Source), clean(p.Mode), clean(strings.ToUpper(p.Result)),
			objective(p.RTO.Actual, p.RTO.Target), objective(p.RPO.Actual, p.RPO.Target), clean(cmp.Or(strings.Join(by, ", "), "nobody")), state)
	}
	if err := t.Flush(); err != nil {
		return fmt.Errorf("write result: %w", err)
	}
	if len(r.Problems) > 0 {
		fmt.Fprintf(&b, "\nPROBLEMS\n")
	}
	for _, p := range r.Problems {
		fmt.Fprintf(&b, "- %s: %s\n", p.Kind, clean(p.Text))
	}
	if _, err := io.WriteString(w, b.String()); err != nil {
		return fmt.Errorf("write result: %w", err)
	}
	return nil
}

// facts are what the verdict is about.
func (r *Result) facts(w io.Writer) {
	compared := "not compared with anything"
	if r.Trusted {
		compared = "as you trust it"
	}
	begin := "the first record"
	if !r.Period.Since.IsZero() {
		begin = moment(r.Period.Since)
	}
	fmt.Fprintf(w, "repository\t%s\nfingerprint\t%s (%s)\nperiod\tfrom %s to %s\n", r.Repository, cmp.Or(r.Fingerprint, "unknown"), compared, begin, moment(r.Period.Until))
	fmt.Fprintf(w, "journal\t%d records, the last of %s\nmerkle root\t%s\n", r.Counts.Records, moment(r.HeadTime), r.Root)
	fmt.Fprintf(w, "drills\t%s\n", r.Counts.Drills)
	if r.Counts.Before.Total > 0 {
		fmt.Fprintf(w, "before\t%s, whose reports are not part of this bundle\n", r.Counts.Before)
	}
	fmt.Fprintf(w, "due\t%s\ncheckpoints\t%s\n", r.dueWords(), r.keptWords())
	if len(r.Unverified) > 0 {
		fmt.Fprintf(w, "not verified\t%s: other than this program would write it, and no evidence\n", strings.Join(r.Unverified, ", "))
	}
}

// String counts in words.
func (r Results) String() string {
	return fmt.Sprintf("%d: %d passed, %d failed, %d inconclusive", r.Total, r.Pass, r.Fail, r.Inconclusive)
}

func (r *Result) dueWords() string {
	n := map[DueState]int{}
	for _, d := range r.Due {
		n[d.State]++
	}
	return fmt.Sprintf("%d times: %d served, %d missed and said so, %d missed in silence, %d still open", len(r.Due), n[Served], n[Acknowledged], n[Silent], n[Pending])
}

func (r *Result) keptWords() string {
	agree := 0
	for _, k := range r.Kept {
		if k.Agrees {
			agree++
		}
	}
	if len(r.Kept) == 0 {
		return "none that you kept: whether the journal was rewritten since you last saw it cannot be told"
	}
	return fmt.Sprintf("%d that you kept, and the journal goes on from %d", len(r.Kept), agree)
}

// objective is what was measured, and what was promised.
func objective(actual, target int64) string {
	out := (time.Duration(actual) * time.Millisecond).Round(10 * time.Millisecond).String()
	if target > 0 {
		out += " of " + (time.Duration(target) * time.Millisecond).String()
	}
	return out
}

func moment(t time.Time) string {
	if t.IsZero() {
		return "unknown"
	}
	return t.UTC().Format(time.RFC3339)
}

// clean keeps control characters of a strange text away from the terminal, and everything in its line.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		if r < 0x20 || r == 0x7f || r >= 0x80 && r < 0xa0 {
			return ' '
		}
		return r
	}, s)
}
