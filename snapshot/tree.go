package snapshot

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"iter"
	"math"
	"path"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"lifeboat/chunkstore"
	"lifeboat/crypto"
	"lifeboat/journal"
)

// Root is the top of a snapshot's tree.
type Root struct {
	Lifeboat string     `json:"lifeboat"` // tree
	Format   int        `json:"format"`
	Source   string     `json:"source"`
	Engine   string     `json:"engine"`
	Size     int64      `json:"size"` // bytes of all files
	Files    []filesRef `json:"files"`
	// Manifest is the engine's own, see View.
	Manifest json.RawMessage `json:"manifest,omitempty"`
}

type filesRef struct {
	First string      `json:"first"`
	Ref   journal.Ref `json:"ref"`
}

// File is one file of a snapshot.
type File struct {
	Name     string // as in Item
	Kind     Kind
	PageSize int // bytes
	Size     int64
	Mode     fs.FileMode // permission bits
	ModTime  time.Time
	Link     string // what a link leads to: anywhere
	Owner    *Owner // nil where it is not known
	State    string // as in Item
	Extents  []ExtentsRef
}

// ExtentsRef points to the extents of a stretch of a file.
type ExtentsRef struct {
	Bytes int64       `json:"bytes"`
	Ref   journal.Ref `json:"ref"`
}

// fileJSON is File as a line of a files node.
type fileJSON struct {
	Name    string       `json:"name"` // escaped
	Kind    Kind         `json:"kind"`
	Page    int          `json:"page,omitempty"`
	Size    int64        `json:"size"`
	Mode    string       `json:"mode"` // octal
	MTime   time.Time    `json:"mtime"`
	Link    string       `json:"link,omitempty"` // escaped
	Owner   *Owner       `json:"owner,omitempty"`
	State   string       `json:"state,omitempty"` // escaped
	Extents []ExtentsRef `json:"extents"`
}

func encodeFile(f File) ([]byte, error) {
	if f.Extents == nil {
		f.Extents = []ExtentsRef{}
	}
	if err := f.check(); err != nil { // nothing is written that cannot be read
		return nil, err
	}
	line, err := json.Marshal(fileJSON{Escape(f.Name), f.Kind, f.PageSize, f.Size, strconv.FormatUint(uint64(f.Mode.Perm()), 8), f.ModTime.UTC(), Escape(f.Link), f.Owner, Escape(f.State), f.Extents})
	if err != nil {
		return nil, fmt.Errorf("encode file %q: %w", f.Name, err)
	}
	return append(line, '\n'), nil
}

// decodeFiles reads a files node. Every file is checked as far as it can be by itself.
func decodeFiles(node []byte) ([]File, error) {
	var out []File
	if len(node) > maxNode {
		return nil, fmt.Errorf("read files: %d bytes: %w", len(node), crypto.ErrDamaged)
	}
	for line := range bytes.Lines(node) {
		f, err := decodeFile(line)
		if err != nil {
			return nil, fmt.Errorf("read files: %w: %w", crypto.ErrDamaged, err)
		}
		if n := len(out); n > 0 && out[n-1].Name >= f.Name {
			return nil, fmt.Errorf("read files: %q does not follow %q: %w", f.Name, out[n-1].Name, crypto.ErrDamaged)
		}
		out = append(out, f)
	}
	return out, nil
}

func decodeFile(line []byte) (File, error) {
	var j fileJSON
	if err := json.Unmarshal(line, &j); err != nil {
		return File{}, err
	}
	name, err := unescapeName(j.Name)
	if err != nil {
		return File{}, err
	}
	mode, err := strconv.ParseUint(j.Mode, 8, 32)
	if err != nil || mode > 0o777 {
		return File{}, fmt.Errorf("mode %q of %q", j.Mode, name)
	}
	f := File{Name: name, Kind: j.Kind, PageSize: j.Page, Size: j.Size, Mode: fs.FileMode(mode), ModTime: j.MTime, Owner: j.Owner, Extents: j.Extents}
	if f.Link, err = Unescape(j.Link); err != nil {
		return File{}, err
	}
	if f.State, err = Unescape(j.State); err != nil {
		return File{}, err
	}
	return f, f.check()
}

// Most bytes of what a link leads to, which is what Linux allows, and of a state.
const (
	maxLink  = 4095
	maxState = 128
)

// check refuses an entry that contradicts itself.
func (f *File) check() error {
	switch {
	case f.Kind == Pages && (f.PageSize < minPage || f.PageSize > groupSize || f.PageSize&(f.PageSize-1) != 0):
		return fmt.Errorf("page size %d of %q", f.PageSize, f.Name)
	case (f.Kind == Dir || f.Kind == Link) && f.Size != 0:
		return fmt.Errorf("%s %q has content", f.Kind, f.Name)
	case f.Kind != Pages && f.Kind != Stream && f.Kind != Dir && f.Kind != Link:
		return fmt.Errorf("kind %q of %q", f.Kind, f.Name)
	case (f.Kind == Link) != (f.Link != "") || len(f.Link) > maxLink || strings.ContainsRune(f.Link, 0):
		return fmt.Errorf("what %s %q leads to", f.Kind, f.Name)
	case f.Owner != nil && (f.Owner.UID == math.MaxUint32 || f.Owner.GID == math.MaxUint32): // would leave the owner as it is
		return fmt.Errorf("owner of %q", f.Name)
	case len(f.State) > maxState:
		return fmt.Errorf("state of %q has %d bytes", f.Name, len(f.State))
	}
	left := f.Size
	for _, x := range f.Extents {
		if x.Bytes <= 0 || x.Bytes > left {
			return fmt.Errorf("extents of %q do not fit its size", f.Name)
		}
		left -= x.Bytes
	}
	if left != 0 {
		return fmt.Errorf("extents of %q leave %d bytes uncovered", f.Name, left)
	}
	return nil
}

// Escape writes %, control bytes and what is not UTF-8 as %XX.
func Escape(name string) string {
	var b strings.Builder
	for i := 0; i < len(name); {
		r, n := utf8.DecodeRuneInString(name[i:])
		if r == utf8.RuneError && n <= 1 || r < 0x20 || r == 0x7f || r == '%' {
			fmt.Fprintf(&b, "%%%02X", name[i])
			n = 1
		} else {
			b.WriteString(name[i : i+n])
		}
		i += n
	}
	return b.String()
}

// Unescape is the inverse of Escape, and accepts what need not have been escaped.
func Unescape(s string) (string, error) {
	var b []byte
	for i := 0; i < len(s); i++ {
		if s[i] != '%' {
			b = append(b, s[i])
			continue
		}
		if i+3 > len(s) {
			return "", fmt.Errorf("escaped text %q: cut short", s)
		}
		c, err := strconv.ParseUint(s[i+1:i+3], 16, 8)
		if err != nil {
			return "", fmt.Errorf("escaped text %q: %w", s, err)
		}
		b = append(b, byte(c))
		i += 2
	}
	return string(b), nil
}

// unescapeName refuses every name that could lead out of the directory that is restored to.
func unescapeName(s string) (string, error) {
	name, err := Unescape(s)
	if err == nil {
		err = checkName(name)
	}
	return name, err
}

// reserved is where a restore keeps what is not complete yet.
const reserved = ".lifeboat-partial"

func checkName(name string) error {
	if name == "" || name[0] == '/' || path.Clean(name) != name || name == "." || name == ".." || strings.HasPrefix(name, "../") || strings.ContainsRune(name, 0) || name == reserved || strings.HasPrefix(name, reserved+"/") {
		return fmt.Errorf("file name %q is not a clean relative path", name)
	}
	return nil
}

// Nodes fetches chunks; chunkstore.Reader does.
type Nodes interface {
	Chunk(ctx context.Context, loc chunkstore.Loc, sound func(chunk []byte) error) ([]byte, error)
}

// Tree reads the tree of one snapshot; every node is verified against its ID. It is for one goroutine.
type Tree struct {
	Root Root
	Ref  journal.Ref

	nodes  Nodes
	hasher *crypto.Hasher
}

// OpenTree reads the root that ref points to.
func OpenTree(ctx context.Context, nodes Nodes, ids crypto.IDKey, ref journal.Ref) (*Tree, error) {
	t := &Tree{Ref: ref, nodes: nodes, hasher: ids.NewHasher()}
	b, err := t.node(ctx, ref)
	if err != nil {
		return nil, fmt.Errorf("read tree: %w", err)
	}
	if err := json.Unmarshal(b, &t.Root); err != nil || t.Root.Lifeboat != "tree" {
		return nil, fmt.Errorf("read tree: not a root: %w", crypto.ErrDamaged)
	}
	if t.Root.Format != 1 {
		return nil, fmt.Errorf("read tree: format %d is newer than this version of lifeboat reads: install a newer one", t.Root.Format)
	}
	return t, nil
}

func (t *Tree) node(ctx context.Context, ref journal.Ref) ([]byte, error) {
	return t.nodes.Chunk(ctx, chunkstore.Loc{Frame: ref.Frame, Off: ref.Off, Len: ref.Len}, func(b []byte) error {
		if t.hasher.Tree(b) != ref.ID {
			return fmt.Errorf("node %s: its content has another ID: %w", ref.ID, crypto.ErrDamaged)
		}
		return nil
	})
}

// Files yields the files in ascending order of name. The first error ends the sequence.
func (t *Tree) Files(ctx context.Context) iter.Seq2[File, error] {
	return func(yield func(File, error) bool) {
		last := ""
		var above []string
		for _, r := range t.Root.Files {
			b, err := t.node(ctx, r.Ref)
			if err != nil {
				yield(File{}, err)
				return
			}
			files, err := decodeFiles(b)
			if err == nil && len(files) > 0 && last != "" && files[0].Name <= last {
				err = fmt.Errorf("read files: %q does not follow %q: %w", files[0].Name, last, crypto.ErrDamaged)
			}
			if err != nil {
				yield(File{}, err)
				return
			}
			for _, f := range files {
				last = f.Name
				if above, err = nest(above, f); err != nil {
					yield(File{}, err)
					return
				}
				if !yield(f, nil) {
					return
				}
			}
		}
	}
}

// nest refuses a name below another, which is a file and no directory. above are the files whose names its name may begin with: those
// that the name before it begins with, and that one.
func nest(above []string, f File) ([]string, error) {
	name := f.Name
	for len(above) > 0 && !strings.HasPrefix(name, above[len(above)-1]) {
		above = above[:len(above)-1]
	}
	for _, dir := range above {
		if name[len(dir)] == '/' {
			return nil, fmt.Errorf("read files: %q is below %q, which is a file: %w", name, dir, crypto.ErrDamaged)
		}
	}
	if f.Kind == Dir {
		return above, nil
	}
	return append(above, name), nil
}

// Extents reads one extents node.
func (t *Tree) Extents(ctx context.Context, x ExtentsRef) ([]Extent, error) {
	b, err := t.node(ctx, x.Ref)
	if err != nil {
		return nil, err
	}
	return decodeExtents(b, x.Bytes)
}

// Refs yields the refs of all nodes of the tree but the root, parents first: what a collector must keep.
func (t *Tree) Refs(ctx context.Context) iter.Seq2[journal.Ref, error] {
	return func(yield func(journal.Ref, error) bool) {
		for _, r := range t.Root.Files {
			if !yield(r.Ref, nil) {
				return
			}
		}
		for f, err := range t.Files(ctx) {
			if err != nil {
				yield(journal.Ref{}, err)
				return
			}
			for _, x := range f.Extents {
				if !yield(x.Ref, nil) {
					return
				}
			}
		}
	}
}

// ChunkID computes the ID that a chunk of this file must have.
func (f *File) ChunkID(h *crypto.Hasher, chunk []byte) crypto.ID {
	if f.Kind == Pages {
		return h.PageChunk(f.PageSize, chunk)
	}
	return h.Stream(chunk)
}

// Findable reports whether a later snapshot could ask for the chunk of e, which stands at byte at of the file: whole
// chunks of a stream and whole groups of pages, not the pages that were laid over a group.
func (f *File) Findable(e Extent, at int64) bool {
	switch {
	case e.IsZero() || e.Bytes != int64(e.Chunk.Len):
		return false
	case f.Kind == Pages:
		return at%groupSize == 0 && (e.Bytes == groupSize || at+e.Bytes == f.Size)
	}
	return true
}
