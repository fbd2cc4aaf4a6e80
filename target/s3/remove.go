package s3

import (
	"context"
	"fmt"
	"io/fs"
	"net/http"
	"slices"
	"time"

	awsmiddleware "github.com/aws/aws-sdk-go-v2/aws/middleware"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"lifeboat/target"
)

// remove deletes an object that nothing protects. Stores delete what is absent, and hide what is locked, without a word: both
// are looked up before.
func (t *Target) remove(ctx context.Context, name string) error {
	key, err := t.key(ctx, name)
	if err != nil {
		return err
	}
	head, err := t.stat(ctx, key)
	if err != nil {
		return err
	}
	if head.ObjectLockLegalHoldStatus == types.ObjectLockLegalHoldStatusOn {
		return fmt.Errorf("%w by a legal hold", target.ErrRetained)
	}
	until := deref(head.ObjectLockRetainUntilDate)
	if until.IsZero() && t.Lock.For > 0 && !t.Sweepable(name) {
		// It may be that these credentials are not told.
		is, err := t.retention(ctx, key, nil)
		if err != nil {
			return err
		}
		until = deref(is.RetainUntilDate)
	}
	now, ok := awsmiddleware.GetServerTime(head.ResultMetadata) // the store's clock decides
	if !ok {
		now = t.Now()
	}
	if until.After(now) {
		return retained(until)
	}
	if id := deref(head.VersionId); id != "" && id != "null" {
		hidden, err := t.removeVersions(ctx, key)
		if err != nil || !hidden {
			return err
		}
	}
	return t.removeKey(ctx, key, nil)
}

func retained(until time.Time) error {
	return fmt.Errorf("%w until %s", target.ErrRetained, until.UTC().Format(time.RFC3339))
}

// removeKey deletes one version of a key, or puts a delete marker over them.
func (t *Target) removeKey(ctx context.Context, key string, version *string) error {
	_, err := t.client.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: &t.Bucket, Key: &key, VersionId: version})
	if isAbsent(err) || code(err) == "NoSuchVersion" {
		return nil // somebody else deleted it
	}
	return err
}

// removeVersions deletes all versions of a key, the oldest first, so that it can be repeated while the object is seen.
// onlyHide reports that these credentials may not: a delete marker is what is left to do.
func (t *Target) removeVersions(ctx context.Context, key string) (onlyHide bool, err error) {
	var ids []*string // the newest first
	pages := s3.NewListObjectVersionsPaginator(t.client, &s3.ListObjectVersionsInput{Bucket: &t.Bucket, Prefix: &key})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if denied(err) {
			return true, nil
		}
		if err != nil {
			return false, err
		}
		for _, v := range page.Versions {
			if deref(v.Key) == key {
				ids = append(ids, v.VersionId)
			}
		}
		for _, m := range page.DeleteMarkers {
			if deref(m.Key) == key {
				ids = append(ids, m.VersionId)
			}
		}
	}
	if len(ids) == 0 {
		return false, fs.ErrNotExist
	}
	slices.Reverse(ids)
	for _, id := range ids {
		err := t.removeKey(ctx, key, id)
		if err == nil {
			continue
		}
		// A refusal is for want of the right, or for a lock, and a marker must never cover what is locked.
		is, rerr := t.retention(ctx, key, id)
		switch {
		case rerr == nil && is.RetainUntilDate == nil && denied(err):
			return true, nil
		case rerr == nil && deref(is.RetainUntilDate).After(t.Now().Add(-leeway)):
			return false, retained(*is.RetainUntilDate)
		}
		return false, err
	}
	return false, nil
}

// leeway is how long after a lock's end its refusal may still arrive: stores have clocks of their own.
const leeway = 10 * time.Second

func denied(err error) bool { return status(err) == http.StatusForbidden }
