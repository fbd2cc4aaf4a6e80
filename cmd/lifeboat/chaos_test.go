//go:build linux && amd64

package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"lifeboat/internal/testenv"
	"lifeboat/target"
)

// chaosSeed names a seed that was logged, to try it again. What is done is then the same, but not the moments when it meets the program.
const chaosSeed = "LIFEBOAT_CHAOS_SEED"

// patience is how long a command may take before it counts as one that never ends.
const patience = 3 * time.Minute

// chaos is a repository on a disk, in a bucket and on another host, and what it must be able to restore.
type chaos struct {
	*fixture
	rng     *rand.Rand
	lines   map[string]*testenv.Proxy // to the targets that are far away
	direct  map[string]target.Target  // past the lines
	away    map[string]int            // rounds until a target comes back
	states  []state
	kept    map[string]bool            // snapshots that were seen and that nobody asked to forget
	gone    map[string]bool            // those that somebody did
	spoiled map[string]map[string]bool // objects that were damaged by hand, by target
	weeks   int                        // that passed before the newest collection
}

// state is the database while a backup ran.
type state struct {
	from, to time.Time
	content  []byte
}

// TestChaos lets everything go wrong at once and at random. Meanwhile, after each heal and check, a copy that claims to have a snapshot must restore
// it; and in the end everything that was committed and not forgotten stands on three copies again, and restores from each.
func TestChaos(t *testing.T) {
	inMemory(t)
	seed := uint64(time.Now().UnixNano())
	if s := os.Getenv(chaosSeed); s != "" {
		var err error
		if seed, err = strconv.ParseUint(s, 10, 64); err != nil {
			t.Fatalf("%s: %v", chaosSeed, err)
		}
	}
	t.Logf("%s=%d", chaosSeed, seed)
	length := 14 * time.Second
	if soak() {
		length = 10 * time.Minute
	}
	c := newChaos(t, seed)
	for range 4 {
		c.change()
		c.backUp(0)
	}
	for round, end := 1, time.Now().Add(length); time.Now().Before(end); round++ {
		c.round()
		if round%5 == 0 {
			c.audit()
		}
	}
	c.calm()
	c.recovers()
}

// round changes the database, lets something go wrong, and runs a command amid it.
func (c *chaos) round() {
	c.comeAndGo()
	for range c.rng.IntN(4) - 1 {
		c.damage()
	}
	kill := time.Duration(0)
	if c.rng.IntN(3) == 0 {
		kill = time.Millisecond * time.Duration(1+c.rng.IntN(20)*c.rng.IntN(80))
	}
	stop := c.trouble()
	switch n := c.rng.IntN(20); {
	case n < 9:
		c.change()
		c.backUp(kill)
	case n < 11:
		c.step(kill, "copy")
	case n < 14:
		c.heal(kill)
	default:
		c.forget(kill, n >= 17)
	}
	stop()
}

// change changes the database, a little or most of it.
func (c *chaos) change() {
	c.t.Helper()
	switch c.rng.IntN(4) {
	case 0:
		c.rewrite()
	case 1:
		c.sqlite("CREATE TABLE IF NOT EXISTS bulk (b); DELETE FROM bulk; INSERT INTO bulk VALUES (randomblob(1500000))")
	default:
		c.must(churnRows(c.t.Context(), c.path("crm.db"), c.rng.Uint64(), 20))
	}
}

func (c *chaos) backUp(kill time.Duration) {
	c.t.Helper()
	s := state{from: time.Now(), content: c.database()}
	args := []string{"backup", "crm"}
	if c.rng.IntN(3) == 0 {
		args = append(args, "--full")
	}
	said := c.step(kill, args...)
	if id, _, ok := strings.Cut(said.out, " "); ok && (said.code == exitDone || said.code == exitVerdict) {
		c.kept[id] = true
	}
	s.to = time.Now().Add(2 * time.Millisecond) // what is taken is rounded up
	c.states = append(c.states, s)
}

func (c *chaos) heal(kill time.Duration) {
	c.t.Helper()
	c.step(kill, "heal")
	c.repaired()
}

// forget forgets a snapshot and collects; later, so that what was condemned is deleted.
func (c *chaos) forget(kill time.Duration, later bool) {
	c.t.Helper()
	var ids []string
	for id := range c.kept {
		ids = append(ids, id)
	}
	if len(ids) < 3 {
		return
	}
	slices.Sort(ids)
	id := ids[c.rng.IntN(len(ids))]
	delete(c.kept, id)
	c.gone[id] = true
	if later {
		c.weeks += 2
	}
	c.shift = time.Duration(c.weeks) * 7 * 24 * time.Hour // a clock that is behind the journal may delete nothing
	c.step(kill, "forget", id, "--yes")
	c.shift = 0
}

// step runs the program, and kills it after a while unless that is zero. It may fail, and must end by itself.
func (c *chaos) step(kill time.Duration, args ...string) said {
	c.t.Helper()
	path, err := realProgram()
	c.must(err)
	args = append([]string{"-c", c.path("lifeboat.yaml")}, args...)
	cmd := exec.Command(path, args...)
	if c.shift != 0 {
		cmd = program(c.t.Context(), "lifeboat", args...)
		cmd.Env = append(cmd.Env, fmt.Sprintf("%s=%s", clockEnv, c.shift))
	}
	var out, errw bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errw
	began := time.Now()
	c.must(cmd.Start())
	after, hangs := kill, kill == 0
	if hangs {
		after = patience
	}
	timer := time.AfterFunc(after, func() { _ = cmd.Process.Kill() }) // it may have ended
	err = cmd.Wait()
	killed := !timer.Stop() && cmd.ProcessState.ExitCode() < 0
	s := said{cmd.ProcessState.ExitCode(), out.String(), errw.String()}
	c.t.Logf("%6.2fs %s: %d %s", time.Since(began).Seconds(), strings.Join(args[2:], " "), s.code, strings.ReplaceAll(strings.TrimSpace(s.err), "\n", "\n        "))
	if args[2] == "forget" {
		c.t.Log(s.out)
	}
	switch {
	case killed && hangs:
		c.t.Fatalf("lifeboat %s does not end: %s", strings.Join(args, " "), s)
	case !killed && !slices.Contains([]int{exitDone, exitFailed, exitVerdict, exitRefused}, s.code), strings.Contains(s.err, "goroutine "):
		c.t.Fatalf("lifeboat %s: %v: %s", strings.Join(args, " "), err, s)
	}
	return s
}

// claims lists what the copies claim to have, all of which the database was once.
func (c *chaos) claims() (rows []snapshotRow) {
	c.t.Helper()
	s := c.step(0, "snapshots", "--json")
	if s.code != 0 {
		if len(c.away) == 0 {
			c.t.Fatalf("with all targets there: %s", s)
		}
		return nil // what is whole is on those that are away
	}
	c.must(json.Unmarshal([]byte(s.out), &rows))
	for _, r := range rows {
		if !c.gone[r.ID] {
			c.kept[r.ID] = true
		}
	}
	return rows
}

// was is the database when a snapshot was taken.
func (c *chaos) was(taken time.Time) []byte {
	c.t.Helper()
	for _, s := range c.states {
		if !taken.Before(s.from.Truncate(time.Millisecond)) && !taken.After(s.to) {
			return s.content
		}
	}
	c.t.Fatalf("a snapshot was taken at %s, when no backup ran", taken)
	return nil
}

// audit wants each claim of a copy to be true once heal and check have seen it.
func (c *chaos) audit() {
	c.t.Helper()
	c.calm()
	if c.rng.IntN(2) == 0 {
		c.heal(0)
	} else {
		c.step(0, "check")
	}
	rows := c.claims()
	if len(rows) == 0 {
		return
	}
	for range 2 {
		r := rows[c.rng.IntN(len(rows))]
		for name, state := range r.Copies {
			if state == "complete" {
				c.restores(r, name)
			}
		}
	}
}

func (c *chaos) restores(r snapshotRow, from string) {
	c.t.Helper()
	to := c.path("restored")
	s := c.step(0, "restore", "crm", "--identity", c.path("key"), "--to", to, "--from", from, "--at", "snapshot:"+r.ID)
	if s.code != 0 {
		c.t.Fatalf("%s claims to have %s: %s", from, r.ID, s)
	}
	if !bytes.Equal(c.read("restored", "crm.db"), c.was(r.Taken)) {
		c.t.Fatalf("%s from %s is not what was backed up", r.ID, from)
	}
	c.must(os.RemoveAll(to))
}

// recovers wants three complete copies again.
func (c *chaos) recovers() {
	c.t.Helper()
	for name := range c.away {
		c.comesBack(name)
	}
	c.step(0, "copy")
	if s := c.step(0, "heal"); s.code != 0 {
		c.t.Fatalf("heal does not repair the copies: %s", s)
	}
	c.change()
	c.backUp(0)
	if s := c.step(0, "check", "--identity", c.path("key")); s.code != 0 {
		c.t.Fatalf("the copies are not whole: %s", s)
	}
	rows := c.claims()
	kept := map[string]bool{}
	for _, r := range rows {
		kept[r.ID] = true
		for _, name := range []string{"disk", "cloud", "offsite"} {
			if r.Copies[name] != "complete" {
				c.t.Fatalf("%s is not complete: %v", r.ID, r.Copies)
			}
			c.restores(r, name)
		}
	}
	for id := range c.kept {
		if !kept[id] {
			c.t.Errorf("%s was committed, and is gone", id)
		}
	}
	if len(rows) == 0 || !bytes.Equal(c.was(rows[len(rows)-1].Taken), c.database()) {
		c.t.Errorf("the last backup is not among %v", rows)
	}
}
