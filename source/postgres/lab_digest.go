package postgres

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strconv"
)

// Count implements verify.Database.
func (d *Restored) Count(ctx context.Context, name string) (n int64, err error) {
	row, err := d.table(ctx, name, "count(*)", "")
	if err == nil {
		n, err = strconv.ParseInt(row[0], 10, 64)
	}
	if err != nil {
		return 0, fmt.Errorf("count the rows of %s: %w", name, err)
	}
	return n, nil
}

// digestSums add up the two halves of a hash of each row as text: the order of rows does not matter, and equal rows do not cancel each other out. Values
// that are stored out of line are part of the text. It finds mistakes, and is no proof against somebody who makes rows up.
const digestSums = `count(*), sum(('x' || left(h, 16))::bit(64)::bigint), sum(('x' || right(h, 16))::bit(64)::bigint)`

// Digest implements verify.Database. A share of a table is whole blocks of it: always the same ones, so that two copies of a cluster that reached the
// same position have the same rows in them.
func (d *Restored) Digest(ctx context.Context, name string, share float64) (string, error) {
	sample := ""
	if share < 1 {
		sample = fmt.Sprintf(" TABLESAMPLE SYSTEM (%g) REPEATABLE (0)", max(0, share)*100)
	}
	row, err := d.table(ctx, name, digestSums, sample)
	if err != nil {
		return "", fmt.Errorf("hash the rows of %s: %w", name, err)
	}
	sum := sha256.Sum256(fmt.Appendf(nil, "rows %s %s %s", row[0], row[1], row[2]))
	return hex.EncodeToString(sum[:]), nil
}

// table asks for an aggregate over a table, or over a sample of it, in which h is the hash of a row.
func (d *Restored) table(ctx context.Context, name, aggregate, sample string) (row []string, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	t, err := d.find(ctx, name)
	if err != nil {
		return nil, err
	}
	err = d.in(ctx, t.database, func(c *conn) error {
		rows, err := c.ask(ctx, fmt.Sprintf("SELECT %s FROM (SELECT md5((r.*)::text) AS h FROM %s AS r%s) AS hashes", aggregate, t.from(), sample))
		if err == nil {
			row = rows[0] // an aggregate has one row
		}
		return err
	})
	return row, err
}
