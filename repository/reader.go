// Package repository puts the parts together: a repository as a reader sees it, with a target and an identity, and as its
// backup host sees it, with a state directory and several targets.
package repository

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"

	"filippo.io/age"

	"lifeboat/chunkstore"
	"lifeboat/crypto"
	"lifeboat/journal"
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

func readMarker(ctx context.Context, t target.Target) (m marker, err error) {
	b, err := target.Read(ctx, t, markerName, 4096)
	if errors.Is(err, fs.ErrNotExist) {
		return m, fmt.Errorf("%w: %s is missing (is the right disk mounted, the path right?)", ErrNoRepository, markerName)
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
	hasher *crypto.Hasher
	names  map[string]Source
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
		if !errors.Is(err, journal.ErrBroken) {
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
	b, err := openKey(ctx, r.Target, r.Chain, crypto.WhatEpoch, identities)
	if err != nil {
		return err
	}
	epoch, err := crypto.ParseEpochSecret(b)
	if err != nil {
		return err
	}
	id, ids, err := epoch.Open()
	if err != nil {
		return err
	}
	if epoch.Repository != r.Chain.Repository() {
		return fmt.Errorf("the epoch's key file is of another repository: %w", crypto.ErrDamaged)
	}
	return r.unlock(ctx, ids, id)
}

// unlock loads the index and reads frames with the given key: the epoch's, or the host's for trees only.
func (r *Reader) unlock(ctx context.Context, ids crypto.IDKey, id age.Identity) error {
	index, err := chunkstore.LoadIndex(ctx, r.Target, r.Chain.Indexes())
	if err != nil {
		return err
	}
	r.IDs, r.hasher, r.Frames = ids, ids.NewHasher(), chunkstore.NewReader(r.Target, index, id)
	return nil
}

// openKey opens the newest key file of a kind that one of identities fits.
func openKey(ctx context.Context, t target.Target, chain *journal.Chain, what crypto.What, identities []age.Identity) ([]byte, error) {
	var errs []error
	entries := chain.Entries()
	for i := len(entries) - 1; i >= 0; i-- {
		for _, o := range entries[i].Objects {
			if !strings.HasPrefix(o.Name, "keys/"+string(what)+"-") {
				continue
			}
			sealed, err := chunkstore.ReadDigest(ctx, t, o.Name, crypto.MaxKeyFile)
			if err == nil {
				var b []byte
				if b, err = crypto.OpenSealed(sealed, identities); err == nil {
					return b, nil
				}
			}
			if !errors.Is(err, crypto.ErrIdentity) {
				errs = append(errs, err)
			}
		}
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	return nil, fmt.Errorf("open the key of repository %s: %w: it is sealed to other recipients", chain.Repository(), crypto.ErrIdentity)
}

// Tree opens the tree of a snapshot.
func (r *Reader) Tree(ctx context.Context, ref journal.Ref) (*snapshot.Tree, error) {
	return snapshot.OpenTree(ctx, r.Frames, r.IDs, ref)
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
	var out []Snapshot
	for _, e := range r.Chain.Snapshots() {
		if name != "" && r.hasher.Source(name) != e.Snapshot.Source {
			continue
		}
		src, err := r.source(ctx, e.Snapshot)
		if err != nil {
			return nil, fmt.Errorf("snapshot s%d: %w", e.Seq, err)
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
	t, err := r.Tree(ctx, s.Root)
	if err != nil {
		return Source{}, err
	}
	if r.hasher.Source(t.Root.Source) != s.Source {
		return Source{}, fmt.Errorf("its tree is of source %q, its record is not: %w", t.Root.Source, crypto.ErrDamaged)
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

// KeyFiles lists the key files that the journal names.
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
	return out
}

// Objects lists everything that must stand on a complete copy: what the journal names, but for what was swept.
func (r *Reader) Objects() []target.Object {
	gone := swept(r.Chain)
	seen := map[string]bool{}
	var out []target.Object
	for _, e := range r.Chain.Entries() {
		for _, o := range e.Objects {
			if !gone[o.Name] && !seen[o.Name] {
				seen[o.Name] = true
				out = append(out, o)
			}
		}
	}
	return out
}
