package snapshot

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"lifeboat/chunkstore"
	"lifeboat/crypto"
	"lifeboat/journal"
)

// maxFiles is how many files a files node holds at most.
const maxFiles = 256

// treeWriter builds a tree bottom up. A node that the base has already is not stored again.
type treeWriter struct {
	chunks *chunkstore.Writer
	hasher *crypto.Hasher
	base   map[crypto.ID]journal.Ref // the base's files nodes and root
	root   Root
	sorted bool // files come in ascending order of name
	lines  []fileLine
	last   string // the name that was put last
	files  []byte // the open files node
	count  int
	first  string
}

type fileLine struct {
	name string
	size int64
	json []byte
}

func (w *treeWriter) node(b []byte) (journal.Ref, error) {
	id := w.hasher.Tree(b)
	if ref, ok := w.base[id]; ok {
		return ref, nil
	}
	if len(b) > maxNode {
		return journal.Ref{}, fmt.Errorf("tree node of %d bytes: more than a reader accepts", len(b))
	}
	loc, err := w.chunks.Add(chunkstore.Host, b)
	return journal.Ref{ID: id, Frame: loc.Frame, Off: loc.Off, Len: loc.Len}, err
}

// add takes a file in; files come in any order unless w.sorted.
func (w *treeWriter) add(f File) error {
	line, err := encodeFile(f)
	if err == nil && w.sorted {
		return w.put(fileLine{f.Name, f.Size, line})
	}
	w.lines = append(w.lines, fileLine{f.Name, f.Size, line})
	return err
}

// put appends a file to the open node; files come in ascending order of name.
func (w *treeWriter) put(f fileLine) error {
	if w.last >= f.name { // no name is empty
		return fmt.Errorf("the source yields %q twice, or in a wrong order after %q", f.name, w.last)
	}
	w.last = f.name
	if w.count > 0 && len(w.files)+len(f.json) > maxNode/2 {
		if err := w.flush(); err != nil {
			return err
		}
	}
	if w.count == 0 {
		w.first = f.name
	}
	w.files = append(w.files, f.json...)
	w.count++
	w.root.Size += f.size
	if id := w.hasher.Tree([]byte(f.name)); id[0]>>2 == 0 || w.count == maxFiles {
		return w.flush()
	}
	return nil
}

func (w *treeWriter) flush() error {
	if w.count == 0 {
		return nil
	}
	ref, err := w.node(w.files)
	if err != nil {
		return err
	}
	w.root.Files = append(w.root.Files, filesRef{Escape(w.first), ref})
	w.files, w.count = w.files[:0], 0
	return nil
}

func (w *treeWriter) finish() (journal.Ref, error) {
	slices.SortFunc(w.lines, func(a, b fileLine) int { return strings.Compare(a.name, b.name) })
	for _, f := range w.lines {
		if err := w.put(f); err != nil {
			return journal.Ref{}, err
		}
	}
	if err := w.flush(); err != nil {
		return journal.Ref{}, err
	}
	w.root.Lifeboat, w.root.Format = "tree", 1
	if w.root.Files == nil {
		w.root.Files = []filesRef{}
	}
	b, err := json.Marshal(w.root)
	if err != nil {
		return journal.Ref{}, fmt.Errorf("encode tree: %w", err)
	}
	return w.node(b)
}
