package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"lifeboat/config"
	"lifeboat/internal/crm"
)

// The sizes of database that the demo accepts, in bytes.
const (
	minDemo = 1 << 20
	maxDemo = 4 << 30
)

// demoConfig is the whole configuration of the demo, but for the source. Its paths are relative to the demo's directory.
const demoConfig = `repository: demo
state_dir: state
keys: {recipients_file: recipients.txt}
sources:
  crm: %s
targets:
  disk:    {type: local, path: copies/disk}
  cloud:   {type: local, path: copies/cloud}
  offsite: {type: local, path: copies/offsite}
policies:
  crm: {sources: [crm], drill: {scratch: drills, checks: [{name: ledger, sql: "SELECT count(*) FROM ledger", min: 1}]}}
`

func (a *app) demo() *cobra.Command {
	var size, engine string
	var seed uint64
	var keep bool
	c := &cobra.Command{
		Use:   "demo",
		Short: "The whole story in a temporary directory, nothing to configure",
		Long: "A small CRM that another process keeps writing to, backups to three copies, a DELETE without WHERE, a restore to the moment before it, " +
			"and the proof. It needs nothing, touches nothing outside a temporary directory, and takes some seconds.\n\n" +
			"With --engine postgres the CRM is on a PostgreSQL server, which must be installed: the demo makes a cluster of its own, captures its log, and restores " +
			"to the transaction before the DELETE.",
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			n, err := humanize.ParseBytes(size)
			if err != nil || n < minDemo || n > maxDemo {
				return usagef("--size %q: expected a size from %s to %s, such as 40MiB", size, humanize.IBytes(minDemo), humanize.IBytes(maxDemo))
			}
			return a.rehearse(c.Context(), config.Engine(engine), crm.Options{Seed: seed, Bytes: int64(n)}, keep)
		},
	}
	f := c.Flags()
	f.StringVar(&engine, "engine", string(config.SQLite), "the database `ENGINE`: sqlite or postgres")
	f.StringVar(&size, "size", "40MiB", "about how large the database is, in `BYTES`")
	f.Uint64Var(&seed, "seed", 1, "another `NUMBER` makes other customers")
	f.BoolVar(&keep, "keep", false, "leave the directory behind, to look at")
	c.AddCommand(a.demoWriter())
	return c
}

// rehearse makes the demo's directory, plays the demo in it and removes it, also where the demo fails or is interrupted.
func (a *app) rehearse(ctx context.Context, engine config.Engine, options crm.Options, keep bool) (err error) {
	parent, err := filepath.Abs(os.TempDir())
	if err != nil {
		return fmt.Errorf("make the demo's directory: %w", err)
	}
	dir, err := os.MkdirTemp(parent, "lifeboat-demo-")
	if err != nil {
		return fmt.Errorf("make the demo's directory: %w", err)
	}
	leave, err := enter(dir)
	if err != nil {
		return errors.Join(fmt.Errorf("enter the demo's directory: %w", err), os.RemoveAll(dir))
	}
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGPIPE) // a reader of the output that goes away must not leave the directory behind
	defer stop()
	s := &story{page: newPage(a.out), now: a.now, dir: dir, options: options, begun: a.now()}
	if s.stage, err = newStage(ctx, engine, s); err == nil {
		err = s.play(ctx)
	}
	err = errors.Join(err, leave())
	if keep {
		s.page.line("")
		s.page.line("Everything is left in %s; each command above works there.", dir)
		return err
	}
	if removed := os.RemoveAll(dir); removed != nil {
		return errors.Join(err, fmt.Errorf("remove the demo's directory %s: %w", dir, removed))
	}
	if err == nil {
		s.page.line("\n%s is removed. Next: \"Quick start\" in README.md.", dir)
		if _, version := installedPostgres(ctx); version > 0 && engine != config.Postgres {
			s.page.line("PostgreSQL %d is installed here: `lifeboat demo --engine postgres` plays the story on it, back to a single transaction.", version)
		}
	}
	return err
}

// enter makes dir the working directory, and the configuration in it the one that commands find: never that of a real
// repository, whatever the environment says. leave undoes it.
func enter(dir string) (leave func() error, err error) {
	before, err := os.Getwd()
	if err != nil {
		return nil, err
	}
	type variable struct {
		name, value string
		set         bool
	}
	var changed []variable
	leave = func() error {
		errs := []error{os.Chdir(before)}
		for _, v := range changed {
			if v.set {
				errs = append(errs, os.Setenv(v.name, v.value))
			} else {
				errs = append(errs, os.Unsetenv(v.name))
			}
		}
		return errors.Join(errs...)
	}
	for name, value := range map[string]string{"LIFEBOAT_CONFIG": filepath.Join(dir, "lifeboat.yaml"), "LIFEBOAT_IDENTITY_FILE": ""} {
		old, set := os.LookupEnv(name)
		changed = append(changed, variable{name, old, set})
		if err := os.Setenv(name, value); err != nil {
			return nil, errors.Join(err, leave())
		}
	}
	if err := os.Chdir(dir); err != nil {
		return nil, errors.Join(err, leave())
	}
	return leave, nil
}

// program is this program as a command in the demo runs it: nothing on standard input, no terminal.
func (s *story) program(out io.Writer) *app {
	return &app{in: strings.NewReader(""), out: out, err: s.page.body, now: s.now}
}

// lifeboat shows a command as a person would type it, runs it in this program, and shows what it prints.
func (s *story) lifeboat(ctx context.Context, args ...string) (time.Duration, error) {
	s.page.command("lifeboat " + strings.Join(args, " "))
	begun := s.now()
	code := s.program(s.page.body).run(ctx, args)
	if code != exitDone {
		return 0, fmt.Errorf("`lifeboat %s` ended with exit code %d", strings.Join(args, " "), code)
	}
	return s.now().Sub(begun), nil
}
