package repository

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"lifeboat/internal/atomicfile"
)

// checksDir holds, per target, what its last full check found.
const checksDir = "checks"

// Checked is what the last full check of a copy found.
type Checked struct {
	Time    time.Time `json:"time"` // zero where there was none
	Damaged []string  `json:"damaged"`
	Affects []uint64  `json:"affects,omitempty"` // the snapshots that need something of it, as far as is known
}

// LastCheck returns what the last full check of a copy found. What cannot be read counts as none.
func LastCheck(stateDir, name string) (c Checked) {
	b, err := os.ReadFile(filepath.Join(stateDir, checksDir, name+".json"))
	if err != nil || json.Unmarshal(b, &c) != nil {
		return Checked{}
	}
	return c
}

// SetChecked records what a full check found: the next backup stores the lost content again. Without a time it forgets the last one.
func SetChecked(stateDir, name string, c Checked) error {
	dir := filepath.Join(stateDir, checksDir)
	if c.Time.IsZero() {
		if err := os.Remove(filepath.Join(dir, name+".json")); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return nil
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	b, err := json.Marshal(c)
	if err != nil {
		return err
	}
	return atomicfile.Write(filepath.Join(dir, name+".json"), b, 0o600)
}

// Damaged returns the objects on a target that the last check found damaged.
func (h *Host) Damaged(name string) map[string]bool {
	out := map[string]bool{}
	for _, o := range LastCheck(h.StateDir, name).Damaged {
		out[o] = true
	}
	return out
}
