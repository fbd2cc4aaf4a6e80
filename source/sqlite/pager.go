package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
)

// viewPager reads the state through SQLite's own page cache, with the table-valued function sqlite_dbpage
// (https://sqlite.org/dbpage.html): right under any circumstances, and several times slower than the files. Where no
// transaction is left open it begins one.
func viewPager(ctx context.Context, ses *session) (*view, error) {
	if !ses.reading {
		if err := ses.start(); err != nil {
			return nil, err
		}
	}
	v := &view{ses: ses, how: "pager"}
	if err := ses.conn.QueryRowContext(ctx, "PRAGMA page_count").Scan(&v.pages); err != nil {
		return nil, fmt.Errorf("read page count: %w", err)
	}
	if err := ses.conn.QueryRowContext(ctx, "PRAGMA page_size").Scan(&v.pageSize); err != nil {
		return nil, fmt.Errorf("read page size: %w", err)
	}
	v.body = func(ctx context.Context) io.Reader {
		return &pagerReader{ctx: ctx, ses: ses, pageSize: v.pageSize, pages: v.pages}
	}
	return v, nil
}

// pagerBatch is how many pages one query yields, so that no statement stays open between two reads.
const pagerBatch = 64

// pagerQuery asks for each page by its number, the only search that sqlite_dbpage can do without reading from page 1.
const pagerQuery = `WITH RECURSIVE wanted(n) AS (SELECT ?1 UNION ALL SELECT n+1 FROM wanted WHERE n < ?2)
	SELECT pgno, data FROM wanted CROSS JOIN sqlite_dbpage('main') ON pgno = n`

// pagerReader yields pages 1 to pages in order.
type pagerReader struct {
	ctx      context.Context // io.Reader has no place for it
	ses      *session
	pageSize int
	pages    uint32
	done     uint32 // pages read
	rest     []byte // read and not yet yielded
	batch    []byte
}

func (r *pagerReader) Read(p []byte) (int, error) {
	if len(r.rest) == 0 {
		if r.done == r.pages {
			return 0, io.EOF
		}
		if err := r.query(); err != nil {
			return 0, err
		}
	}
	n := copy(p, r.rest)
	r.rest = r.rest[n:]
	return n, nil
}

func (r *pagerReader) query() (err error) {
	to := min(r.pages, r.done+pagerBatch)
	rows, err := r.ses.conn.QueryContext(r.ctx, pagerQuery, r.done+1, to)
	if err != nil {
		return fmt.Errorf("read pages %d to %d: %w", r.done+1, to, err)
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	r.batch = r.batch[:0]
	for rows.Next() {
		var number uint32
		var page sql.RawBytes
		if err := rows.Scan(&number, &page); err != nil {
			return fmt.Errorf("read page %d: %w", r.done+1, err)
		}
		if number != r.done+1 || len(page) != r.pageSize {
			return corrupt("page %d came with %d bytes instead of page %d with %d", number, len(page), r.done+1, r.pageSize)
		}
		r.batch = append(r.batch, page...)
		r.done = number
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("read page %d: %w", r.done+1, err)
	}
	if r.done != to {
		return corrupt("page %d of %d is missing", r.done+1, r.pages)
	}
	r.rest = r.batch
	return nil
}
