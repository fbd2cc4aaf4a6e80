package s3

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"net/http"
	"strings"

	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// maxBreaks is how often in a row a connection may break before a single byte came.
const maxBreaks = 4

var errRange = errors.New("the store does not answer a request for a range with that range")

func (t *Target) get(ctx context.Context, name string, off, n int64) (io.ReadCloser, error) {
	key, err := t.key(ctx, name)
	if err != nil {
		return nil, err
	}
	if off < 0 {
		return nil, fmt.Errorf("offset %d: %w", off, fs.ErrInvalid)
	}
	r, err := t.openReader(ctx, key, off, n)
	if err != nil {
		return nil, err
	}
	r.name = name
	return r, nil
}

// openReader begins to read n bytes of an object, or all for n < 0.
func (t *Target) openReader(ctx context.Context, key string, off, n int64) (*reader, error) {
	r := &reader{ctx: ctx, t: t, key: key, name: key, off: off, left: n, body: http.NoBody}
	if n == 0 {
		_, err := t.stat(ctx, key)
		return r, err
	}
	return r, r.open()
}

// reader reads a range of one object until its context is done.
type reader struct {
	ctx       context.Context
	t         *Target
	key, name string
	etag      *string // of the object as it was first seen
	off, left int64   // what is to come
	body      io.ReadCloser
	breaks    int // since the last byte
}

// open asks for what is to come, and learns how much that is.
func (r *reader) open() error {
	in := &s3.GetObjectInput{Bucket: &r.t.Bucket, Key: &r.key, IfMatch: r.etag}
	if r.off > 0 || r.left > 0 {
		span := fmt.Sprintf("bytes=%d-", r.off)
		if r.left > 0 && r.left <= math.MaxInt64-r.off {
			span += fmt.Sprint(r.off + r.left - 1)
		}
		in.Range = &span
	}
	out, err := r.t.client.GetObject(r.ctx, in)
	if status(err) == http.StatusRequestedRangeNotSatisfiable {
		r.left = 0 // it begins past the end
		return nil
	}
	if err != nil {
		return err
	}
	length := deref(out.ContentLength)
	at := deref(out.ContentRange)
	switch {
	case out.ContentLength == nil:
		err = errors.New("the store does not say how long the object is")
	case at == "" && r.off > 0, at != "" && !strings.HasPrefix(at, fmt.Sprintf("bytes %d-", r.off)), at != "" && r.left > 0 && length > r.left:
		err = errRange
	}
	if err != nil {
		return errors.Join(err, out.Body.Close())
	}
	if r.left < 0 || length < r.left {
		r.left = length
	}
	r.body, r.etag = out.Body, out.ETag
	return nil
}

// Read goes on with another connection where one breaks, but only within the same object.
func (r *reader) Read(p []byte) (int, error) {
	for {
		if err := r.ctx.Err(); err != nil {
			return 0, r.t.fail(r.ctx, "get", r.name, err)
		}
		if r.left == 0 {
			return 0, io.EOF
		}
		n, err := r.body.Read(p[:min(int64(len(p)), r.left)])
		if n > 0 {
			r.off, r.left, r.breaks = r.off+int64(n), r.left-int64(n), 0
			return n, nil // an error comes again
		}
		if err == nil {
			return 0, nil
		}
		if err = r.reopen(err); err != nil {
			return 0, r.t.fail(r.ctx, "get", r.name, err)
		}
	}
}

// reopen goes on after a break.
func (r *reader) reopen(broken error) error {
	if broken == io.EOF {
		broken = io.ErrUnexpectedEOF
	}
	if r.breaks++; r.breaks > maxBreaks || r.ctx.Err() != nil || r.etag == nil {
		return fmt.Errorf("the connection broke %d bytes before the end: %w", r.left, broken)
	}
	_ = r.body.Close() // it is broken
	left := r.left
	if err := r.open(); err != nil {
		return fmt.Errorf("go on after %w: %w", broken, err)
	}
	if r.left != left {
		return fmt.Errorf("the object changed while it was read: %w", io.ErrUnexpectedEOF)
	}
	return nil
}

// Close implements io.Closer. Whoever stops early, or was cancelled, loses nothing by what the connection says to that.
func (r *reader) Close() error {
	_ = r.body.Close()
	return nil
}
