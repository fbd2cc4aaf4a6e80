package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"lifeboat/internal/crm"
)

// restore brings back what there was before the mistake.
func (s *story) restore(ctx context.Context) error {
	point, err := s.stage.point(ctx)
	if err != nil {
		return err
	}
	took, err := s.lifeboat(ctx, append(append([]string{"restore", "crm"}, point...), "--to", restored, "--start", "--identity", "identity.txt")...)
	if err != nil {
		return err
	}
	size, err := bytesBelow(restored)
	if err != nil {
		return err
	}
	s.costs = append(s.costs, cost{"restore", "", bytesText(size), took})
	return nil
}

// prove compares what was restored with what was there before the mistake, and fails where the two differ.
func (s *story) prove(ctx context.Context) error {
	db, verdict, err := s.stage.inspect(ctx)
	if err != nil {
		return err
	}
	seq, err := crm.VerifyLedger(ctx, db)
	got, cerr := readContacts(ctx, db)
	if err := errors.Join(err, cerr, db.Close()); err != nil {
		return err
	}
	if seq == 0 || seq > s.after.Seq || s.set.logged && seq < s.after.Seq {
		return fmt.Errorf("the restored database is at transaction %d, the one in use was at %d", seq, s.after.Seq)
	}
	was := s.before.Contacts
	if got != was {
		return fmt.Errorf("%d contacts with SHA-256 %s are restored, before the mistake there were %d with %s", got.Rows, got.Digest, was.Rows, was.Digest)
	}
	s.page.facts(
		[2]string{"contacts", fmt.Sprintf("%s before the mistake, %s after it, %s restored", countText(was.Rows), countText(s.after.Contacts.Rows), countText(got.Rows))},
		[2]string{"their SHA-256", fmt.Sprintf("%s... before, %s... restored: equal", shortHash(was.Digest), shortHash(got.Digest))},
		[2]string{"ledger", fmt.Sprintf("hash chain unbroken from transaction 1 to %s, and every row is as its last transaction left it", countText(seq))},
		[2]string{s.set.engine, verdict})
	if s.set.logged {
		s.page.say("Transaction %s was the last before the mistake: none is lost.", countText(s.after.Seq))
		return nil
	}
	s.page.say("%s transactions came between that snapshot and the mistake. They are not in it: capturing the log", countText(s.after.Seq-seq))
	s.page.gap = false
	s.page.say("between snapshots is not in this version.")
	return nil
}

// checks reads and opens all that each copy holds.
func (s *story) checks(ctx context.Context) error {
	for _, name := range demoCopies {
		took, err := s.lifeboat(ctx, "check", "--from", name, "--identity", "identity.txt")
		if err != nil {
			return err
		}
		size, err := stored(name)
		if err != nil {
			return err
		}
		s.costs = append(s.costs, cost{"check " + name, bytesText(size), "", took})
	}
	return nil
}

// drill proves without a disaster that a copy restores, and lets the report be verified as an auditor would.
func (s *story) drill(ctx context.Context) error {
	s.page.say("What was not restored is no backup. A drill restores one copy, cut off from everything, asks what came")
	s.page.gap = false
	s.page.say("back, measures how long it took, removes it, and signs what it found. A schedule does it each week.")
	took, err := s.lifeboat(ctx, "drill", "run", "crm", "--identity", "identity.txt")
	if err != nil {
		return err
	}
	s.costs = append(s.costs, cost{"drill", "", "", took})
	for _, args := range [][]string{{"drill", "show", "latest", "--html", "report.html", "--save", "report.json"}, {"drill", "verify", "report.json"}} {
		if _, err := s.lifeboat(ctx, args...); err != nil {
			return err
		}
	}
	return nil
}

// bill prints the costs. What each backup read is asked of the program, as a script would.
func (s *story) bill(ctx context.Context) error {
	var listed bytes.Buffer
	if code := s.program(&listed).run(ctx, []string{"snapshots", "crm", "--json"}); code != exitDone {
		return fmt.Errorf("`lifeboat snapshots --json` ended with exit code %d", code)
	}
	var snapshots []snapshotRow
	if err := json.Unmarshal(listed.Bytes(), &snapshots); err != nil {
		return fmt.Errorf("read the list of snapshots: %w", err)
	}
	for i, snapshot := range snapshots { // the backups are the first rows
		s.costs[i].read = bytesText(snapshot.Read)
	}
	rows := [][]string{{"step", "read", "written", "time"}}
	for _, c := range s.costs {
		rows = append(rows, []string{c.step, c.read, c.written, timeText(c.took)})
	}
	s.page.table(rows...)
	size, err := bytesBelow(filepath.Join("copies", "disk"))
	if err != nil {
		return err
	}
	between := ""
	if s.set.logged {
		between = " and the log between them"
	}
	s.page.say("Each copy holds %d snapshots%s, each of them complete (%s), in %s, encrypted.", len(snapshots), between, bytesText(snapshots[len(snapshots)-1].Size), bytesText(size))
	s.page.gap = false
	s.page.say("The demo took %s.", timeText(s.now().Sub(s.begun)))
	return nil
}

// bytesBelow sums the sizes of the files in a directory and below. What others remove meanwhile does not count.
func bytesBelow(dir string) (sum int64, err error) {
	err = filepath.WalkDir(dir, func(_ string, e fs.DirEntry, err error) error {
		var info fs.FileInfo
		if err == nil && !e.IsDir() {
			if info, err = e.Info(); err == nil {
				sum += info.Size()
			}
		}
		if absent(err) {
			return nil
		}
		return err
	})
	return sum, err
}
