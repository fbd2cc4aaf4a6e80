package main

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"lifeboat/config"
	"lifeboat/daemon"
	"lifeboat/journal"
	"lifeboat/repository"
	"lifeboat/target"
)

// noRecords is a Wiring whose targets take no record for as long as it says so.
type noRecords struct {
	daemon.Wiring
	refuse *atomic.Bool
}

func (w noRecords) Targets(ctx context.Context, cfg *config.Config) ([]*repository.Copy, error) {
	copies, err := w.Wiring.Targets(ctx, cfg)
	for _, c := range copies {
		c.Target = noRecord{c.Target, w.refuse}
	}
	return copies, err
}

type noRecord struct {
	target.Target
	refuse *atomic.Bool
}

func (t noRecord) Put(ctx context.Context, name string, body *io.SectionReader) error {
	if t.refuse.Load() && strings.HasPrefix(name, "journal/") {
		return errors.New("no room for a record")
	}
	return t.Target.Put(ctx, name, body)
}

// TestDaemonCommit takes a snapshot whose record is signed and cannot be stored at first: it serves its run, and the run is not done again.
func TestDaemonCommit(t *testing.T) {
	t.Parallel()
	x := newFixture(t, "disk")
	x.policy("policies:\n  crm: {sources: [crm], schedule: {incremental: '@yearly', timezone: UTC}}\n")
	begin, log := time.Now(), &lockedBuffer{}
	now := func() time.Time { return begin.Add(60 * time.Since(begin)) }
	text := slog.New(slog.NewTextHandler(log, nil))
	refuse := &atomic.Bool{}
	refuse.Store(true)
	ctx, end := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- daemon.Run(ctx, daemon.Options{Load: func() (*config.Config, error) { return config.Load(x.path("lifeboat.yaml")) }, Wiring: noRecords{&wiring{now: now, log: text}, refuse},
			Now: now, By: "somebody", Log: text, Notify: func(string) {}})
	}()
	x.eventually("the copies cannot be brought up to date either", func() bool { return strings.Contains(log.String(), "copies were not brought up to date") }, log)
	refuse.Store(false)
	x.eventually("the backup works", func() bool { return strings.Contains(log.String(), "the backup of crm works again") }, log)
	end()
	x.must(<-ended)
	var n int
	for _, e := range x.records("disk") {
		if e.Type == journal.Snapshot {
			n++
		}
	}
	if n != 1 {
		t.Errorf("a run was done %d times: %s", n, log)
	}
	x.want(0, "check", "--identity", x.path("key"))
}
