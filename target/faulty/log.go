package faulty

import (
	"fmt"
	"slices"
)

// Method is one of the methods of a target.
type Method string

// The methods of a target.
const (
	Put    Method = "put"
	Get    Method = "get"
	List   Method = "list"
	Delete Method = "delete"
)

// Mutates reports whether calls of the method change what is stored.
func (m Method) Mutates() bool { return m == Put || m == Delete }

// Op is a call that was made.
type Op struct {
	Method Method
	Name   string // of the object, or the prefix of a listing
	Fault  string // what befell it, in short; empty if nothing did
}

// String returns, for instance, `put "packs/ab" (fail)`.
func (o Op) String() string {
	s := fmt.Sprintf("%s %q", o.Method, o.Name)
	if o.Fault != "" {
		s += " (" + o.Fault + ")"
	}
	return s
}

// Log returns the calls made so far, in the order in which they began.
func (t *Target) Log() []Op {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Clone(t.log)
}

// Mutations returns how many mutating calls were let through.
func (t *Target) Mutations() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.mutated
}
