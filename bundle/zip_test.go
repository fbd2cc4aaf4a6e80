package bundle

import (
	"archive/zip"
	"bytes"
	"compress/flate"
	"encoding/binary"
	"hash/crc32"
	"io/fs"
	"strings"
	"testing"
)

// TestTwoReadings are zip files that some programs read in one way and some in another.
func TestTwoReadings(t *testing.T) {
	h := year(t)
	good := h.bundle()
	for what, c := range map[string]struct {
		change func(b []byte) []byte
		want   string
	}{
		"another name before a file": {func(b []byte) []byte {
			return bytes.Replace(b, []byte(fileReadme), []byte("README.txu"), 1)
		}, "another name"},
		"something between two files": {func(b []byte) []byte { return insert(b, place(b, 1), []byte("junk")) }, "where the file"},
		"a file that is not listed": {func(b []byte) []byte {
			return insert(b, place(b, 2), b[place(b, 2):place(b, 3)])
		}, "where the file"},
		"something before the first": {func(b []byte) []byte { return insert(b, 0, []byte("#!/bin/sh\n")) }, "where the file"},
		"something behind the last":  {func(b []byte) []byte { return insert(b, list(b), []byte("junk")) }, "4 bytes are left over"},
		"something behind the list": {func(b []byte) []byte {
			end := len(b) - endOfZip
			b = append(append(bytes.Clone(b[:end]), "junk"...), b[end:]...)
			more(b, len(b)-endOfZip+12, 4)
			return b
		}, "left over"},
		"two numbers of files": {func(b []byte) []byte {
			b[len(b)-endOfZip+8]--
			return b
		}, "does not end as"},
		"another order": {func(b []byte) []byte {
			l := list(b)
			one := listedSize + int(binary.LittleEndian.Uint16(b[l+28:])) + int(binary.LittleEndian.Uint16(b[l+30:]))
			two := listedSize + int(binary.LittleEndian.Uint16(b[l+one+28:])) + int(binary.LittleEndian.Uint16(b[l+one+30:]))
			first := bytes.Clone(b[l : l+one])
			copy(b[l:], b[l+one:l+one+two])
			copy(b[l+two:], first)
			return b
		}, "something else stands there"},
		"another size behind a file": {func(b []byte) []byte {
			b[bytes.Index(b, []byte("PK\x07\x08"))+12]++
			return b
		}, "its size is another"},
		"sizes before and behind": {func(b []byte) []byte {
			b[18]++
			return b
		}, "before it and behind it"},
	} {
		t.Run(what, func(t *testing.T) {
			if got := refusal(t, c.change(bytes.Clone(good))); !strings.Contains(got, c.want) {
				t.Errorf("%s, want %q", got, c.want)
			}
		})
	}
}

// list is where the list of a zip file begins.
func list(b []byte) int { return int(binary.LittleEndian.Uint32(b[len(b)-endOfZip+16:])) }

// place is where a file begins.
func place(b []byte, n int) int {
	at := list(b)
	for range n {
		at += listedSize + int(binary.LittleEndian.Uint16(b[at+28:])) + int(binary.LittleEndian.Uint16(b[at+30:]))
	}
	return int(binary.LittleEndian.Uint32(b[at+42:]))
}

func more(b []byte, at, n int) {
	binary.LittleEndian.PutUint32(b[at:], binary.LittleEndian.Uint32(b[at:])+uint32(n))
}

// insert puts something before a file and makes the list say where those behind it are now, so that programs which go by the list see no difference.
func insert(b []byte, at int, what []byte) []byte {
	b = append(append(bytes.Clone(b[:at]), what...), b[at:]...)
	more(b, len(b)-endOfZip+16, len(what))
	for e := list(b); string(b[e:e+4]) == "PK\x01\x02"; {
		if int(binary.LittleEndian.Uint32(b[e+42:])) >= at {
			more(b, e+42, len(what))
		}
		e += listedSize + int(binary.LittleEndian.Uint16(b[e+28:])) + int(binary.LittleEndian.Uint16(b[e+30:]))
	}
	return b
}

// TestAttached attaches things to a file of a bundle by which some programs go.
func TestAttached(t *testing.T) {
	h := newHouse(t)
	all := files(t, h.bundle())
	link := &zip.FileHeader{}
	link.SetMode(fs.ModeSymlink | 0o777)
	for what, c := range map[string]struct {
		header *zip.FileHeader
		behind string // the packed text
		want   string
	}{
		"nothing":               {&zip.FileHeader{}, "", ""},
		"a time":                {&zip.FileHeader{Extra: []byte("UT\x05\x00\x01\x00\x00\x00\x00")}, "", ""},
		"another name":          {&zip.FileHeader{Extra: []byte("up\x06\x00\x01\x00\x00\x00\x00x")}, "", "attached"},
		"a comment":             {&zip.FileHeader{Comment: "see there"}, "", "attached"},
		"that it is a link":     {link, "", "attached"},
		"a password":            {&zip.FileHeader{Flags: 1}, "", "packed in another way"},
		"files behind its text": {&zip.FileHeader{}, "PK\x07\x08 and so on", "does not end where it says"},
	} {
		var b, packed bytes.Buffer
		z := zip.NewWriter(&b)
		deflate := must(flate.NewWriter(&packed, 1))(t)
		must(deflate.Write(readme))(t)
		if err := deflate.Close(); err != nil {
			t.Fatal(err)
		}
		packed.WriteString(c.behind)
		f := c.header
		f.Name, f.Method, f.CRC32, f.CompressedSize64, f.UncompressedSize64 = fileReadme, zip.Deflate, crc32.ChecksumIEEE(readme), uint64(packed.Len()), uint64(len(readme))
		must(must(z.CreateRaw(f))(t).Write(packed.Bytes()))(t)
		for name, text := range all {
			if name != fileReadme {
				must(must(z.Create(name))(t).Write(text))(t)
			}
		}
		if err := z.Close(); err != nil {
			t.Fatal(err)
		}
		switch r, err := Verify(bytes.NewReader(b.Bytes()), int64(b.Len()), Options{Trust: h.fingerprint()}); {
		case c.want == "" && (err != nil || r.Verdict != Verified):
			t.Errorf("%s: error %v, %+v", what, err, r)
		case c.want != "" && err == nil && (r.Verdict != Forged || !strings.Contains(r.Problems[0].Text, c.want)), err != nil && !strings.Contains(err.Error(), c.want):
			t.Errorf("%s: error %v, %+v; want %q", what, err, r, c.want)
		}
	}
}
