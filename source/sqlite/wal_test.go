package sqlite

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
)

// TestCrashedWriter takes a snapshot of what a killed writer left behind.
func TestCrashedWriter(t *testing.T) {
	path := database(t, 400<<10, 4096)
	w := startWriter(t, path, "", "synchronous(0)", "wal_autocheckpoint(0)")
	for w.seq.Load() < 50 {
		if err := t.Context().Err(); err != nil {
			t.Fatal(err)
		}
	}
	last := w.kill(t)
	v := open(t, New(path, Options{}))
	if got := check(t, v, false); got < last || v.how != "files" {
		t.Errorf("at %d by %s, the writer had said %d", got, v.how, last)
	}
}

// TestTruncatedLog cuts the log in its middle: after a crash, whole transactions before the cut remain; under an open
// view, the view fails.
func TestTruncatedLog(t *testing.T) {
	path := database(t, 400<<10, 4096)
	w := startWriter(t, path, "", "synchronous(0)", "wal_autocheckpoint(0)")
	for w.seq.Load() < 50 {
		if err := t.Context().Err(); err != nil {
			t.Fatal(err)
		}
	}
	last := w.kill(t)
	info, err := os.Stat(path + "-wal")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path+"-wal", info.Size()/2+77); err != nil {
		t.Fatal(err)
	}
	v := open(t, New(path, Options{}))
	if got := check(t, v, false); got == 0 || got >= last {
		t.Errorf("at %d after a cut, the writer was at %d", got, last)
	}
	if err := os.Truncate(path+"-wal", info.Size()/4); err != nil {
		t.Fatal(err)
	}
	if _, err := save(t, v, false); err == nil {
		t.Error("a view over a truncated log read without an error")
	}
	if v, err := New(path, Options{}).Open(t.Context(), nil); err == nil { // through the pager, which must fail too
		if _, err := save(t, v.(*view), false); err == nil {
			t.Error("a truncated log read without an error")
		}
		if err := v.Close(); err != nil {
			t.Error(err)
		}
	}
}

// TestDoubtGoesThroughThePager makes the log's header differ from its index while a writer is there.
func TestDoubtGoesThroughThePager(t *testing.T) {
	path := database(t, 400<<10, 4096)
	db := connect(t, path, "wal_autocheckpoint(0)")
	churn(t, db, 20)
	f, err := os.OpenFile(path+"-wal", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt([]byte("doubt"), 16); err != nil { // the salts, which a connected SQLite reads no more
		t.Fatal(err)
	}
	v := open(t, New(path, Options{}))
	if v.how != "pager" || !errors.Is(v.why, errLog) || !v.pos.IsZero() {
		t.Errorf("read by %s (%v) at %v", v.how, v.why, v.pos)
	}
	check(t, v, false)
}

// TestClosedViewLeavesNothing looks for descriptors, and for locks that keep the log from beginning anew.
func TestClosedViewLeavesNothing(t *testing.T) {
	path := database(t, 400<<10, 4096)
	for _, attempts := range []int{pinAttempts, 0} {
		s := New(path, Options{})
		s.attempts = attempts
		v := open(t, s)
		check(t, v, false)
		if err := v.Close(); err != nil {
			t.Fatal(err)
		}
	}
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if target, err := os.Readlink("/proc/self/fd/" + e.Name()); err == nil && strings.HasPrefix(target, path) {
			t.Errorf("descriptor %s is open on %s", e.Name(), target)
		}
	}
	if len(descriptors.databases) != 0 {
		t.Errorf("%d databases in the registry", len(descriptors.databases))
	}
	if got := query(t, path, "PRAGMA journal_mode=DELETE"); got != "delete" {
		t.Errorf("somebody still has the database open: %s", got)
	}
}

// ones is a file full of bytes 1 up to size.
type ones struct{ size int64 }

func (o ones) ReadAt(p []byte, off int64) (int, error) {
	n := max(0, min(int64(len(p)), o.size-off))
	for i := range p[:n] {
		p[i] = 1
	}
	if n < int64(len(p)) {
		return int(n), io.EOF
	}
	return int(n), nil
}

// TestLockPage reads around the page at 1 GiB, which holds no data, without a file of that size.
func TestLockPage(t *testing.T) {
	const size = 65536
	lock := lockPage(size)
	if lock != 16385 {
		t.Fatalf("lock page %d", lock)
	}
	for _, end := range []uint32{lock + 2, lock} { // the file reaches past it, or ends right before it
		r := &pageReader{ctx: t.Context(), file: ones{int64(end-1) * size}, pageSize: size, pages: max(end-1, lock),
			next: lock - 2, last: func() error { return nil }}
		got, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		for i, b := range []byte{1, 1, 0, 1} {
			if page := got[min(i*size, len(got)):min((i+1)*size, len(got))]; !bytes.Equal(page, bytes.Repeat([]byte{b}, len(page))) {
				t.Errorf("page %d is not all %d", lock-2+uint32(i), b)
			}
		}
	}
}

// frames is a log made by hand: pages by frame, each page filled with its frame's number.
func frames(pageSize int, commit uint32, pages ...uint32) []byte {
	be := binary.BigEndian
	wal := be.AppendUint32(nil, walMagic)
	wal = be.AppendUint32(be.AppendUint32(wal, walVersion), uint32(pageSize))
	wal = append(wal, "....saltSALT........"...)
	for i, page := range pages {
		wal = be.AppendUint32(wal, page)
		wal = be.AppendUint32(wal, map[bool]uint32{true: commit}[i == len(pages)-1])
		wal = append(append(wal, "saltSALT"...), 0, 0, 0, 7, 0, 0, 0, 8)
		wal = append(wal, bytes.Repeat([]byte{byte(i + 1)}, pageSize)...)
	}
	return wal
}

func TestOverlay(t *testing.T) {
	const size = 512
	x := index{frames: 5, pages: 6, checksum: [2]uint32{7, 8}, salts: [8]byte([]byte("saltSALT"))}
	good := frames(size, 6, 2, 5, 2, 9, 6) // page 9 was cut off again
	l := &log{file: bytes.NewReader(good), pageSize: size, salts: x.salts}
	refs, err := l.newest(t.Context(), &x)
	if err != nil || fmt.Sprint(refs) != fmt.Sprint([]frameRef{newRef(2, 3), newRef(5, 2), newRef(6, 5)}) {
		t.Fatalf("%x, %v", refs, err)
	}
	read := func(filePages int64, overlay []frameRef) ([]byte, error) {
		return io.ReadAll(&pageReader{ctx: t.Context(), file: ones{filePages * size}, pageSize: size, pages: 6, next: 1, log: l,
			overlay: overlay, last: func() error { return nil }})
	}
	for _, filePages := range []int64{4, 5, 6, 20} {
		got, err := read(filePages, refs)
		if err != nil {
			t.Fatal(err)
		}
		for i, want := range []byte{1, 3, 1, 1, 2, 5} {
			if got[i*size] != want || got[i*size+size-1] != want {
				t.Errorf("with %d pages in the file, page %d is of %d, want %d", filePages, i+1, got[i*size], want)
			}
		}
	}
	for _, filePages := range []int64{0, 1, 2, 3} {
		if _, err := read(filePages, refs); !errors.Is(err, ErrCorrupt) {
			t.Errorf("with %d pages in the file: %v, want ErrCorrupt", filePages, err)
		}
	}
	if _, err := read(6, []frameRef{newRef(2, 2)}); !errors.Is(err, ErrLost) {
		t.Errorf("a frame of another page: %v, want ErrLost", err)
	}
	for at := range 32 + 24 { // every byte of the headers that matters
		bad := bytes.Clone(good)
		bad[at] ^= 0x80
		l.file = bytes.NewReader(bad)
		_, err := l.newest(t.Context(), &x)
		matters := at < 12 || at >= 16 && at < 24 || at >= 32+8 && at < 32+16
		if matters && !errors.Is(err, errLog) {
			t.Errorf("byte %d changed: %v, want errLog", at, err)
		}
	}
	for _, n := range []int{0, 31, 32, 40, len(good) - size - 1} {
		l.file = bytes.NewReader(good[:n])
		if _, err := l.newest(t.Context(), &x); err == nil {
			t.Errorf("cut to %d bytes: no error", n)
		}
	}
	l.file = bytes.NewReader(frames(size, 7, 2, 5, 2, 9, 6))
	if _, err := l.newest(t.Context(), &x); !errors.Is(err, errLog) {
		t.Errorf("a commit of another size: %v, want errLog", err)
	}
}

func TestLastFramesAreBounded(t *testing.T) {
	var refs []frameRef
	for frame := range uint32(1000) {
		refs = append(refs, newRef(1+frame*7%13, frame+1))
	}
	refs = lastFrames(refs)
	if len(refs) != 13 {
		t.Fatalf("%d refs for 13 pages", len(refs))
	}
	for i, r := range refs {
		if r.page() != uint32(i+1) || r.frame() <= 1000-13 {
			t.Errorf("page %d has frame %d", r.page(), r.frame())
		}
	}
}
