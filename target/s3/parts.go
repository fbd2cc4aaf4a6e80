package s3

import (
	"context"
	"crypto/md5"
	"encoding/base64"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"golang.org/x/sync/errgroup"

	"lifeboat/target"
)

const (
	partSize  = 16 << 20
	maxParts  = 10_000 // of one object, by S3's rules
	atOnce    = 4
	abortTime = 30 * time.Second
)

// putParts stores a large object in parts, several at once. What fails leaves no parts behind, unless the store is out of reach:
// then Clean removes them.
func (t *Target) putParts(ctx context.Context, key string, body *io.SectionReader, condition *string, mode types.ObjectLockMode, until *time.Time) (etag string, err error) {
	in := &s3.CreateMultipartUploadInput{Bucket: &t.Bucket, Key: &key, ObjectLockMode: mode, ObjectLockRetainUntilDate: until}
	in.ServerSideEncryption, in.SSEKMSKeyId = t.encryption()
	begun, err := t.client.CreateMultipartUpload(ctx, in)
	if err != nil {
		return "", err
	}
	defer func() {
		if err == nil {
			return
		}
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), abortTime)
		defer cancel()
		if aerr := t.abort(ctx, key, begun.UploadId); aerr != nil {
			err = fmt.Errorf("%w; and its parts stay until `lifeboat forget`: %w", err, aerr)
		}
	}()
	parts, err := t.uploadParts(ctx, key, begun.UploadId, body)
	if err != nil {
		return "", err
	}
	done, err := t.client.CompleteMultipartUpload(ctx, &s3.CompleteMultipartUploadInput{
		Bucket: &t.Bucket, Key: &key, UploadId: begun.UploadId, IfNoneMatch: condition, MultipartUpload: &types.CompletedMultipartUpload{Parts: parts},
	})
	if err != nil {
		return "", err
	}
	return deref(done.ETag), nil
}

func (t *Target) uploadParts(ctx context.Context, key string, id *string, body *io.SectionReader) ([]types.CompletedPart, error) {
	size := max(partSize, (body.Size()+maxParts-1)/maxParts)
	parts := make([]types.CompletedPart, (body.Size()+size-1)/size)
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(atOnce)
	for i := range parts {
		group.Go(func() error {
			off, number := int64(i)*size, int32(i+1)
			part := io.NewSectionReader(body, off, min(size, body.Size()-off))
			digest, err := sumOf(ctx, md5.New(), part)
			if err != nil {
				return err
			}
			length, sum := part.Size(), base64.StdEncoding.EncodeToString(digest)
			out, err := t.client.UploadPart(ctx, &s3.UploadPartInput{
				Bucket: &t.Bucket, Key: &key, UploadId: id, PartNumber: &number, Body: part, ContentLength: &length, ContentMD5: &sum,
			})
			if err != nil {
				return err
			}
			parts[i] = types.CompletedPart{ETag: out.ETag, PartNumber: &number}
			return nil
		})
	}
	return parts, group.Wait()
}

func (t *Target) abort(ctx context.Context, key string, id *string) error {
	_, err := t.client.AbortMultipartUpload(ctx, &s3.AbortMultipartUploadInput{Bucket: &t.Bucket, Key: &key, UploadId: id})
	if code(err) == "NoSuchUpload" {
		return nil
	}
	return err
}

// Clean removes the parts of objects that were begun before olderThan, by the store's clock, and never finished.
func (t *Target) Clean(ctx context.Context, olderThan time.Time) error {
	pages := s3.NewListMultipartUploadsPaginator(t.client, &s3.ListMultipartUploadsInput{Bucket: &t.Bucket, Prefix: &t.prefix})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return t.fail(ctx, "clean", "", err)
		}
		for _, u := range page.Uploads {
			name, ours := strings.CutPrefix(deref(u.Key), t.prefix)
			if !ours || target.CheckName(name) != nil || !deref(u.Initiated).Before(olderThan) {
				continue
			}
			if err := t.abort(ctx, *u.Key, u.UploadId); err != nil {
				return t.fail(ctx, "clean", name, err)
			}
		}
	}
	return nil
}
