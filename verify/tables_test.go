package verify

import (
	"context"
	"strings"
	"testing"
	"time"

	"lifeboat/evidence"
	"lifeboat/internal/phrase"
)

// limited is a Database whose tables from countTo and hashTo on take longer than there is time.
type limited struct {
	Database
	tables          []string
	countTo, hashTo int
}

func (l *limited) Integrity(context.Context) (string, []string, error)  { return "", nil, nil }
func (l *limited) References(context.Context) (string, []string, error) { return "", nil, nil }
func (l *limited) Reached(context.Context) (Reached, error)             { return Reached{}, nil }
func (l *limited) Isolation() evidence.Isolation                        { return evidence.Isolation{} }
func (l *limited) Stop(context.Context) (int, error)                    { return 0, nil }

func (l *limited) Inventory(context.Context) (out []Object, err error) {
	for i, name := range l.tables {
		out = append(out, Object{Kind: "table", Name: name, Size: int64(i)})
	}
	return out, nil
}

func (l *limited) until(ctx context.Context, name string, to int) error {
	for _, t := range l.tables[:to] {
		if t == name {
			return nil
		}
	}
	<-ctx.Done()
	return ctx.Err()
}

func (l *limited) Count(ctx context.Context, name string) (int64, error) {
	return 0, l.until(ctx, name, l.countTo)
}

func (l *limited) Digest(ctx context.Context, name string, _ float64) (string, error) {
	return "d", l.until(ctx, name, l.hashTo)
}

func (l *limited) Query(ctx context.Context, _ string) (string, bool, error) {
	<-ctx.Done()
	return "", false, ctx.Err()
}

// had is a drill that found rows in a table.
func had(table string, rows int64) *evidence.Report {
	return &evidence.Report{ID: "0", Checks: []evidence.Check{{ID: "counts", Tables: []evidence.Table{{Name: table, Rows: rows}}}}}
}

// TestTablesWithoutTime lets time run out before all tables were looked at, which is no pass, and no excuse for a fault.
func TestTablesWithoutTime(t *testing.T) {
	t.Parallel()
	for name, x := range map[string]struct {
		db     limited
		before *evidence.Report
		want   map[string]evidence.Verdict
		why    map[string]string
	}{
		"none counted": {limited{tables: []string{"a"}}, had("a", 5),
			map[string]evidence.Verdict{"counts": evidence.Inconclusive, "drift": evidence.Inconclusive, "digests": evidence.Inconclusive},
			map[string]string{"counts": "1 tables were not counted for want of time: time_limit is 50ms", "drift": "1 tables were not counted", "digests": "1 tables were not counted"}},
		"some hashed": {limited{tables: []string{"a", "b", "c"}, countTo: 3, hashTo: 2}, had("a", 5),
			map[string]evidence.Verdict{"counts": evidence.Pass, "drift": evidence.Pass, "digests": evidence.Inconclusive},
			map[string]string{"digests": "1 tables were not hashed for want of time: time_limit is 50ms"}},
		"fault": {limited{tables: []string{"a", "b"}, countTo: 1, hashTo: 1}, had("a", 50),
			map[string]evidence.Verdict{"counts": evidence.Fail, "drift": evidence.Fail, "digests": evidence.Inconclusive},
			map[string]string{"counts": "a is empty, and had 50 rows\n1 tables were not counted", "digests": "1 tables were not counted"}},
		"all": {limited{tables: []string{"a", "b"}, countTo: 2, hashTo: 2}, had("a", 5),
			map[string]evidence.Verdict{"counts": evidence.Pass, "drift": evidence.Pass, "digests": evidence.Pass}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			checks, notTested := Probes{Limit: 50 * time.Millisecond, Before: x.before}.ask(t.Context(), time.Now, &x.db, Reached{})
			for _, c := range checks {
				for _, text := range append(strings.Split(c.Why, "\n"), c.What, c.Expected, c.Observed) {
					for _, p := range phrase.Chinese(text) {
						if p.English {
							t.Errorf("%s: %q is said in no phrase", c.ID, text)
						}
					}
				}
				if v, ok := x.want[c.ID]; ok && (c.Verdict != v || !strings.Contains(c.Why, x.why[c.ID])) {
					t.Errorf("%s is %s: %s (%s), want %s: %s", c.ID, c.Verdict, c.Why, c.Observed, v, x.why[c.ID])
				}
			}
			if sampled := strings.Contains(strings.Join(notTested, " "), "sampling"); sampled != (name != "all") {
				t.Errorf("not tested: %v", notTested)
			}
		})
	}
}

// TestTablesBeyondReport counts as many tables as a report lists, which is a bound that it states.
func TestTablesBeyondReport(t *testing.T) {
	t.Parallel()
	db := &limited{tables: make([]string, maxTables+1), countTo: maxTables + 1, hashTo: maxTables + 1}
	for i := range db.tables {
		db.tables[i] = strings.Repeat("t", i+1)
	}
	checks, notTested := Probes{Limit: time.Minute}.ask(t.Context(), time.Now, db, Reached{})
	for _, c := range checks {
		if c.Verdict != evidence.Pass {
			t.Errorf("%s is %s: %s", c.ID, c.Verdict, c.Why)
		}
	}
	if !strings.Contains(strings.Join(notTested, " "), "sampling") {
		t.Errorf("not tested: %v", notTested)
	}
}
