package main

import (
	"context"
	"errors"
	"time"

	"github.com/spf13/cobra"

	"lifeboat/repository"
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
			pause := shortPause
			for {
				begin := a.now()
				err := a.capture(c.Context(), args[0])
				if c.Context().Err() != nil {
					return nil // an end that was asked for
				}
				if err == nil || exitCode(err) != exitFailed {
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

// capture captures the log once, until something breaks.
func (a *app) capture(ctx context.Context, name string) error {
	src, cfg, err := a.source(name)
	if err != nil {
		return err
	}
	logged, ok := src.(snapshot.LogSource)
	if !ok {
		return usagef("source %s: the log of engine %s cannot be captured: `lifeboat backup` takes snapshots", name, cfg.Engine)
	}
	c, err := a.hostConfig(false)
	if err != nil {
		return err
	}
	healed := make(chan error, 1)
	healed <- nil
	err = repository.CaptureLog(ctx, c, repository.Stream{
		Name: name, Source: logged, Every: streamEvery,
		Opened: func(at snapshot.Pos) {
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
		Gap: func(from, _ snapshot.Pos) {
			a.note("warning: the server dropped the log behind %s before it was captured: that gap cannot be restored; taking a new full snapshot", from)
			if err := <-healed; err != nil {
				a.note("warning: the snapshot for an earlier gap: %v", err)
			}
			go func() { healed <- a.fullSnapshot(ctx, name) }()
		},
	})
	return errors.Join(err, <-healed)
}

// fullSnapshot closes a gap of the log: from its end on every point can be reached again.
func (a *app) fullSnapshot(ctx context.Context, name string) error {
	for {
		src, cfg, err := a.source(name)
		if err != nil {
			return err
		}
		h, err := a.host(ctx)
		if err == nil {
			_, err = h.Backup(ctx, repository.Backup{Name: name, Engine: string(cfg.Engine), Source: src, Full: true, Reason: "a gap in the log"})
			return errors.Join(err, h.Close())
		}
		if !errors.Is(err, repository.ErrLocked) {
			return err
		}
		select {
		case <-time.After(shortPause):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
