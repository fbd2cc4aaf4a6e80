package bundle

import (
	"archive/zip"
	"encoding/binary"
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
	endOfZip     = 22        // what ends a zip file without a comment
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

// bounded looks at the end of a zip file, before anything is allocated for what it lists: no comment, one list of files right before the end, not too long.
func bounded(r io.ReaderAt, size int64) error {
	if size < endOfZip {
		return errors.New("it is too short for a zip file")
	}
	var end [endOfZip]byte
	if _, err := r.ReadAt(end[:], size-endOfZip); err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("read its end: %w", err)
	}
	length, at := int64(binary.LittleEndian.Uint32(end[12:])), int64(binary.LittleEndian.Uint32(end[16:]))
	switch {
	case string(end[:4]) != "PK\x05\x06" || end[20] != 0 || end[21] != 0:
		return errors.New("it does not end as a zip file without a comment does")
	case length > maxDirectory:
		return fmt.Errorf("the list of its files takes %d bytes, and %d are what there can be", length, maxDirectory)
	case at+length != size-endOfZip:
		return errors.New("the list of its files is not where it says")
	}
	return nil
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
	r, err := f.Open()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	b := make([]byte, f.UncompressedSize64) // openArchive has bounded it
	if _, err := io.ReadFull(r, b); err != nil {
		return nil, err
	}
	if n, err := r.Read(make([]byte, 1)); n > 0 || !errors.Is(err, io.EOF) { // also verifies the checksum
		return nil, fmt.Errorf("it does not end where it says: %w", errors.Join(err, zip.ErrFormat))
	}
	return b, nil
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
