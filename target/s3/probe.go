package s3

import (
	"context"
	"fmt"
	"time"

	awsmiddleware "github.com/aws/aws-sdk-go-v2/aws/middleware"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
)

// maxSkew is how far the clocks may be apart: locks end by one of them, and a store refuses signatures that are 15 minutes off.
const maxSkew = 5 * time.Minute

// Probe implements target.Prober.
func (t *Target) Probe(ctx context.Context) (missing []string, err error) {
	known, err := t.learn(ctx)
	if err != nil {
		return nil, t.fail(ctx, "put", conditionalKey, err)
	}
	if !known.refuses {
		missing = append(missing, "the store does not refuse to overwrite (no If-None-Match): what is there is looked up before each write, and two hosts that write at the same moment could replace each other's objects")
	}
	encrypts, err := t.encrypts(ctx)
	if err != nil {
		return nil, t.fail(ctx, "put", conditionalKey, err)
	}
	if !encrypts {
		missing = append(missing, fmt.Sprintf("the store does not say that it encrypts as sse: %s asks it to: take sse out, or use another store; what Lifeboat stores is encrypted anyway", t.SSE))
	}
	versions, err := t.client.GetBucketVersioning(ctx, &s3.GetBucketVersioningInput{Bucket: &t.Bucket})
	if err != nil {
		missing = append(missing, fmt.Sprintf("whether the bucket keeps versions is unknown: %v", t.explain("ask about versioning in", err)))
	} else {
		if versions.Status != types.BucketVersioningStatusEnabled {
			missing = append(missing, "the bucket keeps no versions: whoever has credentials that may write can destroy copies for good; enable versioning, and object lock if the store has it")
		}
		missing = append(missing, t.probeClock(versions)...)
	}
	locks, err := t.probeLock(ctx)
	return append(missing, locks...), err
}

// encrypts reports whether the store does what SSE asks for; some take no notice of it. A new object tells, with the bytes that stand there.
func (t *Target) encrypts(ctx context.Context) (bool, error) {
	if t.SSE == "" {
		return true, nil
	}
	in, err := t.marker(ctx)
	if err != nil {
		return false, err
	}
	out, err := t.client.PutObject(ctx, in)
	return err == nil && out.ServerSideEncryption == in.ServerSideEncryption, err
}

// probeClock compares the clocks.
func (t *Target) probeClock(out *s3.GetBucketVersioningOutput) []string {
	there, ok := awsmiddleware.GetServerTime(out.ResultMetadata)
	if !ok {
		return []string{"the store does not say what time it is: the clocks cannot be compared"}
	}
	apart := t.Now().Sub(there).Round(time.Second)
	if apart.Abs() <= maxSkew {
		return nil
	}
	return []string{fmt.Sprintf("this host's clock is %s off the store's: set it, or locks end at the wrong time and requests are refused", apart)}
}

// probeLock asks whether the bucket can lock, and what it locks by itself.
func (t *Target) probeLock(ctx context.Context) ([]string, error) {
	out, err := t.client.GetObjectLockConfiguration(ctx, &s3.GetObjectLockConfigurationInput{Bucket: &t.Bucket})
	var is types.ObjectLockConfiguration
	switch c := code(err); {
	case err == nil:
		is = deref(out.ObjectLockConfiguration)
	case denied(err):
		return []string{fmt.Sprintf("whether the bucket locks objects is unknown: %v", t.explain("ask about object lock in", err))}, nil
	case c != "ObjectLockConfigurationNotFoundError" && c != "NotImplemented" && c != "MethodNotAllowed":
		return nil, t.fail(ctx, "ask about object lock in", "", err)
	}
	if t.Lock.For > 0 && is.ObjectLockEnabled != types.ObjectLockEnabledEnabled {
		return nil, fmt.Errorf("object_lock is configured, and %s has no object lock: enable it for the bucket, which many stores do only when a bucket is made, or take object_lock out", t.place)
	}
	if rule := is.Rule; rule != nil && rule.DefaultRetention != nil {
		return []string{"the bucket locks every object by a default retention, also the small ones that Lifeboat replaces every second: they stay until it ends; take the default out, object_lock locks each object by itself"}, nil
	}
	return nil, nil
}
