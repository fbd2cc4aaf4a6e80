package files

import (
	"fmt"
	"slices"
	"strings"

	"lifeboat/snapshot"
)

// note is a kind of thing that a walk may come upon.
type note int

// The kinds.
const (
	unreadable note = iota
	emptied
	changed
	vanished
	special
	linked
	secret
	noteKinds
)

// notesKept is how many names are remembered of each kind.
const notesKept = 20

// told is how each kind is told; what has no words of its own is told name by name, as a failure.
var told = [noteKinds]struct{ name, words string }{
	unreadable: {name: "unreadable"},
	emptied:    {name: "emptied"},
	changed:    {"changed", "each time they were read, and stored as they were read last"},
	vanished:   {"vanished", "removed or replaced before they were read, and left out"},
	special:    {"special files", "sockets, pipes and devices, left out"},
	linked:     {"hard links", "names of files that have several, restored as a file for each"},
	secret:     {"fingerprints", "left out of the paths, because only a fingerprint is to be stored"},
}

// notes gathers what is to be told of a view, in bounded memory.
type notes [noteKinds]noted

// noted are the names of one kind.
type noted struct {
	count int
	names []string // the first of them
}

// add notes that a name is of a kind. err, which may be nil, says why.
func (n *notes) add(kind note, name string, err error) {
	k := &n[kind]
	if k.count++; len(k.names) >= notesKept {
		return
	}
	name = "/" + snapshot.Escape(name)
	if err != nil {
		name += ": " + err.Error()
	}
	k.names = append(k.names, name)
}

// findings are what was noted, worst first.
func (n *notes) findings() []snapshot.Finding {
	var out []snapshot.Finding
	for kind, k := range n {
		t := told[kind]
		names := k.names
		if more := k.count - len(names); more > 0 {
			names = append(slices.Clone(names), fmt.Sprintf("and %d more", more))
		}
		if t.words != "" && k.count > 0 {
			names = []string{fmt.Sprintf("%d %s: %s", k.count, t.words, strings.Join(names, ", "))}
		}
		level := snapshot.Warn
		if t.words == "" {
			level = snapshot.Fail
		}
		for _, name := range names {
			out = append(out, snapshot.Finding{Name: t.name, Level: level, Detail: name})
		}
	}
	return out
}
