package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"lifeboat/crypto"
	"lifeboat/internal/phrase"
	"lifeboat/policies"
	"lifeboat/repository"
	"lifeboat/restore"
)

// unprepared reports a drill for which no copy could be opened: that is what a restore would have come to, and a time of the schedule must not pass without a word.
// What is refused stays an error, because nothing is said by it of the copies; so does a drill on a host that does not know the journal.
func (d *drilling) unprepared(ctx context.Context, why error) (*drilled, error) {
	if ctx.Err() != nil || !d.atCopies(why) {
		return nil, why
	}
	if d.report == nil {
		if err := d.recall(); err != nil {
			return nil, fmt.Errorf("no copy can be opened: %w\nno report is made of it: without a copy it takes the journal as this host knows it: %w", why, err)
		}
	}
	d.failed(phrase.OpeningCopy.Say(), why)
	last := &d.report.Errors[len(d.report.Errors)-1]
	*last = strings.ReplaceAll(*last, "\n", "; ") // a finding is its first line, and each copy says why in one of its own
	d.finish()
	done, err := d.conclude(d.all.Chain, d.report, d.body, d.now())
	if err != nil {
		return nil, errors.Join(why, err)
	}
	return done, nil
}

// atCopies reports whether it is the copies that hinder a drill, and not who asks for it, or how.
func (d *drilling) atCopies(why error) bool {
	if d.report != nil {
		return errors.Is(why, policies.ErrNoCopy)
	}
	for _, refusal := range []error{crypto.ErrIdentity, errTrust, restore.ErrRefused, repository.ErrNotInitialised} {
		if errors.Is(why, refusal) {
			return false
		}
	}
	return exitCode(why) != exitUsage
}

// recall begins the report from what the state directory knows.
func (d *drilling) recall() error {
	waiting := repository.WaitingDrills(d.cfg.StateDir)
	chain, err := repository.KnownChain(d.cfg.StateDir)
	if err != nil {
		return err
	}
	keys, err := repository.HostKeys(d.cfg.StateDir)
	if err != nil {
		return err
	}
	leave(d.all)
	d.all = &repository.Reader{Chain: chain, IDs: keys.IDs}
	d.history(waiting)
	if err := d.facts(); err != nil {
		return err
	}
	var copies []*repository.Copy
	for _, t := range d.cfg.Targets {
		copies = append(copies, &repository.Copy{Name: t.Name})
	}
	d.report.Backup.Copies = d.copiesOf(copies)
	return nil
}
