package repository

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"filippo.io/age"

	"lifeboat/chunkstore"
	"lifeboat/crypto"
	"lifeboat/internal/atomicfile"
	"lifeboat/journal"
	"lifeboat/restore"
	"lifeboat/target"
)

// lockedHost makes the state directory where it is missing, and locks it.
func lockedHost(c Config) (*Host, error) {
	if err := makeState(c.StateDir); err != nil {
		return nil, err
	}
	if IsDrillHost(c.StateDir) {
		return nil, notInitialised(c.StateDir)
	}
	lock, err := lockState(c.StateDir)
	return &Host{Config: c, lock: lock}, err
}

// Init founds a repository, or prepares targets that were added to it since. It can be repeated after a crash.
func Init(ctx context.Context, c Config, recipients []crypto.Recipient) (_ *Host, err error) {
	h, err := lockedHost(c)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, h.Close())
		}
	}()
	for _, copied := range c.Copies {
		if copied.Err != nil {
			return nil, fmt.Errorf("target %s: %w", copied.Name, copied.Err)
		}
		if copied.Weak, err = probe(ctx, copied.Target); err != nil {
			return nil, fmt.Errorf("target %s: %w", copied.Name, err)
		}
	}
	founded, err := h.resume(ctx)
	if err != nil {
		return nil, err
	}
	if !founded {
		if err := h.found(ctx, recipients); err != nil {
			return nil, err
		}
	}
	return h, h.prepare(ctx)
}

// makeState makes the state directory, durably: without it the host is no longer the writer.
func makeState(dir string) error {
	if _, err := os.Stat(dir); err == nil {
		return nil
	}
	abs, err := filepath.Abs(dir)
	if err == nil {
		err = os.MkdirAll(abs, 0o700)
	}
	if err == nil {
		err = atomicfile.SyncDir(filepath.Dir(abs))
	}
	if err != nil {
		return fmt.Errorf("create the state directory: %w", err)
	}
	return nil
}

// resume continues with the secrets of an earlier init, if it got as far as record 1.
func (h *Host) resume(ctx context.Context) (bool, error) {
	if err := h.load(); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return false, nil
		}
		return false, err
	}
	chain, err := h.chain(ctx)
	if errors.Is(err, ErrNotInitialised) {
		chain, err = &journal.Chain{}, nil
	}
	if err != nil {
		return false, err
	}
	if err := h.begin(chain); err != nil {
		return false, err
	}
	if err := h.writer.Recover(ctx, h.targets()); err != nil && !errors.Is(err, journal.ErrPending) {
		return false, err
	}
	return h.Chain().Len() > 0, h.remember(h.Chain())
}

// found makes all secrets, seals them and writes record 1 to the first target.
func (h *Host) found(ctx context.Context, recipients []crypto.Recipient) error {
	for _, c := range h.Copies {
		if err := empty(ctx, c); err != nil {
			return err
		}
	}
	if err := journal.DiscardPending(h.StateDir); err != nil {
		return err
	}
	root, host, epoch, err := crypto.Generate()
	if err != nil {
		return err
	}
	h.secrets = &host
	if h.keys, err = host.Keys(); err != nil {
		return err
	}
	if err := h.saveSecrets(); err != nil {
		return err
	}
	if err := h.begin(&journal.Chain{}); err != nil {
		return err
	}
	cert, err := certify(root, &host, 1)
	if err != nil {
		return err
	}
	first := h.Copies[0]
	r := journal.Record{Type: journal.Init, Init: &journal.InitBody{Root: host.RootKey, Certificate: cert}}
	for _, k := range []struct {
		what  crypto.What
		value any
	}{{crypto.WhatRoot, root}, {crypto.WhatHost, host}, {crypto.WhatEpoch, epoch}} {
		secret, err := json.Marshal(k.value)
		if err != nil {
			return fmt.Errorf("encode %s key: %w", k.what, err)
		}
		objects, err := h.sealKey(ctx, first.Target, k.what, epoch.Epoch, secret, recipients)
		if err != nil {
			return err
		}
		r.Objects = append(r.Objects, objects...)
	}
	_, err = h.commit(ctx, first, r)
	return err
}

// preparedFile lists the targets that init prepared.
const preparedFile = "targets.json"

// Prepared names the targets that an earlier init prepared for the repository of this state directory.
func Prepared(stateDir string) (map[string]bool, error) {
	b, err := os.ReadFile(filepath.Join(stateDir, preparedFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var names []string
	if err == nil {
		err = json.Unmarshal(b, &names)
	}
	if err != nil {
		return nil, fmt.Errorf("read which targets are prepared: %w", err)
	}
	out := map[string]bool{}
	for _, n := range names {
		out[n] = true
	}
	return out, nil
}

// Empty reports whether t certainly holds nothing of a repository: neither a marker nor a first record.
func Empty(ctx context.Context, t target.Target) bool {
	for _, name := range []string{markerName, journal.Name(1)} {
		if _, err := target.Read(ctx, t, name, crypto.MaxKeyFile); !errors.Is(err, fs.ErrNotExist) {
			return false
		}
	}
	return true
}

func (h *Host) savePrepared() error {
	names := []string{}
	for _, c := range h.Copies {
		if c.Err == nil {
			names = append(names, c.Name)
		}
	}
	b, err := json.Marshal(names)
	if err != nil {
		return err
	}
	return atomicfile.Write(filepath.Join(h.StateDir, preparedFile), append(b, '\n'), 0o600)
}

// prepare gives every target the marker and what it lacks.
func (h *Host) prepare(ctx context.Context) error {
	for _, c := range h.Copies {
		m, merr := readMarker(ctx, c.Target)
		if merr == nil && m.Repository != h.secrets.Repository {
			return fmt.Errorf("target %s: %w", c.Name, foreignMarker(m, h.secrets.Repository))
		}
		n, err := journal.Position(ctx, c.Target, h.Chain())
		if err != nil {
			return fmt.Errorf("target %s: %w", c.Name, err)
		}
		if c.Position = n; n == 0 {
			if err := SetChecked(h.StateDir, c.Name, Checked{}); err != nil { // nothing of the former copy is left
				return err
			}
			if err := empty(ctx, c); merr != nil && err != nil {
				return err
			}
		}
		b, err := newMarker(h.secrets.Repository)
		if err != nil {
			return err
		}
		if err := target.Store(ctx, c.Target, markerName, b); err != nil {
			if errors.Is(err, target.ErrConflict) {
				err = fmt.Errorf("%w: %s is damaged or something else's: if everything else is in its place, delete it and repeat", ErrNoRepository, markerName)
			}
			return fmt.Errorf("target %s: %w", c.Name, err)
		}
	}
	if err := h.savePrepared(); err != nil {
		return err
	}
	return h.Replicate(ctx)
}

// empty refuses a target that holds anything but what a dead init left.
func empty(ctx context.Context, c *Copy) error {
	if _, err := readMarker(ctx, c.Target); err == nil {
		return fmt.Errorf("%w: target %s holds a repository already: `lifeboat init --take-over --identity FILE` adopts it; or choose another place", restore.ErrRefused, c.Name)
	}
	for info, err := range c.Target.List(ctx, "") {
		if err != nil {
			return fmt.Errorf("target %s: %w", c.Name, err)
		}
		if !strings.HasPrefix(info.Name, "keys/") && !strings.HasPrefix(info.Name, probePrefix) {
			return fmt.Errorf("%w: target %s is not empty (%s is there): choose an empty place", restore.ErrRefused, c.Name, info.Name)
		}
	}
	return nil
}

// storeKey seals a secret to the recipients and stores it, once per class.
func storeKey(ctx context.Context, t target.Target, name string, secret []byte, recipients []crypto.Recipient) ([]target.Object, error) {
	sealed, err := crypto.SealTo(recipients, secret)
	if err != nil {
		return nil, err
	}
	var out []target.Object
	for _, class := range []crypto.Class{crypto.PQ, crypto.Classic} {
		if sealed[class] == nil {
			continue
		}
		o, err := chunkstore.StoreDigest(ctx, t, "keys/"+name+"-"+string(class)+"-", sealed[class])
		if err != nil {
			return nil, err
		}
		out = append(out, o)
	}
	return out, nil
}

func certify(root crypto.RootSecret, host *crypto.HostSecrets, from uint64) (string, error) {
	signer, err := crypto.NewSigner(root.Repository, crypto.Root, root.Seed)
	if err != nil {
		return "", err
	}
	key, err := crypto.VerifierKey(root.Repository, crypto.Writer, host.SigningSeed)
	if err != nil {
		return "", err
	}
	return crypto.SignCertificate(signer, crypto.Certificate{Repository: root.Repository, Role: crypto.Writer, Key: key, From: from, Epoch: host.EpochRecipient})
}

// probePrefix begins the names of what probe writes.
const probePrefix = "probe-"

// probe makes sure that a target keeps its contract where it matters most: nothing is ever replaced. It says what else is
// missing: a target on which nothing may be deleted is a good one, but somebody else has to clean it.
func probe(ctx context.Context, t target.Target) (weak []string, err error) {
	var random [8]byte
	_, _ = rand.Read(random[:]) // never fails
	name := probePrefix + hex.EncodeToString(random[:])
	put := func(s string) error {
		return t.Put(ctx, name, io.NewSectionReader(strings.NewReader(s), 0, int64(len(s))))
	}
	if err := put("first"); err != nil {
		return nil, fmt.Errorf("cannot be written: %w", err)
	}
	defer func() {
		derr := t.Delete(ctx, name)
		switch {
		case errors.Is(derr, fs.ErrPermission), errors.Is(derr, target.ErrRetained):
			weak = append(weak, fmt.Sprintf("objects cannot be deleted, so its space is never free again by `lifeboat forget`: %v", derr))
		case err == nil && derr != nil:
			err = fmt.Errorf("cannot delete what it wrote: %w", derr)
		}
	}()
	if err := put("second"); !errors.Is(err, fs.ErrExist) {
		return nil, fmt.Errorf("does not refuse to replace an object (%w): its copies could be overwritten", err)
	}
	if b, err := target.Read(ctx, t, name, 64); err != nil || string(b) != "first" {
		return nil, fmt.Errorf("does not return what was written: %w", err)
	}
	if p, ok := t.(target.Prober); ok {
		return p.Probe(ctx)
	}
	return nil, nil
}

// TakeOver makes this host the writer of the repository that the targets hold: with an identity it opens the host's
// secrets and the root, certifies a new signing key and thereby ends the old one. What the state directory held goes.
//
// trust is asked for every copy whether it is of the right repository, before anything of it is used.
func TakeOver(ctx context.Context, c Config, recipients []crypto.Recipient, identities []age.Identity, trust func(*Reader) error) (_ *Host, err error) {
	h, err := lockedHost(c)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, h.Close())
		}
	}()
	newest, err := h.newest(ctx, trust)
	if err != nil {
		return nil, err
	}
	root, err := h.adopt(ctx, newest, identities)
	if err != nil {
		return nil, err
	}
	if err := h.takeOver(ctx, newest, root, recipients); err != nil {
		return nil, err
	}
	for _, copied := range h.Copies {
		if Empty(ctx, copied.Target) {
			copied.Err = fmt.Errorf("%w: it is empty: if its disk is mounted, `lifeboat init` fills it", ErrNoRepository)
		} else if n, err := journal.Position(ctx, copied.Target, h.Chain()); err != nil {
			copied.Err = err
		} else {
			copied.Position = n
		}
	}
	if err := h.savePrepared(); err != nil {
		return nil, err
	}
	return h, h.Replicate(ctx)
}

// newest finds the copy with the longest journal. All targets must answer: one that does not could hold more.
func (h *Host) newest(ctx context.Context, trust func(*Reader) error) (*Reader, error) {
	var best *Reader
	for _, c := range h.Copies {
		if c.Err != nil {
			return nil, fmt.Errorf("target %s cannot be reached, and its journal may be the newest: %w: repair it, or take it out of the configuration", c.Name, c.Err)
		}
		r, err := Open(ctx, c.Target)
		if errors.Is(err, ErrNoRepository) && Empty(ctx, c.Target) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("target %s: %w", c.Name, err)
		}
		if r.Broken != nil {
			return nil, fmt.Errorf("target %s: %w", c.Name, r.Broken)
		}
		if err := trust(r); err != nil {
			return nil, fmt.Errorf("target %s: %w", c.Name, err)
		}
		if best == nil {
			best = r
			continue
		}
		longer, shorter := best, r
		if r.Chain.Len() > best.Chain.Len() {
			longer, shorter = r, best
		}
		if n := shorter.Chain.Len(); !bytes.Equal(longer.Chain.Entries()[n-1].Raw, shorter.Chain.Entries()[n-1].Raw) {
			return nil, fmt.Errorf("target %s: %w: its journal is not that of the other targets: move the copy away that is not the right one, and repeat", c.Name, ErrNoRepository)
		}
		best = longer
	}
	if best == nil {
		return nil, fmt.Errorf("no target holds a repository to take over: %w", ErrNoRepository)
	}
	return best, nil
}

// adopt opens the secrets and makes the state directory one of this repository.
func (h *Host) adopt(ctx context.Context, r *Reader, identities []age.Identity) (*crypto.RootSecret, error) {
	roots, err := openKeys(ctx, r.Target, r.Chain, crypto.WhatRoot, identities)
	if err != nil {
		return nil, err
	}
	root, err := crypto.ParseRootSecret(roots[0])
	if err != nil {
		return nil, err
	}
	hosts, err := openKeys(ctx, r.Target, r.Chain, crypto.WhatHost, identities)
	if err != nil {
		return nil, err
	}
	if h.secrets, err = crypto.ParseHostSecrets(hosts[0]); err != nil {
		return nil, err
	}
	if epochs := r.Chain.Epochs(); h.secrets.EpochRecipient != epochs[len(epochs)-1] {
		return nil, fmt.Errorf("take over: %w: it opens epoch %d of %d, and would not open what is backed up from now on: give the identity of a present recipient", crypto.ErrIdentity, h.secrets.Epoch, len(epochs))
	}
	h.secrets.NewSigningSeed()
	if h.keys, err = h.secrets.Keys(); err != nil {
		return nil, err
	}
	for _, name := range []string{catalogFile, mapsDir, checksDir, locksDir} {
		if err := os.RemoveAll(filepath.Join(h.StateDir, name)); err != nil {
			return nil, fmt.Errorf("clear the state directory: %w", err)
		}
	}
	if err := journal.DiscardPending(h.StateDir); err != nil {
		return nil, err
	}
	if err := journal.WriteHead(h.StateDir, r.Chain); err != nil {
		return nil, err
	}
	return root, h.saveSecrets()
}

func (h *Host) takeOver(ctx context.Context, r *Reader, root *crypto.RootSecret, recipients []crypto.Recipient) error {
	if err := h.begin(r.Chain); err != nil {
		return err
	}
	next := r.Chain.Len() + 1
	cert, err := certify(*root, h.secrets, next)
	if err != nil {
		return err
	}
	secret, err := json.Marshal(h.secrets)
	if err != nil {
		return fmt.Errorf("encode host key: %w", err)
	}
	objects, err := h.sealKey(ctx, r.Target, crypto.WhatHost, h.secrets.Epoch, secret, recipients)
	if err != nil {
		return err
	}
	for _, c := range h.Copies {
		if c.Target == r.Target {
			_, err = h.commit(ctx, c, journal.Record{Type: journal.Takeover, Takeover: &journal.TakeoverBody{Certificate: cert}, Objects: objects})
		}
	}
	return err
}
