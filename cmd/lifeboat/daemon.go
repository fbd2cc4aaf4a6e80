package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"sync"
	"syscall"

	sd "github.com/coreos/go-systemd/v22/daemon"
	"github.com/spf13/cobra"

	"lifeboat/config"
	"lifeboat/crypto"
	"lifeboat/daemon"
	"lifeboat/internal/clock"
	"lifeboat/repository"
	"lifeboat/restore"
	"lifeboat/snapshot"
)

const daemonName = "daemon"

func (a *app) daemon() *cobra.Command {
	var format string
	var verbose, drills bool
	var x access
	c := &cobra.Command{
		Use:   daemonName,
		Short: "Run the policies",
		Long: "Runs the policies until it is told to stop: takes the snapshots that are due, captures logs, applies retention, checks the copies and tells people. " +
			"SIGHUP reads the configuration again; one with problems is not put into use. `lifeboat status` shows what it does.",
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			log, err := logger(a.err, format, verbose)
			if err != nil {
				return err
			}
			file, err := config.Find(a.file)
			if err != nil {
				return usageError{err}
			}
			if _, err := a.identities(x); err != nil {
				return err
			}
			identity := identityPath(x)
			if err := suits(drills, identity, file); err != nil {
				return err
			}
			reload, stop := reloads(c.Context())
			defer stop()
			err = daemon.Run(c.Context(), daemon.Options{
				Load: func() (*config.Config, error) {
					cfg, err := config.Load(file)
					if err != nil {
						return nil, usageError{err}
					}
					return cfg, nil
				},
				Reload: reload, Wiring: &wiring{now: a.now, log: log, identity: identity}, Identity: identity != "", Drills: drills, Now: a.now, By: by(), Version: buildVersion(), Log: log, Notify: supervisor(log),
			})
			return err
		},
	}
	c.Flags().StringVar(&format, "log-format", "text", "`FORMAT` of log lines: text or json")
	c.Flags().BoolVarP(&verbose, "verbose", "v", false, "log more")
	c.Flags().BoolVar(&drills, "drills", false, "only make the drills of all policies: this is a drill host, which reads the copies")
	c.Flags().StringVar(&x.identity, "identity", "", "identity `FILE` for drills: with --drills of all policies, else of those that accept it on this host (default $LIFEBOAT_IDENTITY_FILE)")
	return c
}

// suits refuses a daemon of the other kind than its state directory is for.
func suits(drills bool, identity, file string) error {
	cfg, err := config.Load(file)
	if err != nil {
		return usageError{err}
	}
	switch is := repository.IsDrillHost(cfg.StateDir); {
	case drills && !is:
		return fmt.Errorf("%w: %s is not the state directory of a drill host: `lifeboat drill enrol NAME` makes one", restore.ErrRefused, cfg.StateDir)
	case !drills && is:
		return fmt.Errorf("%w: %s is the state directory of a drill host: start its daemon with --drills", restore.ErrRefused, cfg.StateDir)
	case drills && identity == "":
		return fmt.Errorf("%w: drills restore: give the identity with --identity FILE, or $LIFEBOAT_IDENTITY_FILE", crypto.ErrIdentity)
	}
	return nil
}

// logger writes lines for people or programs. Where journald reads them it adds the time by itself, and takes the priority of a line of text from its beginning.
func logger(w io.Writer, format string, verbose bool) (*slog.Logger, error) {
	o := &slog.HandlerOptions{Level: slog.LevelInfo}
	if verbose {
		o.Level = slog.LevelDebug
	}
	if os.Getenv("JOURNAL_STREAM") != "" {
		o.ReplaceAttr = func(groups []string, attr slog.Attr) slog.Attr {
			level, ok := attr.Value.Any().(slog.Level)
			switch {
			case len(groups) > 0:
			case attr.Key == slog.TimeKey && attr.Value.Kind() == slog.KindTime:
				return slog.Attr{}
			case ok && attr.Key == slog.LevelKey && format == "text": // comes first, without the time
				attr.Key = priority(level) + slog.LevelKey
			}
			return attr
		}
	}
	switch format {
	case "text":
		return slog.New(slog.NewTextHandler(w, o)), nil
	case "json":
		return slog.New(slog.NewJSONHandler(w, o)), nil
	}
	return nil, usagef("--log-format %q: expected text or json", format)
}

// priority is a level as of sd-daemon(3).
func priority(l slog.Level) string {
	switch {
	case l >= slog.LevelError:
		return "<3>"
	case l >= slog.LevelWarn:
		return "<4>"
	case l >= slog.LevelInfo:
		return "<6>"
	}
	return "<7>"
}

// reloads turns SIGHUP into what the daemon waits for.
func reloads(ctx context.Context) (<-chan struct{}, func()) {
	out, hup := make(chan struct{}, 1), make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	go func() {
		for {
			select {
			case <-hup:
				select {
				case out <- struct{}{}:
				default:
				}
			case <-ctx.Done():
				return
			}
		}
	}()
	return out, func() { signal.Stop(hup) }
}

// supervisor tells systemd how the daemon is; without one it does nothing.
func supervisor(log *slog.Logger) func(state string) {
	return func(state string) {
		if _, err := sd.SdNotify(false, state); err != nil {
			log.Warn("systemd cannot be told", "state", state, "error", err)
		}
	}
}

// wiring opens what a configuration names, for the daemon.
type wiring struct {
	now      clock.Clock
	log      *slog.Logger
	identity string // file; empty: there is none, and no drill is made

	mu   sync.Mutex
	last *app // of the configuration that was asked for last: its limits hold for all jobs
}

func (w *wiring) app(cfg *config.Config) *app {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.last == nil || w.last.cfg != cfg {
		w.last = w.fresh(cfg)
	}
	return w.last
}

func (w *wiring) fresh(cfg *config.Config) *app {
	return &app{cfg: cfg, now: w.now, quiet: true, amid: true, in: closedInput{}, out: io.Discard, err: io.Discard}
}

// closedInput is where nobody answers.
type closedInput struct{}

// Read implements io.Reader.
func (closedInput) Read([]byte) (int, error) { return 0, io.EOF }

// Targets implements daemon.Wiring.
func (w *wiring) Targets(ctx context.Context, cfg *config.Config) ([]*repository.Copy, error) {
	return w.app(cfg).copies(ctx, false)
}

// Source implements daemon.Wiring.
func (w *wiring) Source(cfg *config.Config, name string) (snapshot.Source, error) {
	src, _, err := w.app(cfg).source(name)
	return src, err
}

// Drill implements daemon.Wiring.
func (w *wiring) Drill(ctx context.Context, cfg *config.Config, j daemon.DrillJob) (*daemon.DrillResult, error) {
	a := w.fresh(cfg)
	a.beside = w.app(cfg)
	d, err := a.drill(ctx, access{identity: w.identity}, drillRequest{rule: j.Policy, database: j.Source, mode: j.Policy.Drill.Mode, queued: &j.Queued, due: &j.Due, skipped: j.Missed})
	if err != nil {
		return nil, err
	}
	return d.result(), nil
}

// Bury implements daemon.Wiring.
func (w *wiring) Bury(ctx context.Context, cfg *config.Config) (out []daemon.DrillResult, err error) {
	dead, err := w.fresh(cfg).died(ctx)
	for _, d := range dead {
		out = append(out, *d.result())
	}
	return out, err
}

// DrillHost implements daemon.Wiring.
func (w *wiring) DrillHost(ctx context.Context, cfg *config.Config) (*repository.DrillHost, func() error, error) {
	a := w.fresh(cfg)
	a.beside = w.app(cfg)
	return a.drillHost(ctx, access{identity: w.identity}, daemon.From)
}

// Check implements daemon.Wiring.
func (w *wiring) Check(ctx context.Context, cfg *config.Config, target string) (int, error) {
	a := w.fresh(cfg) // what an app notes of a reader is of one reader
	a.beside = w.app(cfg)
	row, err := a.checkOne(ctx, access{from: target}, nil, 1)
	if row == nil {
		return 0, err
	}
	for _, damage := range row.Damage {
		w.log.Error("damaged", "target", target, "what", damage.What, "why", damage.Why, "affects", damage.Affects)
	}
	var verdict verdictError
	if err == nil || errors.As(err, &verdict) {
		return len(row.Damage), nil
	}
	return len(row.Damage), fmt.Errorf("the check ended with %d findings, and cannot be noted: %w", len(row.Damage), err)
}
