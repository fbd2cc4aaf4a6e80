// Package repository puts the parts together: a repository as a reader sees it, with a target and an identity, and as its
// backup host sees it, with a state directory and several targets.
package repository

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"
	"unicode"

	"filippo.io/age"

	"lifeboat/capture"
	"lifeboat/chunkstore"
	"lifeboat/crypto"
	"lifeboat/journal"
	"lifeboat/restore"
	"lifeboat/snapshot"
	"lifeboat/target"
)

// ErrNoRepository is wrapped where a target holds no repository, or not the one expected.
var ErrNoRepository = errors.New("no repository here")

const markerName = "lifeboat.json"

type marker struct {
	Lifeboat   string    `json:"lifeboat"`
	Format     int       `json:"format"`
	Repository crypto.ID `json:"repository"`
}

// newMarker is what a copy of a repository is known by.
func newMarker(repository crypto.ID) ([]byte, error) {
	b, err := json.Marshal(marker{"repository", 1, repository})
	return append(b, '\n'), err
}

func readMarker(ctx context.Context, t target.Target) (m marker, err error) {
	b, err := target.Read(ctx, t, markerName, 4096)
	if errors.Is(err, fs.ErrNotExist) {
		return m, fmt.Errorf("%w: %s is missing (is the right disk mounted, the path right?)", ErrNoRepository, markerName)
	}
	if errors.Is(err, target.ErrUnreadable) {
		return m, fmt.Errorf("%w: %w", ErrNoRepository, err)
	}
	if err != nil {
		return m, err
	}
	if err := json.Unmarshal(b, &m); err != nil || m.Lifeboat != "repository" {
		return m, fmt.Errorf("%w: %s is damaged or something else's", ErrNoRepository, markerName)
	}
	if m.Format != 1 {
		return m, fmt.Errorf("the repository has format %d, this lifeboat reads 1: install a newer one", m.Format)
	}
	return m, nil
}

func foreignMarker(m marker, want crypto.ID) error {
	return fmt.Errorf("%w: it belongs to repository %s, not to %s", ErrNoRepository, m.Repository, want)
}

// Reader reads one copy of a repository.
type Reader struct {
	Target target.Target
	Chain  *journal.Chain
	// Broken is set where the journal does not verify to its end: what stands before the break is usable.
	Broken error
	IDs    crypto.IDKey
	Frames *chunkstore.Reader // nil without any key
	// Siblings are other copies of the repository: what is missing or damaged here is read there.
	Siblings []target.Target
	// Missed is told, once for each, why another copy served in the place of the n-th; 0 is this copy.
	Missed func(n int, err error)
	// IndexLost is set where the index was made anew from the packs, because one of its objects is missing or damaged.
	IndexLost error
	hasher    *crypto.Hasher
	names     map[string]Source
	opens     []age.Identity
}

// Source is what a snapshot's tree says of where it came from.
type Source struct {
	Name, Engine string
}

// Open reads the journal of the copy on t and verifies it. Nothing else can be read before Unlock.
func Open(ctx context.Context, t target.Target) (*Reader, error) {
	m, err := readMarker(ctx, t)
	if err != nil {
		return nil, err
	}
	r := &Reader{Target: t, Chain: &journal.Chain{}, names: map[string]Source{}}
	if err := journal.Extend(ctx, t, r.Chain); err != nil {
		if !errors.Is(err, journal.ErrBroken) && !chunkstore.Damaged(err) {
			return nil, err
		}
		r.Broken = err
	}
	if r.Chain.Len() == 0 {
		return nil, errors.Join(fmt.Errorf("%w: the journal is empty", ErrNoRepository), r.Broken)
	}
	if r.Chain.Repository() != m.Repository {
		return nil, fmt.Errorf("%w: the journal is of repository %s, the marker of %s", ErrNoRepository, r.Chain.Repository(), m.Repository)
	}
	return r, nil
}

// Fingerprint of the root that this copy names; only comparing it tells whether the copy is genuine.
func (r *Reader) Fingerprint() (string, error) { return crypto.Fingerprint(r.Chain.RootKey()) }

// Unlock opens the epoch with identities, for reading everything. Errors wrap crypto.ErrIdentity where none fits.
func (r *Reader) Unlock(ctx context.Context, identities []age.Identity) error {
	secrets, err := openKeys(ctx, r.Target, r.Chain, crypto.WhatEpoch, identities)
	for _, t := range r.Siblings {
		if err == nil || errors.Is(err, crypto.ErrIdentity) || ctx.Err() != nil {
			break
		}
		secrets, err = openKeys(ctx, t, r.Chain, crypto.WhatEpoch, identities)
	}
	if err != nil {
		return err
	}
	var epochs []age.Identity
	opened := map[string]bool{}
	var ids crypto.IDKey
	for i, b := range secrets {
		epoch, err := crypto.ParseEpochSecret(b)
		if err != nil {
			return err
		}
		id, key, err := epoch.Open()
		if err != nil {
			return err
		}
		epochs = append(epochs, id)
		opened[id.Recipient().String()] = true
		if i == 0 {
			ids = key
		}
	}
	if err := r.unlock(ctx, ids, epochs...); err != nil {
		return err
	}
	if n := len(r.Chain.Epochs()); len(opened) < n {
		r.Frames.Partial = fmt.Errorf("%w: the identity opens %d of the repository's %d epochs", crypto.ErrIdentity, len(opened), n)
	}
	return nil
}

// unlock loads the index and reads frames with the given keys: the epochs', or the host's for trees only.
func (r *Reader) unlock(ctx context.Context, ids crypto.IDKey, id ...age.Identity) error {
	index, err := chunkstore.LoadIndex(ctx, r.Target, r.Chain.Indexes())
	if err != nil && len(r.Siblings) > 0 {
		index, err = r.gatherIndex(ctx)
	}
	if chunkstore.Damaged(err) {
		r.IndexLost = err
		index, err = chunkstore.RebuildIndex(ctx, r.Target)
	}
	if err != nil {
		return err
	}
	r.opens = id
	r.IDs, r.hasher, r.Frames = ids, ids.NewHasher(), chunkstore.NewReader(r.Target, index, id...)
	r.Frames.Siblings, r.Frames.Missed = r.Siblings, r.Missed
	return nil
}

// gatherIndex takes each object of the index from a copy that has it whole.
func (r *Reader) gatherIndex(ctx context.Context) (*chunkstore.Index, error) {
	var all []chunkstore.Pack
	for _, digest := range r.Chain.Indexes() {
		packs, err := chunkstore.ReadIndex(ctx, r.Target, digest)
		for _, t := range r.Siblings {
			if err == nil || ctx.Err() != nil {
				break
			}
			packs, err = chunkstore.ReadIndex(ctx, t, digest)
		}
		if err != nil {
			return nil, err
		}
		all = append(all, packs...)
	}
	return chunkstore.NewIndex(all), nil
}

// openKeys returns the content of all key files of a kind that one of identities opens, the newest first. Whoever has the
// writer's signing key can name any key file in a record, so only what fits the root's certificates counts.
func openKeys(ctx context.Context, t target.Target, chain *journal.Chain, what crypto.What, identities []age.Identity) (secrets [][]byte, err error) {
	var errs []error
	for _, e := range slices.Backward(chain.Entries()) {
		if e.Type != journal.Init && e.Type != journal.Keys && e.Type != journal.Takeover {
			continue
		}
		for _, o := range e.Objects {
			if !strings.HasPrefix(o.Name, "keys/"+string(what)+"-") {
				continue
			}
			b, err := openKey(ctx, t, o.Name, identities)
			if err == nil {
				err = certified(chain, what, b)
			}
			if err == nil {
				secrets = append(secrets, b)
			} else if !errors.Is(err, crypto.ErrIdentity) {
				errs = append(errs, fmt.Errorf("%s: %w", o.Name, err))
			}
		}
	}
	switch {
	case len(secrets) > 0:
		return secrets, nil
	case len(errs) > 0:
		return nil, errors.Join(errs...)
	}
	return nil, fmt.Errorf("open the key of repository %s: %w: it is sealed to other recipients", chain.Repository(), crypto.ErrIdentity)
}

func openKey(ctx context.Context, t target.Target, name string, identities []age.Identity) ([]byte, error) {
	sealed, err := chunkstore.ReadDigest(ctx, t, name, crypto.MaxKeyFile)
	if err != nil {
		return nil, err
	}
	return crypto.OpenSealed(sealed, identities)
}

// certified checks that a secret is of the repository, and of the root and the epochs behind its journal.
func certified(chain *journal.Chain, what crypto.What, b []byte) error {
	var repository crypto.ID
	root, epoch := chain.RootKey(), chain.Epochs()[len(chain.Epochs())-1]
	switch what {
	case crypto.WhatRoot:
		s, err := crypto.ParseRootSecret(b)
		if err != nil {
			return err
		}
		if root, err = crypto.VerifierKey(s.Repository, crypto.Root, s.Seed); err != nil {
			return err
		}
		repository = s.Repository
	case crypto.WhatHost:
		s, err := crypto.ParseHostSecrets(b)
		if err != nil {
			return err
		}
		repository, root, epoch = s.Repository, s.RootKey, s.EpochRecipient
	case crypto.WhatEpoch:
		s, err := crypto.ParseEpochSecret(b)
		if err != nil {
			return err
		}
		id, _, err := s.Open()
		if err != nil {
			return err
		}
		repository, epoch = s.Repository, id.Recipient().String()
	}
	if repository != chain.Repository() || root != chain.RootKey() || !slices.Contains(chain.Epochs(), epoch) {
		return fmt.Errorf("it does not fit what the root certified: %w", crypto.ErrDamaged)
	}
	return nil
}

// Tree opens the tree of a snapshot.
func (r *Reader) Tree(ctx context.Context, ref journal.Ref) (*snapshot.Tree, error) {
	return snapshot.OpenTree(ctx, r.Frames, r.IDs, ref)
}

// TreeOf opens the tree of a snapshot and makes sure that it is of the source that the record names.
func (r *Reader) TreeOf(ctx context.Context, s *journal.SnapshotBody) (*snapshot.Tree, error) {
	t, err := r.Tree(ctx, s.Root)
	if err != nil {
		return nil, err
	}
	if r.hasher.Source(t.Root.Source) != s.Source || strings.ContainsFunc(t.Root.Source, unicode.IsControl) {
		return nil, fmt.Errorf("its tree is of source %q, its record is not: %w", t.Root.Source, crypto.ErrDamaged)
	}
	return t, nil
}

// Log is the n-th captured log of a source on this copy.
func (r *Reader) Log(ctx context.Context, source string, n uint64) (l restore.Log, err error) {
	return r.log(ctx, r.hasher.Log(source, n))
}

// LogDropped reports whether retention has dropped some of the n-th log of a source.
func (r *Reader) LogDropped(source string, n uint64) bool {
	prefix := capture.Prefix(r.hasher.Log(source, n))
	for name := range fatesIn(r.Chain) {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return false
}

// LogPerDay is how many bytes of log a source added to a copy in a day, by what the journal names of its newest log; 0 is not known.
func (r *Reader) LogPerDay(source string, n uint64) int64 {
	opaque, bytes := r.hasher.Log(source, n), int64(0)
	var first, last time.Time
	for _, e := range r.Chain.Entries() {
		if e.Log == nil || e.Log.Source != opaque {
			continue
		}
		if last = e.Time; first.IsZero() { // what it names is from before
			first = e.Time
			continue
		}
		for _, o := range e.Objects {
			bytes += o.Size
		}
	}
	if long := last.Sub(first); long > 0 {
		return int64(float64(bytes) * float64(24*time.Hour) / float64(long))
	}
	return 0
}

func (r *Reader) log(ctx context.Context, opaque string) (l restore.Log, err error) {
	if l.Reader, err = r.LogReader(); err != nil {
		return l, err
	}
	l.Objects, err = l.Reader.List(ctx, opaque)
	return l, err
}

// LogReader reads any captured log on this copy, and what is in it with the identities that Unlock had.
func (r *Reader) LogReader() (*capture.Reader, error) {
	l, err := capture.NewReader(r.Target, r.Chain, r.opens...)
	if err == nil {
		l.Siblings = r.Siblings
	}
	return l, err
}

// Snapshot is one snapshot that this copy holds.
type Snapshot struct {
	Source
	Opaque string
	Seq    uint64
	*journal.SnapshotBody
	Recorded time.Time
}

// Snapshots lists the snapshots, oldest first; of one source where name is not empty.
func (r *Reader) Snapshots(ctx context.Context, name string) ([]Snapshot, error) {
	var all []journal.Entry
	unread := map[string]error{}
	for _, e := range r.Chain.Snapshots() {
		if name != "" && r.hasher.Source(name) != e.Snapshot.Source {
			continue
		}
		all = append(all, e)
		if _, err := r.source(ctx, e.Snapshot); err != nil {
			if !chunkstore.Damaged(err) {
				return nil, fmt.Errorf("snapshot s%d: %w", e.Seq, err)
			}
			unread[e.Snapshot.Source] = fmt.Errorf("snapshot s%d: %w", e.Seq, err)
		}
	}
	var out []Snapshot
	for _, e := range all {
		src, ok := r.names[e.Snapshot.Source]
		if !ok { // a damaged tree hides no other snapshot of its source, unless all are damaged
			return nil, unread[e.Snapshot.Source]
		}
		out = append(out, Snapshot{src, e.Snapshot.Source, e.Seq, e.Snapshot, e.Time})
	}
	return out, nil
}

// source learns from the tree what the opaque source of a snapshot is; each source is read once.
func (r *Reader) source(ctx context.Context, s *journal.SnapshotBody) (Source, error) {
	if src, ok := r.names[s.Source]; ok {
		return src, nil
	}
	t, err := r.TreeOf(ctx, s)
	if err != nil {
		return Source{}, err
	}
	src := Source{t.Root.Source, t.Root.Engine}
	r.names[s.Source] = src
	return src, nil
}

// KeyFile is a sealed secret of the repository.
type KeyFile struct {
	What   string    `json:"what"`
	Class  string    `json:"class"`
	Added  time.Time `json:"added"`
	Record uint64    `json:"record"`
	Object string    `json:"object"`
}

// KeyFiles lists the key files that the journal names, and behind them the signing keys of drill hosts, which are in no file.
func (r *Reader) KeyFiles() []KeyFile {
	out := []KeyFile{}
	for _, e := range r.Chain.Entries() {
		for _, o := range e.Objects {
			if name, ok := strings.CutPrefix(o.Name, "keys/"); ok {
				if p := strings.Split(name, "-"); len(p) == 4 {
					out = append(out, KeyFile{p[0] + " " + p[1], p[2], e.Time, e.Seq, o.Name})
				}
			}
		}
	}
	for _, h := range r.Chain.DrillHosts() {
		out = append(out, KeyFile{What: string(h.Role), Class: "signing", Added: r.Chain.Entries()[h.Certified-1].Time, Record: h.Certified})
		if h.Revoked > 0 {
			out = append(out, KeyFile{What: string(h.Role) + " revoked", Class: "signing", Added: r.Chain.Entries()[h.Revoked-1].Time, Record: h.Revoked})
		}
	}
	return out
}

// Objects lists everything that must stand on a complete copy: what the journal names, but for what was condemned or swept.
func (r *Reader) Objects() []target.Object { return objects(r.Chain) }

func objects(c *journal.Chain) []target.Object {
	gone := fatesIn(c)
	seen := map[string]bool{}
	var out []target.Object
	for _, e := range c.Entries() {
		for _, o := range e.Objects {
			if !gone.unneeded(o.Name) && !seen[o.Name] {
				seen[o.Name] = true
				out = append(out, o)
			}
		}
	}
	return out
}
