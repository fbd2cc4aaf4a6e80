// Package target is where copies live: a flat store of immutable, named objects. A target knows nothing of what the
// bytes mean; implementations are in subpackages, and targettest holds the conformance suite that each must pass.
package target

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"path"
	"strings"
	"time"
)

// Target stores immutable objects. Every method is safe for concurrent use, returns promptly once ctx is done, and
// reports an absent object as fs.ErrNotExist. Nothing a target returns is trusted: callers verify what they read.
type Target interface {
	// Put stores body under name, all of it or nothing, and returns only when it is durable. It never replaces: if
	// the name is taken the error satisfies fs.ErrExist, whatever the existing object holds. body may be read more
	// than once, so that an implementation can retry.
	Put(ctx context.Context, name string, body *io.SectionReader) error
	// Get reads n bytes from offset off; n < 0 means to the end. A range that reaches past the end yields what there
	// is: the caller notices short data. The caller closes the reader.
	Get(ctx context.Context, name string, off, n int64) (io.ReadCloser, error)
	// List yields the objects whose name begins with prefix, in ascending byte order. Objects put or deleted during
	// the listing may or may not appear. The first error ends the sequence.
	List(ctx context.Context, prefix string) iter.Seq2[Info, error]
	// Delete removes an object durably. Deleting an absent object is fs.ErrNotExist.
	Delete(ctx context.Context, name string) error
}

// Info describes a stored object as its target reports it.
type Info struct {
	Name    string
	Size    int64 // bytes
	ModTime time.Time
}

// ErrName is wrapped by the error for a name that CheckName refuses.
var ErrName = errors.New("not a valid object name")

// Bounds of a name and of its elements, in bytes, so that every store and file system can hold it.
const (
	maxName = 512
	maxElem = 255
)

// CheckName accepts slash-separated, relative names of lower-case letters, digits, dots, dashes and underscores, where
// no element is empty, begins with a dot or exceeds 255 bytes. No name may be another name plus "/...": a file system
// cannot hold both. Every target applies it to every name, so a name from outside can neither
// leave the target's root nor collide on a case-insensitive file system.
func CheckName(name string) error {
	if name == "" || len(name) > maxName {
		return fmt.Errorf("object name of %d bytes: %w", len(name), ErrName)
	}
	for elem := range strings.SplitSeq(name, "/") {
		if elem == "" || elem[0] == '.' || len(elem) > maxElem {
			return fmt.Errorf("object name %q: %w", name, ErrName)
		}
		for i := range len(elem) {
			if c := elem[i]; (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '.' && c != '-' && c != '_' {
				return fmt.Errorf("object name %q: %w", name, ErrName)
			}
		}
	}
	return nil
}

// SplitPrefix parts a prefix of names into the directory to look in, "." for the root, and what the names there begin with. It is not ok where no
// object's name can begin so.
func SplitPrefix(prefix string) (dir, begin string, ok bool) {
	dir, begin = path.Split(prefix)
	dir = strings.TrimSuffix(dir, "/")
	if dir == "" && begin == prefix {
		return ".", begin, true
	}
	return dir, begin, CheckName(dir) == nil
}
