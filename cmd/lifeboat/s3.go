package main

import (
	"context"
	"maps"
	"net/url"
	"path"
	"slices"
	"strconv"
	"strings"

	"lifeboat/capture"
	"lifeboat/config"
	"lifeboat/internal/bandwidth"
	"lifeboat/internal/clock"
	"lifeboat/internal/secretfile"
	"lifeboat/target"
	"lifeboat/target/s3"
)

// openS3 opens a configured bucket.
func openS3(ctx context.Context, t config.Target, limit *bandwidth.Limit) (target.Target, error) {
	c := s3.Config{
		Bucket: t.Bucket, Prefix: t.Prefix, Endpoint: t.Endpoint, Region: t.Region, PathStyle: t.PathStyle, CAFile: t.CAFile,
		AccessKey: t.AccessKey, SecretKey: t.SecretKey.Reveal(), Profile: t.Profile, SSE: t.SSE, SSEKMSKey: t.SSEKMSKey,
		Lock: s3.Lock{Mode: t.ObjectLock.Mode, For: t.ObjectLock.For.Length()}, Sweepable: sweepable, Now: clock.System, Limit: limit,
	}
	if t.SecretKeyFile != "" {
		secret, err := secretfile.Read(t.SecretKeyFile, "secret_key_file")
		if err != nil {
			return nil, usagef("target %s: %w", t.Name, err)
		}
		c.SecretKey = strings.TrimSpace(secret)
	}
	opened, err := s3.Open(ctx, c)
	if err != nil {
		return nil, err
	}
	if c.Lock.For > 0 {
		return s3.Locked{Target: opened}, nil
	}
	return opened, nil
}

// sweepable reports whether an object is deleted soon after it was stored, so that no lock may hold it: a tail of a log, and what
// init tries a target with.
func sweepable(name string) bool {
	n, ok := capture.ParseName(name)
	return ok && n.Kind == capture.Tail || strings.HasPrefix(name, "probe-")
}

// openS3URL opens s3://bucket/prefix?endpoint=...&region=...&path_style=..., with the credentials that the AWS SDK finds.
func openS3URL(ctx context.Context, s string, u *url.URL) (target.Target, error) {
	q, err := url.ParseQuery(u.RawQuery)
	endpoint, eerr := url.Parse(q.Get("endpoint"))
	if err != nil || eerr != nil || u.Host == "" || u.User != nil || endpoint.User != nil { // what may hold a secret is not repeated
		return nil, usagef("--from: write s3://bucket/prefix?endpoint=https://host&region=name; credentials come from the environment")
	}
	t := config.Target{Type: config.S3, Bucket: u.Host, Prefix: strings.Trim(u.Path, "/"), Endpoint: q.Get("endpoint"), Region: q.Get("region")}
	if v := q.Get("path_style"); v != "" {
		b, err := strconv.ParseBool(v)
		if err != nil {
			return nil, usagef("--from %q: path_style is true or false", s)
		}
		t.PathStyle = &b
	}
	for _, key := range slices.Sorted(maps.Keys(q)) {
		if !slices.Contains([]string{"endpoint", "region", "path_style"}, key) {
			return nil, usagef("--from s3://%s: unknown %q: known are endpoint, region, path_style; credentials come from the environment", u.Host, key)
		}
	}
	return openS3(ctx, t, nil)
}

// placeS3 is where a target's objects are, so that targets in one place are told.
func placeS3(t config.Target) string {
	return path.Join("s3:", url.PathEscape(t.Endpoint), t.Bucket, t.Prefix)
}
