package mysql

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
)

// part is a chunk; content empty and end set ends the file.
type part struct {
	name, content string
	at            int64
	end           bool
}

func streamOf(parts ...part) []byte {
	var b []byte
	for _, p := range parts {
		kind := byte('P')
		if p.end {
			kind = 'E'
		}
		b = append(append(b, magic...), 0, kind)
		b = binary.LittleEndian.AppendUint32(b, uint32(len(p.name)))
		b = append(b, p.name...)
		if p.end {
			continue
		}
		b = binary.LittleEndian.AppendUint64(b, uint64(len(p.content)))
		b = binary.LittleEndian.AppendUint64(b, uint64(p.at))
		b = binary.LittleEndian.AppendUint32(b, crc32.ChecksumIEEE([]byte(p.content)))
		b = append(b, p.content...)
	}
	return b
}

// unpacked are the files of a stream, in the order in which they come.
func unpacked(r io.Reader, dir string) (names []string, files map[string]string, err error) {
	a := newArchive(r, dir)
	defer a.close()
	files = map[string]string{}
	for {
		name, size, body, err := a.next()
		if errors.Is(err, io.EOF) {
			return names, files, nil
		}
		if err != nil {
			return names, files, err
		}
		b, err := io.ReadAll(body)
		if err != nil {
			return names, files, err
		}
		if size >= 0 && size != int64(len(b)) {
			return names, files, fmt.Errorf("%s has %d bytes, and %d were announced", name, len(b), size)
		}
		names, files[name] = append(names, name), string(b)
	}
}

// TestArchive takes files apart that come mixed, with the log among them, and leaves nothing in the temporary directory.
func TestArchive(t *testing.T) {
	stream := streamOf(
		part{name: "./ib_logfile0", content: "log 1;"},
		part{name: "a.ibd", content: "page 1"}, part{name: "ib_logfile0", content: "log 2;", at: 6}, part{name: "a.ibd", content: "page 2", at: 6},
		part{name: "b.frm", content: "beside"}, part{name: "b.frm", end: true}, part{name: "a.ibd", at: 12}, part{name: "a.ibd", content: "!", at: 12}, part{name: "a.ibd", end: true},
		part{name: "empty", end: true}, part{name: "none"}, part{name: "none", end: true}, part{name: "ib_logfile0", end: true}, part{name: "c", content: "last"}, part{name: "c", end: true})
	for _, wrap := range []func(io.Reader) io.Reader{func(r io.Reader) io.Reader { return r }, iotest.OneByteReader, iotest.DataErrReader} {
		dir := t.TempDir()
		names, files, err := unpacked(wrap(bytes.NewReader(stream)), dir)
		if err != nil {
			t.Fatal(err)
		}
		if want := []string{"a.ibd", "b.frm", "empty", "none", "ib_logfile0", "c"}; !slices.Equal(names, want) {
			t.Errorf("%v, want %v", names, want)
		}
		if files["a.ibd"] != "page 1page 2!" || files["ib_logfile0"] != "log 1;log 2;" || files["b.frm"] != "beside" || files["empty"] != "" || files["none"] != "" || files["c"] != "last" {
			t.Errorf("%q", files)
		}
		if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
			t.Errorf("left: %v %v", left, err)
		}
	}
}

// TestArchiveDamaged cuts a stream at each byte, and changes each: whoever reads it is told.
func TestArchiveDamaged(t *testing.T) {
	stream := streamOf(part{name: "ib_logfile0", content: "log"}, part{name: "a", content: "1234"}, part{name: "ib_logfile0", content: "more", at: 3}, part{name: "a", content: "56", at: 4}, part{name: "a", end: true}, part{name: "ib_logfile0", end: true})
	_, want, err := unpacked(bytes.NewReader(stream), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for n := 1; n < len(stream); n++ {
		if _, _, err := unpacked(bytes.NewReader(stream[:n]), t.TempDir()); !errors.Is(err, errArchive) {
			t.Errorf("cut at byte %d: %v", n, err)
		}
	}
	for n := range stream {
		b := slices.Clone(stream)
		b[n] ^= 1
		names, files, err := unpacked(bytes.NewReader(b), t.TempDir())
		flag := n >= 8 && (string(stream[n-8:n]) == magic) // nothing is said by it
		if err == nil && !flag && fmt.Sprint(files) == fmt.Sprint(want) {
			t.Errorf("byte %d of %d was changed: %v", n, len(stream), names)
		}
		if err == nil && !flag && len(files) == len(want) && strings.Contains(fmt.Sprint(files), "56") && files["a"] != want["a"] && files["a"] != "" {
			t.Errorf("byte %d: other content passed: %q", n, files)
		}
	}
	if _, _, err := unpacked(iotest.ErrReader(os.ErrDeadlineExceeded), t.TempDir()); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("an error of reading: %v", err)
	}
}

// FuzzArchive reads anything: it ends, with files or an error.
func FuzzArchive(f *testing.F) {
	f.Add(streamOf(part{name: "ib_logfile0", content: "log"}, part{name: "a", content: "1234"}, part{name: "a", end: true}, part{name: "ib_logfile0", end: true}))
	f.Add([]byte(magic))
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, b []byte) {
		_, files, err := unpacked(bytes.NewReader(b), dir)
		size := 0
		for name, content := range files {
			size += len(name) + len(content)
		}
		if size > len(b) || err != nil && !errors.Is(err, errArchive) {
			t.Errorf("%d bytes of %d, %v", size, len(b), err)
		}
	})
}
