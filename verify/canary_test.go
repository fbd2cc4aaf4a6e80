package verify

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"lifeboat/evidence"
)

// caged is a Database with rows of canaries.
type caged struct {
	limited
	want *Canary
	rows map[int64]string
	err  error
}

func (c *caged) Canary() *Canary { return c.want }

func (c *caged) Canaries(context.Context, Canary) (map[int64]string, error) { return c.rows, c.err }

func TestCanary(t *testing.T) {
	t.Parallel()
	want, value := NewCanary("w")
	want.Number = 7
	if other, v := NewCanary("w"); other.Digest == want.Digest || v == value || len(value) != 64 {
		t.Errorf("values are %q and %q", value, v)
	}
	for name, x := range map[string]struct {
		rows          map[int64]string
		err           error
		want          evidence.Verdict
		observed, why string
	}{
		"there":              {map[int64]string{6: "x", 7: value}, nil, evidence.Pass, "the row", ""},
		"with newer ones":    {map[int64]string{7: value, 8: "x", 7 + 2*CanariesKept: "x"}, nil, evidence.Pass, "the row", ""},
		"changed":            {map[int64]string{7: value + "x"}, nil, evidence.Fail, "another value", "was changed"},
		"no table":           {nil, nil, evidence.Fail, "no such row, and no other", "removed the row"},
		"cut, then newer":    {map[int64]string{8: "x", 6 + CanariesKept: "x"}, nil, evidence.Fail, "no such row; the newest is 70", "removed the row"},
		"deleted by us":      {map[int64]string{8: "x", 7 + CanariesKept: "x"}, nil, evidence.Inconclusive, "", "only 64 are kept"},
		"numbered from anew": {map[int64]string{1: value}, nil, evidence.Fail, "no such row; the newest is 1", ""},
		"not asked":          {nil, errors.New("no connection"), evidence.Inconclusive, "", "no connection"},
	} {
		db := &caged{want: &want, rows: x.rows, err: x.err}
		checks, notTested := Probes{Limit: time.Minute}.ask(t.Context(), time.Now, db, Reached{})
		n := slices.IndexFunc(checks, func(c evidence.Check) bool { return c.ID == "canary" })
		if n < 0 || slices.Contains(notTested, "canary") {
			t.Fatalf("%s: %v, not tested %v", name, checks, notTested)
		}
		c := checks[n]
		if c.Verdict != x.want || c.Observed != x.observed || !strings.Contains(c.Why, x.why) || c.Severity != evidence.Critical || c.Kind != "canary" || !strings.Contains(c.Expected, want.Digest) {
			t.Errorf("%s: %+v", name, c)
		}
	}
	for name, db := range map[string]Database{"none written": &caged{}, "none known": &limited{}} {
		checks, notTested := Probes{Limit: time.Minute}.ask(t.Context(), time.Now, db, Reached{})
		if slices.ContainsFunc(checks, func(c evidence.Check) bool { return c.ID == "canary" }) || !slices.Contains(notTested, "canary") {
			t.Errorf("%s: %v, not tested %v", name, checks, notTested)
		}
	}
}
