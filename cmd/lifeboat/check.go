package main

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"lifeboat/crypto"
	"lifeboat/journal"
	"lifeboat/repository"
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
			name, r, err := a.reader(c.Context(), x)
			if err != nil {
				return err
			}
			job := verify.Job{Reader: r, Share: part}
			if len(args) > 0 {
				job.Source = args[0]
			}
			err = a.unlock(c.Context(), x, r, false)
			switch {
			case err == nil:
				job.Contents = identityPath(x) != ""
			case errors.Is(err, crypto.ErrIdentity) && identityPath(x) == "" && job.Source == "":
				// nothing opens it: what can be seen without a key is checked
			case absent(err) && !errors.Is(err, crypto.ErrIdentity), errors.Is(err, crypto.ErrDamaged):
				job.Failed = err // the keys or the index do not load: the report names it
			default:
				return err
			}
			p := a.progress("check " + name)
			job.Started, job.Progress = p.start, p.add
			report, err := verify.Check(c.Context(), job)
			p.done()
			if err != nil {
				return err
			}
			if strings.Contains(x.from, "://") {
				return a.checked(name, report)
			}
			return errors.Join(a.known(name, r, report, part == 1), a.checked(name, report))
		},
	}
	x.flags(c)
	c.Flags().StringVar(&share, "read-data", "100%", "read only this `SHARE` of the packs, chosen at random, such as 5%")
	return a.jsonFlag(c)
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
	case n < head.Seq:
		report.Damage = append(report.Damage, verify.Damage{What: "journal", Why: fmt.Sprintf("it ends with record %d, and this host knows %d: the copy is behind or was cut; the next backup brings it up to date", n, head.Seq)})
	case journal.Hash(r.Chain.Entries()[head.Seq-1].Raw) != head.Hash:
		report.Damage = append(report.Damage, verify.Damage{What: "journal", Why: fmt.Sprintf("its record %d is not the one that this host wrote", head.Seq)})
	}
	if !full {
		return nil
	}
	return repository.SetDamaged(a.cfg.StateDir, name, report.DamagedObjects())
}

func parseShare(s string) (float64, error) {
	n, err := strconv.ParseFloat(strings.TrimSuffix(s, "%"), 64)
	if err != nil || !strings.HasSuffix(s, "%") || n < 0 || n > 100 {
		return 0, fmt.Errorf("--read-data %q: expected a percentage such as 5%%", s)
	}
	return n / 100, nil
}

func (a *app) checked(name string, r *verify.Report) error {
	if a.json {
		if err := a.printJSON(r); err != nil {
			return err
		}
	} else {
		fmt.Fprintf(a.out, "%s: %d records, %d objects, %s read; %s\n", name, r.Records, r.Objects, humanize.IBytes(uint64(r.BytesRead)), r.Depth)
		for _, d := range r.Damage {
			fmt.Fprintf(a.out, "DAMAGED %s: %s\n", d.What, d.Why)
			for _, s := range d.Affects {
				fmt.Fprintf(a.out, "        affects %s\n", s)
			}
		}
	}
	if len(r.Damage) > 0 {
		return verdictError{fmt.Errorf("%d faults found on %s: take a new backup now (it stores again what is lost), and restore what is needed from another copy", len(r.Damage), name)}
	}
	if !a.json {
		fmt.Fprintln(a.out, "whole")
	}
	return nil
}
