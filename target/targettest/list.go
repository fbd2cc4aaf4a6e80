package targettest

import (
	"fmt"
	"slices"
	"sync"
	"testing"

	"lifeboat/target"
)

// tricky are names in byte order. The order in which directories are read is another: "a" before "a-b". None begins
// with another and a slash: file systems cannot hold both.
var tricky = []string{
	"a-/x", "a-b", "a-b.c/x", "a.", "a.b", "a.b-c/y", "a/-", "a/0", "a/b-c", "a/b.c", "a/b/c-d", "a/b/c.d", "a/b/c/d",
	"a/b/c/d.e", "a/b/c_d", "a/b0", "a/bb", "a/c", "a0/x", "a_", "a_b/z", "aa/b", "ab", "b/a", "z",
}

func testListOrder(t *testing.T, tg target.Target) {
	if !slices.IsSorted(tricky) {
		t.Fatal("the test's own names are out of order")
	}
	for i := range tricky {
		put(t, tg, tricky[(i*11+5)%len(tricky)], content(uint64(i), i))
	}
	wantNames(t, tg, "", tricky...)
}

func testListPrefix(t *testing.T, tg target.Target) {
	for i, name := range tricky {
		put(t, tg, name, content(uint64(i), 10))
	}
	for _, prefix := range []string{
		"", "a", "a-", "a-b", "a-/", "a/", "a/b", "a/b.", "a/b/", "a/b/c", "a/b/c/", "a/b/c/d", "a.b", "a.b-c/", "a_b/z",
		"b", "b/a", "b/a/", "b/aa", "c", "c/d/", "z", "z/", "zz",
	} {
		var want []string
		for _, name := range tricky {
			if len(name) >= len(prefix) && name[:len(prefix)] == prefix {
				want = append(want, name)
			}
		}
		wantNames(t, tg, prefix, want...)
	}
}

func testListInfo(t *testing.T, tg target.Target) {
	sizes := map[string]int64{"a": 0, "b/c": 1, "b/d": 70_000}
	for name, size := range sizes {
		put(t, tg, name, content(1, int(size)))
	}
	for info, err := range tg.List(t.Context(), "") {
		if err != nil {
			t.Fatal(err)
		}
		if info.Size != sizes[info.Name] {
			t.Errorf("List: size of %s is %d; want %d", info.Name, info.Size, sizes[info.Name])
		}
		if info.ModTime.IsZero() {
			t.Errorf("List: %s has no time", info.Name)
		}
	}
}

// testListBreak stops ranging early, and ranges again.
func testListBreak(t *testing.T, tg target.Target) {
	for _, name := range []string{"a/b", "a/c", "d"} {
		put(t, tg, name, nil)
	}
	for stop := 1; stop <= 3; stop++ {
		n := 0
		for _, err := range tg.List(t.Context(), "") {
			if err != nil {
				t.Fatal(err)
			}
			if n++; n == stop {
				break
			}
		}
	}
	wantNames(t, tg, "", "a/b", "a/c", "d")
}

// testListChanging lists while other objects come and go: those that stay are listed once each, in order.
func testListChanging(t *testing.T, tg target.Target) {
	var stable []string
	for i := range 40 {
		name := fmt.Sprintf("d%d/stable%d", i%4, i/4)
		stable = append(stable, name)
		put(t, tg, name, nil)
	}
	slices.Sort(stable)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				name := fmt.Sprintf("d%d/moving%d-%d", i%6, w, i)
				if err := tg.Put(t.Context(), name, section(nil)); err != nil {
					t.Errorf("Put: %v", err)
					return
				}
				if err := tg.Delete(t.Context(), name); err != nil {
					t.Errorf("Delete: %v", err)
					return
				}
			}
		})
	}
	defer wg.Wait()
	defer close(stop)
	for range 10 {
		got := names(t, tg, "")
		if !slices.IsSorted(got) || len(slices.Compact(slices.Clone(got))) != len(got) {
			t.Fatalf("List is out of order or repeats a name: %q", got)
		}
		for _, name := range stable {
			if _, found := slices.BinarySearch(got, name); !found {
				t.Errorf("List misses %s", name)
			}
		}
	}
}
