package snapshot

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"os"
	"reflect"
	"strings"
	"testing"

	"lifeboat/crypto"
)

func FuzzExtents(f *testing.F) {
	r := rand.New(rand.NewPCG(1, 11))
	for n := range 5 {
		extents, size := randomExtents(r, n*3)
		f.Add(encodeExtents(extents), size)
	}
	f.Add([]byte(extentsMagic+"\nz 9223372036854775807\n"), int64(9223372036854775807))
	f.Fuzz(func(t *testing.T, node []byte, size int64) {
		extents, err := decodeExtents(node, size)
		if err != nil {
			if !errors.Is(err, crypto.ErrDamaged) {
				t.Errorf("an unknown error: %v", err)
			}
			return
		}
		var sum int64
		for _, e := range extents {
			sum += e.Bytes
			if e.Bytes <= 0 || !e.IsZero() && (e.Skip < 0 || int64(e.Skip)+e.Bytes > int64(e.Chunk.Len) || e.Chunk.Off < 0 || e.Chunk.Off+e.Chunk.Len > crypto.MaxFrame) {
				t.Errorf("extent %+v", e)
			}
		}
		if sum != size {
			t.Errorf("they cover %d bytes of %d", sum, size)
		}
		if again, err := decodeExtents(encodeExtents(extents), size); len(encodeExtents(extents)) <= maxNode && (err != nil || !reflect.DeepEqual(again, extents)) {
			t.Errorf("they encode to something else: %v", err)
		}
	})
}

func FuzzFiles(f *testing.F) {
	r := rand.New(rand.NewPCG(2, 11))
	for _, name := range []string{"a", "dir/b.db", "odd \xff %"} {
		line, err := encodeFile(randomFile(r, name))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(line)
	}
	for _, file := range []File{{Name: "l", Kind: Link, Link: "../../etc/\xff%", Mode: 0o777}, {Name: "s", Kind: Stream, State: "1.2.3.4", Owner: &Owner{UID: 33, GID: 4242}}} {
		line, err := encodeFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(line)
	}
	f.Fuzz(func(t *testing.T, node []byte) {
		files, err := decodeFiles(node)
		if err != nil {
			if !errors.Is(err, crypto.ErrDamaged) {
				t.Errorf("an unknown error: %v", err)
			}
			return
		}
		for i, file := range files {
			if err := checkName(file.Name); err != nil || file.Mode&^0o777 != 0 || file.Size < 0 || (file.Kind == Link) != (file.Link != "") || strings.Contains(file.Link, "\x00") || i > 0 && files[i-1].Name >= file.Name {
				t.Errorf("file %+v (%v)", file, err)
			}
			line, err := encodeFile(file)
			if err != nil {
				t.Fatal(err)
			}
			again, err := decodeFile(line)
			if err != nil {
				t.Fatal(err)
			}
			second, err := encodeFile(again)
			if err != nil || !bytes.Equal(line, second) {
				t.Errorf("%s encodes to %s (%v)", line, second, err)
			}
		}
	})
}

func FuzzName(f *testing.F) {
	for _, name := range append(oddNames, "../x", "a/../b", "%2e%2e/x", "/x", "") {
		f.Add(name)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if checkName(s) == nil {
			if got, err := unescapeName(Escape(s)); err != nil || got != s {
				t.Errorf("%q is read %q (%v)", s, got, err)
			}
		}
		name, err := unescapeName(s)
		if err != nil {
			return
		}
		if strings.HasPrefix(name, "/") || strings.Contains("/"+name+"/", "/../") || strings.Contains(name, "//") || strings.Contains(name, "\x00") {
			t.Errorf("%q is the name %q", s, name)
		}
		if again, err := unescapeName(Escape(name)); err != nil || again != name {
			t.Errorf("%q is read %q (%v)", name, again, err)
		}
	})
}

// FuzzPageMap offers any bytes as a page map: what is read is absent or what was written.
func FuzzPageMap(f *testing.F) {
	r := rand.New(rand.NewPCG(3, 11))
	dir, root, files := f.TempDir(), crypto.ID{5}, someMaps(r, 5)
	writeMap(f, dir, root, files)
	whole, err := os.ReadFile(mapPath(dir, root))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(whole, uint8(3))
	f.Add(whole[:len(whole)-5], uint8(1))
	f.Add([]byte(mapMagic), uint8(1))
	f.Fuzz(func(t *testing.T, b []byte, step uint8) {
		dir := t.TempDir()
		if err := os.WriteFile(mapPath(dir, root), b, 0o600); err != nil {
			t.Fatal(err)
		}
		readMap(t, "fuzzed", dir, root, files, 1+int(step%9))
	})
}

func FuzzUsage(f *testing.F) {
	dir, root, k := f.TempDir(), crypto.ID{5}, idKey(f)
	u := usage{{1}: {1, 2}, {2}: {3, 4}}
	if err := u.save(dir, root, k.NewHasher()); err != nil {
		f.Fatal(err)
	}
	whole, err := os.ReadFile(usagePath(dir, root))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(whole)
	f.Add([]byte(usageMagic))
	f.Fuzz(func(t *testing.T, b []byte) {
		dir := t.TempDir()
		if err := os.WriteFile(usagePath(dir, root), b, 0o600); err != nil {
			t.Fatal(err)
		}
		if got := loadUsage(dir, root, k.NewHasher()); len(got) != 0 && !reflect.DeepEqual(got, u) {
			t.Errorf("loaded %v", got)
		}
	})
}

func FuzzParsePos(f *testing.F) {
	f.Add("0000000000000001-00000000000000ff")
	f.Add("")
	f.Fuzz(func(t *testing.T, s string) {
		if p, err := ParsePos(s); err == nil && p.String() != s {
			t.Errorf("%q is %s", s, p)
		}
	})
}
