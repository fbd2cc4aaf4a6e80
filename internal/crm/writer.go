package crm

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
)

// Writer commits small transactions, each entered in the ledger. One Writer at a time per database, one goroutine.
type Writer struct {
	db                       *sql.DB
	text                     *author
	accounts, deals, entries int64 // highest ids
	seq                      int64
	head                     []byte // hash of the newest ledger row
}

// NewWriter continues the ledger of db where it ends.
func NewWriter(ctx context.Context, db *sql.DB, rng *rand.Rand) (*Writer, error) {
	w := &Writer{db: db, text: &author{rng: rng}}
	const ends = `SELECT (SELECT coalesce(max(id),0) FROM account), (SELECT coalesce(max(id),0) FROM deal),
		(SELECT coalesce(max(id),0) FROM activity)`
	if err := db.QueryRowContext(ctx, ends).Scan(&w.accounts, &w.deals, &w.entries); err != nil {
		return nil, fmt.Errorf("start CRM writer: %w", err)
	}
	if w.accounts == 0 || w.deals == 0 {
		return nil, errors.New("start CRM writer: the database has no accounts; generate it first")
	}
	const newest = "SELECT seq, hash FROM ledger ORDER BY seq DESC LIMIT 1"
	err := db.QueryRowContext(ctx, newest).Scan(&w.seq, &w.head)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return nil, fmt.Errorf("start CRM writer: %w", err)
	}
	return w, nil
}

// Step commits one transaction: an update of a random account and a random deal, a new activity, and the ledger row. It
// returns the transaction's number, which is durable as far as the connection's synchronous setting says.
func (w *Writer) Step(ctx context.Context) (seq int64, err error) {
	tx, err := w.db.BeginTx(ctx, nil)
	if err != nil {
		return 0, fmt.Errorf("begin transaction %d: %w", w.seq+1, err)
	}
	hash, err := w.write(ctx, tx)
	if err != nil {
		return 0, errors.Join(fmt.Errorf("write transaction %d: %w", w.seq+1, err), tx.Rollback())
	}
	if err := tx.Commit(); err != nil {
		// A commit that found the database busy leaves the transaction open in SQLite, and database/sql forgets it.
		_, _ = w.db.ExecContext(context.WithoutCancel(ctx), "ROLLBACK") // fails where the engine rolled back itself
		return 0, fmt.Errorf("commit transaction %d: %w", w.seq+1, err)
	}
	w.seq, w.entries, w.head = w.seq+1, w.entries+1, hash
	return w.seq, nil
}

func (w *Writer) write(ctx context.Context, tx *sql.Tx) (hash []byte, err error) {
	seq, activity := w.seq+1, w.entries+1
	account, deal := 1+w.text.rng.Int64N(w.accounts), 1+w.text.rng.Int64N(w.deals)
	entry := payload(account, deal, activity)
	hash = link(w.head, seq, entry)
	if w.head == nil {
		w.head = []byte{}
	}
	steps := []struct {
		query string
		args  []any
	}{
		{"UPDATE account SET notes=$1, revision=$2 WHERE id=$3", []any{w.text.text(40, 400), seq, account}},
		{"UPDATE deal SET stage=$1, revision=$2 WHERE id=$3", []any{w.text.pick(stages), seq, deal}},
		{"INSERT INTO activity(id,account_id,kind,happened,subject,body,revision) VALUES($1,$2,$3,$4,$5,$6,$7)",
			[]any{activity, account, w.text.pick(kinds), w.text.when(), w.text.text(20, 60), w.text.text(40, 800), seq}},
		{"INSERT INTO ledger(seq,prev,payload,hash) VALUES($1,$2,$3,$4)", []any{seq, w.head, entry, hash}},
	}
	for _, s := range steps {
		if _, err := tx.ExecContext(ctx, s.query, s.args...); err != nil {
			return nil, err
		}
	}
	return hash, nil
}

// Run steps without pause until ctx is done, which is no error, and calls committed after each commit.
func (w *Writer) Run(ctx context.Context, committed func(seq int64)) error {
	for ctx.Err() == nil {
		seq, err := w.Step(context.WithoutCancel(ctx))
		if err != nil {
			return err
		}
		committed(seq)
	}
	return nil
}
