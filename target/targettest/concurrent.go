package targettest

import (
	"bytes"
	"fmt"
	"sync"
	"testing"

	"lifeboat/target"
)

// testConcurrent has many goroutines use all methods at once, each on objects of its own.
func testConcurrent(t *testing.T, tg target.Target) {
	const workers, rounds = 8, 6
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for i := range rounds {
				if err := useAll(t, tg, w, i); err != nil {
					t.Errorf("worker %d, round %d: %v", w, i, err)
					return
				}
			}
		})
	}
	wg.Wait()
	if got := names(t, tg, ""); len(got) != workers*rounds/2 {
		t.Errorf("%d objects stand; want %d: %q", len(got), workers*rounds/2, got)
	}
}

// useAll puts, reads and lists an object that no other worker touches, and deletes every second one.
func useAll(t *testing.T, tg target.Target, w, i int) error {
	name := fmt.Sprintf("shared%d/w%d-%d", i%3, w, i)
	want := content(uint64(w*100+i), 10_000*w+i)
	if err := tg.Put(t.Context(), name, section(want)); err != nil {
		return err
	}
	got, err := get(t.Context(), tg, name, 0, -1)
	if err != nil {
		return err
	}
	if !bytes.Equal(got, want) {
		return fmt.Errorf("%s: %d bytes read are not the %d bytes put", name, len(got), len(want))
	}
	found := false
	for info, err := range tg.List(t.Context(), name[:8]) {
		if err != nil {
			return err
		}
		found = found || info.Name == name
	}
	if !found {
		return fmt.Errorf("%s is not listed", name)
	}
	if i%2 == 0 {
		return nil
	}
	return tg.Delete(t.Context(), name)
}
