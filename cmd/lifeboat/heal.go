package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/dustin/go-humanize/english"
	"github.com/spf13/cobra"

	"lifeboat/chunkstore"
	"lifeboat/journal"
	"lifeboat/repository"
	"lifeboat/restore"
)

// healReport is what a healing did, in JSON.
type healReport struct {
	Copies []repository.Healed `json:"copies"`
	Lost   []lostSnapshot      `json:"lost"`
}

// lostSnapshot is a snapshot of which some is lost on every copy.
type lostSnapshot struct {
	Snapshot string   `json:"snapshot"`
	Files    []string `json:"files"` // empty where all of it is lost
	Why      string   `json:"why"`
	known    bool     // it is damaged: that is not only what could not be found out
}

func (a *app) healCommand() *cobra.Command {
	var dry bool
	var x access
	c := &cobra.Command{
		Use:   "heal",
		Short: "Repair damaged copies from each other",
		Long:  "Reads every copy, and replaces what is missing, truncated or changed there with what another copy has, verified on the way. It needs no key. What is lost on every copy is named, with the snapshots and, on the backup host or with an identity, the files that need it.",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			copies, err := a.copies(c.Context(), false)
			if err != nil {
				return err
			}
			_, r, err := a.reader(c.Context(), x)
			if err != nil && c.Context().Err() == nil {
				r, err = a.unmarked(c.Context(), x, copies, err)
			}
			if err != nil {
				return err
			}
			work := a.cfg.StateDir
			if _, err := os.Stat(work); err != nil {
				work = os.TempDir()
			}
			h := repository.Healing{Chain: r.Chain, Copies: copies, Damaged: map[string]map[string]bool{}, WorkDir: work, StateDir: a.cfg.StateDir}
			if err := h.Join(c.Context()); err != nil {
				return err
			}
			for _, copied := range copies {
				if copied.Err == nil {
					p := a.progress("check " + copied.Name)
					copied.Err = h.Examine(c.Context(), copied, p.start, p.add)
					p.done()
				}
				if c.Context().Err() != nil {
					return c.Context().Err()
				}
			}
			report := healReport{Copies: []repository.Healed{}, Lost: []lostSnapshot{}}
			lost := map[string]bool{}
			for _, copied := range copies {
				if copied.Err != nil {
					continue
				}
				done := repository.Healed{Target: copied.Name, Repaired: slices.AppendSeq([]string{}, maps.Keys(h.Damaged[copied.Name])), Lost: []string{}}
				slices.Sort(done.Repaired)
				if !dry {
					if done, copied.Err = h.Heal(c.Context(), copied); c.Context().Err() != nil {
						return c.Context().Err()
					}
				}
				report.Copies = append(report.Copies, done)
				for _, name := range done.Lost {
					lost[name] = true
				}
			}
			if len(lost) > 0 {
				report.Lost = a.lost(c.Context(), x, r, lost)
			}
			if err := c.Context().Err(); err != nil {
				return err
			}
			if !dry {
				if err := a.remember(report, h.Damaged); err != nil {
					return err
				}
			}
			return errors.Join(a.healed(report, dry), unhealed(copies, lost))
		},
	}
	c.Flags().StringVar(&x.identity, "identity", "", "identity `FILE` that opens the repository (default $LIFEBOAT_IDENTITY_FILE), to name lost files")
	c.Flags().StringVar(&x.trust, "trust", "", "refuse any repository but the one with this `FINGERPRINT`")
	c.Flags().BoolVar(&dry, "dry-run", false, "show what would be repaired, and do nothing")
	return a.jsonFlag(c)
}

// unmarked reads a journal where no copy has both a marker and the journal's beginning; an error is that of reading them as usual.
func (a *app) unmarked(ctx context.Context, x access, copies []*repository.Copy, err error) (*repository.Reader, error) {
	for _, c := range copies {
		if c.Err != nil {
			continue
		}
		r := &repository.Reader{Target: c.Target, Chain: &journal.Chain{}}
		if r.Broken = journal.Extend(ctx, c.Target, r.Chain); r.Chain.Len() > 0 && a.trust(x, r) == nil {
			return r, nil
		}
	}
	return nil, err
}

// remember keeps what is still damaged for the next backup, and which snapshots need it for retention, where this is the backup host. What a healing that broke
// off did not come to stays damaged.
func (a *app) remember(r healReport, damaged map[string]map[string]bool) error {
	if _, err := journal.ReadHead(a.cfg.StateDir); absent(err) {
		return nil
	}
	for _, copied := range r.Copies {
		bad := maps.Clone(damaged[copied.Target])
		for _, name := range copied.Repaired {
			delete(bad, name)
		}
		c := repository.Checked{Time: a.now().UTC(), Damaged: slices.Sorted(maps.Keys(bad))}
		if len(bad) > 0 {
			c.Affects = r.affected(repository.LastCheck(a.cfg.StateDir, copied.Target).Affects, len(bad) > len(copied.Lost))
		}
		if err := repository.SetChecked(a.cfg.StateDir, copied.Target, c); err != nil {
			return err
		}
	}
	return nil
}

// affected lists the snapshots that are damaged: those found now, and the ones known before where it could not be found out, or unknown says so.
func (r healReport) affected(before []uint64, unknown bool) (out []uint64) {
	for _, l := range r.Lost {
		seq, err := restore.ParseID(l.Snapshot)
		if err != nil || !l.known {
			unknown = true
		} else {
			out = append(out, seq)
		}
	}
	if unknown {
		out = append(out, before...)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// lost says which snapshots need objects that are lost on every copy, and which of their files, as far as keys are at hand.
func (a *app) lost(ctx context.Context, x access, r *repository.Reader, lost map[string]bool) []lostSnapshot {
	out := []lostSnapshot{}
	if err := a.unlock(ctx, x, r, false); err != nil {
		return append(out, lostSnapshot{Snapshot: "unknown", Files: []string{}, Why: "which snapshots need what is lost can be seen on the backup host, or with --identity: " + err.Error()})
	}
	for _, e := range r.Chain.Snapshots() {
		tree, err := r.TreeOf(ctx, e.Snapshot)
		var files []string
		if err == nil {
			files, err = restore.Needing(ctx, tree, r.Frames.Index(), lost)
		}
		if err != nil {
			out = append(out, lostSnapshot{Snapshot: restore.FormatID(e.Seq), Files: []string{}, Why: err.Error(), known: chunkstore.Damaged(err)})
		} else if len(files) > 0 {
			out = append(out, lostSnapshot{Snapshot: restore.FormatID(e.Seq), Files: files, Why: "content is lost", known: true})
		}
	}
	return out
}

// shown is how many names are shown to people; JSON has all.
const shown = 10

func (a *app) healed(r healReport, dry bool) error {
	if a.json {
		return a.printJSON(r)
	}
	verb := "repaired"
	if dry {
		verb = "to repair"
	}
	for _, c := range r.Copies {
		fmt.Fprintf(a.out, "%s: %s %s\n", c.Target, english.Plural(len(c.Repaired), "object", ""), verb)
		for _, name := range c.Lost {
			fmt.Fprintf(a.out, "  LOST %s\n", clean(name))
		}
	}
	for _, l := range r.Lost {
		fmt.Fprintf(a.out, "LOST of %s: %s %s\n", l.Snapshot, clean(l.Why), some(l.Files))
	}
	return nil
}

// some is the first of many names.
func some(files []string) string {
	var names []string
	for _, f := range files[:min(len(files), shown)] {
		names = append(names, clean(f))
	}
	if more := len(files) - shown; more > 0 {
		names = append(names, fmt.Sprintf("and %d more (--json names all)", more))
	}
	return strings.Join(names, ", ")
}

// unhealed is the verdict where a copy is not whole.
func unhealed(copies []*repository.Copy, lost map[string]bool) error {
	var bad []error
	for _, c := range copies {
		if c.Err != nil {
			bad = append(bad, verdictError{fmt.Errorf("target %s is not healed: %w", c.Name, c.Err)})
		}
	}
	if len(lost) > 0 {
		bad = append(bad, verdictError{errors.New("some is lost on every copy: back up now, which stores again what the database still has; `lifeboat forget` drops snapshots that cannot be restored")})
	}
	return errors.Join(bad...)
}
