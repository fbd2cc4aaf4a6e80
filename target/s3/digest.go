package s3

import (
	"bytes"
	"context"
	"crypto/md5"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"io"

	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go/middleware"
)

// digests are what a body is known by.
type digests struct {
	sha256 []byte // nil: the SDK computes what it signs
	md5    []byte // nil: the store verifies the SHA-256
}

// digests computes those that a request needs. Every store verifies the MD5 and returns it as the ETag, and what is to be locked must have it.
func (t *Target) digests(ctx context.Context, body *io.SectionReader, sum []byte, verifies bool) (d digests, err error) {
	d.sha256 = sum
	switch {
	case !verifies:
		d.md5, err = sumOf(ctx, md5.New(), body)
	case sum == nil:
		d.sha256, err = sumOf(ctx, sha256.New(), body)
	}
	return d, err
}

// sign has the SDK sign this SHA-256 instead of reading the body for it.
func (d digests) sign(o *s3.Options) {
	if d.sha256 == nil {
		return
	}
	o.APIOptions = append(o.APIOptions, func(stack *middleware.Stack) error {
		return stack.Initialize.Add(middleware.InitializeMiddlewareFunc("KnownSHA256", func(ctx context.Context, in middleware.InitializeInput, next middleware.InitializeHandler) (middleware.InitializeOutput, middleware.Metadata, error) {
			return next.HandleInitialize(v4.SetPayloadHash(ctx, hex.EncodeToString(d.sha256)), in)
		}), middleware.Before)
	})
}

// match reports whether r yields what was sent.
func (d digests) match(r io.Reader) (bool, error) {
	h, want := sha256.New(), d.sha256
	if d.md5 != nil {
		h, want = md5.New(), d.md5
	}
	_, err := io.Copy(h, r)
	return bytes.Equal(h.Sum(nil), want), err
}

// sumOf reads the whole of a body.
func sumOf(ctx context.Context, h hash.Hash, body *io.SectionReader) ([]byte, error) {
	n, err := copyUntil(ctx, h, io.NewSectionReader(body, 0, body.Size()))
	if err != nil {
		return nil, fmt.Errorf("read body: %w", err)
	}
	if n != body.Size() {
		return nil, fmt.Errorf("read body: %d of %d bytes: %w", n, body.Size(), io.ErrUnexpectedEOF)
	}
	return h.Sum(nil), nil
}

// copyUntil feeds a hash until ctx is done.
func copyUntil(ctx context.Context, h hash.Hash, r io.Reader) (sum int64, err error) {
	for {
		n, err := io.CopyN(h, r, 1<<20)
		sum += n
		if err == io.EOF {
			return sum, ctx.Err()
		}
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return sum, err
		}
	}
}
