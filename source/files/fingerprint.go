package files

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// fingerprintsName is the item that holds the fingerprints: no path is called so.
const fingerprintsName = ".lifeboat-fingerprints.json"

// Fingerprint stands for a file that is not in a snapshot.
type Fingerprint struct {
	Path    string    `json:"path"`
	SHA256  string    `json:"sha256"`
	Size    int64     `json:"size"`
	Mode    string    `json:"mode"` // octal
	ModTime time.Time `json:"mtime"`
}

// fingerprints is the item's content, see doc/format.md.
type fingerprints struct {
	Lifeboat string        `json:"lifeboat"` // fingerprints
	Format   int           `json:"format"`
	Files    []Fingerprint `json:"files"`
}

// prints are the fingerprints of a view, and what they are of.
type prints struct {
	text  []byte
	names map[string]bool
	files map[identity]bool
}

// holds reports whether a file is one whose content must not be stored, by whatever name.
func (p *prints) holds(e *entry) bool { return p.names[e.name] || p.files[e.identity()] }

// fingerprint reads the files to be fingerprinted, and follows symbolic links to them. What cannot be read is noted.
func (s *Source) fingerprint(ctx context.Context, n *notes) (*prints, error) {
	p := &prints{names: map[string]bool{}, files: map[identity]bool{}}
	list := fingerprints{"fingerprints", 1, []Fingerprint{}}
	for _, path := range s.prints {
		p.names[itemName(path)], p.names[itemName(resolve(path))] = true, true
		var at stat
		if unix.Stat(path, &at.Stat_t) == nil { // else reading it fails, and says why
			p.files[at.identity()] = true
		}
		f, err := printOf(ctx, path)
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if err != nil {
			n.add(unreadable, itemName(path), fmt.Errorf("take its fingerprint: %w", err))
			continue
		}
		list.Files = append(list.Files, f)
	}
	var err error
	p.text, err = json.Marshal(list)
	p.text = append(p.text, '\n')
	return p, err
}

// printOf reads a file, again where it changes meanwhile.
func printOf(ctx context.Context, path string) (f Fingerprint, err error) {
	for range tries {
		if f, err = printOnce(ctx, path); !errors.Is(err, errChanged) {
			break
		}
	}
	return f, err
}

func printOnce(ctx context.Context, path string) (Fingerprint, error) {
	file, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return Fingerprint{}, err
	}
	defer file.Close()
	var before, after stat
	if err := before.of(file); err != nil {
		return Fingerprint{}, err
	}
	if before.kind() != unix.S_IFREG {
		return Fingerprint{}, errors.New("it is no regular file")
	}
	hash := sha256.New()
	if _, err := io.Copy(hash, reading{ctx, file}); err != nil {
		return Fingerprint{}, err
	}
	if err := after.of(file); err != nil {
		return Fingerprint{}, err
	}
	if !before.same(&after) {
		return Fingerprint{}, errChanged
	}
	return Fingerprint{path, hex.EncodeToString(hash.Sum(nil)), before.Size, strconv.FormatUint(uint64(before.perm()), 8), before.modified()}, nil
}

// reading ends when its context does.
type reading struct {
	context.Context
	io.Reader
}

// Read implements io.Reader.
func (r reading) Read(p []byte) (int, error) {
	if err := r.Err(); err != nil {
		return 0, err
	}
	return r.Reader.Read(p)
}

// maxFingerprints bounds what is read of a restored list.
const maxFingerprints = 1 << 20

// ReadFingerprints reads the fingerprints that were restored into a directory; none where the snapshot has none.
func ReadFingerprints(dir string) ([]Fingerprint, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	file, err := root.OpenFile(fingerprintsName, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer file.Close()
	b, err := io.ReadAll(io.LimitReader(file, maxFingerprints))
	if err != nil {
		return nil, err
	}
	var list fingerprints
	if err := json.Unmarshal(b, &list); err != nil || list.Lifeboat != "fingerprints" {
		return nil, fmt.Errorf("%s is no list of fingerprints", fingerprintsName)
	}
	if list.Format != 1 {
		return nil, fmt.Errorf("%s: format %d is newer than this version of lifeboat reads", fingerprintsName, list.Format)
	}
	return list.Files, nil
}
