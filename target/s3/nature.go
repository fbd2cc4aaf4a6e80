package s3

import (
	"context"
	"crypto/sha256"
	"io"
	"net/http"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

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
