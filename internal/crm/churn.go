package crm

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
)

// perCommit is how many updates Churn puts into one transaction.
const perCommit = 100

// churned are the updates that Churn chooses from, with the table whose ids it draws.
var churned = []struct{ table, update string }{
	{"account", "UPDATE account SET notes=$1 WHERE id=$2"},
	{"contact", "UPDATE contact SET title=$1 WHERE id=$2"},
	{"deal", "UPDATE deal SET description=$1 WHERE id=$2"},
	{"activity", "UPDATE activity SET body=$1 WHERE id=$2"},
}

// Churn makes n updates of single rows, spread uniformly over the tables and their rows, in transactions of up to a
// hundred. It leaves the ledger alone. After an error an unknown number of updates is in.
func Churn(ctx context.Context, db *sql.DB, rng *rand.Rand, n int) error {
	var rows [4]int64
	for i, c := range churned {
		if err := db.QueryRowContext(ctx, "SELECT coalesce(max(id),0) FROM "+c.table).Scan(&rows[i]); err != nil {
			return fmt.Errorf("count rows of %s: %w", c.table, err)
		}
		if rows[i] == 0 {
			return fmt.Errorf("churn: table %s is empty", c.table)
		}
	}
	a := &author{rng: rng}
	for n > 0 {
		k := min(n, perCommit)
		if err := churnOnce(ctx, db, a, rows, k); err != nil {
			return fmt.Errorf("churn %d rows: %w", k, err)
		}
		n -= k
	}
	return nil
}

func churnOnce(ctx context.Context, db *sql.DB, a *author, rows [4]int64, k int) error {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	for range k {
		i := a.rng.IntN(len(churned))
		if _, err := tx.ExecContext(ctx, churned[i].update, a.text(40, 600), 1+a.rng.Int64N(rows[i])); err != nil {
			return errors.Join(err, tx.Rollback())
		}
	}
	return tx.Commit()
}
