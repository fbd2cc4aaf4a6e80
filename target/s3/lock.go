package s3

import (
	"context"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
)

// Term implements target.Retainer.
func (t Locked) Term() time.Duration { return t.Lock.For }

// Retain implements target.Retainer. An object that was locked in another mode keeps that.
func (t Locked) Retain(ctx context.Context, name string, until time.Time) error {
	return t.fail(ctx, "retain", name, t.retain(ctx, name, until.UTC()))
}

// Retained implements target.Retainer. A time that has passed protects nothing, and is zero.
func (t Locked) Retained(ctx context.Context, name string) (time.Time, error) {
	key, err := t.key(ctx, name)
	var is types.ObjectLockRetention
	if err == nil {
		is, err = t.retention(ctx, key, nil)
	}
	if until := deref(is.RetainUntilDate); err == nil && until.After(t.Now()) {
		return until, nil
	}
	return time.Time{}, t.fail(ctx, "read the retention of", name, err)
}

func (t *Target) retain(ctx context.Context, name string, until time.Time) error {
	key, err := t.key(ctx, name)
	if err != nil {
		return err
	}
	is, err := t.retention(ctx, key, nil)
	if err != nil || !deref(is.RetainUntilDate).Before(until) {
		return err
	}
	if is.RetainUntilDate = &until; is.Mode == "" {
		is.Mode = types.ObjectLockRetentionMode(strings.ToUpper(t.Lock.Mode))
	}
	_, err = t.client.PutObjectRetention(ctx, &s3.PutObjectRetentionInput{Bucket: &t.Bucket, Key: &key, Retention: &is})
	return err
}

// retention is the lock of an object, or of one version of it; zero where it never had one.
func (t *Target) retention(ctx context.Context, key string, version *string) (types.ObjectLockRetention, error) {
	out, err := t.client.GetObjectRetention(ctx, &s3.GetObjectRetentionInput{Bucket: &t.Bucket, Key: &key, VersionId: version})
	switch code(err) {
	case "NoSuchObjectLockConfiguration", "ObjectLockConfigurationNotFoundError", "InvalidRequest", "NotImplemented":
		return types.ObjectLockRetention{}, nil // neither this object nor, for the last three, the bucket has one
	}
	if err != nil || out.Retention == nil {
		return types.ObjectLockRetention{}, err
	}
	return *out.Retention, nil
}
