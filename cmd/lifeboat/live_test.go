package main

import (
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"lifeboat/internal/crm"
)

// writerProgram writes a CRM database without pause until it is killed. After each commit it notes its number in a file.
func writerProgram() {
	err := func() error {
		db, err := crm.Open(os.Args[1], "wal_autocheckpoint(50)")
		if err != nil {
			return err
		}
		defer db.Close()
		noted, err := os.OpenFile(os.Args[2], os.O_WRONLY|os.O_CREATE, 0o600)
		if err != nil {
			return err
		}
		w, err := crm.NewWriter(context.Background(), db, rand.New(rand.NewPCG(1, 1)))
		if err != nil {
			return err
		}
		for {
			seq, err := w.Step(context.Background())
			if err != nil {
				return err
			}
			if _, err := noted.WriteAt(binary.BigEndian.AppendUint64(nil, uint64(seq)), 0); err != nil {
				return err
			}
		}
	}()
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

// program is a command of TestMain's.
func program(ctx context.Context, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, os.Args[0], args...)
	cmd.Args[0] = name
	cmd.Env = append(os.Environ(), "GORACE=atexit_sleep_ms=0")
	return cmd
}

// TestLive backs up while another process writes without pause. Each restored database must be at one transaction of
// the writer, between what it had committed before and after.
func TestLive(t *testing.T) {
	if !soak() {
		live(t, 1)
		return
	}
	for range 10 { // each on a database of its own, because the writer never pauses
		t.Run("", func(t *testing.T) { live(t, uint64(time.Now().UnixNano())) })
	}
}

func live(t *testing.T, seed uint64) {
	x := newFixture(t, "disk")
	writer := program(t.Context(), "crm-writer", x.path("crm.db"), x.path("committed"))
	writer.Stderr = os.Stderr
	x.must(writer.Start())
	x.real = true
	defer func() {
		_ = writer.Process.Kill()
		_ = writer.Wait()
	}()
	x.reaches(1)
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	for n := range 20 {
		args := []string{"backup", "crm"}
		switch rng.IntN(5) {
		case 0:
			args = append(args, "--full")
		case 1:
			x.must(os.RemoveAll(x.path("state", "pagemaps")))
		case 2:
			x.aborted(time.Duration(rng.IntN(300)) * time.Millisecond)
		}
		before := x.committed()
		x.want(0, args...)
		after := x.committed() + 1 // one may be committed and not noted yet
		to := x.path("out")
		x.want(0, "restore", "crm", "--identity", x.path("key"), "--to", to, "--start")
		seq, err := crm.VerifyChain(t.Context(), filepath.Join(to, "crm.db"))
		if err != nil || seq < before || seq > after {
			t.Fatalf("round %d, %v: restored to %d, between %d and %d: %v", n, args, seq, before, after, err)
		}
		x.must(os.RemoveAll(to))
	}
	x.want(0, "check", "--identity", x.path("key"))
	t.Logf("%d transactions committed meanwhile", x.committed())
}

// aborted begins a backup and kills it.
func (x *fixture) aborted(after time.Duration) {
	ctx, cancel := context.WithTimeout(x.t.Context(), after)
	defer cancel()
	_ = program(ctx, "lifeboat", "-c", x.path("lifeboat.yaml"), "backup", "crm").Run() // killed, or done before
}

// committed is the number that the writer noted last.
func (x *fixture) committed() int64 {
	b, err := os.ReadFile(x.path("committed"))
	if err != nil || len(b) < 8 {
		return 0
	}
	return int64(binary.BigEndian.Uint64(b))
}

func (x *fixture) reaches(seq int64) {
	x.t.Helper()
	for range 1000 {
		if x.committed() >= seq {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	x.t.Fatalf("the writer is at %d after 10 s", x.committed())
}
