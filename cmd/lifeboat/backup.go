package main

import (
	"errors"
	"fmt"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"lifeboat/config"
	"lifeboat/repository"
	"lifeboat/restore"
)

func (a *app) backup() *cobra.Command {
	var full bool
	var reason string
	c := &cobra.Command{
		Use:   "backup SOURCE",
		Short: "Take one snapshot now",
		Args:  cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			src, cfg, err := a.source(args[0])
			if err != nil {
				return err
			}
			h, err := a.host(c.Context())
			if err != nil {
				return err
			}
			p := a.progress("backup " + args[0])
			h.Progress = p.follow
			d, err := h.Backup(c.Context(), repository.Backup{Name: args[0], Engine: string(cfg.Engine), Source: src, Full: full, Reason: reason,
				Progress: p.add, Opened: p.start, Committed: p.copied})
			p.done()
			if d != nil {
				err = errors.Join(err, a.backedUp(h, args[0], string(cfg.Engine), d))
			}
			return errors.Join(err, h.Close())
		},
	}
	c.Flags().BoolVar(&full, "full", false, "compare everything by content, and store again what is in pieces")
	c.Flags().StringVar(&reason, "reason", "", "`TEXT` for the audit log, where everybody can read it")
	return a.jsonFlag(c)
}

// missed tells which targets do not have what was done; an error where there are any.
func (a *app) missed(h *repository.Host) (missed error) {
	for _, c := range h.Copies {
		if c.Err != nil {
			a.note("warning: target %s was missed: %v", c.Name, c.Err)
			missed = verdictError{errors.New("it is done, but not on every target: repair them; the next backup brings them up to date")}
		} else if c.Emptied {
			missed = verdictError{fmt.Errorf("target %s held no journal: somebody emptied it, unless an init was cut short: it was filled again from the other copies; find out what happened", c.Name)}
		}
	}
	return missed
}

// backedUp tells what a backup did.
func (a *app) backedUp(h *repository.Host, name, engine string, d *repository.Done) error {
	for _, w := range d.Warnings {
		a.note("warning: %s", w)
	}
	missed := a.missed(h)
	for _, what := range d.Damaged {
		if engine == string(config.Files) {
			a.note("NOT IN THE BACKUP: %s", clean(what))
			missed = verdictError{fmt.Errorf("%s is committed without what is named above: `lifeboat doctor %s` looks again", restore.FormatID(d.Seq), name)}
			continue
		}
		a.note("DAMAGED in the source: %s", clean(what))
		missed = verdictError{fmt.Errorf("%s is committed as the database is, and the server found damaged pages: restore an older snapshot beside it and compare", restore.FormatID(d.Seq))}
	}
	s := d.Snapshot
	row := snapshotJSON(repository.Snapshot{Source: repository.Source{Name: name, Engine: engine}, Seq: d.Seq, SnapshotBody: s}, copyStates(h.Copies, d.Seq))
	if a.json {
		return errors.Join(a.printJSON(row), missed)
	}
	nothing := ""
	if s.Stored == 0 {
		nothing = " (nothing changed)"
	}
	_, err := fmt.Fprintf(a.out, "%s  %s snapshot of %s: %s read, %s stored%s, %s\n", restore.FormatID(d.Seq), s.Kind, name,
		humanize.IBytes(uint64(s.Read)), humanize.IBytes(uint64(s.Stored)), nothing, (time.Duration(s.Duration) * time.Millisecond).Round(10*time.Millisecond))
	return errors.Join(err, missed)
}

// copyStates says on which copies a snapshot is complete: all stands there, and no check found damage that was not healed.
func copyStates(copies []*repository.Copy, seq uint64) map[string]string {
	out := map[string]string{}
	for _, c := range copies {
		switch {
		case c.Position >= seq && c.Damaged > 0:
			out[c.Name] = "damaged"
		case c.Position >= seq:
			out[c.Name] = "complete"
		case c.Err != nil:
			out[c.Name] = "unreachable"
		default:
			out[c.Name] = "missing"
		}
	}
	return out
}
