package verify

import (
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
	"lifeboat/internal/phrase"
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
	left     int // tables that were to be counted, and were not
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
	if db, ok := db.(Canaried); ok && db.Canary() != nil {
		a.check(ctx, "canary", evidence.Critical, a.canary(db))
	} else {
		a.notTested = append(a.notTested, "canary")
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
			c.Why = phrase.NotWithin.Say(a.Limit, c.Why)
		}
	}
	c.End = a.now().UTC()
	a.checks = append(a.checks, c)
}

// faulty fails a check where there are faults.
func faulty(c *evidence.Check, faults []string) {
	const most = 20
	c.Expected, c.Observed = phrase.NoFaults.Say(), phrase.Faults.Say(len(faults))
	if len(faults) == 0 {
		c.Observed = phrase.NoFaults.Say()
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
	c.What = phrase.AllObjects.Say()
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
		if o.Kind == "foreign table" || o.Kind == "extension" && strings.HasSuffix(o.Name, ".dblink") {
			a.notTested = append(a.notTested, "foreign")
		}
	}
	var parts, missing []string
	for kind, n := range kinds {
		parts = append(parts, phrase.OfKind(kind, n))
	}
	slices.Sort(parts)
	c.Observed, c.Expected = strings.Join(parts, ", "), phrase.SomeTable.Say()
	want, since := a.known()
	if since != "" {
		c.Expected = phrase.TablesOf.Say(len(want), since)
	}
	for _, name := range want {
		if !have["table "+name] {
			missing = append(missing, phrase.TableMissing.Say(name))
		}
	}
	switch {
	case len(missing) > 0:
		c.Verdict, c.Why = evidence.Fail, strings.Join(missing[:min(len(missing), 50)], "\n")
	case kinds["table"] == 0:
		c.Verdict, c.Why = evidence.Fail, phrase.NoTables.Say()
	}
	return nil
}

// known are the tables that there were, and when.
func (a *asking) known() (tables []string, since string) {
	if a.baseline != nil {
		return a.baseline.Tables, phrase.ProductionAt.Say(a.baseline.Taken.UTC().Format(time.RFC3339))
	}
	if a.Before == nil {
		a.notTested = append(a.notTested, "baseline")
		return nil, ""
	}
	for _, t := range tablesOf(a.Before) {
		tables = append(tables, t.Name)
	}
	return tables, phrase.TheDrill.Say(a.Before.ID)
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

// freshness makes sure that the newest transaction that the log has up to the point is there.
func (a *asking) freshness(_ context.Context, c *evidence.Check) error {
	c.What = phrase.NewestTime.Say()
	c.Expected = a.Until.UTC().Format(time.RFC3339Nano)
	if a.reached.Last.IsZero() {
		return fmt.Errorf("%w: %s", ErrUnavailable, phrase.NewestUnknown.Say())
	}
	c.Observed = a.reached.Last.UTC().Format(time.RFC3339Nano)
	if a.reached.Last.Before(a.Until.Truncate(time.Millisecond)) {
		c.Verdict, c.Why = evidence.Fail, phrase.MissingChanges.Say()
	}
	return nil
}

// digest is the SHA-256 of a text in hex, by which a report names it.
func digest(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}
