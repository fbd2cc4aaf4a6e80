package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"lifeboat/internal/clock"
	"lifeboat/internal/crm"
)

// The mistake; how many transactions the application commits between two backups; where things stand; how a time of day is written.
const (
	mistake = "DELETE FROM contact;"
	shift   = 150

	restored  = "restored" // directory
	logFolder = "log"      // of a copy

	clockText = "2006-01-02T15:04:05.000Z07:00" // milliseconds tell the mistake from the snapshots around it
)

// demoCopies are the targets of demoConfig.
var demoCopies = []string{"disk", "cloud", "offsite"}

// story is one performance of the demo.
type story struct {
	page    *page
	now     clock.Clock
	dir     string
	options crm.Options
	begun   time.Time

	stage  demoStage
	set    setting
	office *office
	before answer // just before the mistake
	after  answer // of the mistake
	costs  []cost
}

// cost is what one step took, a row of the last table.
type cost struct {
	step, read, written string
	took                time.Duration
}

// play performs the steps in order; the first that fails ends it, and is named.
func (s *story) play(ctx context.Context) error {
	s.page.line("%s", s.page.strong("Lifeboat demo: a CRM at work, a disaster, and the way back"))
	s.page.line("All of it happens in %s, and nothing else is touched.", s.dir)
	steps := []struct {
		heading string
		do      func(context.Context) error
	}{
		{"A CRM that people work with", s.work},
		{"A key and three copies", s.prepare},
		{"Backups, while the work goes on", s.backups},
		{"The disaster", s.disaster},
		{"The way back", s.restore},
		{"The proof", s.prove},
		{"Every copy, read from end to end", s.checks},
		{"A drill, and its signed report", s.drill},
		{"What it cost", s.bill},
	}
	var err error
	for _, step := range steps {
		s.page.heading(step.heading)
		err = step.do(ctx)
		if err != nil {
			err = fmt.Errorf("demo: step %q failed: %w", step.heading, err)
			break
		}
	}
	if s.office != nil {
		ended := s.office.close()
		if ctx.Err() == nil { // or the writer was interrupted too, and it is no fault
			err = errors.Join(err, ended)
		}
	}
	return errors.Join(err, s.stage.end())
}

// work makes the database and lets another process write to it from here on.
func (s *story) work(ctx context.Context) (err error) {
	if s.set, err = s.stage.build(ctx); err != nil {
		return err
	}
	if s.office, err = openOffice(ctx, s.set.database, s.options.Seed); err != nil {
		return err
	}
	a, err := s.office.ask(order{Work: shift})
	if err != nil {
		return err
	}
	s.page.facts(
		[2]string{s.set.name, fmt.Sprintf("%s, %s contacts with their accounts, deals, activities and files", s.set.about, countText(a.Contacts.Rows))},
		[2]string{"writer", fmt.Sprintf("process %d commits to it from now on, up to %d transactions a second,", s.office.process.Process.Pid, time.Second/pace)},
		[2]string{"", "each linked to the one before by a hash, in a ledger in the same database"})
	return nil
}

func (s *story) prepare(ctx context.Context) error {
	s.page.say("In real life the identity is made on another machine and stays there. Three directories stand in for")
	s.page.gap = false
	s.page.say("a disk, a cloud and an offsite server.")
	text := fmt.Appendf(nil, demoConfig, s.set.source)
	if err := os.WriteFile("lifeboat.yaml", text, 0o600); err != nil {
		return err
	}
	s.page.command("cat lifeboat.yaml")
	if _, err := s.page.body.Write(text); err != nil {
		return err
	}
	if err := s.keygen(ctx); err != nil {
		return err
	}
	_, err := s.lifeboat(ctx, "init", "--identity", "identity.txt")
	return err
}

// keygen does what `lifeboat keygen -o identity.txt > recipients.txt` does in a shell.
func (s *story) keygen(ctx context.Context) error {
	s.page.command("lifeboat keygen -o identity.txt > recipients.txt")
	f, err := os.OpenFile("recipients.txt", os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	code := s.program(f).run(ctx, []string{"keygen", "-o", "identity.txt"})
	if err := f.Close(); err != nil {
		return err
	}
	if code != exitDone {
		return fmt.Errorf("`lifeboat keygen` ended with exit code %d", code)
	}
	return nil
}

func (s *story) backups(ctx context.Context) (err error) {
	if err := s.stage.begin(ctx); err != nil {
		return err
	}
	for _, label := range []string{"full backup", "incremental", "incremental", "incremental"} {
		if err = s.backup(ctx, label); err != nil {
			return err
		}
		if s.before, err = s.office.ask(order{Work: shift}); err != nil {
			return err
		}
	}
	return nil
}

// backup takes a snapshot, and says what was committed meanwhile.
func (s *story) backup(ctx context.Context, label string) error {
	begin, err := s.office.ask(order{})
	if err != nil {
		return err
	}
	size, err := stored("disk")
	if err != nil {
		return err
	}
	took, err := s.lifeboat(ctx, "backup", "crm")
	if err != nil {
		return err
	}
	end, err := s.office.ask(order{})
	if err != nil {
		return err
	}
	if end.Seq == begin.Seq {
		return errors.New("the writer committed nothing while the backup ran")
	}
	s.page.line("   (meanwhile the writer committed %s transactions)", countText(end.Seq-begin.Seq))
	grown, err := stored("disk")
	if err != nil {
		return err
	}
	s.costs = append(s.costs, cost{label, "", fmt.Sprintf("%d x %s", len(demoCopies), bytesText(grown-size)), took})
	return nil
}

func (s *story) disaster(ctx context.Context) (err error) {
	s.page.say("Somebody tidies up, and presses Enter before the WHERE:")
	if s.after, err = s.office.ask(order{SQL: mistake, Number: s.set.number}); err != nil {
		return err
	}
	s.page.line("\n   %s", s.page.strong(s.set.prompt+" "+mistake))
	s.page.line("     %s rows deleted at %s; contacts left: %s", countText(s.after.Affected), s.after.At.UTC().Format(clockText), countText(s.after.Contacts.Rows))
	if s.after.Contacts.Rows != 0 || s.after.Affected != s.before.Contacts.Rows {
		return fmt.Errorf("%d of %d contacts were deleted", s.after.Affected, s.before.Contacts.Rows)
	}
	s.page.say("Nobody has noticed, and the next backup comes. It holds the damage; those before it do not change.")
	if err := s.backup(ctx, "incremental"); err != nil {
		return err
	}
	_, err = s.lifeboat(ctx, "snapshots", "crm")
	return err
}

// stored is how much a copy has beside the log, in bytes.
func stored(name string) (int64, error) {
	all, err1 := bytesBelow(filepath.Join("copies", name))
	log, err2 := bytesBelow(filepath.Join("copies", name, logFolder))
	return all - log, errors.Join(err1, err2)
}
