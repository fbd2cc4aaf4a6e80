package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"lifeboat/bundle"
	"lifeboat/config"
	"lifeboat/crypto"
	"lifeboat/daemon"
	"lifeboat/evidence"
	"lifeboat/internal/atomicfile"
	"lifeboat/journal"
	"lifeboat/repository"
	"lifeboat/restore"
)

// bundling is an evidence bundle under way.
type bundling struct {
	*app
	access
	out        string
	since      time.Time
	incomplete bool

	reader *repository.Reader
	drills []repository.Drilled
}

func (a *app) drillBundle() *cobra.Command {
	b := &bundling{app: a}
	var since string
	c := &cobra.Command{
		Use:   "bundle -o FILE",
		Short: "Write a file for auditors: the whole journal, the reports of the drills, and what verifies them",
		Long: "Writes a zip file with the signed journal from its first record on, a new checkpoint of it, the reports of the drills, failed ones included, and the policies. It\n" +
			"needs the state directory, whose key signs the checkpoint and the period, and an identity for reports that another host made. Auditors verify it with lifeboat-verify.",
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if b.out == "" {
				return usagef("where shall it be written? -o FILE")
			}
			if since != "" {
				p, err := restore.ParsePoint(since)
				if err != nil || p.Time.IsZero() {
					return usagef("--since %q: expected a time with a zone, such as 2026-01-01T00:00:00Z", since)
				}
				if b.since = p.Time; b.since.After(a.now()) {
					return usagef("--since %q is in the future", since)
				}
			}
			if _, err := a.config(); err != nil {
				return err
			}
			return b.run(c.Context())
		},
	}
	b.flags(c)
	f := c.Flags()
	f.StringVarP(&b.out, "out", "o", "", "write the bundle to `FILE`; an older bundle there is replaced")
	f.StringVar(&since, "since", "", "only the reports of drills from this `TIME` on; the journal is there in whole (default: all)")
	f.BoolVar(&b.incomplete, "incomplete", false, "make it although a report cannot be had; it then says which, and so does who verifies it")
	return a.jsonFlag(c)
}

func (b *bundling) run(ctx context.Context) (err error) {
	if b.reader, b.drills, err = b.knownDrills(ctx, b.access); err != nil {
		return err
	}
	defer daemon.CloseAll([]*repository.Copy{{Target: b.reader.Target}})
	if err := b.whole(); err != nil {
		return err
	}
	in := bundle.Input{Chain: b.reader.Chain, Since: b.since, Made: b.now(), By: by(), ListUnavailable: b.incomplete,
		Sign:   func(text string) ([]byte, error) { return repository.SignText(b.cfg.StateDir, b.reader.Chain, text) },
		Report: func(e journal.Entry) ([]byte, error) { return b.report(ctx, e) }, Policy: func(e journal.Entry) ([]byte, error) { return b.policy(ctx, e) }}
	if in.Checkpoint, err = repository.SignCheckpoint(b.cfg.StateDir, in.Chain); err != nil {
		return err
	}
	if err := b.replaces(); err != nil {
		return err
	}
	f, err := atomicfile.Create(b.out)
	if err != nil {
		return fmt.Errorf("write the bundle: %w", err)
	}
	defer f.Abort()
	if err := bundle.Write(f, in); err != nil {
		var missing *bundle.UnavailableError
		if errors.As(err, &missing) {
			err = fmt.Errorf("%w: %s; with --incomplete the bundle says what is missing", err, b.bringBack(missing))
		}
		return err
	}
	result, size, err := b.verified(f)
	if err != nil {
		return err
	}
	if err := f.Commit(); err != nil {
		return fmt.Errorf("write the bundle: %w", err)
	}
	if err := b.say(result, size); err != nil {
		return err
	}
	if result.Verdict == bundle.Forged { // which is no reason to keep it from anybody
		return verdictError{fmt.Errorf("%s was written, and an auditor will not take it for genuine: run `lifeboat audit verify` and `lifeboat check`, and look at what is told above", b.out)}
	}
	return nil
}

// bringBack says what to do about a text that is missing.
func (b *bundling) bringBack(missing *bundle.UnavailableError) string {
	if missing.Host != "" && errors.Is(missing.Err, crypto.ErrDamaged) {
		return fmt.Sprintf("what %s recorded is not what it says; if somebody else has its key, `lifeboat keys revoke %s`, and tell the auditor", missing.Host, missing.Host)
	}
	return "give an identity that opens it, or bring back a copy that has it"
}

// whole refuses to hand over a journal of which this host knows that it is not all.
func (b *bundling) whole() error {
	c := b.reader.Chain
	if b.reader.Broken != nil {
		return fmt.Errorf("%w: the journal of this copy does not verify to its end: %w", restore.ErrRefused, b.reader.Broken)
	}
	if head, err := b.head(); err == nil && head.Seq > c.Len() {
		return fmt.Errorf("%w: this host knows %d records, and this copy holds only %d of them: an auditor would take it for cut", restore.ErrRefused, head.Seq, c.Len())
	}
	waiting := 0
	for _, d := range b.drills {
		if d.Entry == nil {
			waiting++
		}
	}
	if waiting > 0 {
		b.note("lifeboat: warning: %d drills are not recorded on any copy yet, and not part of the bundle", waiting)
	}
	return nil
}

// report is the report that a record names.
func (b *bundling) report(ctx context.Context, e journal.Entry) ([]byte, error) {
	return b.reader.ReadReport(ctx, b.cfg.StateDir, repository.Drilled{DrillBody: e.Drill, At: e.Time, Entry: &e})
}

// policy is the text that a record names: from the repository or, without an identity, from the configuration or the reports, if one of them still has it.
func (b *bundling) policy(ctx context.Context, e journal.Entry) ([]byte, error) {
	text, err := b.reader.Document(ctx, e)
	if err == nil {
		return text, nil
	}
	for _, p := range b.cfg.Policies { // one text for all: config.PolicyText
		if text, perr := config.PolicyText(b.cfg, p); perr == nil && journal.Hash(text) == e.Policy.Digest {
			return text, nil
		}
	}
	for _, d := range b.drills {
		if d.Policy != e.Policy.Policy || d.Entry == nil {
			continue
		}
		envelope, rerr := b.report(ctx, *d.Entry)
		if rerr != nil {
			continue
		}
		if o, rerr := evidence.Open(envelope, ""); rerr == nil && journal.Hash([]byte(o.Report.Policy.Text)) == e.Policy.Digest {
			return []byte(o.Report.Policy.Text), nil
		}
	}
	return nil, err
}

// replaces refuses to write over what is no bundle.
func (b *bundling) replaces() error {
	f, err := os.Open(b.out)
	if absent(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("write the bundle: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err == nil && info.Mode().IsRegular() {
		if _, err = bundle.Checkpoint(f, info.Size()); err == nil {
			return nil
		}
	}
	return fmt.Errorf("%w: write %s: it is there already, and is something else: choose another name", restore.ErrRefused, b.out)
}

// verified verifies what was written as an auditor will.
func (b *bundling) verified(f *atomicfile.File) (*bundle.Result, int64, error) {
	info, err := f.Stat()
	if err != nil {
		return nil, 0, fmt.Errorf("verify the bundle: %w", err)
	}
	fingerprint, err := b.reader.Fingerprint()
	if err != nil {
		return nil, 0, err
	}
	r, err := bundle.Verify(f, info.Size(), bundle.Options{Trust: fingerprint})
	if err != nil {
		return nil, 0, fmt.Errorf("verify the bundle: %w", err)
	}
	return r, info.Size(), nil
}

// say tells what a bundle holds. What an auditor will ask is told now.
func (b *bundling) say(r *bundle.Result, size int64) error {
	for _, p := range r.Problems {
		b.note("lifeboat: warning: an auditor will see: %s", p.Text)
	}
	if b.json {
		return b.printJSON(map[string]any{"file": b.out, "bytes": size, "verdict": r.Verdict, "fingerprint": r.Fingerprint, "period": r.Period, "counts": r.Counts, "reports": len(r.Reports), "due": r.Due, "problems": r.Problems})
	}
	begin := "the first record"
	if !r.Period.Since.IsZero() {
		begin = r.Period.Since.UTC().Format(restore.Time)
	}
	_, err := fmt.Fprintf(b.app.out, "%s: %s\nperiod      from %s to %s\njournal     %d records, merkle root %s\ndrills      %s\nreviews     %d\npolicies    %d records\nfingerprint %s\nVerify with: lifeboat-verify %s --trust %s\n", b.out, humanize.IBytes(uint64(size)),
		begin, r.Period.Until.UTC().Format(restore.Time), r.Counts.Records, r.Root, r.Counts.Drills, r.Counts.Reviews, r.Counts.Policies, r.Fingerprint, b.out, r.Fingerprint)
	return err
}
