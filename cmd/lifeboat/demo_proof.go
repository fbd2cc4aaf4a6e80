package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"lifeboat/internal/crm"
	"lifeboat/source/sqlite"
)

// restored is the database that the demo's restore writes.
var restored = filepath.Join("restored", "crm.db")

// restore asks for the time of the mistake: what is restored is the last snapshot before it.
func (s *story) restore(ctx context.Context) error {
	s.page.say("The moment of the mistake finds the snapshot before it. The database in use stays as it is.")
	took, err := s.lifeboat(ctx, "restore", "crm", "--at", s.after.At.UTC().Format(clockText), "--to", "restored", "--start", "--identity", "identity.txt")
	if err != nil {
		return err
	}
	info, err := os.Stat(restored)
	if err != nil {
		return err
	}
	s.costs = append(s.costs, cost{"restore", "", bytesText(info.Size()), took})
	return nil
}

// prove compares what was restored with what was there before the mistake, and fails where the two differ.
func (s *story) prove(ctx context.Context) error {
	if err := sqlite.Verify(ctx, restored); err != nil {
		return err
	}
	seq, err := crm.VerifyChain(ctx, restored)
	if err != nil {
		return err
	}
	if seq == 0 || seq > s.before.Seq {
		return fmt.Errorf("the restored database is at transaction %d, the one in use was at %d", seq, s.before.Seq)
	}
	db, err := crm.Open(restored)
	if err != nil {
		return err
	}
	got, err := readContacts(ctx, db)
	if err := errors.Join(err, db.Close()); err != nil {
		return err
	}
	was := s.before.Contacts
	if got != was {
		return fmt.Errorf("%d contacts with SHA-256 %s are restored, before the mistake there were %d with %s", got.Rows, got.Digest, was.Rows, was.Digest)
	}
	s.page.facts(
		[2]string{"contacts", fmt.Sprintf("%s before the mistake, %s after it, %s restored", countText(was.Rows), countText(s.after.Contacts.Rows), countText(got.Rows))},
		[2]string{"their SHA-256", fmt.Sprintf("%s... before, %s... restored: equal", shortHash(was.Digest), shortHash(got.Digest))},
		[2]string{"ledger", fmt.Sprintf("hash chain unbroken from transaction 1 to %s, and every row is as its last transaction left it", countText(seq))},
		[2]string{"SQLite", "integrity_check and foreign_key_check find no fault"})
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
		size, err := bytesBelow(filepath.Join("copies", name))
		if err != nil {
			return err
		}
		s.costs = append(s.costs, cost{"check " + name, bytesText(size), "", took})
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
	s.page.say("Each copy holds %d snapshots, each of them complete (%s), in %s, encrypted.", len(snapshots), bytesText(snapshots[len(snapshots)-1].Size), bytesText(size))
	s.page.gap = false
	s.page.say("The demo took %s.", timeText(s.now().Sub(s.begun)))
	return nil
}

// bytesBelow sums the sizes of the files in a directory and below.
func bytesBelow(dir string) (sum int64, err error) {
	err = filepath.WalkDir(dir, func(_ string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		info, err := e.Info()
		if err == nil {
			sum += info.Size()
		}
		return err
	})
	return sum, err
}
