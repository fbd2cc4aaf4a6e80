package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"lifeboat/verify"
)

// drillUnderway is a drill with this state directory that has not ended, or was killed, in JSON. Of a note that is damaged only the ID is known.
type drillUnderway struct {
	ID     string    `json:"id"`
	Policy string    `json:"policy"`
	Source string    `json:"source"`
	Target string    `json:"target"`
	Kind   string    `json:"kind"` // manual or scheduled
	By     string    `json:"by"`
	Since  time.Time `json:"since"`
	Killed bool      `json:"killed"` // nobody holds it any more: it waits to be cleaned up and reported
}

// underway lists the drills that have a note in a state directory. It changes nothing.
func underway(stateDir string) ([]drillUnderway, error) {
	out := []drillUnderway{}
	names, err := filepath.Glob(filepath.Join(stateDir, drillsDir, "*.json"))
	for _, name := range names {
		l, herr := verify.Hold(name)
		if errors.Is(herr, fs.ErrNotExist) {
			continue // it has just ended
		}
		d := drillUnderway{ID: strings.TrimSuffix(filepath.Base(name), ".json"), Killed: l != nil}
		if l != nil {
			herr = l.Close()
		}
		var u unfinished
		b, rerr := os.ReadFile(name)
		if errors.Is(rerr, fs.ErrNotExist) {
			continue
		}
		if json.Unmarshal(b, &u) == nil && u.Report != nil {
			r := u.Report
			d.Policy, d.Source, d.Target, d.Kind, d.By, d.Since = r.Policy.Name, r.Policy.Source, r.Backup.Copy.Target, r.Trigger.Kind, r.Trigger.By, u.Body.Began
		}
		out, err = append(out, d), errors.Join(err, herr, rerr)
	}
	return out, err
}

// trouble says what is left of a drill that was killed; empty where it is under way.
func (d drillUnderway) trouble() string {
	if !d.Killed {
		return ""
	}
	return fmt.Sprintf("drill %s of %s was killed, and what it left waits to be removed and reported: the next drill or start of the daemon does", d.ID, dash(d.Policy))
}
