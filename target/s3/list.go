package s3

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/aws/aws-sdk-go-v2/service/s3"

	"lifeboat/target"
)

// errStop ends a listing that its consumer broke off.
var errStop = errors.New("listing stopped")

func (t *Target) list(ctx context.Context, prefix string, yield func(target.Info, error) bool) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if prefix != "" && target.CheckName(prefix) != nil && target.CheckName(prefix+"a") != nil {
		return nil // no object's name begins so
	}
	begin, last := t.prefix+prefix, ""
	pages := s3.NewListObjectsV2Paginator(t.client, &s3.ListObjectsV2Input{Bucket: &t.Bucket, Prefix: &begin},
		func(o *s3.ListObjectsV2PaginatorOptions) { o.StopOnDuplicateToken = true })
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return err
		}
		for _, o := range page.Contents {
			if err := ctx.Err(); err != nil {
				return err
			}
			name, ok := strings.CutPrefix(deref(o.Key), t.prefix)
			if !ok || !strings.HasPrefix(name, prefix) || target.CheckName(name) != nil {
				continue
			}
			if name <= last {
				return fmt.Errorf("the store lists %q after %q: its listings are not in the order of S3, and cannot be used", name, last)
			}
			last = name
			if !yield(target.Info{Name: name, Size: deref(o.Size), ModTime: deref(o.LastModified)}, nil) {
				return errStop
			}
		}
	}
	return nil
}
