package verify

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"math/rand/v2"

	"lifeboat/capture"
)

// logs verifies what captured log says of itself, and with an identity what it holds.
func (c *checker) logs(ctx context.Context) error {
	if c.Log == nil {
		return nil
	}
	mine := map[string]bool{}
	if c.Source != "" {
		for _, e := range c.Chain.Snapshots() {
			mine[c.IDs.NewHasher().Log(c.Source, e.Snapshot.Log)] = true
		}
	}
	for _, o := range c.captured {
		if c.bad[o.String()] || c.Source != "" && !mine[o.Source] {
			continue
		}
		_, _, err := c.Log.Header(ctx, o)
		if err == nil && c.Contents && (c.Share == 1 || rand.Float64() < c.Share) {
			if _, err = c.Log.Events(ctx, o); err == nil {
				err = c.Log.Log(ctx, o, io.Discard)
			}
			c.report.BytesRead += o.Size
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil && !replaced(o.String(), err) {
			c.damagedObject(o.String(), err.Error())
		}
	}
	return nil
}

// replaced reports that an object was not there because one that holds the same took its place meanwhile.
func replaced(name string, err error) bool {
	n, ok := capture.ParseName(name)
	return ok && n.Kind == capture.Tail && errors.Is(err, fs.ErrNotExist)
}
