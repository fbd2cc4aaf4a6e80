// Package capture keeps the log of a database engine: it stores what comes in small objects at once, whole segments in
// their place, and gives stretches of it back. What is in a log only its engine knows.
package capture

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"lifeboat/snapshot"
)

// Kind says what an object holds.
type Kind string

// The kinds of objects.
const (
	Segment Kind = "segment" // a whole segment of the engine's log, or the end of a line: the same bytes on every copy
	Tail    Kind = "tail"    // what came since; a segment replaces it. An empty one only says up to when nothing followed
)

// Name is the name of an object, which says what stretch of which log it holds.
type Name struct {
	Source   string // opaque
	From, To snapshot.Pos
	Kind     Kind
	Digest   string // SHA-256 of the object, hex
}

// Prefix begins the names of all objects of a source.
func Prefix(source string) string { return "log/" + source + "/" }

// String is the object's name on a target.
func (n Name) String() string {
	return fmt.Sprintf("%s%016x-%016x-%016x-%s-%s", Prefix(n.Source), n.From.Line, n.From.Offset, n.To.Offset, n.Kind, n.Digest)
}

// ParseName is the inverse of String; false for everything that String does not write.
func ParseName(s string) (n Name, ok bool) {
	part := strings.Split(s, "/")
	if len(part) != 3 || part[0] != "log" || len(part[1]) != 16 {
		return n, false
	}
	f := strings.Split(part[2], "-")
	if len(f) != 5 {
		return n, false
	}
	n.Source, n.Kind, n.Digest = part[1], Kind(f[3]), f[4]
	if _, err := fmt.Sscanf(f[0]+" "+f[1]+" "+f[2], "%x %x %x", &n.From.Line, &n.From.Offset, &n.To.Offset); err != nil {
		return n, false
	}
	n.To.Line = n.From.Line
	valid := n.String() == s && (n.From.Offset < n.To.Offset || n.From == n.To && n.Kind == Tail) && (n.Kind == Segment || n.Kind == Tail) && len(n.Digest) == 64 &&
		strings.Trim(n.Source+n.Digest, "0123456789abcdef") == ""
	return n, valid
}

// Object is an object that stands on a target.
type Object struct {
	Name
	Size int64
}

// Covers reports whether the object holds everything that m does.
func (n Name) Covers(m Name) bool {
	return n.From.Line == m.From.Line && n.From.Offset <= m.From.Offset && n.To.Offset >= m.To.Offset
}

// Cover chooses as few objects as it can that hold the log of one line from an offset on without a gap, and reach furthest.
// Where none holds from it is empty.
func Cover(objects []Object, from snapshot.Pos) (out []Object) {
	var line []Object
	for _, o := range objects {
		if o.From.Line == from.Line && o.To.Offset > from.Offset {
			line = append(line, o)
		}
	}
	slices.SortFunc(line, func(a, b Object) int {
		return cmp.Or(cmp.Compare(a.From.Offset, b.From.Offset), cmp.Compare(b.To.Offset, a.To.Offset), cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Digest, b.Digest))
	})
	at := from.Offset
	for i := 0; i < len(line); {
		var best Object
		for ; i < len(line) && line[i].From.Offset <= at; i++ {
			if line[i].To.Offset > max(at, best.To.Offset) {
				best = line[i]
			}
		}
		if best.Digest == "" {
			break
		}
		out, at = append(out, best), best.To.Offset
	}
	return out
}
