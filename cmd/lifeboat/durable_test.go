//go:build linux && amd64

package main

import (
	"strings"
	"testing"

	"lifeboat/internal/strike"
)

// excused are file changes that a power failure may undo without harm.
var excused = []struct{ part, why string }{
	{"/disk/.tmp/", "an unfinished object is looked at by nobody"},
	{"/usb/.tmp/", "the same"},
	{"/probe-", "what init writes to try a target is deleted again"},
	{"/.lifeboat-partial", "the plan of a restore is worthless after it; its files are synced before they get their names"},
	{"/.copy.tmp-", "a temporary file without a name"},
	{"/state/pagemaps: ", "page maps are caches: one that a power failure loses is made anew"},
	{"/state/damaged", "a check finds the same again"},
}

// TestDurable follows each command and wants every file that gets its name to be on disk before, and its directory after.
func TestDurable(t *testing.T) {
	inMemory(t)
	list := stages(t)
	last := list[len(list)-1].twin(t)
	list = append(list, stage{"restore", []string{"restore", "crm", "--identity", last.path("key"), "--to", last.path("out")}, last, nil})
	for _, s := range list {
		t.Run(s.name, func(t *testing.T) {
			x := s.twin(t)
			calls, err := strike.Trace(s.command(x))
			x.must(err)
			named, synced := 0, 0
			for _, c := range calls {
				if strings.HasPrefix(c.Name, "rename") || strings.HasPrefix(c.Name, "link") {
					named++
				}
				if c.Name == "fsync" {
					synced++
				}
			}
			if named == 0 || synced < named {
				t.Errorf("%d files got a name and %d were synced: is the trace complete?", named, synced)
			}
			for _, fault := range strike.Undurable(calls) {
				if why := excuse(fault); why == "" {
					t.Error(fault)
				}
			}
		})
	}
}

func excuse(fault string) string {
	for _, e := range excused {
		if strings.Contains(fault, e.part) {
			return e.why
		}
	}
	return ""
}
