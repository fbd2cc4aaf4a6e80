// Package s3 keeps objects in a bucket of Amazon S3 or of a store that speaks its protocol: MinIO, Ceph, versitygw,
// Alibaba Cloud OSS, Tencent COS.
//
// The object a/b is the key PREFIX/a/b. Nothing of the store's newer abilities is needed: what is sent is guarded by
// its SHA-256, or by Content-MD5 where a store does not check that, and what was stored is asked for again. Where a store does not refuse to overwrite
// by itself, an object's absence is looked up before it is stored. Whatever the store returns is verified by those who read it.
package s3

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"strings"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"lifeboat/internal/bandwidth"
	"lifeboat/internal/clock"
	"lifeboat/target"
)

// Config says which bucket, and how to reach it.
type Config struct {
	Bucket    string
	Prefix    string // begins every key, with a slash between; may be empty
	Endpoint  string // a URL; empty is Amazon's own
	Region    string // if empty: of the SDK's settings, or us-east-1 where an endpoint is given
	PathStyle *bool  // nil: as the endpoint's provider wants it

	AccessKey, SecretKey string // if empty: the SDK's default chain
	Profile              string // of the shared configuration files

	CAFile    string // certificates, PEM, that are trusted besides the system's
	SSE       string // "AES256", "aws:kms", or empty: as the bucket has it
	SSEKMSKey string

	Lock      Lock
	Sweepable func(name string) bool // objects that must stay deletable, although Lock is set; nil: none

	Now      clock.Clock
	Limit    *bandwidth.Limit // of all connections together
	Patience time.Duration    // a connection on which no byte moves for so long is dead; 0: one minute
}

// Lock is how long every object is protected from deletion; the zero Lock is none.
type Lock struct {
	Mode string // "governance" or "compliance"
	For  time.Duration
}

// Target is a bucket of objects. It implements target.Target.
type Target struct {
	Config
	client *s3.Client
	place  string // for messages
	prefix string // of keys: empty, or ends with a slash

	learning chan struct{}          // holds one token, for who finds out
	known    atomic.Pointer[nature] // what the store does; nil: not known yet
	opaque   atomic.Bool            // its ETags do not tell, and what was read back was right
}

// Locked is a Target whose objects are locked. Only it is a target.Retainer.
type Locked struct{ *Target }

var (
	_ target.Target   = (*Target)(nil)
	_ target.Repairer = (*Target)(nil)
	_ target.Prober   = (*Target)(nil)
	_ target.Verifier = (*Target)(nil)
	_ target.Retainer = Locked{}
)

// Open reads settings and credentials. It does not ask the store anything: what is wrong with them is told by the first use.
func Open(ctx context.Context, c Config) (*Target, error) {
	t := &Target{Config: c, place: "s3://" + c.Bucket, learning: make(chan struct{}, 1)}
	if p := strings.Trim(c.Prefix, "/"); p != "" {
		t.prefix = p + "/"
		t.place += "/" + p
	}
	if t.Patience == 0 {
		t.Patience = time.Minute
	}
	if t.Sweepable == nil {
		t.Sweepable = func(string) bool { return false }
	}
	if err := t.connect(ctx); err != nil {
		return nil, fmt.Errorf("open %s: %w", t.place, err)
	}
	return t, nil
}

// Put implements target.Target.
func (t *Target) Put(ctx context.Context, name string, body *io.SectionReader) error {
	return t.fail(ctx, "put", name, t.put(ctx, name, body, false, nil))
}

// PutVerified implements target.Verifier. What the store does not verify as one body is read once more.
func (t *Target) PutVerified(ctx context.Context, name string, body *io.SectionReader, sum [sha256.Size]byte) error {
	known, err := t.learn(ctx)
	if err == nil && (!known.verifies || body.Size() > maxSingle) {
		var own []byte
		if own, err = sumOf(ctx, sha256.New(), body); err == nil && !bytes.Equal(own, sum[:]) {
			err = errOther
		}
	}
	if err == nil {
		err = t.put(ctx, name, body, false, sum[:])
	}
	if code(err) == mismatch {
		err = errOther
	}
	return t.fail(ctx, "put", name, err)
}

// Replace implements target.Repairer. In a bucket with versions the damaged object becomes an older one.
func (t *Target) Replace(ctx context.Context, name string, body *io.SectionReader) error {
	return t.fail(ctx, "replace", name, t.put(ctx, name, body, true, nil))
}

// Get implements target.Target. A reader whose connection breaks goes on with another one, within the same object. A
// negative offset is fs.ErrInvalid.
func (t *Target) Get(ctx context.Context, name string, off, n int64) (io.ReadCloser, error) {
	r, err := t.get(ctx, name, off, n)
	if err != nil {
		return nil, t.fail(ctx, "get", name, err)
	}
	return r, nil
}

// List implements target.Target. It skips keys that are no object's name.
func (t *Target) List(ctx context.Context, prefix string) iter.Seq2[target.Info, error] {
	return func(yield func(target.Info, error) bool) {
		if err := t.list(ctx, prefix, yield); err != nil && !errors.Is(err, errStop) {
			yield(target.Info{}, t.fail(ctx, "list", prefix, err))
		}
	}
}

// Delete implements target.Target. Where the bucket keeps versions, all of the object's are deleted, so that its space is
// free; a credential that may not do that leaves a delete marker over them. A locked object is target.ErrRetained, and
// stays visible.
func (t *Target) Delete(ctx context.Context, name string) error {
	return t.fail(ctx, "delete", name, t.remove(ctx, name))
}

// key is the key of a name that is valid, while ctx is not done.
func (t *Target) key(ctx context.Context, name string) (string, error) {
	if err := target.CheckName(name); err != nil {
		return "", err
	}
	return t.prefix + name, ctx.Err()
}

// stat describes an object. A refused HEAD has no body that says why, so a GET asks again.
func (t *Target) stat(ctx context.Context, key string) (*s3.HeadObjectOutput, error) {
	head, err := t.client.HeadObject(ctx, &s3.HeadObjectInput{Bucket: &t.Bucket, Key: &key})
	if err == nil || status(err) == 0 {
		return head, err
	}
	first := "bytes=0-0"
	out, why := t.client.GetObject(ctx, &s3.GetObjectInput{Bucket: &t.Bucket, Key: &key, Range: &first})
	if why != nil {
		return nil, why
	}
	return nil, errors.Join(err, out.Body.Close())
}

// exists reports whether the key is taken.
func (t *Target) exists(ctx context.Context, key string) (bool, error) {
	_, err := t.stat(ctx, key)
	if err == nil {
		return true, nil
	}
	if isAbsent(err) {
		return false, nil
	}
	return false, err
}

// lockOf is what Put asks of the store for the protection of an object; empty for what must stay deletable.
func (t *Target) lockOf(name string) (mode types.ObjectLockMode, until *time.Time) {
	if t.Lock.For == 0 || t.Sweepable(name) {
		return "", nil
	}
	end := t.Now().Add(t.Lock.For).UTC()
	return types.ObjectLockMode(strings.ToUpper(t.Lock.Mode)), &end
}

// isAbsent reports whether the store said that there is no such object, which is not that there is no such bucket.
func isAbsent(err error) bool {
	c := code(err)
	return c == "NoSuchKey" || c == "NotFound" || errors.Is(err, fs.ErrNotExist)
}
