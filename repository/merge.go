package repository

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"lifeboat/chunkstore"
	"lifeboat/crypto"
	"lifeboat/internal/atomicfile"
	"lifeboat/journal"
	"lifeboat/target"
)

// documentPrefix begins the names of documents.
const documentPrefix = "documents/"

// merge records what was noted, where a target takes records: else it waits for one.
func (h *Host) merge(ctx context.Context) error {
	if _, err := h.primary(); err != nil {
		return nil
	}
	return h.Config.merge(ctx, h.Chain(), h.secrets.Repository, h.record)
}

// merge records what was noted, in its order, and forgets each entry once its record stands. What cannot be recorded now is kept, and told: nothing
// else waits for it. An error means that no other record can be committed either, or that the run was interrupted.
func (c *Config) merge(ctx context.Context, chain *journal.Chain, repository crypto.ID, record func(context.Context, Noted) error) error {
	dir := filepath.Join(c.StateDir, outboxDir)
	names, err := entriesOf(dir)
	if err != nil {
		c.warn(fmt.Errorf("what was noted for the audit log cannot be read, and is not recorded: %w", err))
		return nil
	}
	if len(names) == 0 {
		return nil
	}
	c.cleanOutbox(dir)
	recorded := map[string]bool{}
	for _, e := range chain.Entries() {
		recorded[e.Note] = true
	}
	for _, name := range names {
		if err := c.mergeOne(ctx, filepath.Join(dir, name), repository, recorded, record); err != nil {
			if ctx.Err() != nil || errors.Is(err, journal.ErrPending) {
				return err
			}
			c.warn(fmt.Errorf("what was noted for the audit log is not recorded yet: %w: the next command that writes to the repository tries again", err))
			break
		}
	}
	if err := atomicfile.SyncDir(dir); err != nil {
		c.warn(err) // an entry that comes back is found in the journal
	}
	return ctx.Err()
}

// complete names the copies that hold the whole journal.
func (h *Host) complete() (names []string) {
	for _, c := range h.Copies {
		if c.Err == nil && c.Position == h.Chain().Len() {
			names = append(names, c.Name)
		}
	}
	return names
}

// mergeOne records one entry and removes it. One that nobody can ever read, or that is another repository's, is moved aside.
func (c *Config) mergeOne(ctx context.Context, path string, repository crypto.ID, recorded map[string]bool, record func(context.Context, Noted) error) error {
	n, err := readNoted(path)
	if err == nil && !n.Record.Repository.IsZero() && n.Record.Repository != repository {
		err = fmt.Errorf("%w: it is of repository %s, and this is %s", errNotedDamaged, n.Record.Repository, repository)
	}
	if errors.Is(err, errNotedDamaged) {
		aside := filepath.Join(filepath.Dir(path), damagedPrefix+filepath.Base(path))
		c.warn(fmt.Errorf("something that happened is missing in the audit log: %w: what is left of it is in %s: look at it, and remove it", err, aside))
		return os.Rename(path, aside)
	}
	if err != nil {
		return err
	}
	if !recorded[n.Record.Note] {
		if err := record(ctx, n); err != nil {
			return err
		}
		recorded[n.Record.Note] = true
	}
	return os.Remove(path)
}

// record commits what was noted, and brings it to the copies that were complete before: others have more to fetch, for which nobody waits here. Its
// document stands on all of these before, so that another one takes the record where the first fails amid the commit.
func (h *Host) record(ctx context.Context, n Noted) error {
	r := n.record()
	if n.Document != nil {
		sealed, err := crypto.SealDocument(h.keys.Sealed, n.Document)
		if err != nil {
			return err
		}
		o, err := h.storeDocument(ctx, sealed)
		if err != nil {
			return err
		}
		r.Objects = []target.Object{o}
	}
	return h.enterNoted(ctx, r)
}

// enterNoted commits a record whose document stands.
func (h *Host) enterNoted(ctx context.Context, r journal.Record) error {
	followers := h.complete()
	first, err := h.primary()
	if err != nil {
		return err
	}
	if _, err = h.commit(ctx, first, r); err == nil {
		return h.Replicate(ctx, followers...)
	}
	if ctx.Err() != nil {
		return err
	}
	first.Err = err
	signed, ferr := h.finish(ctx, &Done{})
	switch {
	case ferr != nil:
		return fmt.Errorf("%w\n%w\n%s", err, ferr, repairOrTakeOver)
	case signed:
		return nil
	}
	first.Err = nil // nothing was signed: it was not the target
	return err
}

// storeDocument stores a sealed text on every complete copy. One on which it cannot be stored is missed; it is an error where none is left.
func (h *Host) storeDocument(ctx context.Context, sealed []byte) (o target.Object, err error) {
	for _, c := range h.Copies {
		if c.Err != nil || c.Position != h.Chain().Len() {
			continue
		}
		stored, serr := chunkstore.StoreDigest(ctx, c.Target, documentPrefix, sealed)
		if ctx.Err() != nil {
			return o, ctx.Err()
		}
		if serr != nil {
			c.Err = fmt.Errorf("store a document: %w", serr)
			continue
		}
		o = stored
	}
	if o.Name == "" {
		_, err = h.primary() // says what is wrong with them
		err = errors.Join(errors.New("no copy takes the document"), err)
	}
	return o, err
}

// Document opens the text that a record belongs to, and verifies that it is the one that the record names. Errors wrap crypto.ErrIdentity without an
// identity that opens content, crypto.ErrDamaged, and fs.ErrNotExist where the record names none or no copy has it.
func (r *Reader) Document(ctx context.Context, e journal.Entry) (text []byte, err error) {
	digest, _ := e.Document()
	for _, o := range e.Objects {
		if digest != "" && strings.HasPrefix(o.Name, documentPrefix) {
			if text, err = r.anyDocument(ctx, o, digest); err != nil {
				return nil, fmt.Errorf("read the document of record %d: %w", e.Seq, err)
			}
			return text, nil
		}
	}
	return nil, fmt.Errorf("record %d names no document: %w", e.Seq, fs.ErrNotExist)
}

// anyDocument reads a document from the first copy that has it whole.
func (r *Reader) anyDocument(ctx context.Context, o target.Object, digest string) ([]byte, error) {
	var errs []error
	for _, t := range append([]target.Target{r.Target}, r.Siblings...) {
		text, err := r.document(ctx, t, o, digest)
		if ctx.Err() != nil || errors.Is(err, crypto.ErrIdentity) {
			return nil, err
		}
		if err == nil {
			for n, missed := range errs {
				if r.Missed != nil {
					r.Missed(n, missed)
				}
			}
			return text, nil
		}
		errs = append(errs, err)
	}
	return nil, errors.Join(errs...)
}

func (r *Reader) document(ctx context.Context, t target.Target, o target.Object, digest string) ([]byte, error) {
	sealed, err := chunkstore.ReadDigest(ctx, t, o.Name, crypto.MaxSealedDocument)
	if err != nil {
		return nil, err
	}
	text, err := crypto.OpenDocument(sealed, r.opens)
	if err != nil {
		return nil, err
	}
	if !hasDigest(text, digest) {
		return nil, fmt.Errorf("%s is not the text that the record names: %w", o.Name, crypto.ErrDamaged)
	}
	return text, nil
}

// staleNote is how old a temporary file of the outbox is before it is nobody's any more.
const staleNote = time.Hour

// cleanOutbox removes what crashes left of entries.
func (c *Config) cleanOutbox(dir string) {
	left, _ := filepath.Glob(filepath.Join(dir, ".*.tmp-*")) // the pattern is sound
	for _, path := range left {
		if info, err := os.Lstat(path); err == nil && c.Now().Sub(info.ModTime()) > staleNote {
			_ = os.Remove(path) // again next time
		}
	}
}

// warn tells what went wrong beside what was asked for.
func (c *Config) warn(err error) {
	if c.Warn != nil {
		c.Warn(err)
	}
}
