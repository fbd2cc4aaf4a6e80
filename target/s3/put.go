package s3

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
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

func deref[T any](p *T) (v T) {
	if p != nil {
		v = *p
	}
	return v
}
