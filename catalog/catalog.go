// Package catalog is the backup host's cache of what the journal and the trees say: the records, and where each chunk is.
// It can be deleted at any time and is then rebuilt from a target. The database is opened for each call and closed before
// any other I/O, so no process ever waits for another's backup. Whatever cannot be read counts as absent.
package catalog

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime/debug"
	"slices"
	"time"

	"go.etcd.io/bbolt"

	"lifeboat/chunkstore"
	"lifeboat/crypto"
)

var (
	recordsBucket = []byte("records")
	chunksBucket  = []byte("chunks")
	metaBucket    = []byte("meta")
	indexedKey    = []byte("indexed")
)

// lockWait bounds how long a call waits for another process.
const lockWait = 30 * time.Second

// Catalog is the cache in one file. It is safe for concurrent use.
type Catalog struct {
	path string
	ids  crypto.IDKey
}

// New names the file; it is created when something is stored.
func New(path string, ids crypto.IDKey) *Catalog { return &Catalog{path, ids} }

// Reset forgets everything.
func (c *Catalog) Reset() error {
	if err := os.Remove(c.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("reset the catalog: %w", err)
	}
	return nil
}

// view runs f on an open database; it does nothing where there is none. bbolt panics on damaged pages, and reading a page
// behind the end of a file that was cut short is a fault: both are errors here, and the caller resets.
func (c *Catalog) view(f func(*bbolt.Tx) error) (err error) {
	if _, err := os.Stat(c.path); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	defer recovered(&err)
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	db, err := bbolt.Open(c.path, 0o600, &bbolt.Options{ReadOnly: true, Timeout: lockWait})
	if err != nil {
		return fmt.Errorf("open the catalog: %w", err)
	}
	defer db.Close()
	return db.View(f)
}

func (c *Catalog) update(f func(*bbolt.Tx) error) (err error) {
	defer recovered(&err)
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	db, err := bbolt.Open(c.path, 0o600, &bbolt.Options{Timeout: lockWait})
	if err != nil {
		return fmt.Errorf("open the catalog: %w", err)
	}
	defer func() { _ = db.Close() }() // also after a panic, which would keep the file locked; the second time it does nothing
	if err := db.Update(f); err != nil {
		return fmt.Errorf("update the catalog: %w", err)
	}
	return db.Close()
}

func recovered(err *error) {
	if r := recover(); r != nil {
		*err = fmt.Errorf("the catalog is damaged: %v", r)
	}
}

// Records returns the records from the first on.
func (c *Catalog) Records() (out [][]byte, err error) {
	err = c.view(func(tx *bbolt.Tx) error {
		b := tx.Bucket(recordsBucket)
		if b == nil {
			return nil
		}
		return b.ForEach(func(_, raw []byte) error {
			out = append(out, bytes.Clone(raw))
			return nil
		})
	})
	return out, err
}

// AddRecords stores records, the first of which has number first.
func (c *Catalog) AddRecords(first uint64, raws [][]byte) error {
	if len(raws) == 0 {
		return nil
	}
	return c.update(func(tx *bbolt.Tx) error {
		b, err := tx.CreateBucketIfNotExists(recordsBucket)
		if err != nil {
			return err
		}
		for i, raw := range raws {
			if err := b.Put(binary.BigEndian.AppendUint64(nil, first+uint64(i)), raw); err != nil {
				return err
			}
		}
		return nil
	})
}

// Indexed is the number of the last record whose chunks are all in the catalog.
func (c *Catalog) Indexed() (n uint64, err error) {
	err = c.view(func(tx *bbolt.Tx) error {
		if b := tx.Bucket(metaBucket); b != nil {
			if v := b.Get(indexedKey); len(v) == 8 {
				n = binary.BigEndian.Uint64(v)
			}
		}
		return nil
	})
	return n, err
}

// SetIndexed records that the chunks of all records up to n were added.
func (c *Catalog) SetIndexed(n uint64) error {
	return c.update(func(tx *bbolt.Tx) error {
		b, err := tx.CreateBucketIfNotExists(metaBucket)
		if err != nil {
			return err
		}
		return b.Put(indexedKey, binary.BigEndian.AppendUint64(nil, n))
	})
}

// Chunk is a chunk and its place.
type Chunk struct {
	ID  crypto.ID
	Loc chunkstore.Loc
}

// AddChunks stores where chunks are. A batch of some 10,000 is a good size.
func (c *Catalog) AddChunks(chunks []Chunk) error {
	slices.SortFunc(chunks, func(a, b Chunk) int { return bytes.Compare(a.ID[:], b.ID[:]) })
	h := c.ids.NewHasher()
	return c.update(func(tx *bbolt.Tx) error {
		b, err := tx.CreateBucketIfNotExists(chunksBucket)
		if err != nil {
			return err
		}
		for i := range chunks {
			if err := b.Put(chunks[i].ID[:], encode(h, &chunks[i])); err != nil {
				return err
			}
		}
		return nil
	})
}

// A value is the place and a MAC over chunk and place: a flipped bit here must not become a wrong extent of a snapshot.
const macSize = 8

func encode(h *crypto.Hasher, c *Chunk) []byte {
	b := append([]byte(nil), c.ID[:]...)
	b = append(b, c.Loc.Frame[:]...)
	b = binary.BigEndian.AppendUint32(b, uint32(c.Loc.Off))
	b = binary.BigEndian.AppendUint32(b, uint32(c.Loc.Len))
	mac := h.Local(b)
	return append(b[crypto.IDSize:], mac[:macSize]...)
}

func decode(h *crypto.Hasher, id crypto.ID, v []byte) (c Chunk, ok bool) {
	const size = crypto.IDSize + 8
	if len(v) != size+macSize {
		return c, false
	}
	c.ID = id
	copy(c.Loc.Frame[:], v)
	c.Loc.Off = int(binary.BigEndian.Uint32(v[crypto.IDSize:]))
	c.Loc.Len = int(binary.BigEndian.Uint32(v[crypto.IDSize+4:]))
	return c, bytes.Equal(encode(h, &c), v)
}

// Lookup sets places[i] for each ids[i] that the catalog knows. It implements snapshot.Known but for the question whether
// the frame still stands.
func (c *Catalog) Lookup(ids []crypto.ID, places []chunkstore.Loc) error {
	h := c.ids.NewHasher()
	return c.view(func(tx *bbolt.Tx) error {
		b := tx.Bucket(chunksBucket)
		if b == nil {
			return nil
		}
		for i, id := range ids {
			if chunk, ok := decode(h, id, b.Get(id[:])); ok {
				places[i] = chunk.Loc
			}
		}
		return nil
	})
}
