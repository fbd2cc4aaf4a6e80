package files

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"

	"lifeboat/snapshot"
)

// tries is how often a file that changes is read.
const tries = 3

// errChanged says that a file is not what it was when it was looked at.
var errChanged = errors.New("it changed while it was read")

// body is the content of a file, which is opened when it is first asked for. At its end it knows whether that is what the entry says.
type body struct {
	*entry
	prints *prints
	last   bool // what is read counts, though the file changes: as much of it as it has when it is opened

	file *os.File
	was  stat // when it was opened
	left int64
	err  error // how it ended
	why  error // why it does not count; of the last try: why it may be mixed
}

// Read implements io.Reader.
func (b *body) Read(p []byte) (int, error) {
	if b.err == nil && b.file == nil {
		b.begin()
	}
	if b.err != nil {
		return 0, b.err
	}
	if b.left == 0 {
		b.end(io.EOF)
		return 0, b.err
	}
	n, err := b.file.Read(p[:min(int64(len(p)), b.left)])
	b.left -= int64(n)
	if err != nil {
		b.end(err)
		return n, b.err
	}
	return n, nil
}

func (b *body) begin() {
	file, now, err := b.open(0)
	switch {
	case err != nil && (errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ELOOP)):
		b.void(errChanged)
	case err != nil:
		b.void(err)
	case now.kind() != unix.S_IFREG || b.prints.files[now.identity()] || !b.last && !now.same(&b.stat):
		b.file = file
		b.void(errChanged)
	default:
		b.file, b.was, b.left = file, *now, now.Size
	}
}

// end looks whether the file is still as it was when it was opened.
func (b *body) end(err error) {
	if !errors.Is(err, io.EOF) {
		b.void(err)
		return
	}
	var now stat
	if err := now.of(b.file); err != nil {
		b.void(err)
		return
	}
	switch unchanged := b.left == 0 && now.same(&b.was); {
	case unchanged:
		b.err = io.EOF
	case b.last:
		b.err, b.why = io.EOF, errChanged
	default:
		b.void(errChanged)
	}
}

// void ends a body that does not count.
func (b *body) void(why error) {
	b.why, b.err = why, fmt.Errorf("%w: %w", snapshot.ErrVoid, why)
}

func (b *body) close() {
	if b.file != nil {
		_ = b.file.Close() // it was only read
	}
}
