package sqlite

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"strings"

	"lifeboat/verify"
)

// maxObjects bounds what a schema may have.
const maxObjects = 1 << 20

// schema lists what the schema has, but for what is Lifeboat's own; %s is how large each is.
const schema = `SELECT CASE WHEN s.type = 'table' AND l.type = 'virtual' THEN 'virtual table' ELSE s.type END, +s.name, %s
	FROM sqlite_schema s LEFT JOIN pragma_table_list l ON l.schema = 'main' AND l.name = s.name AND s.type = 'table'
	WHERE lower(s.tbl_name) <> 'lifeboat_canary' ORDER BY s.name, s.type`

// Inventory implements verify.Database: what the schema has. Only tables and indexes have a size, which is 0 where pages are damaged, and nothing says how
// many rows a table has.
func (d *Restored) Inventory(ctx context.Context) (out []verify.Object, err error) {
	out, err = d.list(ctx, "coalesce((SELECT pgsize FROM dbstat WHERE aggregate = 1 AND dbstat.name = s.name), 0)")
	if err = d.say("list", err); errors.Is(err, ErrCorrupt) {
		out, err = d.list(ctx, "0")
		err = d.say("list", err)
	}
	return out, err
}

func (d *Restored) list(ctx context.Context, size string) (out []verify.Object, err error) {
	rows, err := d.db.QueryContext(ctx, fmt.Sprintf(schema, size))
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		o := verify.Object{Rows: -1}
		if err := rows.Scan(&o.Kind, &o.Name, &o.Size); err != nil {
			return nil, err
		}
		if len(out) == maxObjects {
			return nil, fmt.Errorf("it has more than %d tables, indexes and views", maxObjects)
		}
		out = append(out, o)
	}
	return out, rows.Err()
}

// identifier quotes a name for SQL.
func identifier(name string) string { return `"` + strings.ReplaceAll(name, `"`, `""`) + `"` }

// Count implements verify.Database.
func (d *Restored) Count(ctx context.Context, table string) (n int64, err error) {
	if _, err = d.columns(ctx, table); err == nil {
		err = d.db.QueryRowContext(ctx, "SELECT count(*) FROM "+identifier(table)).Scan(&n)
	}
	return n, d.say("count the rows of "+table+" in", err)
}

// columns are those of a table, those that are computed too. SQLite takes a name in quotes that is no table for a text.
func (d *Restored) columns(ctx context.Context, table string) (out []string, err error) {
	rows, err := d.db.QueryContext(ctx, "SELECT +name FROM pragma_table_xinfo(?) WHERE hidden <> 1 ORDER BY cid", table)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			return nil, err
		}
		out = append(out, identifier(name))
	}
	if err = rows.Err(); err == nil && len(out) == 0 {
		err = fmt.Errorf("it has no table %s", table)
	}
	return out, err
}

// Digest implements verify.Database: the sum of a hash of each row, whose values count with their types. A share of the rows are those whose hash is small.
func (d *Restored) Digest(ctx context.Context, table string, share float64) (string, error) {
	sums, n, err := d.sums(ctx, table, share)
	if err != nil {
		return "", d.say("hash the rows of "+table+" in", err)
	}
	sum := sha256.Sum256(fmt.Appendf(nil, "rows %d %d", n, sums))
	return hex.EncodeToString(sum[:]), nil
}

// sums add up the parts of the hashes: the order of rows does not matter, and equal rows do not cancel each other out.
func (d *Restored) sums(ctx context.Context, table string, share float64) (sums [4]uint64, n int64, err error) {
	columns, err := d.columns(ctx, table)
	if err != nil {
		return sums, 0, err
	}
	// With a plus it is no column, of which the driver would make a time.
	rows, err := d.db.QueryContext(ctx, "SELECT +"+strings.Join(columns, ", +")+" FROM "+identifier(table))
	if err != nil {
		return sums, 0, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	values, into := make([]any, len(columns)), make([]any, len(columns))
	for i := range values {
		into[i] = &values[i]
	}
	var buf []byte
	for rows.Next() {
		if err := rows.Scan(into...); err != nil {
			return sums, n, err
		}
		buf = buf[:0]
		for _, v := range values {
			if buf, err = appendValue(buf, v); err != nil {
				return sums, n, err
			}
		}
		h := sha256.Sum256(buf)
		if share < 1 && float64(binary.BigEndian.Uint64(h[:])) >= share*math.MaxUint64 {
			continue
		}
		n++
		for i := range sums {
			sums[i] += binary.BigEndian.Uint64(h[8*i:])
		}
	}
	return sums, n, rows.Err()
}

// appendValue appends a value so that no two lists of values look the same.
func appendValue(b []byte, v any) ([]byte, error) {
	number := func(kind byte, n uint64) []byte { return binary.BigEndian.AppendUint64(append(b, kind), n) }
	switch v := v.(type) {
	case nil:
		return append(b, 'n'), nil
	case int64:
		return number('i', uint64(v)), nil
	case float64:
		return number('r', math.Float64bits(v)), nil
	case string:
		return append(number('t', uint64(len(v))), v...), nil
	case []byte:
		return append(number('b', uint64(len(v))), v...), nil
	}
	return nil, fmt.Errorf("a value of type %T", v)
}
