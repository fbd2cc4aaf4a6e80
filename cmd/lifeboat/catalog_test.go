package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// TestSpoiledCaches spoils what the state directory only remembers. The next backup is right all the same.
func TestSpoiledCaches(t *testing.T) {
	x := newFixture(t, "disk")
	x.want(0, "backup", "crm")
	x.must(churnRows(t.Context(), x.path("crm.db"), 1, 20))
	x.want(0, "backup", "crm")
	kept := []string{"state", "disk"}
	for _, dir := range kept {
		x.must(os.Rename(x.path(dir), x.path(dir+"-kept")))
	}
	rounds := 8
	if soak() {
		rounds = 200
	}
	caches, err := filepath.Glob(x.path("state-kept", "pagemaps", "*"))
	x.must(err)
	names := []string{"catalog.db"}
	for _, path := range caches {
		names = append(names, "pagemaps/"+filepath.Base(path))
	}
	for _, name := range names {
		whole := x.read("state-kept", name)
		spoiled := map[string][]byte{"deleted": nil, "empty": {}, "truncated": spoil("truncate", whole), "cut": whole[:len(whole)-1], "zeros": make([]byte, len(whole))}
		for n := range rounds {
			spoiled[fmt.Sprintf("random %d", n)] = spoil(fmt.Sprintf("random:%d", n), whole)
		}
		for how, body := range spoiled {
			t.Run(how+" "+filepath.Ext(name), func(t *testing.T) {
				x.t = t
				for _, dir := range kept {
					x.must(os.RemoveAll(x.path(dir)))
					x.must(copyDir(x.path(dir+"-kept"), x.path(dir)))
				}
				x.put(body, "state", name)
				x.must(churnRows(t.Context(), x.path("crm.db"), 2, 5))
				x.want(0, "backup", "crm")
				if !bytes.Equal(x.restored(), x.database()) {
					t.Error("the backup restores to something else")
				}
				x.want(0, "check", "--identity", x.path("key"))
			})
		}
	}
}
