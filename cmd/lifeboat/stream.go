package main

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"lifeboat/repository"
	"lifeboat/restore"
	"lifeboat/snapshot"
)

// streamEvery is the least time between two objects of a log on a local copy.
const streamEvery = time.Second

// The pause before a stream that broke off is taken up again grows between these.
const (
	shortPause = time.Second
	longPause  = 30 * time.Second
)

func (a *app) stream() *cobra.Command {
	return &cobra.Command{
		Use:   "stream SOURCE",
		Short: "Capture the log of a source as it comes, until interrupted",
		Long:  "Captures the log of a source as it comes, so that it can be restored to any second. It runs until it is interrupted, takes up again what breaks off, and takes a new full snapshot where the server has dropped log that was not captured. Backups go on beside it.",
		Args:  cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			pause, opened := shortPause, false
			for {
				begin := a.now()
				err := a.capture(c.Context(), args[0], &opened)
				if c.Context().Err() != nil {
					return nil // an end that was asked for
				}
				// A wrong or lagging server at first is a refusal; later it is a failover on its way.
				if err == nil || exitCode(err) != exitFailed && (!opened || !errors.Is(err, snapshot.ErrOther)) {
					return err
				}
				if a.now().Sub(begin) > longPause {
					pause = shortPause
				}
				a.note("lifeboat: %s\ntrying again in %s", message(err), pause)
				select {
				case <-time.After(pause):
				case <-c.Context().Done():
					return nil
				}
				pause = min(2*pause, longPause)
			}
		},
	}
}

// capture captures the log once, until something breaks; opened says that it began.
func (a *app) capture(ctx context.Context, name string, opened *bool) error {
	src, cfg, err := a.source(name)
	if err != nil {
		return err
	}
	logged, ok := src.(snapshot.LogSource)
	if !ok {
		return usagef("source %s: the log of engine %s cannot be captured: `lifeboat backup` takes snapshots", name, cfg.Engine)
	}
	c, err := a.hostConfig(ctx, false)
	if err != nil {
		return err
	}
	heal, stop := context.WithCancel(ctx)
	var healing sync.WaitGroup
	defer healing.Wait()
	defer stop()
	err = repository.CaptureLog(ctx, c, repository.Stream{
		Name: name, Source: logged, Every: streamEvery,
		Opened: func(at snapshot.Pos) {
			*opened = true
			if at.IsZero() {
				a.note("capturing the log of %s from now on", name)
			} else {
				a.note("capturing the log of %s from %s on", name, at)
			}
		},
		Failed: func(target string, err error) {
			if err != nil {
				a.note("warning: target %s: %s", target, message(err))
			} else {
				a.note("target %s goes on", target)
			}
		},
		Unrecorded: func(err error) {
			a.note("warning: the log is stored, and the journal could not be told so: %s\ntrying again later", message(err))
		},
		Gap: func(behind snapshot.Pos) {
			a.note("warning: log behind %s is lost, the server had dropped it before it was captured: that gap cannot be restored; taking a new full snapshot", behind)
			healing.Go(func() { a.heal(heal, name) })
		},
	})
	return err
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
