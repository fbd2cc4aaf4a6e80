// Package verify finds out whether copies can be relied upon: Check reads a copy and compares it with what its signed
// journal says. Restore drills will live here too.
package verify

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"

	"lifeboat/capture"
	"lifeboat/chunkstore"
	"lifeboat/crypto"
	"lifeboat/journal"
	"lifeboat/restore"
	"lifeboat/snapshot"
	"lifeboat/target"
)

// Job is one check.
type Job struct {
	Target   target.Target
	Chain    *journal.Chain
	Broken   error              // where the journal does not verify to its end
	Objects  []target.Object    // what must stand on the copy, but for the journal
	Frames   *chunkstore.Reader // nil without any key
	IDs      crypto.IDKey       // with Frames
	Log      *capture.Reader    // nil: captured log is not opened
	Source   string             // only this source's trees and contents; empty for all
	Share    float64            // of the packs to read, 0 to 1
	Contents bool               // Frames opens content, not only trees
	Failed   error              // why there are no Frames, if that is damage
	Started  func(total int64)
	Progress func(bytes int64)
}

// Damage is one thing that is not as the journal says.
type Damage struct {
	What    string   `json:"what"` // object or file
	Why     string   `json:"why"`
	Affects []string `json:"affects,omitempty"` // snapshots
	Files   []string `json:"files,omitempty"`   // of them, that cannot be restored
}

// Report is what a check found.
type Report struct {
	Records   uint64   `json:"records"`
	Objects   int      `json:"objects"`
	BytesRead int64    `json:"bytes_read"`
	Snapshots int      `json:"snapshots"` // whose trees were read
	Depth     string   `json:"depth"`
	Damage    []Damage `json:"damage"`
	objects   []string
}

// DamagedObjects names the objects that are missing or damaged.
func (r *Report) DamagedObjects() []string { return append([]string{}, r.objects...) }

// Check compares a copy with its journal. Damage is in the report; an error means that the check itself could not go on.
func Check(ctx context.Context, job Job) (*Report, error) {
	c := &checker{Job: job, report: &Report{Records: job.Chain.Len(), Damage: []Damage{}, Depth: "journal and hashes"}}
	if job.Broken != nil {
		c.damage("journal", job.Broken.Error(), nil)
	}
	if job.Failed != nil {
		c.damage("index", job.Failed.Error(), nil)
	}
	if err := c.objects(ctx, job.Objects); err != nil {
		return nil, err
	}
	if err := c.indexes(ctx); err != nil {
		return nil, err
	}
	if err := c.logs(ctx); err != nil {
		return nil, err
	}
	if job.Frames != nil {
		if err := c.snapshots(ctx); err != nil {
			return nil, err
		}
	}
	return c.report, nil
}

type checker struct {
	Job
	report *Report
	mu     sync.Mutex
	bad    map[string]bool // objects

	captured []capture.Object // log
}

func (c *checker) damage(what, why string, affects []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.report.Damage = append(c.report.Damage, Damage{What: what, Why: why, Affects: affects})
}

// objects reads everything that the journal names and that was not deleted on purpose.
func (c *checker) objects(ctx context.Context, named []target.Object) error {
	there := map[string]int64{}
	for info, err := range c.Target.List(ctx, "") {
		if err != nil {
			return fmt.Errorf("list the copy: %w", err)
		}
		there[info.Name] = info.Size
	}
	if err := c.journal(ctx, there); err != nil {
		return err
	}
	var read []target.Object
	var total int64
	inRecords := map[string]bool{}
	for _, o := range named {
		inRecords[o.Name] = true
	}
	for name, size := range there { // log stands before a record names it
		n, ok := capture.ParseName(name)
		if !ok || size > capture.MaxObject {
			continue
		}
		c.captured = append(c.captured, capture.Object{Name: n, Size: size})
		if !inRecords[name] {
			named = append(slices.Clip(named), target.Object{Name: name, Size: size})
		}
	}
	for _, o := range named {
		c.report.Objects++
		size, ok := there[o.Name]
		switch {
		case !ok:
			c.damagedObject(o.Name, "missing")
		case size != o.Size:
			c.damagedObject(o.Name, fmt.Sprintf("has %d bytes, not %d", size, o.Size))
		case c.Share == 1 || rand.Float64() < c.Share:
			read = append(read, o)
			total += o.Size
		}
	}
	if c.Started != nil {
		c.Started(total)
	}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(runtime.GOMAXPROCS(0))
	for _, o := range read {
		g.Go(func() error { return c.hash(ctx, o) })
	}
	return g.Wait()
}

// journal compares the records that stand with the chain that was verified, and verifies the bundles: a reader takes one
// in place of the other, but a copy must have both.
func (c *checker) journal(ctx context.Context, there map[string]int64) error {
	for _, e := range c.Chain.Entries() {
		name := journal.Name(e.Seq)
		if _, ok := there[name]; !ok {
			c.damagedObject(name, "missing")
			continue
		}
		raw, err := target.Read(ctx, c.Target, name, int64(len(e.Raw)))
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil || !bytes.Equal(raw, e.Raw) {
			c.damagedObject(name, "it is not the record that the chain has")
		}
		c.report.BytesRead += int64(len(raw))
	}
	return c.Chain.CheckBundles(ctx, c.Target, func(name string, err error) { c.damagedObject(name, err.Error()) })
}

func (c *checker) damagedObject(name, why string) {
	c.damage(name, why, nil)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.bad == nil {
		c.bad = map[string]bool{}
	}
	c.bad[name] = true
	c.report.objects = append(c.report.objects, name)
}

func (c *checker) hash(ctx context.Context, o target.Object) error {
	want, ok := chunkstore.Digest(o.Name)
	if !ok {
		return nil
	}
	r, err := c.Target.Get(ctx, o.Name, 0, -1)
	if err == nil {
		sum := sha256.New()
		var n int64
		n, err = io.Copy(sum, io.LimitReader(r, o.Size+1))
		err = errors.Join(err, r.Close())
		c.mu.Lock()
		c.report.BytesRead += n
		c.mu.Unlock()
		if c.Progress != nil {
			c.Progress(n)
		}
		if err == nil && hex.EncodeToString(sum.Sum(nil)) != want {
			c.damagedObject(o.Name, "its SHA-256 is not its name")
		}
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil && !replaced(o.Name, err) {
		c.damagedObject(o.Name, err.Error())
	}
	return nil
}

// indexes reads the current index: an object can be what the journal names and no index. A restore makes one from the packs.
func (c *checker) indexes(ctx context.Context) error {
	for _, d := range c.Chain.Indexes() {
		name := chunkstore.IndexName(d)
		if c.bad[name] {
			continue
		}
		_, err := chunkstore.ReadIndex(ctx, c.Target, d)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			c.damage(name, err.Error(), nil)
		}
	}
	return nil
}

// snapshots reads the tree of every snapshot, and with an identity every chunk.
func (c *checker) snapshots(ctx context.Context) error {
	c.report.Depth = "journal, hashes and trees"
	opaque := ""
	if c.Source != "" {
		opaque = c.IDs.NewHasher().Source(c.Source)
	}
	var trees []*snapshot.Tree
	var labels []string
	for _, e := range c.Chain.Snapshots() {
		if opaque != "" && e.Snapshot.Source != opaque {
			continue
		}
		label := restore.FormatID(e.Seq)
		tree, err := c.tree(ctx, e)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			c.damage("tree of "+label, err.Error(), []string{label})
			if tree != nil {
				files, ferr := restore.Needing(ctx, tree, c.Frames.Index(), c.bad)
				if ferr != nil && ctx.Err() != nil {
					return ctx.Err()
				}
				c.report.Damage[len(c.report.Damage)-1].Files = files // none where the tree itself is damaged: all are lost
			}
			continue
		}
		c.report.Snapshots++
		trees, labels = append(trees, tree), append(labels, label)
	}
	if !c.Contents {
		return nil
	}
	c.report.Depth = "journal, hashes, trees and contents"
	return restore.Verify(ctx, trees, labels, c.Frames, c.IDs, c.Share, c.Progress, func(what string, affects []string, err error) {
		c.damage(what, err.Error(), affects)
	})
}

// tree walks a whole tree and makes sure that the index knows every frame of it and that its pack is not damaged. With the latter error
// comes the tree.
func (c *checker) tree(ctx context.Context, e journal.Entry) (*snapshot.Tree, error) {
	tree, err := snapshot.OpenTree(ctx, c.Frames, c.IDs, e.Snapshot.Root)
	if err != nil {
		return nil, err
	}
	if c.IDs.NewHasher().Source(tree.Root.Source) != e.Snapshot.Source {
		return nil, fmt.Errorf("it is of source %q, its record is not: %w", tree.Root.Source, crypto.ErrDamaged)
	}
	plan, err := restore.Of(ctx, tree, c.Frames)
	if err != nil {
		return nil, err
	}
	var lost []string
	for _, o := range plan.Needs {
		if c.bad[o.Name] {
			lost = append(lost, o.Name)
		}
	}
	if len(lost) > 0 {
		return tree, fmt.Errorf("it needs %s: %w", strings.Join(lost, ", "), crypto.ErrDamaged)
	}
	return tree, nil
}
