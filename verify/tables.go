package verify

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"lifeboat/evidence"
	"lifeboat/internal/phrase"
)

// maxTables bounds how many tables a report lists; wholeDigest is how many bytes of a table are hashed, those of larger ones in part. Both are bounds that
// the report states: they leave a verdict as it is, while time that ran out leaves it open.
const (
	maxTables   = 2000
	wholeDigest = 64 << 20
)

// small is how many rows may come and go unnoticed where nothing is proven.
const small = 10

// errUnlisted is why nothing can be said of tables where the inventory did not come.
var errUnlisted = errors.New(phrase.Unlisted.Say())

// counts counts every table. One that is proven unchanged must have as many rows as it had, and none that had rows may be empty.
func (a *asking) counts(ctx context.Context, c *evidence.Check) error {
	c.What, c.Expected = phrase.CountEach.Say(), phrase.CountExpected.Say()
	if a.objects == nil {
		return errUnlisted
	}
	expected, exact := a.expected()
	var faults []string
	counted, proven := 0, 0
	tables := slices.DeleteFunc(slices.Clone(a.objects), func(o Object) bool { return o.Kind != "table" })
	slices.SortFunc(tables, func(x, y Object) int { return cmp.Or(cmp.Compare(x.Size, y.Size), cmp.Compare(x.Name, y.Name)) })
	a.left = min(len(tables), maxTables)
	for _, o := range tables[:a.left] {
		n, err := a.db.Count(ctx, o.Name)
		if err != nil && ctx.Err() != nil {
			break // those that are left are too large for the time that there is
		}
		if err != nil {
			return fmt.Errorf("count %s: %w", o.Name, err)
		}
		counted++
		a.left--
		t := evidence.Table{Name: o.Name, Rows: n}
		if want, ok := expected[o.Name]; ok {
			t.Expected, t.Exact = &want, exact[o.Name]
			switch {
			case t.Exact && n != want:
				faults = append(faults, phrase.RowsProven.Say(o.Name, n, want))
			case n == 0 && want > small:
				faults = append(faults, phrase.RowsGone.Say(o.Name, want))
			case t.Exact:
				proven++
			}
		}
		a.tables = append(a.tables, t)
	}
	slices.SortFunc(a.tables, func(x, y evidence.Table) int { return cmp.Compare(x.Name, y.Name) })
	c.Tables = a.tables
	c.Observed = phrase.Counted.Say(counted, len(tables), proven)
	if counted < len(tables) {
		a.notTested = append(a.notTested, "sampling")
	}
	if a.baseline != nil {
		c.Why = a.baseline.Why
	}
	left := ""
	if a.left > 0 {
		left = a.lack(ctx, a.left, phrase.NotCountedInTime)
	}
	conclude(c, faults, left)
	return nil
}

// expected is how many rows tables had, and of which that is proven to be so still.
func (a *asking) expected() (rows map[string]int64, exact map[string]bool) {
	rows, exact = map[string]int64{}, map[string]bool{}
	if a.Before != nil {
		for _, t := range tablesOf(a.Before) {
			rows[t.Name] = t.Rows
		}
	}
	if a.baseline != nil {
		for name, n := range a.baseline.Rows {
			rows[name], exact[name] = n, a.baseline.Exact[name]
		}
	}
	return rows, exact
}

// conclude is the verdict over tables: faults fail; without them, what was left leaves it open. left is empty where nothing was.
func conclude(c *evidence.Check, faults []string, left string) {
	if len(faults) > 0 {
		c.Verdict, c.Why = evidence.Fail, strings.Join(faults, "\n")
	}
	if left == "" {
		return
	}
	if len(faults) == 0 {
		c.Verdict = evidence.Inconclusive
	}
	c.Why = strings.TrimPrefix(c.Why+"\n"+left, "\n")
}

// lack says that tables were left when ctx ended.
func (a *asking) lack(ctx context.Context, tables int, of phrase.Phrase) string {
	why := phrase.DrillEnded.Say()
	if errors.Is(context.Cause(ctx), context.DeadlineExceeded) {
		why = phrase.TimeLimit.Say(a.Limit)
	}
	return of.Say(tables, why)
}

// uncounted says how many tables were left when they were counted.
func (a *asking) uncounted() string {
	if a.left == 0 {
		return ""
	}
	return phrase.NotCounted.Say(a.left)
}

// drift tells of tables that shrank by more than a tenth, or grew since production was counted, where that is not known to be wrong.
func (a *asking) drift(_ context.Context, c *evidence.Check) error {
	c.What, c.Expected = phrase.AgainstDrill.Say(), phrase.NoneShrank.Say(small)
	if a.baseline != nil {
		c.What, c.Expected = phrase.AgainstProduction.Say(), phrase.WithinRows.Say(small)
	}
	if a.objects == nil {
		return errUnlisted
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
			far = append(far, phrase.RowsChanged.Say(t.Name, t.Rows, *t.Expected))
		}
	}
	c.Observed = phrase.Compared.Say(n, len(far))
	conclude(c, far[:min(len(far), 50)], a.uncounted())
	return nil
}

// digests hashes the content of each table that was counted, for comparison with drills of other copies that reached the same position.
func (a *asking) digests(ctx context.Context, c *evidence.Check) error {
	c.What = phrase.HashRows.Say()
	size := map[string]int64{}
	for _, o := range a.objects {
		if o.Kind == "table" {
			size[o.Name] = o.Size
		}
	}
	same := map[string]evidence.Table{}
	if c.Expected = phrase.NoneAtPosition.Say(); a.Same != nil {
		c.Expected = phrase.SamePosition.Say(a.Same.ID)
		for _, t := range tablesOf(a.Same) {
			same[t.Name] = t
		}
	}
	if a.objects == nil {
		return errUnlisted
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
				faults = append(faults, phrase.OtherContent.Say(t.Name, a.Same.ID))
			}
		}
	}
	all := len(a.tables) + a.left
	c.Observed = phrase.Hashed.Say(hashed, all, sampled, compared)
	if sampled > 0 || hashed < all {
		a.notTested = append(a.notTested, "sampling")
	}
	left := a.uncounted()
	if hashed < len(a.tables) {
		left = a.lack(ctx, all-hashed, phrase.NotHashedInTime)
	}
	conclude(c, faults, left)
	return nil
}
