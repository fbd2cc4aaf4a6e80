package repository_test

import (
	"fmt"
	"maps"
	"testing"
	"time"

	"lifeboat/repository"
	"lifeboat/target/local"
)

// TestAlarms shrinks a source again and again: whoever took the snapshot, and whatever alarm nobody has answered yet, the snapshots before are held.
func TestAlarms(t *testing.T) {
	v := newVessel(t, 11, "disk")
	v.shift = -100 * time.Hour
	bulk := v.noise(24 << 20)
	sized := func(part int) uint64 { // so large that no chunk, of which the end of a file changes one, is half of it
		v.shift += time.Hour
		v.cargo = maps.Clone(v.cargo)
		v.cargo["0-bulk"] = bulk[:part*(3<<20)]
		v.backUp()
		return v.head()
	}
	host := func(do func(*repository.Host)) {
		t.Helper()
		h, err := repository.OpenHost(t.Context(), v.config(local.Open, nil))
		if err != nil {
			t.Fatal(err)
		}
		do(h)
		if err := h.Close(); err != nil {
			t.Fatal(err)
		}
	}
	// alarms compares what is told, as snapshots and those through which each is held.
	alarms := func(when string, want ...[2]uint64) {
		t.Helper()
		host(func(h *repository.Host) {
			got, err := h.Alarms(t.Context(), vesselSource)
			if err != nil {
				t.Fatal(err)
			}
			var told [][2]uint64
			for _, a := range got {
				told = append(told, [2]uint64{a.Seq})
				for _, e := range h.Chain().Holds() {
					if e.Seq == a.Hold {
						told[len(told)-1][1] = e.Hold.Through
					}
				}
			}
			if fmt.Sprint(told) != fmt.Sprint(want) {
				t.Fatalf("%s: %v, want %v", when, told, want)
			}
		})
	}
	whole := sized(8)
	alarms("as large as never")
	ruined := sized(2) // and the run died behind its commit, or somebody took it by hand
	sized(2)
	alarms("behind it", [2]uint64{ruined, whole})
	alarms("again")
	sized(8)
	whole = sized(8)
	alarms("as it was")
	ruined = sized(3)
	alarms("while nobody has answered", [2]uint64{ruined, whole})
	ruined = sized(1)
	alarms("and more of it", [2]uint64{ruined, 0})
	host(func(h *repository.Host) {
		for _, e := range h.Chain().Holds() {
			if err := h.Release(t.Context(), e.Seq, "an exercise"); err != nil {
				t.Fatal(err)
			}
		}
	})
	whole = sized(8)
	alarms("answered")
	for range 3 {
		whole = sized(8)
	}
	v.shift -= 30 * time.Hour
	ruined = sized(1)
	alarms("with a clock that was set back", [2]uint64{ruined, whole})
}
