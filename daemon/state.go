package daemon

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"lifeboat/internal/atomicfile"
	"lifeboat/repository"
)

// stateFile holds what is worth knowing behind a restart. It can be deleted: what was done stands in the journal.
const stateFile = "daemon.json"

type kept struct {
	Pruned   time.Time          `json:"pruned,omitzero"`
	Failures map[string]trouble `json:"failures,omitempty"` // by source
}

// recall takes up what the daemon before knew, and removes what it left half-written: the daemon's lock is held. A file that cannot be understood is
// as good as none.
func (d *Daemon) recall(dir string) error {
	if err := atomicfile.Clean(dir, func(name string) bool { return slices.Contains(repository.DaemonFiles, name) }); err != nil {
		return err
	}
	b, err := os.ReadFile(filepath.Join(dir, stateFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read the daemon's state: %w", err)
	}
	var k kept
	if err := json.Unmarshal(b, &k); err != nil {
		d.Log.Warn("the daemon's state is damaged and begins anew", "error", err)
		return nil
	}
	d.pruned = k.Pruned
	for name, t := range k.Failures {
		if t.Count > 0 {
			d.source(name).failures = t // and tries at once
		}
	}
	return nil
}

// remember makes durable what recall takes up.
func (d *Daemon) remember() error {
	k := kept{Failures: map[string]trouble{}}
	d.mu.Lock()
	k.Pruned = d.pruned
	for name, s := range d.sources {
		if s.failures.Count > 0 {
			k.Failures[name] = s.failures
		}
	}
	dir := d.cfg.StateDir
	d.mu.Unlock()
	b, err := json.Marshal(k)
	if err != nil {
		return err
	}
	return atomicfile.Write(filepath.Join(dir, stateFile), b, 0o600)
}

// keep is remember where nothing depends on it.
func (d *Daemon) keep() {
	if err := d.remember(); err != nil {
		d.Log.Error("the daemon's state cannot be kept", "error", err)
	}
}
