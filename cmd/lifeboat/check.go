package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/dustin/go-humanize"
	"github.com/dustin/go-humanize/english"
	"github.com/spf13/cobra"

	"lifeboat/chunkstore"
	"lifeboat/crypto"
	"lifeboat/daemon"
	"lifeboat/journal"
	"lifeboat/repository"
	"lifeboat/restore"
	"lifeboat/verify"
)

func (a *app) check() *cobra.Command {
	var x access
	var share string
	c := &cobra.Command{
		Use:   "check [SOURCE]",
		Short: "Find out whether a copy is whole",
		Long:  "Without an identity: the journal's chain and signatures, and that every object is there with the right size and hash. On the backup host also every tree. With an identity: also that every chunk opens and is what was backed up.",
		Args:  cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			part, err := parseShare(share)
			if err != nil {
				return usageError{err}
			}
			if _, err := a.identities(x); err != nil {
				return err
			}
			from, err := a.allCopies(x)
			if err != nil {
				return err
			}
			rows := []checkRow{}
			var bad, failed []error
			for _, x.from = range from {
				row, err := a.checkOne(c.Context(), x, args, part)
				var verdict verdictError
				switch {
				case errors.As(err, &verdict):
					bad = append(bad, err)
				case c.Context().Err() != nil:
					return err
				case err != nil && len(from) > 1:
					bad = append(bad, verdictError{fmt.Errorf("%s: %w", x.from, err)})
				case err != nil:
					failed = append(failed, err)
				}
				if row != nil {
					rows = append(rows, *row)
				}
			}
			if a.json && len(rows) > 0 {
				if err := a.printJSON(rows); err != nil {
					return err
				}
			}
			return errors.Join(append(failed, bad...)...)
		},
	}
	x.flags(c)
	c.Flags().StringVar(&share, "read-data", "100%", "read only this `SHARE` of the packs, chosen at random, such as 5%")
	return a.jsonFlag(c)
}

// checkRow is the check of one copy in JSON.
type checkRow struct {
	Target string `json:"target"`
	*verify.Report
}

// allCopies names what to check: the copy that was asked for, or all that are configured.
func (a *app) allCopies(x access) ([]string, error) {
	if x.from != "" {
		return []string{x.from}, nil
	}
	cfg, err := a.config()
	if err != nil {
		return nil, err
	}
	var names []string
	for _, t := range cfg.Targets {
		names = append(names, t.Name)
	}
	return names, nil
}

// checkOne checks one copy and tells what it found.
func (a *app) checkOne(ctx context.Context, x access, args []string, part float64) (*checkRow, error) {
	name, r, err := a.reader(ctx, x)
	if err != nil {
		return nil, err
	}
	defer daemon.CloseAll([]*repository.Copy{{Target: r.Target}})
	job := verify.Job{Target: r.Target, Chain: r.Chain, Broken: r.Broken, Objects: r.Objects(), Share: part}
	if len(args) > 0 {
		job.Source = args[0]
	}
	err = a.unlock(ctx, x, r, false)
	switch {
	case err == nil && r.Frames.Partial != nil:
		return nil, fmt.Errorf("%w: give one that opens all, or check without one", r.Frames.Partial)
	case err == nil:
		job.Frames, job.IDs = r.Frames, r.IDs
		job.Contents = identityPath(x) != ""
	case errors.Is(err, crypto.ErrIdentity) && identityPath(x) == "" && job.Source == "":
		// nothing opens it: what can be seen without a key is checked
	case chunkstore.Damaged(err) && !errors.Is(err, crypto.ErrIdentity):
		job.Failed = err // the keys or the index do not load: the report names it
	default:
		return nil, err
	}
	if job.Log, err = r.LogReader(); err != nil {
		return nil, err
	}
	p := a.progress("check " + name)
	job.Started, job.Progress = p.start, p.add
	report, err := verify.Check(ctx, job)
	p.done()
	if err != nil {
		return nil, err
	}
	row := &checkRow{name, report}
	if !strings.Contains(x.from, "://") {
		if err := a.known(name, r, report, part == 1); err != nil {
			return row, err
		}
	}
	return row, a.checked(name, report)
}

// known adds to the report what this host knows better than the copy, and keeps what a full check found for the next backup.
// Elsewhere than on the backup host it does nothing.
func (a *app) known(name string, r *repository.Reader, report *verify.Report, full bool) error {
	head, err := journal.ReadHead(a.cfg.StateDir)
	if absent(err) {
		return nil
	}
	if err != nil {
		return err
	}
	switch n := r.Chain.Len(); {
	case n < head.Seq && !a.amid:
		report.Damage = append(report.Damage, verify.Damage{What: "journal", Why: fmt.Sprintf("it ends with record %d, and this host knows %d: the copy is behind or was cut; the next backup brings it up to date", n, head.Seq)})
	case n >= head.Seq && journal.Hash(r.Chain.Entries()[head.Seq-1].Raw) != head.Hash:
		report.Damage = append(report.Damage, verify.Damage{What: "journal", Why: fmt.Sprintf("its record %d is not the one that this host wrote", head.Seq)})
	}
	if !full {
		return nil
	}
	damaged := report.DamagedObjects()
	if r.Broken != nil {
		damaged = append(damaged, journal.Name(r.Chain.Len()+1))
	}
	err = repository.SetChecked(a.cfg.StateDir, name, repository.Checked{Time: a.now().UTC(), Damaged: damaged, Affects: affected(report)})
	if err != nil && len(damaged) == 0 && !a.amid { // the check stands, and nothing must be stored again; a daemon would not know that it was made
		a.note("lifeboat: warning: this check cannot be noted for `lifeboat status`: %v", err)
		return nil
	}
	return err
}

// affected lists the snapshots that a report names.
func affected(r *verify.Report) (out []uint64) {
	for _, d := range r.Damage {
		for _, id := range d.Affects {
			if seq, err := restore.ParseID(id); err == nil && !slices.Contains(out, seq) {
				out = append(out, seq)
			}
		}
	}
	return out
}

func parseShare(s string) (float64, error) {
	n, err := strconv.ParseFloat(strings.TrimSuffix(s, "%"), 64)
	if err != nil || !strings.HasSuffix(s, "%") || n < 0 || n > 100 {
		return 0, fmt.Errorf("--read-data %q: expected a percentage such as 5%%", s)
	}
	return n / 100, nil
}

// checked tells people what a check found.
func (a *app) checked(name string, r *verify.Report) error {
	if !a.json {
		fmt.Fprintf(a.out, "%s: %s, %s, %s read; %s\n", name, english.Plural(int(r.Records), "record", ""), english.Plural(r.Objects, "object", ""), humanize.IBytes(uint64(r.BytesRead)), r.Depth)
		for _, d := range r.Damage {
			fmt.Fprintf(a.out, "DAMAGED %s: %s\n", clean(d.What), clean(d.Why))
			if len(d.Affects) > 0 {
				fmt.Fprintf(a.out, "        affects %s\n", strings.Join(d.Affects, ", "))
			}
			if len(d.Files) > 0 {
				fmt.Fprintf(a.out, "        files %s\n", some(d.Files))
			}
		}
		if len(r.Damage) == 0 {
			fmt.Fprintln(a.out, "whole")
		}
	}
	if len(r.Damage) > 0 {
		return verdictError{fmt.Errorf("%s is damaged: `lifeboat heal` repairs it from a copy that is whole; where there is none, back up now, which stores again what is lost of packs and index; lost key files come back with `lifeboat keys reseal`, lost records do not", name)}
	}
	return nil
}
