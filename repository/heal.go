package repository

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"

	"lifeboat/catalog"
	"lifeboat/chunkstore"
	"lifeboat/crypto"
	"lifeboat/journal"
	"lifeboat/target"
	"lifeboat/verify"
)

// Healing repairs copies from each other. It needs no key: what is named by its digest, or stands in the signed chain, verifies itself.
type Healing struct {
	Chain   *journal.Chain // the longest of the copies
	Copies  []*Copy
	Damaged map[string]map[string]bool // by copy, what its check found missing or damaged
	WorkDir string                     // for temporary files
	// StateDir is that of the backup host, which remembers the journal; elsewhere there is nothing in it.
	StateDir string
}

// Healed says what was done for one copy.
type Healed struct {
	Target   string   `json:"target"`
	Repaired []string `json:"repaired"` // objects
	Lost     []string `json:"lost"`     // damaged or missing here, and whole on no copy that could be read
}

// Join adds to the chain what any copy has of the records behind it, or the backup host itself: one copy may have lost its marker, and the
// others a record that stands there.
func (h Healing) Join(ctx context.Context) error {
	known, _ := catalog.New(filepath.Join(h.StateDir, catalogFile), crypto.IDKey{}).Records() // a cache: what it lacks may stand on a copy
	for before := uint64(0); before < h.Chain.Len(); {
		before = h.Chain.Len()
		for _, raw := range known[min(before, uint64(len(known))):] {
			if h.Chain.Append(raw) != nil {
				break
			}
		}
		for _, c := range h.Copies {
			if c.Err == nil {
				_ = journal.Extend(ctx, c.Target, h.Chain) // Examine tells what is wrong with a copy
			}
		}
	}
	return ctx.Err()
}

// Examine finds out what is missing or damaged on a copy. An error means that it cannot be healed.
func (h Healing) Examine(ctx context.Context, c *Copy, started, progress func(bytes int64)) error {
	marked, err := h.belongs(ctx, c)
	if err != nil {
		return err
	}
	r := &Reader{Target: c.Target, Chain: h.Chain}
	job := verify.Job{Target: c.Target, Chain: h.Chain, Objects: r.Objects(), Share: 1, Started: started, Progress: progress}
	if job.Log, err = r.LogReader(); err != nil {
		return err
	}
	report, err := verify.Check(ctx, job)
	if err != nil {
		return err
	}
	bad := map[string]bool{}
	for _, name := range report.DamagedObjects() {
		bad[name] = true
	}
	if !marked {
		bad[markerName] = true
	}
	h.Damaged[c.Name] = bad
	return nil
}

// belongs reports an error for what is no copy of the repository, where nothing is to be repaired; marked is false where its marker is to be.
func (h Healing) belongs(ctx context.Context, c *Copy) (marked bool, err error) {
	m, err := readMarker(ctx, c.Target)
	marked = err == nil && m.Repository == h.Chain.Repository()
	if !marked {
		if err == nil {
			err = foreignMarker(m, h.Chain.Repository())
		}
		if own, lerr := h.holdsRecord(ctx, c); lerr != nil || !own {
			return false, fmt.Errorf("%w: %s", errors.Join(err, lerr), anew)
		}
	}
	there := &journal.Chain{}
	if xerr := journal.Extend(ctx, c.Target, there); xerr != nil && !errors.Is(xerr, journal.ErrBroken) && !chunkstore.Damaged(xerr) {
		return false, xerr
	}
	n := min(there.Len(), h.Chain.Len())
	if n < there.Len() || n > 0 && !bytes.Equal(there.Entries()[n-1].Raw, h.Chain.Entries()[n-1].Raw) {
		return false, fmt.Errorf("%w: its journal is not that of the other copies", ErrNoRepository)
	}
	return marked, nil
}

// strangers is how many records of the right size may be others before a place counts as no copy.
const strangers = 16

// holdsRecord reports whether a record of the chain stands on a copy, which tells that it is one where its marker is lost.
func (h Healing) holdsRecord(ctx context.Context, c *Copy) (bool, error) {
	raws := map[string][]byte{}
	for _, e := range h.Chain.Entries() {
		raws[journal.Name(e.Seq)] = e.Raw
	}
	others := 0
	for info, err := range c.Target.List(ctx, "journal/") {
		if err != nil || others == strangers {
			return false, err
		}
		raw, ok := raws[info.Name]
		if !ok || int64(len(raw)) != info.Size {
			continue
		}
		if b, err := target.Read(ctx, c.Target, info.Name, info.Size); err == nil && bytes.Equal(b, raw) {
			return true, nil
		}
		others++
	}
	return false, ctx.Err()
}

// Heal repairs one copy: of each record first what it names, then the record, so that the copy is never more than a prefix with holes that it
// had before. An error means that the copy cannot be repaired further.
func (h Healing) Heal(ctx context.Context, to *Copy) (Healed, error) {
	done := Healed{Target: to.Name, Repaired: []string{}, Lost: []string{}}
	bad := maps.Clone(h.Damaged[to.Name])
	if bad[markerName] {
		delete(bad, markerName)
		b, err := newMarker(h.Chain.Repository())
		if err == nil {
			err = replace(ctx, to.Target, markerName, b)
		}
		if err != nil {
			return done, err
		}
		done.note(markerName, true)
	}
	fates, seen := fatesIn(h.Chain), map[uint64]bool{}
	for _, e := range h.Chain.Entries() {
		whole := true
		err := fates.needs(e, seen, func(o target.Object) error {
			if !bad[o.Name] {
				return nil
			}
			delete(bad, o.Name)
			ok, err := h.object(ctx, to, o)
			if err == nil {
				done.note(o.Name, ok)
			}
			whole = whole && ok
			return err
		})
		if err != nil {
			return done, err
		}
		name := journal.Name(e.Seq)
		if !bad[name] {
			continue
		}
		delete(bad, name)
		if !whole {
			return done, fmt.Errorf("record %d and those behind it do not stand there: what it names is lost on every copy", e.Seq)
		}
		if err := replace(ctx, to.Target, name, e.Raw); err != nil {
			return done, err
		}
		done.note(name, true)
	}
	return done, h.others(ctx, to, slices.Sorted(maps.Keys(bad)), &done)
}

func (d *Healed) note(name string, repaired bool) {
	if repaired {
		d.Repaired = append(d.Repaired, name)
	} else {
		d.Lost = append(d.Lost, name)
	}
}

// others repairs what no record names: bundles of the journal, and log that is not recorded yet.
func (h Healing) others(ctx context.Context, to *Copy, names []string, done *Healed) error {
	for _, name := range names {
		ok := false
		for _, from := range h.siblings(to, name) {
			size, err := sizeOf(ctx, from.Target, name)
			if err != nil {
				continue // the next one may have it
			}
			if _, digest := chunkstore.Digest(name); digest {
				err = copyObject(ctx, h.WorkDir, from.Target, to.Target, target.Object{Name: name, Size: size})
			} else {
				err = h.bundle(ctx, from.Target, to.Target, name)
			}
			if ctx.Err() != nil || errors.Is(err, errTransfer) {
				return err
			}
			if ok = err == nil; ok {
				break
			}
		}
		done.note(name, ok)
	}
	return nil
}

// object repairs what a record names, and reports whether any copy has it.
func (h Healing) object(ctx context.Context, to *Copy, o target.Object) (bool, error) {
	for _, from := range h.siblings(to, o.Name) {
		err := copyObject(ctx, h.WorkDir, from.Target, to.Target, o)
		if err == nil {
			return true, nil
		}
		if ctx.Err() != nil || errors.Is(err, errTransfer) {
			return false, err
		}
	}
	return false, nil
}

// siblings are the other copies on which an object was found whole.
func (h Healing) siblings(to *Copy, name string) (out []*Copy) {
	for _, c := range h.Copies {
		if c != to && c.Err == nil && !h.Damaged[c.Name][name] {
			out = append(out, c)
		}
	}
	return out
}

// bundle copies a bundle that the check of the other copy found to be of the chain.
func (h Healing) bundle(ctx context.Context, from, to target.Target, name string) error {
	raw, err := h.Chain.ReadBundle(ctx, from, name)
	if err != nil {
		return err
	}
	if err := replace(ctx, to, name, raw); err != nil {
		return fmt.Errorf("%w: %w", errTransfer, err)
	}
	return nil
}

// replace stores what is known to be right under a name, whatever stands there.
func replace(ctx context.Context, t target.Target, name string, body []byte) error {
	err := target.Store(ctx, t, name, body)
	if r, ok := t.(target.Repairer); ok && (errors.Is(err, target.ErrConflict) || errors.Is(err, target.ErrUnreadable)) {
		return r.Replace(ctx, name, io.NewSectionReader(bytes.NewReader(body), 0, int64(len(body))))
	}
	return err
}

func sizeOf(ctx context.Context, t target.Target, name string) (int64, error) {
	for info, err := range t.List(ctx, name) {
		if err != nil {
			return 0, err
		}
		if info.Name == name {
			return info.Size, nil
		}
	}
	return 0, fmt.Errorf("%s: %w", name, fs.ErrNotExist)
}
