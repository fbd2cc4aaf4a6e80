package bundle

import (
	"archive/zip"
	"errors"
	"fmt"
	"io"
	"strings"

	"lifeboat/crypto"
	"lifeboat/evidence"
)

// Limits of what is read; a bundle beyond them is refused before anything is unpacked. Sizes are bytes.
const (
	maxFiles     = 50_000
	maxDirectory = 8 << 20   // of the zip file's list of files
	maxJournal   = 1 << 30   // unpacked
	maxAudit     = 512 << 20 // unpacked
	maxSmall     = 16 << 20  // unpacked: a manifest, keys
	maxRatio     = 100       // unpacked in all, against the size of the file
)

// ErrNoBundle is wrapped where a file is no bundle that can be read: something else, damaged, or beyond all limits.
var ErrNoBundle = errors.New("this is no evidence bundle")

// archive is an open bundle.
type archive struct {
	files   map[string]*zip.File
	strange []string // names of what does not belong into a bundle
	twice   []string
}

// openArchive lists what is in a zip file. Nothing in it is ever written anywhere, so that names are only compared.
func openArchive(r io.ReaderAt, size int64) (*archive, error) {
	if err := bounded(r, size); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNoBundle, err)
	}
	z, err := zip.NewReader(r, size)
	if err != nil && !errors.Is(err, zip.ErrInsecurePath) {
		return nil, fmt.Errorf("%w: %w", ErrNoBundle, err)
	}
	if len(z.File) > maxFiles {
		return nil, fmt.Errorf("%w: it holds %d files, and %d are what there can be", ErrNoBundle, len(z.File), maxFiles)
	}
	if err := contiguous(r, size, z.File); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNoBundle, err)
	}
	a := &archive{files: map[string]*zip.File{}}
	var total uint64
	for _, f := range z.File {
		most := mostOf(f.Name)
		switch {
		case most == 0:
			a.strange = append(a.strange, f.Name)
			continue
		case a.files[f.Name] != nil:
			a.twice = append(a.twice, f.Name)
			continue
		case f.UncompressedSize64 > uint64(most):
			return nil, fmt.Errorf("%w: %s unpacks to %d bytes, and %d are what there can be", ErrNoBundle, f.Name, f.UncompressedSize64, most)
		}
		a.files[f.Name] = f
		total += f.UncompressedSize64 // at most maxFiles times mostOf
	}
	if total > uint64(size)*maxRatio {
		return nil, fmt.Errorf("%w: its %d bytes unpack to %d: it is made to fill a memory", ErrNoBundle, size, total)
	}
	return a, nil
}

// mostOf bounds a file by its name; 0: it does not belong into a bundle.
func mostOf(name string) int64 {
	switch name {
	case fileReadme, fileManifest, fileSignature, fileCheckpoint, fileKeys, fileControls:
		return maxSmall
	case fileJournal:
		return maxJournal
	case fileAudit:
		return maxAudit
	}
	if _, ok := digestOf(name, dirReports); ok {
		return evidence.MaxEnvelope
	}
	if _, ok := digestOf(name, dirPolicies); ok {
		return crypto.MaxDocument
	}
	return 0
}

// digests are those that files in a directory are named by.
func (a *archive) digests(dir string) (out []string) {
	for name := range a.files {
		if d, ok := digestOf(name, dir); ok {
			out = append(out, d)
		}
	}
	return out
}

// read unpacks a file. Concurrent use is safe.
func (a *archive) read(name string) ([]byte, error) {
	f := a.files[name]
	if f == nil {
		return nil, errors.New("it is missing")
	}
	return unpack(f)
}

// Is reports whether a file begins as a bundle does, rather than as a single report.
func Is(head []byte) bool { return strings.HasPrefix(string(head), "PK\x03\x04") }

// Checkpoint is the checkpoint that a bundle carries, as it stands there: an auditor who kept a whole bundle kept that.
func Checkpoint(r io.ReaderAt, size int64) ([]byte, error) {
	a, err := openArchive(r, size)
	if err != nil {
		return nil, err
	}
	b, err := a.read(fileCheckpoint)
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrNoBundle, fileCheckpoint, err)
	}
	return b, nil
}
