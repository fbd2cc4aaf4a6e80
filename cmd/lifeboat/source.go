package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"lifeboat/config"
	"lifeboat/daemon"
	"lifeboat/internal/secretfile"
	"lifeboat/repository"
	"lifeboat/snapshot"
	"lifeboat/source/files"
	"lifeboat/source/mysql"
	"lifeboat/source/postgres"
	"lifeboat/source/sqlite"
)

func (a *app) sources() *cobra.Command {
	c := &cobra.Command{Use: "source", Short: "The sources of backups", Args: cobra.NoArgs}
	c.AddCommand(a.sourceRemove())
	return c
}

func (a *app) sourceRemove() *cobra.Command {
	var yes bool
	var reason string
	c := &cobra.Command{
		Use:   "remove SOURCE",
		Short: "Drop what was left on the server of a source",
		Long: "Drops the replication slot through which the log of a source was captured: without a `lifeboat stream` that reads it, it keeps log on the " +
			"server until its disk is full. A `lifeboat stream` that is started later makes it again. Snapshots and captured log stay where they are, and can be restored.",
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			name := args[0]
			src, cfg, err := a.source(name)
			if err != nil {
				return err
			}
			slotted, ok := src.(interface {
				RemoveSlot(ctx context.Context) (removed []string, err error)
			})
			if !ok {
				return a.leaves(name, fmt.Sprintf("engine %s leaves nothing on a server", cfg.Engine))
			}
			if err := a.confirm(yes, fmt.Sprintf("Remove the replication slot of %s? Log that was not captured yet will be lost.", name)); err != nil {
				return err
			}
			removed, err := slotted.RemoveSlot(c.Context())
			if err != nil {
				return fmt.Errorf("source %s: %w", name, err)
			}
			if len(removed) == 0 {
				return a.leaves(name, "there is no replication slot on its server: nothing to remove")
			}
			if err := a.leaves(name, "removed its replication slot on "+strings.Join(removed, " and ")); err != nil {
				return err
			}
			if err := a.released(c.Context(), name, reason); err != nil {
				return verdictError{fmt.Errorf("it is done, and the audit log does not say so: %w", err)}
			}
			return nil
		},
	}
	c.Flags().BoolVar(&yes, "yes", false, "do not ask")
	c.Flags().StringVar(&reason, "reason", "", "`TEXT` for the audit log, where everybody can read it")
	return c
}

// released records the removal in the journal.
func (a *app) released(ctx context.Context, name, reason string) error {
	c, err := a.hostConfig(ctx, false)
	if err != nil {
		return err
	}
	return repository.Released(ctx, c, name, reason)
}

// leaves says what was done to a source's server, and what remains.
func (a *app) leaves(name, done string) error {
	_, err := fmt.Fprintf(a.out, "%s: %s\nits snapshots and captured log stay on the copies, and can be restored; to end its backups, take %s out of the configuration\n", name, done, name)
	return err
}

// source makes the source of a configured name.
func (a *app) source(name string) (snapshot.Source, config.Source, error) {
	cfg, err := a.config()
	if err != nil {
		return nil, config.Source{}, err
	}
	s, ok := cfg.Source(name)
	if !ok {
		var have []string
		for _, s := range cfg.Sources {
			have = append(have, s.Name)
		}
		return nil, s, usagef("there is no source %q in the configuration (it has: %s)", name, strings.Join(have, ", "))
	}
	p, _ := daemon.PolicyOf(cfg, s.Name)
	canary := ""
	if p.Drill.CanaryAccepted {
		canary = slotName(cfg.Repository, s.Name)
	}
	switch s.Engine {
	case config.SQLite:
		return sqlite.New(s.Path, sqlite.Options{TempDir: cfg.StateDir, Canary: canary}), s, nil
	case config.Postgres:
		password, err := secretfile.Read(s.PasswordFile, "password file")
		if err != nil {
			return nil, s, usageError{err}
		}
		src := postgres.New(s.DSN.Reveal(), password)
		src.Slot, src.Baseline, src.Canary = slotName(cfg.Repository, s.Name), p.Drill.Baseline.Length(), canary
		return src, s, nil
	case config.Files:
		o := files.Options{Paths: s.Paths, Exclude: s.Exclude, Fingerprints: s.Fingerprints, Private: []string{cfg.StateDir}, Now: a.now}
		for _, t := range cfg.Targets {
			if t.Type == config.Local {
				o.Private = append(o.Private, t.Path)
			}
		}
		src, err := files.New(o)
		if err != nil {
			return nil, s, usagef("source %s: %w", name, err)
		}
		return src, s, nil
	case config.MySQL:
		password, err := secretfile.Read(s.PasswordFile, "password file")
		if err != nil {
			return nil, s, usageError{err}
		}
		src := mysql.New(s.DSN.Reveal(), password)
		src.Mode, src.TempDir = mysql.Mode(s.Mode), cfg.StateDir
		return src, s, nil
	}
	return nil, s, usagef("source %s: engine %s is not in this version", name, s.Engine)
}

// slotName is the name of a permanent slot, and under which canaries are written: lower-case letters, digits and underscores, 63 bytes at most.
func slotName(repository, source string) string {
	name := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
			return r
		}
		return '_'
	}, strings.ToLower("lifeboat_"+repository+"_"+source))
	return name[:min(len(name), 63)]
}
