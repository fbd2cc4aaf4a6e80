package target

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
)

// Object names what a record adds to a repository.
type Object struct {
	Name string `json:"name"`
	Size int64  `json:"size"` // bytes
}

// ErrTooLarge is wrapped when an object is larger than anything Lifeboat writes under its name.
var ErrTooLarge = errors.New("larger than allowed")

// ErrUnreadable is wrapped where what stands under a name cannot be read: the medium fails, or it is no object.
var ErrUnreadable = errors.New("cannot be read")

// ErrConflict is wrapped when a name is taken by an object with other content.
var ErrConflict = errors.New("another object has this name")

// Read returns a whole object of at most limit bytes.
func Read(ctx context.Context, t Target, name string, limit int64) ([]byte, error) {
	r, err := t.Get(ctx, name, 0, limit+1)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	b, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	if int64(len(b)) > limit {
		return nil, fmt.Errorf("read %s: %w (%d bytes)", name, ErrTooLarge, limit)
	}
	return b, nil
}

// ReadRange fills buf with the bytes of an object from off on; less is io.ErrUnexpectedEOF.
func ReadRange(ctx context.Context, t Target, name string, off int64, buf []byte) error {
	r, err := t.Get(ctx, name, off, int64(len(buf)))
	if err != nil {
		return err
	}
	defer r.Close()
	if _, err := io.ReadFull(r, buf); err != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return fmt.Errorf("read %s from byte %d: %w", name, off, err)
	}
	return nil
}

// Store puts an object, and accepts that it is there already if its bytes are the same: the reply to an earlier Put may
// have been lost. Other bytes are ErrConflict.
func Store(ctx context.Context, t Target, name string, body []byte) error {
	err := t.Put(ctx, name, io.NewSectionReader(bytes.NewReader(body), 0, int64(len(body))))
	if !errors.Is(err, fs.ErrExist) {
		return err
	}
	there, err := Read(ctx, t, name, int64(len(body)))
	if errors.Is(err, ErrTooLarge) || (err == nil && !bytes.Equal(there, body)) {
		return fmt.Errorf("put %s: %w", name, ErrConflict)
	}
	return err
}

// Has reports whether an object of exactly this size stands on t. It reads two bytes at most, and proves nothing about
// the rest.
func Has(ctx context.Context, t Target, o Object) (bool, error) {
	r, err := t.Get(ctx, o.Name, max(o.Size-1, 0), 2)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer r.Close()
	n, err := io.Copy(io.Discard, r)
	return n == min(o.Size, 1), err
}
