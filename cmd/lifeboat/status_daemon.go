package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/dustin/go-humanize"

	"lifeboat/daemon"
)

// askDaemon returns what the daemon says of itself, nil where none runs.
func (a *app) askDaemon(ctx context.Context) (*daemon.Status, error) {
	cfg, err := a.config()
	if err != nil {
		return nil, err
	}
	s, err := daemon.Ask(ctx, cfg.StateDir)
	if errors.Is(err, daemon.ErrNotRunning) {
		return nil, nil
	}
	return &s, err
}

// watchEvery is how often the picture is drawn anew.
const watchEvery = time.Second

// watch shows what the daemon does until it is interrupted, which is its end. Elsewhere than on a terminal it is a picture after another, with
// --json an object on each line.
func (a *app) watch(ctx context.Context) error {
	for first := true; ; first = false {
		s, err := a.askDaemon(ctx)
		if ctx.Err() != nil {
			return nil // an end that was asked for
		}
		if err != nil {
			return err
		}
		if s == nil && first {
			return fmt.Errorf("%w (%s): `lifeboat daemon` starts one", daemon.ErrNotRunning, a.cfg.StateDir)
		}
		switch {
		case a.json:
			err = a.printLine(s)
		default:
			var b strings.Builder
			if terminal(a.out) {
				b.WriteString("\x1b[H\x1b[2J") // from the top of an empty screen
			}
			err = showDaemon(&b, s, a.now())
			if err == nil {
				_, err = io.WriteString(a.out, b.String())
			}
		}
		if err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(watchEvery):
		}
	}
}

// showDaemon draws what a daemon does.
func showDaemon(out io.Writer, s *daemon.Status, now time.Time) error {
	if s == nil {
		_, err := fmt.Fprintln(out, "\nno daemon runs: backups are taken by hand")
		return err
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "\ndaemon %d, version %s, since %s\n", s.PID, s.Version, day(&s.Since))
	if len(s.Sources) > 0 {
		fmt.Fprintln(w, "\nSOURCE\tPOLICY\tNEXT RUN\tLAST\tLOG\tTROUBLE")
	}
	for _, row := range s.Sources {
		trouble := row.Error
		if trouble == "" {
			trouble = row.LogError
		}
		if row.Failures > 0 {
			trouble = fmt.Sprintf("failed %d times: %s", row.Failures, trouble)
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", row.Source, row.Policy, ahead(row.Next, now), dash(row.Snapshot), dash(row.Log), oneLine(trouble))
	}
	if len(s.Jobs) > 0 {
		fmt.Fprintln(w, "\nJOB\tSTATE\tDONE")
	}
	for _, j := range s.Jobs {
		state := "waits"
		if j.Began != nil {
			state = "runs for " + now.Sub(*j.Began).Round(time.Second).String()
		}
		fmt.Fprintf(w, "%s\t%s\t%s\n", j.What, state, amount(j.Done, j.Total))
	}
	return w.Flush()
}

// ahead is how far away a time is.
func ahead(t *time.Time, now time.Time) string {
	if t == nil {
		return "-"
	}
	return fmt.Sprintf("%s (in %s)", t.Format("2006-01-02 15:04Z"), max(t.Sub(now), 0).Round(time.Second))
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// oneLine is the first line of a message.
func oneLine(s string) string {
	line, _, more := strings.Cut(s, "\n")
	if more {
		line += " ..."
	}
	return clean(line)
}

// amount is how much of something was done.
func amount(done, total int64) string {
	if done == 0 && total == 0 {
		return ""
	}
	s := humanize.IBytes(uint64(done))
	if total > 0 {
		s += fmt.Sprintf(" of %s, %d%%", humanize.IBytes(uint64(total)), min(100*done/total, 100))
	}
	return s
}
