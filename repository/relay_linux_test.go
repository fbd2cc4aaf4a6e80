package repository

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"testing"

	"golang.org/x/sys/unix"

	"lifeboat/chunkstore"
	"lifeboat/target"
)

// TestSpoolLeavesRoom has a copy that takes nothing yet, and a state directory on a small disk: the spool fills half of it.
func TestSpoolLeavesRoom(t *testing.T) {
	const disk, n, size = 4 << 20, 20, 400_000
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=4m"); err != nil {
		t.Fatalf("mount a tmpfs: %v: run this test as root", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
	shut := make(chan struct{})
	copies := []*Copy{{Name: "first", Target: created(t)}, {Name: "shut", Target: gate{created(t), shut}}}
	h := &Host{Config: Config{StateDir: dir, Copies: copies}}
	r, stop := h.relay(t.Context(), copies[0])
	var objects []target.Object
	for range n {
		b := make([]byte, size)
		_, _ = rand.Read(b) // never fails
		sum := sha256.Sum256(b)
		o := target.Object{Name: chunkstore.PackName(hex.EncodeToString(sum[:])), Size: size}
		if objects = append(objects, o); r.Put(t.Context(), o.Name, io.NewSectionReader(bytes.NewReader(b), 0, size)) != nil {
			t.Fatal("the first copy takes nothing")
		}
	}
	held := r.pipes[0].held.Load()
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil || held < size || int64(st.Bavail)*st.Bsize < disk/4 {
		t.Errorf("%d bytes wait in the spool, and %d of %d are free, %v", held, int64(st.Bavail)*st.Bsize, disk, err)
	}
	close(shut)
	stop()
	for _, o := range objects {
		if ok, err := target.Has(t.Context(), copies[1].Target, o); !ok || err != nil {
			t.Fatalf("%s has not arrived: %v", o.Name, err)
		}
	}
}
