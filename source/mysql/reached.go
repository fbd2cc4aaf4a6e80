package mysql

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"lifeboat/snapshot"
	"lifeboat/verify"
)

// reachedFile says in a restored data directory which transaction of the log was replayed last.
const reachedFile = "lifeboat-reached.json"

type reached struct {
	GTID     string    `json:"gtid"`
	Position string    `json:"position"` // behind it, in the original's log
	Time     time.Time `json:"time"`
}

func noteReached(dir string, last snapshot.LogEvent) error {
	if last.ID == "" {
		return nil // there was none behind the snapshot
	}
	b, err := json.Marshal(reached{last.ID, snapshot.FormatBinlog(last.End), last.Time})
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, reachedFile), append(b, '\n'), 0o600)
}

func readReached(dir string) (out verify.Reached, err error) {
	b, err := os.ReadFile(filepath.Join(dir, reachedFile))
	if errors.Is(err, os.ErrNotExist) {
		return out, nil
	}
	var r reached
	if err == nil {
		err = json.Unmarshal(b, &r)
	}
	if err != nil {
		return out, fmt.Errorf("read which transaction was replayed last: %w", err)
	}
	return verify.Reached{Position: r.Position + " " + r.GTID, Last: r.Time}, nil
}
