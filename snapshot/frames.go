package snapshot

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"slices"

	"lifeboat/chunkstore"
	"lifeboat/crypto"
	"lifeboat/journal"
)

// Frames are the frames that trees need, and the class of each. What two trees share is read once.
type Frames struct {
	Class map[crypto.ID]chunkstore.Class
	seen  map[crypto.ID]struct{} // nodes
}

// Add adds the frames of a tree. After an error they are not complete.
func (s *Frames) Add(ctx context.Context, t *Tree) error {
	if s.Class == nil {
		s.Class, s.seen = map[crypto.ID]chunkstore.Class{}, map[crypto.ID]struct{}{}
	}
	if !s.visit(t.Ref) {
		return nil
	}
	var extents []journal.Ref
	for _, r := range t.Root.Files {
		if !s.visit(r.Ref) {
			continue
		}
		b, err := t.node(ctx, r.Ref)
		if err != nil {
			return err
		}
		files, err := decodeFiles(b)
		if err != nil {
			return err
		}
		for _, f := range files {
			for _, x := range f.Extents {
				if s.visit(x.Ref) {
					extents = append(extents, x.Ref)
				}
			}
		}
	}
	// Nodes of one frame are read together: in the order of the files each frame would be opened again and again.
	slices.SortFunc(extents, func(a, b journal.Ref) int {
		return cmp.Or(bytes.Compare(a.Frame[:], b.Frame[:]), cmp.Compare(a.Off, b.Off))
	})
	for _, r := range extents {
		b, err := t.node(ctx, r)
		if err == nil {
			err = s.content(b)
		}
		if err != nil {
			return fmt.Errorf("extents: %w", err)
		}
	}
	return nil
}

// visit reports whether the node is new.
func (s *Frames) visit(r journal.Ref) bool {
	s.Class[r.Frame] = chunkstore.Host
	if _, ok := s.seen[r.ID]; ok {
		return false
	}
	s.seen[r.ID] = struct{}{}
	return true
}

// content adds the frames that an extents node declares.
func (s *Frames) content(node []byte) error {
	first, rest, _ := bytes.Cut(node, []byte("\n"))
	if string(first) != extentsMagic || len(node) > maxNode {
		return fmt.Errorf("not an extents node of version 1: %w", crypto.ErrDamaged)
	}
	for line := range bytes.Lines(rest) {
		text, ok := bytes.CutPrefix(line, []byte("f "))
		if !ok {
			continue
		}
		id, err := crypto.ParseID(string(bytes.TrimSuffix(text, []byte("\n"))))
		if err != nil {
			return fmt.Errorf("%w: %w", crypto.ErrDamaged, err)
		}
		s.Class[id] = chunkstore.Sealed
	}
	return nil
}
