package verify_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"filippo.io/age"

	"lifeboat/evidence"
	"lifeboat/internal/clock"
	"lifeboat/repository"
	"lifeboat/restore"
	"lifeboat/verify"
)

// slow is an engine and its database: starting takes a while, and so does each statement.
type slow struct {
	verify.Database
	start, statement time.Duration
	lives            context.Context
}

func (s *slow) Version() string { return "slow" }

func (s *slow) Sink(dir string, size int64) (verify.Sink, error) {
	return restore.NewDirectory(dir, size)
}

func (s *slow) Start(ctx context.Context, _ string) (verify.Database, error) {
	s.lives = ctx
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-time.After(s.start):
		return s, nil
	}
}

func (s *slow) Reached(context.Context) (verify.Reached, error)            { return verify.Reached{}, nil }
func (s *slow) Integrity(context.Context) (string, []string, error)        { return "", nil, nil }
func (s *slow) References(context.Context) (string, []string, error)       { return "", nil, nil }
func (s *slow) Count(context.Context, string) (int64, error)               { return 1, nil }
func (s *slow) Digest(context.Context, string, float64) (string, error)    { return "", nil }
func (s *slow) Isolation() evidence.Isolation                              { return evidence.Isolation{} }
func (s *slow) Stop(context.Context) (int, error)                          { return 0, nil }
func (s *slow) Inventory(context.Context) (out []verify.Object, err error) { return objects, nil }

var objects = []verify.Object{{Kind: "extension", Name: "db.dblink"}, {Kind: "table", Name: "db.public.t"}}

func (s *slow) Query(ctx context.Context, _ string) (string, bool, error) {
	select {
	case <-s.lives.Done():
		return "", false, errors.New("the database is gone")
	case <-ctx.Done():
		return "", false, ctx.Err()
	case <-time.After(s.statement):
		return "1", false, nil
	}
}

// TestDrillLimit gives up a restore that is late, and no database that answers slowly.
func TestDrillLimit(t *testing.T) {
	t.Parallel()
	c := newCopied(t)
	r, err := repository.Open(t.Context(), c.target)
	must(t, err)
	must(t, r.Unlock(t.Context(), []age.Identity{c.master}))
	run := func(s *slow, limit time.Duration) *verify.Outcome {
		tree, err := r.TreeOf(t.Context(), r.Chain.Snapshots()[0].Snapshot)
		must(t, err)
		return verify.Run(t.Context(), verify.Drill{Dir: t.TempDir(), Restore: restore.Job{Tree: tree, Frames: r.Frames, IDs: r.IDs}, Engine: s, Limit: limit, Now: clock.System,
			Probes: verify.Probes{Limit: time.Minute, Assertions: []verify.Assertion{{Name: "slow", SQL: "SELECT 1", Severity: evidence.Critical}}}})
	}
	o := run(&slow{statement: 3 * time.Second}, 2*time.Second)
	if o.Late || o.Result != evidence.Pass || o.Point != evidence.Pass || len(o.Errors) > 0 || o.Ready <= 0 {
		t.Errorf("slow statements: %+v", o)
	}
	if !strings.Contains(strings.Join(o.NotTested, " "), "foreign") {
		t.Errorf("not tested: %v", o.NotTested)
	}
	o = run(&slow{start: time.Minute}, time.Second)
	if !o.Late || o.Result != evidence.Fail || o.Point != evidence.Inconclusive || o.Ready != 0 || len(o.Errors) != 1 || !strings.Contains(o.Errors[0], "it took too long: more than 1s") {
		t.Errorf("a slow start: %+v", o)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
