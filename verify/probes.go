package verify

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"lifeboat/evidence"
	"lifeboat/internal/clock"
	"lifeboat/internal/redact"
)

// Probes are what a restored database is asked.
type Probes struct {
	Limit      time.Duration // for each question
	Assertions []Assertion
	// Until is the newest transaction that must be there; zero where the log does not say.
	Until time.Time
	// Before is the last drill of the source that went to an earlier point, and Same one that reached the same position; nil where there is none.
	Before, Same *evidence.Report
}

// Baseline is what was counted in production.
type Baseline struct {
	Taken  time.Time
	Tables []string         // all that there were
	Rows   map[string]int64 // of those that were counted
	// Exact are those of which it is proven that they did not change between the counting and the point that was restored; Why says of the others why
	// not.
	Exact map[string]bool
	Why   string
}

// Baseliner is a Database that may know what was counted in production when its snapshot was taken.
type Baseliner interface {
	// Baseline is nil where nothing was counted.
	Baseline(ctx context.Context, r Reached) (*Baseline, error)
}

// maxTables bounds how many tables a report lists; wholeDigest is how many bytes of a table are hashed, those of larger ones in part.
const (
	maxTables   = 2000
	wholeDigest = 64 << 20
)

// asking is one round of questions.
type asking struct {
	Probes
	now       clock.Clock
	db        Database
	reached   Reached
	checks    []evidence.Check
	notTested []string

	objects  []Object
	baseline *Baseline
	tables   []evidence.Table
}

// ask puts all questions. What could not be answered is in the checks.
func (p Probes) ask(ctx context.Context, now clock.Clock, db Database, r Reached) ([]evidence.Check, []string) {
	a := &asking{Probes: p, now: now, db: db, reached: r}
	a.check(ctx, "integrity", evidence.Critical, a.integrity)
	a.check(ctx, "references", evidence.Critical, a.references)
	a.check(ctx, "inventory", evidence.Critical, a.inventory)
	a.check(ctx, "counts", evidence.Critical, a.counts)
	a.check(ctx, "drift", evidence.Warning, a.drift)
	a.check(ctx, "digests", evidence.Critical, a.digests)
	if !p.Until.IsZero() {
		a.check(ctx, "freshness", evidence.Critical, a.freshness)
	}
	for _, assertion := range p.Assertions {
		a.check(ctx, "assertion:"+assertion.Name, assertion.Severity, a.assertion(assertion))
	}
	return a.checks, a.notTested
}

// check puts one question, within its limit. An answer that does not come is inconclusive.
func (a *asking) check(ctx context.Context, id string, s evidence.Severity, do func(context.Context, *evidence.Check) error) {
	kind, _, _ := strings.Cut(id, ":")
	c := evidence.Check{ID: id, Kind: kind, Severity: s, Verdict: evidence.Pass, Start: a.now().UTC(), Tables: []evidence.Table{}}
	limited, cancel := context.WithTimeout(ctx, a.Limit)
	defer cancel()
	if err := do(limited, &c); err != nil {
		c.Verdict, c.Why = evidence.Inconclusive, redact.Text(err.Error())
		if ctx.Err() == nil && errors.Is(limited.Err(), context.DeadlineExceeded) {
			c.Why = fmt.Sprintf("it did not end within %s: %s", a.Limit, c.Why)
		}
	}
	c.End = a.now().UTC()
	a.checks = append(a.checks, c)
}

// faulty fails a check where there are faults.
func faulty(c *evidence.Check, faults []string) {
	const most = 20
	c.Expected, c.Observed = "no faults", fmt.Sprintf("%d faults", len(faults))
	if len(faults) == 0 {
		c.Observed = "no faults"
		return
	}
	c.Verdict, c.Why = evidence.Fail, redact.Text(strings.Join(faults[:min(len(faults), most)], "\n"))
}

func (a *asking) integrity(ctx context.Context, c *evidence.Check) (err error) {
	how, faults, err := a.db.Integrity(ctx)
	if c.What = how; err == nil {
		faulty(c, faults)
	}
	return err
}

func (a *asking) references(ctx context.Context, c *evidence.Check) (err error) {
	how, faults, err := a.db.References(ctx)
	if c.What = how; err == nil {
		faulty(c, faults)
	}
	return err
}

// inventory looks for what was there: in production when the snapshot was taken, or else in the last drill.
func (a *asking) inventory(ctx context.Context, c *evidence.Check) (err error) {
	c.What = "list of all objects"
	if a.objects, err = a.db.Inventory(ctx); err != nil {
		return err
	}
	if b, ok := a.db.(Baseliner); ok {
		if a.baseline, err = b.Baseline(ctx, a.reached); err != nil {
			return fmt.Errorf("read what was counted in production: %w", err)
		}
	}
	have, kinds := map[string]bool{}, map[string]int{}
	for _, o := range a.objects {
		have[o.Kind+" "+o.Name] = true
		kinds[o.Kind]++
	}
	var parts, missing []string
	for kind, n := range kinds {
		parts = append(parts, fmt.Sprintf("%s %d", kind, n))
	}
	slices.Sort(parts)
	c.Observed, c.Expected = strings.Join(parts, ", "), "at least one table"
	want, since := a.known()
	if since != "" {
		c.Expected = fmt.Sprintf("the %d tables of %s", len(want), since)
	}
	for _, name := range want {
		if !have["table "+name] {
			missing = append(missing, "table "+name+" is missing")
		}
	}
	switch {
	case len(missing) > 0:
		c.Verdict, c.Why = evidence.Fail, strings.Join(missing[:min(len(missing), 50)], "\n")
	case kinds["table"] == 0:
		c.Verdict, c.Why = evidence.Fail, "the database has no tables"
	}
	return nil
}

// known are the tables that there were, and when.
func (a *asking) known() (tables []string, since string) {
	if a.baseline != nil {
		return a.baseline.Tables, "production at " + a.baseline.Taken.UTC().Format(time.RFC3339)
	}
	if a.Before == nil {
		a.notTested = append(a.notTested, "baseline")
		return nil, ""
	}
	for _, t := range tablesOf(a.Before) {
		tables = append(tables, t.Name)
	}
	return tables, "the drill " + a.Before.ID
}

// tablesOf are the tables that a drill counted.
func tablesOf(r *evidence.Report) []evidence.Table {
	for _, c := range r.Checks {
		if c.ID == "counts" {
			return c.Tables
		}
	}
	return nil
}

// counts counts every table. One that is proven unchanged must have as many rows as it had, and none that had rows may be empty.
func (a *asking) counts(ctx context.Context, c *evidence.Check) error {
	c.What, c.Expected = "count(*) of each table, the smallest first", "tables proven unchanged: exactly as in production; no table empty that was not"
	expected, exact := map[string]int64{}, map[string]bool{}
	if a.Before != nil {
		for _, t := range tablesOf(a.Before) {
			expected[t.Name] = t.Rows
		}
	}
	if a.baseline != nil {
		for name, n := range a.baseline.Rows {
			expected[name], exact[name] = n, a.baseline.Exact[name]
		}
	}
	var faults []string
	counted, proven := 0, 0
	tables := slices.DeleteFunc(slices.Clone(a.objects), func(o Object) bool { return o.Kind != "table" })
	slices.SortFunc(tables, func(x, y Object) int { return cmp.Or(cmp.Compare(x.Size, y.Size), cmp.Compare(x.Name, y.Name)) })
	for _, o := range tables[:min(len(tables), maxTables)] {
		n, err := a.db.Count(ctx, o.Name)
		if err != nil && ctx.Err() != nil {
			break // those that are left are too large for the time that there is
		}
		if err != nil {
			return fmt.Errorf("count %s: %w", o.Name, err)
		}
		counted++
		t := evidence.Table{Name: o.Name, Rows: n}
		if want, ok := expected[o.Name]; ok {
			t.Expected, t.Exact = &want, exact[o.Name]
			switch {
			case t.Exact && n != want:
				faults = append(faults, fmt.Sprintf("%s has %d rows, not %d, and the log proves that it did not change", o.Name, n, want))
			case n == 0 && want > small:
				faults = append(faults, fmt.Sprintf("%s is empty, and had %d rows", o.Name, want))
			case t.Exact:
				proven++
			}
		}
		a.tables = append(a.tables, t)
	}
	slices.SortFunc(a.tables, func(x, y evidence.Table) int { return cmp.Compare(x.Name, y.Name) })
	c.Tables = a.tables
	c.Observed = fmt.Sprintf("%d of %d tables counted, %d proven unchanged and equal", counted, len(tables), proven)
	if counted < len(tables) {
		a.notTested = append(a.notTested, "sampling")
	}
	if len(faults) > 0 {
		c.Verdict, c.Why = evidence.Fail, strings.Join(faults, "\n")
	} else if a.baseline != nil {
		c.Why = a.baseline.Why
	}
	return nil
}

// small is how many rows may come and go unnoticed where nothing is proven.
const small = 10

// drift tells of tables that shrank by more than a tenth, or grew since production was counted, where that is not known to be wrong.
func (a *asking) drift(_ context.Context, c *evidence.Check) error {
	c.What, c.Expected = "rows against the last drill of an earlier point", fmt.Sprintf("none shrank by more than 10 %% or %d rows", small)
	if a.baseline != nil {
		c.What, c.Expected = "rows against production", fmt.Sprintf("within 10 %% or %d rows", small)
	}
	var far []string
	n := 0
	for _, t := range a.tables {
		if t.Expected == nil || t.Exact {
			continue
		}
		n++
		grown := t.Rows - *t.Expected
		if most := max(small, *t.Expected/10); -grown > most || a.baseline != nil && grown > most {
			far = append(far, fmt.Sprintf("%s has %d rows, and had %d", t.Name, t.Rows, *t.Expected))
		}
	}
	c.Observed = fmt.Sprintf("%d tables compared, %d outside", n, len(far))
	if len(far) > 0 {
		c.Verdict, c.Why = evidence.Fail, strings.Join(far[:min(len(far), 50)], "\n")
	}
	return nil
}

// digests hashes the content of each table, for comparison with drills of other copies that reached the same position.
func (a *asking) digests(ctx context.Context, c *evidence.Check) error {
	c.What = "hash of all rows, whatever their order"
	size := map[string]int64{}
	for _, o := range a.objects {
		if o.Kind == "table" {
			size[o.Name] = o.Size
		}
	}
	same := map[string]evidence.Table{}
	if c.Expected = "nothing to compare with: no other drill reached this position"; a.Same != nil {
		c.Expected = "as in the drill " + a.Same.ID + ", which reached the same position"
		for _, t := range tablesOf(a.Same) {
			same[t.Name] = t
		}
	}
	hashed, sampled, compared := 0, 0, 0
	var faults []string
	for i := range a.tables {
		t := &a.tables[i]
		share := 1.0
		if n := size[t.Name]; n > wholeDigest {
			share, t.Sampled = float64(wholeDigest)/float64(n), true
		}
		digest, err := a.db.Digest(ctx, t.Name, share)
		if err != nil && ctx.Err() != nil {
			break
		}
		if err != nil {
			return fmt.Errorf("hash %s: %w", t.Name, err)
		}
		t.Digest = digest
		if hashed++; t.Sampled {
			sampled++
		}
		if other, ok := same[t.Name]; ok && other.Digest != "" && other.Sampled == t.Sampled {
			if compared++; other.Digest != t.Digest || other.Rows != t.Rows {
				faults = append(faults, fmt.Sprintf("%s has another content than in the drill %s", t.Name, a.Same.ID))
			}
		}
	}
	c.Observed = fmt.Sprintf("%d of %d tables hashed, %d of them in part, %d compared", hashed, len(a.tables), sampled, compared)
	if sampled > 0 || hashed < len(a.tables) {
		a.notTested = append(a.notTested, "sampling")
	}
	if len(faults) > 0 {
		c.Verdict, c.Why = evidence.Fail, strings.Join(faults, "\n")
	}
	return nil
}

// freshness makes sure that the newest transaction that the log has up to the point is there.
func (a *asking) freshness(_ context.Context, c *evidence.Check) error {
	c.What = "time of the newest transaction"
	c.Expected = a.Until.UTC().Format(time.RFC3339Nano)
	if a.reached.Last.IsZero() {
		return fmt.Errorf("%w: the engine does not say when its newest transaction was", ErrUnavailable)
	}
	c.Observed = a.reached.Last.UTC().Format(time.RFC3339Nano)
	if a.reached.Last.Before(a.Until.Truncate(time.Millisecond)) {
		c.Verdict, c.Why = evidence.Fail, "transactions are missing that the captured log has"
	}
	return nil
}

// statement is the digest of a statement, by which a report names it.
func statement(sql string) string {
	sum := sha256.Sum256([]byte(sql))
	return hex.EncodeToString(sum[:])
}
