package crm

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"strconv"
)

// Options describe a database to generate.
type Options struct {
	Seed     uint64 // the same seed and options give the same rows
	Bytes    int64  // size to reach, overshot by a batch and the indexes: a few percent; 0 means the smallest
	PageSize int    // bytes; 0 means 4096
}

// batch is how many accounts go in between two looks at the size.
const batch = 64

// Generate writes a new database in WAL mode at path, which must not exist. It ends checkpointed and closed: one file.
func Generate(ctx context.Context, path string, opts Options) error {
	if opts.PageSize == 0 {
		opts.PageSize = 4096
	}
	if err := create(path); err != nil {
		return fmt.Errorf("generate CRM database: %w", err)
	}
	// Nothing else has the file and a failure discards it, so neither a journal nor a sync is needed.
	db, err := open(path, url.Values{"mode": {"rw"}, "_pragma": {fmt.Sprintf("page_size(%d)", opts.PageSize),
		"journal_mode(OFF)", "synchronous(OFF)", "cache_size(-65536)", "locking_mode(EXCLUSIVE)"}})
	if err != nil {
		return err
	}
	size := "SELECT page_count * page_size FROM pragma_page_count, pragma_page_size"
	if err := errors.Join(fill(ctx, db, tables, size, opts), db.Close()); err != nil {
		return fmt.Errorf("generate CRM database %s: %w", path, err)
	}
	db, err = open(path, url.Values{"mode": {"rw"}, "_pragma": {"synchronous(OFF)", "journal_mode(WAL)"}})
	if err != nil {
		return err
	}
	if err := errors.Join(db.PingContext(ctx), db.Close()); err != nil {
		return fmt.Errorf("switch CRM database %s to WAL mode: %w", path, err)
	}
	return nil
}

func create(path string) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%w: a generator replaces nothing", err)
	}
	if err != nil {
		return err
	}
	return f.Close()
}

// fill makes tables and fills them until the database has the size that was asked for, as the query size tells it.
func fill(ctx context.Context, db *sql.DB, tables []string, size string, opts Options) error {
	if err := execAll(ctx, db, tables); err != nil {
		return err
	}
	load := loader{author: newAuthor(opts.Seed)}
	for {
		if err := load.batch(ctx, db); err != nil {
			return err
		}
		var have int64
		if err := db.QueryRowContext(ctx, size).Scan(&have); err != nil {
			return fmt.Errorf("read the size of the database: %w", err)
		}
		if have >= opts.Bytes {
			return execAll(ctx, db, indexes)
		}
	}
}

// loader inserts accounts with all that belongs to them, counting ids itself.
type loader struct {
	*author
	account, contact, deal, activity, attachment int64
	insert                                       [5]*sql.Stmt
}

// inserts and all other statements number their arguments: both engines know that.
var inserts = [5]string{
	`INSERT INTO account(id,name,industry,city,website,phone,notes,created) VALUES($1,$2,$3,$4,$5,$6,$7,$8)`,
	`INSERT INTO contact(id,account_id,first_name,last_name,email,phone,title,created) VALUES($1,$2,$3,$4,$5,$6,$7,$8)`,
	`INSERT INTO deal(id,account_id,title,stage,amount_cents,probability,closes,description) VALUES($1,$2,$3,$4,$5,$6,$7,$8)`,
	`INSERT INTO activity(id,account_id,deal_id,kind,happened,subject,body) VALUES($1,$2,$3,$4,$5,$6,$7)`,
	`INSERT INTO attachment(id,activity_id,name,media_type,content) VALUES($1,$2,$3,$4,$5)`,
}

// batch inserts a batch of accounts in one transaction.
func (l *loader) batch(ctx context.Context, db *sql.DB) (err error) {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("begin batch: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, tx.Rollback())
		}
	}()
	for i, q := range inserts {
		if l.insert[i], err = tx.PrepareContext(ctx, q); err != nil {
			return fmt.Errorf("prepare insert: %w", err)
		}
	}
	for range batch {
		if err := l.one(); err != nil {
			return fmt.Errorf("insert account %d: %w", l.account, err)
		}
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("commit batch: %w", err)
	}
	return nil
}

// one inserts an account, its contacts, deals and activities, and for every other account an attachment.
func (l *loader) one() error {
	l.account++
	name := l.company()
	site := "https://www." + l.pick(lastNames) + strconv.FormatInt(l.account, 10) + ".example"
	_, err := l.insert[0].Exec(l.account, name, l.pick(industries), l.pick(cities), site, l.phone(), l.text(80, 400), l.when())
	for i := 0; err == nil && i < 3; i++ {
		l.contact++
		first, last := l.pick(firstNames), l.pick(lastNames)
		mail := first + "." + last + strconv.FormatInt(l.contact, 10) + "@example.com"
		_, err = l.insert[1].Exec(l.contact, l.account, first, last, mail, l.phone(), l.pick(jobs), l.when())
	}
	for i := 0; err == nil && i < 2; i++ {
		l.deal++
		_, err = l.insert[2].Exec(l.deal, l.account, l.text(20, 50), l.pick(stages), l.rng.IntN(9000000),
			float64(l.rng.IntN(100))/100, l.when(), l.text(60, 500))
	}
	for i := 0; err == nil && i < 10; i++ {
		l.activity++
		_, err = l.insert[3].Exec(l.activity, l.account, l.deal-int64(i&1), l.pick(kinds), l.when(), l.text(20, 60), l.text(100, 1200))
	}
	if err == nil && l.account%2 == 0 {
		l.attachment++
		kind := l.rng.IntN(len(mediaTypes))
		_, err = l.insert[4].Exec(l.attachment, l.activity, "file"+strconv.FormatInt(l.attachment, 10), mediaTypes[kind],
			l.blob(kind, 2000+l.rng.IntN(30000)))
	}
	return err
}
