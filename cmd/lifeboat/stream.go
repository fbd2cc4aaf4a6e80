package main

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"lifeboat/config"
	"lifeboat/daemon"
	"lifeboat/repository"
	"lifeboat/restore"
	"lifeboat/snapshot"
)

// The pause before a full snapshot is tried again grows between these.
const (
	shortPause = time.Second
	longPause  = 30 * time.Second
)

func (a *app) stream() *cobra.Command {
	return &cobra.Command{
		Use:   "stream SOURCE",
		Short: "Capture the log of a source as it comes, until interrupted",
		Long:  "Captures the log of a source as it comes, so that it can be restored to any second. It runs until it is interrupted, takes up again what breaks off, and takes a new full snapshot where the server has dropped log that was not captured. Backups go on beside it. The daemon does this by itself.",
		Args:  cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			var healing sync.WaitGroup
			defer healing.Wait()
			ctx, stop := context.WithCancel(c.Context())
			defer stop()
			return a.streamer(ctx, args[0], &healing).Run(ctx)
		},
	}
}

// streamer captures the log of a source and says what happens.
func (a *app) streamer(ctx context.Context, name string, healing *sync.WaitGroup) *daemon.Streamer {
	engine := config.Postgres
	return &daemon.Streamer{
		Name: name,
		Open: func(ctx context.Context) (c repository.Config, src snapshot.LogSource, closing func(), err error) {
			found, cfg, err := a.source(name)
			if err != nil {
				return c, nil, nil, err
			}
			src, ok := found.(snapshot.LogSource)
			if !ok {
				return c, nil, nil, usagef("source %s: the log of engine %s cannot be captured: `lifeboat backup` takes snapshots", name, cfg.Engine)
			}
			engine = cfg.Engine
			c, err = a.hostConfig(ctx, false)
			return c, src, func() { daemon.CloseAll(c.Copies) }, err
		},
		// A wrong or lagging server at first is a refusal; later it is a failover on its way.
		Hopeless: func(err error, opened bool) bool {
			return exitCode(err) != exitFailed && (!opened || !errors.Is(err, snapshot.ErrOther))
		},
		Opened: func(at snapshot.Pos) {
			if at.IsZero() {
				a.note("capturing the log of %s from now on", name)
			} else {
				a.note("capturing the log of %s from %s on", name, positionText(engine, at))
			}
		},
		Broken: func(err error, pause time.Duration) {
			a.note("lifeboat: %s\ntrying again in %s", message(err), pause)
		},
		Missed: func(target string, err error) {
			if err != nil {
				a.note("warning: target %s: %s", target, message(err))
			} else {
				a.note("target %s goes on", target)
			}
		},
		Unrecorded: func(err error) {
			a.note("warning: the log is stored, and the journal could not be told so: %s\ntrying again later", message(err))
		},
		Full: func(behind snapshot.Pos) {
			a.note("warning: log behind %s is lost, the server no longer has it, or not whole: that gap cannot be restored; taking a new full snapshot", positionText(engine, behind))
			healing.Go(func() { a.heal(ctx, name) })
		},
	}
}

// heal takes a full snapshot, from whose end on every point can be reached again, and tries until there is one.
func (a *app) heal(ctx context.Context, name string) {
	for pause := shortPause; ; pause = min(2*pause, longPause) {
		id, err := a.fullSnapshot(ctx, name)
		if ctx.Err() != nil {
			return // the next stream finds that it is missing
		}
		if err == nil {
			a.note("%s is a full snapshot of %s: from there on every point can be restored", id, name)
			return
		}
		if !errors.Is(err, repository.ErrLocked) {
			a.note("warning: the snapshot that is to follow a gap: %s\ntrying again in %s", message(err), pause)
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return
		}
	}
}

func (a *app) fullSnapshot(ctx context.Context, name string) (id string, err error) {
	src, cfg, err := a.source(name)
	if err != nil {
		return "", err
	}
	h, err := a.host(ctx)
	if err != nil {
		return "", err
	}
	d, err := h.Backup(ctx, repository.Backup{Name: name, Engine: string(cfg.Engine), Source: src, Full: true, Reason: "a gap in the log"})
	if d == nil {
		return "", errors.Join(err, h.Close())
	}
	if err := errors.Join(err, a.missed(h), h.Close()); err != nil { // it is committed all the same
		a.note("warning: %s", message(err))
	}
	return restore.FormatID(d.Seq), nil
}
