package s3

import (
	"context"
	"crypto/md5"
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

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
)

// maxSingle is the size up to which an object is one request: the usual pack is, so that a failed one costs no parts.
const maxSingle = 32 << 20

// conditionalKey is what decides whether the store refuses to overwrite. It is no object's name, and stays.
const conditionalKey = ".conditional"

// errLost is what a store does that acknowledges and does not keep.
var errLost = errors.New("the store acknowledged the object and does not have it as it was sent: do not trust this store before its operator explains that")

var always = "*" // of If-None-Match: whatever stands there

func (t *Target) put(ctx context.Context, name string, body *io.SectionReader, replace bool) error {
	key, err := t.key(ctx, name)
	if err != nil {
		return err
	}
	var condition *string
	if !replace {
		if condition, err = t.condition(ctx, key); err != nil {
			return err
		}
	}
	mode, until := t.lockOf(name)
	var etag, sum string
	if body.Size() <= maxSingle {
		etag, sum, err = t.putSingle(ctx, key, body, condition, mode, until)
	} else {
		etag, err = t.putParts(ctx, key, body, condition, mode, until)
	}
	switch {
	case status(err) == http.StatusPreconditionFailed:
		// The answer to an earlier attempt may have been lost: then this object is the one it stored.
		if sum != "" && attempt(err) > 1 && t.readBack(ctx, key, sum) == nil {
			return nil
		}
		return fs.ErrExist
	case err != nil:
		return err
	}
	return t.confirm(ctx, key, body.Size(), etag, sum)
}

func (t *Target) putSingle(ctx context.Context, key string, body *io.SectionReader, condition *string, mode types.ObjectLockMode, until *time.Time) (etag, sum string, err error) {
	digest, err := md5Of(ctx, body)
	if err != nil {
		return "", "", err
	}
	in := t.input(key, body, digest)
	in.IfNoneMatch, in.ObjectLockMode, in.ObjectLockRetainUntilDate = condition, mode, until
	sum = hex.EncodeToString(digest)
	out, err := t.client.PutObject(ctx, in)
	if err != nil {
		return "", sum, err
	}
	return deref(out.ETag), sum, nil
}

// input is a request to store a body of which the MD5 is known.
func (t *Target) input(key string, body *io.SectionReader, digest []byte) *s3.PutObjectInput {
	size, sum := body.Size(), base64.StdEncoding.EncodeToString(digest)
	in := &s3.PutObjectInput{Bucket: &t.Bucket, Key: &key, Body: io.NewSectionReader(body, 0, size), ContentLength: &size, ContentMD5: &sum}
	in.ServerSideEncryption, in.SSEKMSKeyId = t.encryption()
	return in
}

func (t *Target) encryption() (types.ServerSideEncryption, *string) {
	if t.SSEKMSKey == "" {
		return types.ServerSideEncryption(t.SSE), nil
	}
	return types.ServerSideEncryption(t.SSE), &t.SSEKMSKey
}

// condition is the If-None-Match of a create-only request. A store without it is asked whether the key is taken instead:
// then two writers at the same moment could both succeed.
func (t *Target) condition(ctx context.Context, key string) (*string, error) {
	refuses, err := t.refusesToOverwrite(ctx)
	if err != nil {
		return nil, err
	}
	if refuses {
		return &always, nil
	}
	taken, err := t.exists(ctx, key)
	if err == nil && taken {
		err = fs.ErrExist
	}
	return nil, err
}

// refusesToOverwrite finds out, once, whether the store honours If-None-Match: some ignore it, and would replace an object
// without a word. Storing the same bytes under one key of its own tells, and harms nothing.
func (t *Target) refusesToOverwrite(ctx context.Context) (bool, error) {
	select {
	case t.deciding <- struct{}{}:
		defer func() { <-t.deciding }()
	case <-ctx.Done():
		return false, ctx.Err()
	}
	if known := t.refuses.Load(); known != nil {
		return *known, nil
	}
	refuses := false
	for range 2 { // the first may find nothing there
		in, err := t.marker(ctx)
		if err != nil {
			return false, err
		}
		in.IfNoneMatch = &always
		_, err = t.client.PutObject(ctx, in)
		refuses = status(err) == http.StatusPreconditionFailed
		if refuses || status(err) == http.StatusNotImplemented {
			break
		}
		if err != nil {
			return false, err
		}
	}
	t.refuses.Store(&refuses)
	return refuses, nil
}

// marker is a request to store what is always the same, whatever stands there.
func (t *Target) marker(ctx context.Context) (*s3.PutObjectInput, error) {
	body := strings.NewReader("Lifeboat finds out whether this store refuses to overwrite.\n")
	section := io.NewSectionReader(body, 0, body.Size())
	digest, err := md5Of(ctx, section)
	return t.input(t.prefix+conditionalKey, section, digest), err
}

// confirm asks the store for what it acknowledged: a gateway that loses objects is noticed at the first, not by a restore.
// An ETag that is not the MD5 of what was sent means that the bytes are others, or that this store's ETags are no MD5, as
// with KMS: once, the object is read back to tell.
func (t *Target) confirm(ctx context.Context, key string, size int64, etag, sum string) error {
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
	if sum == "" || t.opaque.Load() || strings.EqualFold(strings.Trim(etag, `"`), sum) {
		return nil
	}
	if err := t.readBack(ctx, key, sum); err != nil {
		return err
	}
	t.opaque.Store(true)
	return nil
}

// readBack compares the object that stands with the MD5 of what was sent.
func (t *Target) readBack(ctx context.Context, key, sum string) error {
	r, err := t.openReader(ctx, key, 0, -1)
	if err != nil {
		return fmt.Errorf("read back: %w", err)
	}
	h := md5.New()
	_, err = io.Copy(h, r)
	if err = errors.Join(err, r.Close()); err != nil {
		return fmt.Errorf("read back: %w", err)
	}
	if hex.EncodeToString(h.Sum(nil)) != sum {
		return fmt.Errorf("%w: it returns other bytes", errLost)
	}
	return nil
}

// md5Of reads the whole of a body.
func md5Of(ctx context.Context, body *io.SectionReader) ([]byte, error) {
	h := md5.New()
	n, err := copyUntil(ctx, h, io.NewSectionReader(body, 0, body.Size()))
	if err != nil {
		return nil, fmt.Errorf("read body: %w", err)
	}
	if n != body.Size() {
		return nil, fmt.Errorf("body ends after %d of %d bytes: %w", n, body.Size(), io.ErrUnexpectedEOF)
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
