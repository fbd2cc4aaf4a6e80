package verify

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"time"

	"lifeboat/evidence"
	"lifeboat/internal/phrase"
)

// Canary is what a snapshot says of the row that Lifeboat wrote into the database right before it, where the policy accepts that. It names the value by its
// digest: who reads it cannot make the row.
type Canary struct {
	Database string    `json:"database,omitempty"` // empty for an engine without several
	Writer   string    `json:"writer"`             // whose rows are numbered together
	Number   int64     `json:"number"`             // one more than the newest that stood
	Digest   string    `json:"digest"`             // SHA-256 of the value, hex
	Written  time.Time `json:"written"`            // by the database's clock
}

// NewCanary draws the value of a row of a writer.
func NewCanary(writer string) (c Canary, value string) {
	var b [32]byte
	_, _ = rand.Read(b[:]) // never fails
	value = hex.EncodeToString(b[:])
	return Canary{Writer: writer, Digest: digest(value)}, value
}

// CanariesKept is how many rows of a writer stand in production, the newest ones: with each row that it writes, a source deletes those whose number is lower by as
// many or more.
//
// A drill to a point behind its snapshot replays the log, our own deletions with it, and they must not fail a right restore. The way to a point begins at the newest
// snapshot before it, so between the two stand only the rows of attempts that failed and of snapshots that were forgotten or that the copy lost: fewer than these in
// all but odd cases. And in those it shows: numbers have no gaps, because one is only taken by the transaction that writes the row, and rows go in their order. So a
// row was deleted by us only if one stands that is newer by CanariesKept or more: then nothing can be said. Any other row that is missing was removed by somebody
// else, or did not come back.
const CanariesKept = 64

// Canaried is a Database whose snapshot may have a canary.
type Canaried interface {
	// Canary is what the snapshot says; nil where none was written.
	Canary() *Canary
	// Canaries are the values of the newest rows of c's writer, by number; none where there is no such table.
	Canaries(ctx context.Context, c Canary) (map[int64]string, error)
}

// canary looks for the row that was written before the snapshot.
func (a *asking) canary(db Canaried) func(context.Context, *evidence.Check) error {
	return func(ctx context.Context, c *evidence.Check) error {
		want := *db.Canary()
		c.What = phrase.CanaryRow.Say(want.Number, want.Writer, want.Written.UTC().Format(time.RFC3339))
		c.Expected = phrase.CanaryExpected.Say(want.Digest)
		rows, err := db.Canaries(ctx, want)
		if err != nil {
			return err
		}
		var newest int64
		for n := range rows {
			newest = max(newest, n)
		}
		value, ok := rows[want.Number]
		switch {
		case ok && digest(value) == want.Digest:
			c.Observed = phrase.CanaryFound.Say()
		case ok:
			c.Observed, c.Verdict, c.Why = phrase.CanaryOther.Say(), evidence.Fail, phrase.CanaryChanged.Say()
		case newest-want.Number >= CanariesKept:
			return fmt.Errorf("%w: %s", ErrUnavailable, phrase.CanaryTooOld.Say(newest, CanariesKept))
		default:
			c.Observed = phrase.CanaryGone.Say()
			if newest > 0 {
				c.Observed = phrase.CanaryNewest.Say(newest)
			}
			c.Verdict, c.Why = evidence.Fail, phrase.CanaryRemoved.Say()
		}
		return nil
	}
}
