package s3

import (
	"bytes"
	"context"
	"crypto/md5"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"net/http"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go/middleware"
)

// maxSingle is the size up to which an object is one request: the usual pack is, so that a failed one costs no parts.
const maxSingle = 32 << 20

// conditionalKey is what decides whether the store refuses to overwrite. It is no object's name, and stays.
const conditionalKey = ".conditional"

// errLost is what a store does that acknowledges and does not keep.
var errLost = errors.New("the store acknowledged the object and does not have it as it was sent: do not trust this store before its operator explains that")

// errOther is the error of a body that does not have the SHA-256 that it should have.
var errOther = errors.New("the body is not what it should be: it was damaged before it was sent")

// mismatch is what a store says that has received another SHA-256 than was signed.
const mismatch = "XAmzContentSHA256Mismatch"

var always = "*" // of If-None-Match: whatever stands there

// put stores a body, of which the SHA-256 is sum if that is known.
func (t *Target) put(ctx context.Context, name string, body *io.SectionReader, replace bool, sum []byte) error {
	key, err := t.key(ctx, name)
	if err != nil {
		return err
	}
	known, err := t.learn(ctx)
	if err != nil {
		return err
	}
	var condition *string
	switch {
	case replace:
	case known.refuses:
		condition = &always
	default: // two writers at the same moment could both succeed
		if taken, err := t.exists(ctx, key); err != nil {
			return err
		} else if taken {
			return fs.ErrExist
		}
	}
	mode, until := t.lockOf(name)
	var etag string
	var sent digests
	if body.Size() <= maxSingle {
		if sent, err = t.digests(ctx, body, sum, known.verifies && mode == ""); err == nil {
			etag, err = t.putSingle(ctx, key, body, sent, condition, mode, until)
		}
	} else {
		etag, err = t.putParts(ctx, key, body, condition, mode, until)
	}
	switch {
	case status(err) == http.StatusPreconditionFailed:
		// The answer to an earlier attempt may have been lost: then this object is the one it stored.
		if body.Size() <= maxSingle && attempt(err) > 1 && t.readBack(ctx, key, sent) == nil {
			return nil
		}
		return fs.ErrExist
	case err != nil:
		return err
	}
	return t.confirm(ctx, key, body.Size(), etag, sent)
}

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

func (t *Target) putSingle(ctx context.Context, key string, body *io.SectionReader, sent digests, condition *string, mode types.ObjectLockMode, until *time.Time) (etag string, err error) {
	in := t.input(key, body, sent)
	in.IfNoneMatch, in.ObjectLockMode, in.ObjectLockRetainUntilDate = condition, mode, until
	out, err := t.client.PutObject(ctx, in, sent.sign)
	if err != nil {
		return "", err
	}
	return deref(out.ETag), nil
}

// input is a request to store a body.
func (t *Target) input(key string, body *io.SectionReader, sent digests) *s3.PutObjectInput {
	size := body.Size()
	in := &s3.PutObjectInput{Bucket: &t.Bucket, Key: &key, Body: io.NewSectionReader(body, 0, size), ContentLength: &size}
	if sent.md5 != nil {
		sum := base64.StdEncoding.EncodeToString(sent.md5)
		in.ContentMD5 = &sum
	}
	in.ServerSideEncryption, in.SSEKMSKeyId = t.encryption()
	return in
}

func (t *Target) encryption() (types.ServerSideEncryption, *string) {
	if t.SSEKMSKey == "" {
		return types.ServerSideEncryption(t.SSE), nil
	}
	return types.ServerSideEncryption(t.SSE), &t.SSEKMSKey
}

// nature is what a store does that not all do.
type nature struct {
	refuses  bool // to overwrite, where it is asked to (If-None-Match)
	verifies bool // the SHA-256 that a request is signed with
}

// learn finds out, once, what the store does: some ignore a condition, and would replace an object without a word, or take other bytes than were
// signed. Storing the same bytes under one key of its own tells, and harms nothing.
func (t *Target) learn(ctx context.Context) (n nature, err error) {
	select {
	case t.learning <- struct{}{}:
		defer func() { <-t.learning }()
	case <-ctx.Done():
		return n, ctx.Err()
	}
	if known := t.known.Load(); known != nil {
		return *known, nil
	}
	for range 2 { // the first may find nothing there
		in, err := t.marker(ctx)
		if err != nil {
			return n, err
		}
		in.IfNoneMatch = &always
		_, err = t.client.PutObject(ctx, in)
		n.refuses = status(err) == http.StatusPreconditionFailed
		if n.refuses || status(err) == http.StatusNotImplemented {
			break
		}
		if err != nil {
			return n, err
		}
	}
	in, err := t.marker(ctx)
	if err != nil {
		return n, err
	}
	in.ContentMD5 = nil
	other := digests{sha256: make([]byte, sha256.Size)}
	_, err = t.client.PutObject(ctx, in, other.sign, func(o *s3.Options) { o.Retryer = aws.NopRetryer{} })
	if n.verifies = code(err) == mismatch; ctx.Err() != nil {
		return n, ctx.Err()
	}
	t.known.Store(&n) // whatever else it answered: it does not verify
	return n, nil
}

// marker is a request to store what is always the same, whatever stands there.
func (t *Target) marker(ctx context.Context) (*s3.PutObjectInput, error) {
	body := strings.NewReader("Lifeboat finds out whether this store refuses to overwrite.\n")
	section := io.NewSectionReader(body, 0, body.Size())
	sent, err := t.digests(ctx, section, nil, false)
	return t.input(t.prefix+conditionalKey, section, sent), err
}

// confirm asks the store for what it acknowledged: a gateway that loses objects is noticed at the first, not by a restore.
// Where no ETag tells that the bytes are right, because it is not asked for or is no MD5, as with KMS, the first object is read back to tell.
func (t *Target) confirm(ctx context.Context, key string, size int64, etag string, sent digests) error {
	head, err := t.stat(ctx, key)
	if isAbsent(err) {
		return fmt.Errorf("%w: it is absent", errLost)
	}
	if err != nil {
		return fmt.Errorf("confirm that it is stored: %w", err)
	}
	if n := deref(head.ContentLength); n != size {
		return fmt.Errorf("%w: it has %d bytes instead of %d", errLost, n, size)
	}
	if now := deref(head.ETag); etag != "" && now != etag {
		return fmt.Errorf("%w: it changed since (ETag %s, then %s): does somebody else write there?", errLost, etag, now)
	}
	if t.opaque.Load() || size > maxSingle || sent.md5 != nil && strings.EqualFold(strings.Trim(etag, `"`), hex.EncodeToString(sent.md5)) {
		return nil
	}
	if err := t.readBack(ctx, key, sent); err != nil {
		return err
	}
	t.opaque.Store(true)
	return nil
}

// readBack compares the object that stands with what was sent.
func (t *Target) readBack(ctx context.Context, key string, sent digests) error {
	r, err := t.openReader(ctx, key, 0, -1)
	if err != nil {
		return fmt.Errorf("read back: %w", err)
	}
	same, err := sent.match(r)
	if err = errors.Join(err, r.Close()); err != nil {
		return fmt.Errorf("read back: %w", err)
	}
	if !same {
		return fmt.Errorf("%w: it returns other bytes", errLost)
	}
	return nil
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

func deref[T any](p *T) (v T) {
	if p != nil {
		v = *p
	}
	return v
}
