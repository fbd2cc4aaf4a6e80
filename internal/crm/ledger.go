package crm

import (
	"bytes"
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
)

// ErrChain is wrapped when a database is not at a state that its writer ever committed.
var ErrChain = errors.New("ledger does not match the database")

// link is the hash of a ledger row: SHA-256 over the previous row's hash, seq as 8 bytes big-endian, and the payload.
func link(prev []byte, seq int64, payload string) []byte {
	h := sha256.New()
	h.Write(prev)
	h.Write(binary.BigEndian.AppendUint64(nil, uint64(seq)))
	h.Write([]byte(payload))
	return h.Sum(nil)
}

// payload names the rows that a transaction wrote, so that VerifyChain can look whether they are there.
func payload(account, deal, activity int64) string {
	return fmt.Sprintf("account %d deal %d activity %d", account, deal, activity)
}

// VerifyChain proves that the file is at exactly one transaction of a Writer: the hash chain has no gap, and every row
// that the chain names is there in the state that its last writer left it in, and none is newer. It returns the number
// of that transaction, 0 if there was none. Errors about content wrap ErrChain.
func VerifyChain(ctx context.Context, path string) (lastSeq int64, err error) {
	db, err := openQuiet(path)
	if err != nil {
		return 0, err
	}
	if lastSeq, err = VerifyLedger(ctx, db); err != nil {
		err = fmt.Errorf("verify %s: %w", path, err)
	}
	return lastSeq, errors.Join(err, db.Close())
}

// VerifyLedger is VerifyChain for a database that is open.
func VerifyLedger(ctx context.Context, db *sql.DB) (lastSeq int64, err error) {
	newest := map[string]map[int64]int64{"account": {}, "deal": {}, "activity": {}}
	if lastSeq, err = replay(ctx, db, newest); err != nil {
		return 0, fmt.Errorf("verify ledger: %w", err)
	}
	for _, table := range []string{"account", "deal", "activity"} {
		if err := revisions(ctx, db, table, newest[table]); err != nil {
			return 0, fmt.Errorf("verify %s: %w", table, err)
		}
	}
	return lastSeq, nil
}

// replay walks the chain and notes for each row which transaction wrote it last.
func replay(ctx context.Context, db *sql.DB, newest map[string]map[int64]int64) (last int64, err error) {
	rows, err := db.QueryContext(ctx, "SELECT seq, prev, payload, hash FROM ledger ORDER BY seq")
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	var head []byte
	for rows.Next() {
		var seq, account, deal, activity int64
		var prev, hash []byte
		var text string
		if err := rows.Scan(&seq, &prev, &text, &hash); err != nil {
			return 0, err
		}
		if seq != last+1 || !bytes.Equal(prev, head) || !bytes.Equal(hash, link(prev, seq, text)) {
			return 0, fmt.Errorf("chain breaks at %d after %d: %w", seq, last, ErrChain)
		}
		if _, err := fmt.Sscanf(text, "account %d deal %d activity %d", &account, &deal, &activity); err != nil {
			return 0, fmt.Errorf("payload %q of %d: %w: %w", text, seq, err, ErrChain)
		}
		newest["account"][account], newest["deal"][deal], newest["activity"][activity] = seq, seq, seq
		last, head = seq, hash
	}
	return last, rows.Err()
}

// revisions compares the rows that transactions wrote with what the ledger says about them.
func revisions(ctx context.Context, db *sql.DB, table string, want map[int64]int64) (err error) {
	rows, err := db.QueryContext(ctx, "SELECT id, revision FROM "+table+" WHERE revision<>0")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	found := 0
	for rows.Next() {
		var id, revision int64
		if err := rows.Scan(&id, &revision); err != nil {
			return err
		}
		if want[id] != revision {
			return fmt.Errorf("row %d is of transaction %d, the ledger says %d: %w", id, revision, want[id], ErrChain)
		}
		found++
	}
	if err := rows.Err(); err != nil {
		return err
	}
	if found != len(want) {
		return fmt.Errorf("%d rows written, %d found: %w", len(want), found, ErrChain)
	}
	return nil
}

// openQuiet opens read-only, and leaves no file behind where there is no log to read.
func openQuiet(path string) (*sql.DB, error) {
	info, err := os.Stat(path + "-wal")
	if errors.Is(err, fs.ErrNotExist) || err == nil && info.Size() == 0 {
		return open(path, url.Values{"mode": {"ro"}, "immutable": {"1"}})
	}
	return open(path, url.Values{"mode": {"ro"}, "_pragma": {"busy_timeout(10000)"}})
}
