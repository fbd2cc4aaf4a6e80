package bundle

import (
	"archive/zip"
	"bytes"
	"compress/flate"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"math"
)

// A zip file says twice what is in it: in the list at its end, and before each file. Programs read the one or the other, so that a file could be verified
// by the one and shown by the other. What follows makes them one, which is how Write makes zip files.

// Sizes of the parts of a zip file, in bytes, and the flag of a file whose sizes stand behind it.
const (
	endOfZip    = 22 // what ends a zip file without a comment
	headerSize  = 30 // before a file
	listedSize  = 46 // of a file in the list
	behindSize  = 16 // behind a file
	sizesBehind = 8
)

// bounded looks at the end of a zip file, before anything is allocated for what it lists: no comment, one list of files right before the end, not too long.
func bounded(r io.ReaderAt, size int64) error {
	if size < endOfZip {
		return errors.New("it is too short for a zip file")
	}
	var end [endOfZip]byte
	if _, err := r.ReadAt(end[:], size-endOfZip); err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("read its end: %w", err)
	}
	length, at := int64(binary.LittleEndian.Uint32(end[12:])), int64(binary.LittleEndian.Uint32(end[16:]))
	switch {
	case string(end[:4]) != "PK\x05\x06" || end[20] != 0 || end[21] != 0 || !bytes.Equal(end[4:8], make([]byte, 4)) || !bytes.Equal(end[8:10], end[10:12]):
		return errors.New("it does not end as a zip file without a comment does")
	case length > maxDirectory:
		return fmt.Errorf("the list of its files takes %d bytes, and %d are what there can be", length, maxDirectory)
	case at+length != size-endOfZip:
		return errors.New("the list of its files is not where it says")
	}
	return nil
}

// contiguous looks whether files lie one behind the other, in the order of the list, from the first byte to the list, and the list is nothing but itself;
// and whether what stands before and behind each file says what the list says.
func contiguous(r io.ReaderAt, size int64, files []*zip.File) error {
	at, listed := int64(0), int64(0)
	for _, f := range files {
		n, err := entry(r, at, f)
		if err != nil {
			return fmt.Errorf("at byte %d, where the file %.100q has to begin: %w: programs may show something else than what was verified", at, f.Name, err)
		}
		at, listed = at+n, listed+int64(listedSize+len(f.Name)+len(f.Extra)+len(f.Comment))
	}
	if at+listed+endOfZip != size {
		return fmt.Errorf("its files end at byte %d and their list takes %d bytes, and %d bytes are left over: programs may show something else than what was verified", at, listed, size-at-listed-endOfZip)
	}
	return nil
}

// entry is how long a file is, with what stands before and behind it.
func entry(r io.ReaderAt, at int64, f *zip.File) (int64, error) {
	head := make([]byte, headerSize+len(f.Name)+len(f.Extra))
	if _, err := r.ReadAt(head, at); err != nil {
		return 0, fmt.Errorf("read what stands before it: %w", err)
	}
	from, err := f.DataOffset()
	if err != nil {
		return 0, fmt.Errorf("read what stands before it: %w", err)
	}
	u16, rest := binary.LittleEndian.Uint16, head[headerSize:]
	behind := f.Flags&sizesBehind != 0
	switch {
	case string(head[:4]) != "PK\x03\x04" || from != at+int64(len(head)):
		return 0, errors.New("something else stands there")
	case int(u16(head[26:])) != len(f.Name) || int(u16(head[28:])) != len(f.Extra) || string(rest[:len(f.Name)]) != f.Name:
		return 0, errors.New("it has another name there than in the list")
	case !bytes.Equal(rest[len(f.Name):], f.Extra) || !plainExtra(f.Extra) || f.Comment != "" || f.Mode()&fs.ModeSymlink != 0:
		return 0, errors.New("something is attached to it, or it is a link")
	case u16(head[6:]) != f.Flags || f.Flags&^(sizesBehind|0x800) != 0 || u16(head[8:]) != f.Method:
		return 0, errors.New("it is packed in another way there than in the list")
	case f.Method != zip.Deflate && (f.Method != zip.Store || behind || f.CompressedSize64 != f.UncompressedSize64):
		return 0, errors.New("it is packed in a way in which no bundle is")
	}
	n, err := sized(r, at+int64(len(head)), head[14:26], f)
	return int64(len(head)) + n, err
}

// sized is how long a file is, with what stands behind it. Its checksum and sizes are either before it or behind it.
func sized(r io.ReaderAt, from int64, sizes []byte, f *zip.File) (int64, error) {
	length := int64(f.CompressedSize64)
	if length < 0 || length > math.MaxUint32 {
		return 0, errors.New("it is larger than a bundle can be")
	}
	if f.Flags&sizesBehind != 0 {
		if !bytes.Equal(sizes, make([]byte, len(sizes))) {
			return 0, errors.New("its sizes stand before it and behind it")
		}
		var tail [behindSize]byte
		if _, err := r.ReadAt(tail[:], from+length); err != nil || string(tail[:4]) != "PK\x07\x08" {
			return 0, errors.New("its sizes do not stand behind it")
		}
		sizes, length = tail[4:], length+behindSize
	}
	u32 := binary.LittleEndian.Uint32
	if u32(sizes) != f.CRC32 || uint64(u32(sizes[4:])) != f.CompressedSize64 || uint64(u32(sizes[8:])) != f.UncompressedSize64 {
		return 0, errors.New("its size is another than in the list")
	}
	return length, nil
}

// plainExtra reports whether nothing or a time is attached to a file: other things may be another name.
func plainExtra(b []byte) bool {
	return len(b) == 0 || len(b) == 9 && string(b[:5]) == "UT\x05\x00\x01"
}

// unpack returns what is in a file, which fills its place: a program that does not know the list would take what is left over for other files.
func unpack(f *zip.File) ([]byte, error) {
	packed, err := f.OpenRaw()
	if err != nil {
		return nil, err
	}
	raw := make([]byte, f.CompressedSize64) // it lies in the file: contiguous
	if _, err := io.ReadFull(packed, raw); err != nil {
		return nil, err
	}
	b := raw
	if f.Method == zip.Deflate {
		b = make([]byte, f.UncompressedSize64) // openArchive has bounded it
		left := bytes.NewReader(raw)
		inflater := flate.NewReader(left)
		if _, err := io.ReadFull(inflater, b); err != nil {
			return nil, err
		}
		if n, err := inflater.Read(make([]byte, 1)); n > 0 || !errors.Is(err, io.EOF) || left.Len() > 0 {
			return nil, fmt.Errorf("it does not end where it says: %w", errors.Join(err, zip.ErrFormat))
		}
	}
	if crc32.ChecksumIEEE(b) != f.CRC32 {
		return nil, zip.ErrChecksum
	}
	return b, nil
}
