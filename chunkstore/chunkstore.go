// Package chunkstore keeps chunks: it gathers them into sealed frames and frames into packs on a target, keeps the index
// that says where each frame is, and brings frames back. It does not know which chunks make which file; trees do.
package chunkstore

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"

	"lifeboat/crypto"
	"lifeboat/target"
)

// Class says who can read a frame.
type Class uint8

// The classes of frames.
const (
	Sealed Class = iota // the epoch alone
	Host                // the epoch and the host
	classes
)

// Damaged reports whether err says that objects are damaged, cut short, gone or unreadable.
func Damaged(err error) bool {
	return errors.Is(err, crypto.ErrDamaged) || errors.Is(err, target.ErrUnreadable) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, fs.ErrNotExist)
}

// Loc is where a chunk is: Len bytes from Off of a decompressed frame.
type Loc struct {
	Frame crypto.ID
	Off   int
	Len   int
}

// Sizes of packs, in bytes.
const (
	packTarget = 16 << 20
	maxPack    = 64 << 20
	packMagic  = "lifeboat pack 1\n"
)

// PackName is the object name of the pack with this digest (64 hex).
func PackName(digest string) string { return "packs/" + digest[:2] + "/" + digest }

// IndexName is the object name of the index object with this digest.
func IndexName(digest string) string { return "index/" + digest }

// Digest returns the SHA-256 that an object is named by, and false for the few that are not named by one.
func Digest(name string) (string, bool) {
	if strings.HasPrefix(name, "journal/") || len(name) < 64 {
		return "", false
	}
	d := name[len(name)-64:]
	if strings.Trim(d, "0123456789abcdef") != "" {
		return "", false
	}
	return d, true
}

// Sum is the SHA-256 that an object is named by.
func Sum(name string) (sum [sha256.Size]byte, err error) {
	d, ok := Digest(name)
	if n, err := hex.Decode(sum[:], []byte(d)); !ok || err != nil || n != len(sum) {
		return sum, fmt.Errorf("%s: not named by a digest", name)
	}
	return sum, nil
}

// StoreDigest stores body under prefix and its SHA-256.
func StoreDigest(ctx context.Context, t target.Target, prefix string, body []byte) (target.Object, error) {
	sum := sha256.Sum256(body)
	o := target.Object{Name: prefix + hex.EncodeToString(sum[:]), Size: int64(len(body))}
	return o, target.Store(ctx, t, o.Name, body)
}

// ReadDigest reads an object that is named by its digest and verifies it. Errors wrap crypto.ErrDamaged where the bytes
// are not those that were written.
func ReadDigest(ctx context.Context, t target.Target, name string, limit int64) ([]byte, error) {
	digest, ok := Digest(name)
	if !ok {
		return nil, fmt.Errorf("read %s: not named by a digest", name)
	}
	b, err := target.Read(ctx, t, name, limit)
	if err != nil {
		return nil, err
	}
	if sum := sha256.Sum256(b); hex.EncodeToString(sum[:]) != digest {
		return nil, fmt.Errorf("read %s: its SHA-256 is not its name: %w", name, crypto.ErrDamaged)
	}
	return b, nil
}
