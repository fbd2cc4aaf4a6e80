package snapshot

import (
	"encoding/json"
	"fmt"

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
	files  []byte // the open files node
	count  int
	first  string
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

// add appends a file; files come in ascending order of name.
func (w *treeWriter) add(f File) error {
	line, err := encodeFile(f)
	if err != nil {
		return err
	}
	if w.count > 0 && len(w.files)+len(line) > maxNode/2 {
		if err := w.flush(); err != nil {
			return err
		}
	}
	if w.count == 0 {
		w.first = f.Name
	}
	w.files = append(w.files, line...)
	w.count++
	w.root.Size += f.Size
	if id := w.hasher.Tree([]byte(f.Name)); id[0]>>2 == 0 || w.count == maxFiles {
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
	w.root.Files = append(w.root.Files, filesRef{escapeName(w.first), ref})
	w.files, w.count = w.files[:0], 0
	return nil
}

func (w *treeWriter) finish() (journal.Ref, error) {
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
