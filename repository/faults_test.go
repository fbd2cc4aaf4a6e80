package repository_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"lifeboat/journal"
	"lifeboat/repository"
	"lifeboat/snapshot"
	"lifeboat/source/sqlite"
	"lifeboat/target"
	"lifeboat/target/faulty"
	"lifeboat/target/local"
)

// putsPerBackup is how many objects a backup of a small source puts on a copy: content, trees, index, record.
const putsPerBackup = 4

// nth calls f before the n-th call of a method, counted from 0.
func nth(m faulty.Method, n int, f func(context.Context) error) func(target.Target) target.Target {
	var mu sync.Mutex
	return func(in target.Target) target.Target {
		return hooked{in, func(ctx context.Context, is faulty.Method, _ string) error {
			mu.Lock()
			defer mu.Unlock()
			if is != m {
				return nil
			}
			if n--; n == -1 {
				return f(ctx)
			}
			return nil
		}}
	}
}

// TestDirectoryTakenAway removes or renames the directory of a copy in the middle of a backup.
func TestDirectoryTakenAway(t *testing.T) {
	away := map[string]func(v *vessel, name string) error{
		"removed": func(v *vessel, name string) error { return os.RemoveAll(v.path(name)) },
		"renamed": func(v *vessel, name string) error { return os.Rename(v.path(name), v.path("moved")) },
	}
	for how, take := range away {
		for _, names := range [][]string{{"disk"}, {"disk", "usb"}} {
			for _, victim := range names {
				for n := range putsPerBackup {
					if n%3 > 0 && n < putsPerBackup-1 && (how == "renamed" || victim == "usb") {
						continue // these differ little
					}
					t.Run(fmt.Sprintf("%s %s of %d before put %d", how, victim, len(names), n), func(t *testing.T) {
						v := newVessel(t, uint64(n), names...)
						v.load()
						done, copies, err := v.try(t.Context(), v.cargo, on(victim, nth(faulty.Put, n, func(context.Context) error { return take(v, victim) })))
						v.takenAway(how, victim, done, errors.Join(err, trouble(copies)))
					})
				}
			}
		}
	}
}

// takenAway checks what a backup said that lost the directory of a copy, and brings the copy back.
func (v *vessel) takenAway(how, victim string, done *repository.Done, err error) {
	v.t.Helper()
	first := victim == v.names[0]
	switch {
	case err == nil || !strings.Contains(err.Error(), v.path(victim)+":"):
		v.t.Fatalf("it does not say which copy was missed: %v", err)
	case (done == nil) != (len(v.names) == 1):
		v.t.Fatalf("committed: %t, with %d copies", done != nil, len(v.names))
	}
	if len(v.names) == 1 {
		if err := v.init(); err == nil || !strings.Contains(err.Error(), "no target holds what this host wrote last") {
			v.t.Fatalf("init of an empty copy in the place of the only one: %v", err)
		}
		if how == "renamed" {
			if err := errors.Join(os.RemoveAll(v.path(victim)), os.Rename(v.path("moved"), v.path(victim))); err != nil {
				v.t.Fatal(err)
			}
			v.backUp()
		}
		return
	}
	other := v.names[0]
	if first {
		other = v.names[1]
	}
	v.mustHold(other, done.Seq)
	if err := v.init(); err != nil {
		v.t.Fatal(err)
	}
	v.backUp()
	for _, name := range v.names {
		v.mustHold(name, v.head())
		if r := v.check(name); len(r.Damage) > 0 {
			v.t.Errorf("%s: %v", name, r.Damage)
		}
	}
}

// TestTargetHangs cancels a backup while a call of a target hangs: it ends, and the next one works.
func TestTargetHangs(t *testing.T) {
	v := newVessel(t, 1, "disk", "usb")
	for _, name := range v.names {
		for _, m := range []faulty.Method{faulty.Put, faulty.Get, faulty.List} {
			f := v.counted(name)
			calls := 0
			for _, op := range f.Log() {
				if op.Method == m {
					calls++
				}
			}
			if calls < 2 {
				t.Fatalf("%d calls of %s: this test proves nothing", calls, m)
			}
			for _, n := range slices.Compact([]int{0, v.rand.IntN(calls), calls - 1}) {
				if n == 0 && m != faulty.Put {
					continue // only the marker, each time
				}
				v.hang(name, m, n)
			}
		}
		v.mustHold(name, v.head())
	}
}

// counted takes a backup and returns the target that counted its calls.
func (v *vessel) counted(name string) (f *faulty.Target) {
	v.t.Helper()
	v.load()
	_, copies, err := v.try(v.t.Context(), v.cargo, on(name, func(in target.Target) target.Target { f = faulty.New(in); return f }))
	if err := errors.Join(err, trouble(copies)); err != nil {
		v.t.Fatal(err)
	}
	return f
}

func (v *vessel) hang(name string, m faulty.Method, n int) {
	v.t.Helper()
	ctx, cancel := context.WithCancel(v.t.Context())
	defer cancel()
	v.load()
	before := v.head()
	var done *repository.Done
	ended := make(chan error, 1)
	go func() {
		var err error
		done, _, err = v.try(ctx, v.cargo, on(name, nth(m, n, func(ctx context.Context) error {
			cancel()
			<-ctx.Done()
			return ctx.Err()
		})))
		ended <- err
	}()
	select {
	case err := <-ended:
		if !errors.Is(err, context.Canceled) {
			v.t.Errorf("%s %s %d: %v", name, m, n, err)
		}
	case <-time.After(30 * time.Second):
		v.t.Fatalf("%s %s %d: the backup does not end", name, m, n)
	}
	if committed := v.head() > before; committed != (done != nil) {
		v.t.Errorf("%s %s %d: committed: %t, and it says %v", name, m, n, committed, done)
	}
	if done != nil && name == v.names[0] && m == faulty.Put {
		v.t.Errorf("%s %d: committed although the first copy hung", m, n)
	}
	v.backUp()
}

// TestTargetLies lets a target acknowledge what it does not store. What is lost or short is noticed at once, anything else by a check, and the next
// backup is right again or says what to do.
func TestTargetLies(t *testing.T) {
	for l, lie := range []faulty.Fault{faulty.Lose(), faulty.Short(100), faulty.Flip(40_000)} {
		for n, part := range []string{"content", "trees", "index", "record"} {
			for i, names := range [][]string{{"disk"}, {"disk", "usb"}, {"usb", "disk"}} {
				if (n+l)%3 != i && n+i > 0 {
					continue // a sample
				}
				t.Run(fmt.Sprintf("%d %s on %v", l, part, names), func(t *testing.T) { newVessel(t, uint64(n), names...).lied("disk", part, lie, l == 2) })
			}
		}
	}
}

func (v *vessel) lied(name, part string, lie faulty.Fault, hidden bool) {
	v.load()
	object := ""
	done, copies, err := v.try(v.t.Context(), v.cargo, on(name, func(in target.Target) target.Target { return liar{in, part, lie, new(sync.Mutex), &object} }))
	if object == "" {
		v.t.Fatalf("the lie was not told: %v", err)
	}
	if name == v.names[0] && !hidden {
		v.caught(done, errors.Join(err, trouble(copies)))
		if part == "record" && len(v.names) == 2 {
			v.anew(name) // nothing replaces a record but healing
			return
		}
		v.backUp()
		for _, name := range v.names {
			v.mustHold(name, v.head())
			if r := v.check(name); len(r.Damage) > 0 {
				v.t.Errorf("%s: %v", name, r.Damage)
			}
		}
		return
	}
	if done == nil {
		v.t.Fatalf("nothing was committed: %v", err)
	}
	report := v.check(name)
	if name != v.names[0] && (strings.HasPrefix(object, "packs/") || strings.HasPrefix(object, "index/")) && len(report.Damage) == 0 {
		if _, bad := v.holds(name); bad != nil {
			v.t.Errorf("%s was stored again, and does not restore: %v", object, bad)
		}
		return // it was looked at again when the record came
	}
	found := fmt.Sprint(report.Damage)
	if short := report.Records < v.head(); short != (object == journal.Name(done.Seq)) || !short && !strings.Contains(found, object) {
		v.t.Errorf("%s: the check finds %s", object, found)
	}
	if _, bad := v.holds(name); bad == nil && len(report.Damage) > 0 && strings.HasPrefix(object, "packs/") {
		v.t.Errorf("%s is damaged, and every snapshot restores", object)
	}
	v.load()
	done, copies, err = v.try(v.t.Context(), v.cargo, nil)
	if err := errors.Join(err, trouble(copies)); err != nil && !strings.Contains(err.Error(), "`lifeboat init`") && !strings.Contains(err.Error(), object) {
		v.t.Errorf("%s: the next backup says neither what to do nor what is lost: %v", object, err)
	}
	refused := slices.ContainsFunc(copies, func(c *repository.Copy) bool { return c.Name == name && c.Err != nil })
	switch {
	case len(v.names) == 2 && (refused || name != v.names[0]): // what is lost on a copy from which nothing is read stays lost
		v.anew(name)
	case done != nil:
		if whole, bad := v.holds(name); !slices.Contains(whole, done.Seq) {
			v.t.Errorf("%s: the backup after it does not restore: %v", object, bad)
		}
	}
}

// caught checks a backup whose first copy lost an object that it had acknowledged: it is taken to the other one, and to none that has it not.
func (v *vessel) caught(done *repository.Done, err error) {
	v.t.Helper()
	if err == nil || !strings.Contains(err.Error(), "its store loses data") {
		v.t.Fatalf("nobody noticed: %v", err)
	}
	if (done == nil) != (len(v.names) == 1) {
		v.t.Fatalf("committed: %t, with %d copies", done != nil, len(v.names))
	}
}

// anew moves a damaged copy away and has it made again from the other.
func (v *vessel) anew(name string) {
	v.t.Helper()
	if err := errors.Join(os.RemoveAll(v.path(name)), v.init()); err != nil {
		if strings.Contains(err.Error(), "no target holds what this host wrote last") && name == v.names[0] {
			return // the last snapshot was on this copy alone
		}
		v.t.Fatal(err)
	}
	v.backUp()
	if r := v.check(name); len(r.Damage) > 0 {
		v.t.Errorf("%s was made anew, and is damaged: %v", name, r.Damage)
	}
	v.mustHold(name, v.head())
}

// TestWriteErrors fails a backup at any of its writes, once or for good. It can be repeated, and what was committed restores.
func TestWriteErrors(t *testing.T) {
	v := newVessel(t, 4, "disk", "usb")
	fail := []faulty.Fault{faulty.Full(20), faulty.Fail(syscall.ENOSPC), faulty.Fail(syscall.EIO), faulty.FailAfter(syscall.EIO)}
	for i := range 2 * putsPerBackup * len(fail) {
		name, n, fault := v.names[i%2], i/2%putsPerBackup, fail[i/2/putsPerBackup]
		if v.rand.IntN(3) > 0 && (n < putsPerBackup-1 || name != v.names[0]) {
			continue // a sample, and each way to fail the record
		}
		lasting := v.rand.IntN(2) == 0
		v.load()
		done, copies, err := v.try(t.Context(), v.cargo, on(name, func(in target.Target) target.Target {
			f := faulty.New(in)
			f.Queue(faulty.Put, append(slices.Repeat([]faulty.Fault{faulty.None()}, n), fault)...)
			if lasting {
				f.Random(0, faulty.Chance{Method: faulty.Put, P: 1, Draw: faulty.Same(fault)}, faulty.Chance{Method: faulty.Delete, P: 1, Draw: faulty.Same(faulty.Fail(syscall.EROFS))})
			}
			return f
		}))
		all := errors.Join(err, trouble(copies))
		again := all == nil && !lasting && name != v.names[0] // a copy that failed once is tried again
		if !again && !errors.Is(all, syscall.ENOSPC) && !errors.Is(all, syscall.EIO) {
			t.Errorf("put %d on %s failed, and it says %v", n, name, all)
		}
		if done == nil {
			t.Errorf("put %d on %s failed, and the other copy did not take the backup", n, name)
		}
		v.backUp()
	}
	for _, name := range v.names {
		v.mustHold(name, v.head())
		if r := v.check(name); len(r.Damage) > 0 {
			t.Errorf("%s: %v", name, r.Damage)
		}
	}
}

// TestSlowCopy holds up one copy: when the other one has the record, the source is free, and cuts its log.
func TestSlowCopy(t *testing.T) {
	v := newVessel(t, 8, "disk", "usb")
	path := filepath.Join(v.dir, fileName)
	db, err := sql.Open("sqlite", "file:"+path+"?_pragma=journal_mode(WAL)")
	if err != nil {
		t.Fatal(err)
	}
	execute(t, db, "CREATE TABLE employee (id INTEGER PRIMARY KEY)")
	committed := make(chan struct{})
	h, err := repository.OpenHost(t.Context(), v.config(local.Open, on("usb", func(in target.Target) target.Target {
		return hooked{in, func(_ context.Context, m faulty.Method, _ string) error {
			if m == faulty.Put {
				<-committed
			}
			return nil
		}}
	})))
	if err != nil {
		t.Fatal(err)
	}
	_, err = h.Backup(t.Context(), repository.Backup{Name: vesselSource, Engine: "sqlite", Source: sqlite.New(path, sqlite.Options{TempDir: v.dir}), Committed: func() {
		defer close(committed)
		var busy, frames, moved int
		err := db.QueryRowContext(t.Context(), "PRAGMA wal_checkpoint(TRUNCATE)").Scan(&busy, &frames, &moved)
		if err != nil || busy != 0 {
			t.Errorf("busy %d, %v", busy, err)
		}
	}})
	if err := errors.Join(err, trouble(h.Copies), h.Close(), db.Close()); err != nil {
		t.Fatal(err)
	}
}

// TestNothingLeaks takes backups that succeed, fail and are cancelled, and counts goroutines and descriptors.
func TestNothingLeaks(t *testing.T) {
	v := newVessel(t, 5, "disk", "usb")
	s := &secrecy{dir: v.dir}
	if err := s.database(t).Close(); err != nil {
		t.Fatal(err)
	}
	var source snapshot.Source = sqlite.New(filepath.Join(v.dir, fileName), sqlite.Options{TempDir: v.dir})
	missing := sqlite.New(filepath.Join(v.dir, "missing.db"), sqlite.Options{TempDir: v.dir})
	outcomes := map[bool]int{}
	var readers atomic.Int64
	run := func(i int) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		src, f := source, func(context.Context) error { return nil }
		switch i % 4 {
		case 1:
			f = func(context.Context) error { return syscall.ENOSPC }
		case 2:
			f = func(ctx context.Context) error { cancel(); <-ctx.Done(); return ctx.Err() }
		case 3:
			src = []snapshot.Source{missing, breaking{v.cargo}}[i/4%2]
		}
		m := []faulty.Method{faulty.Put, faulty.Get, faulty.List}[v.rand.IntN(3)]
		fails := on(v.names[i/4%2], nth(m, v.rand.IntN(3), f))
		_, copies, err := v.try(ctx, src, func(name string, in target.Target) target.Target { return fails(name, counting{in, &readers}) })
		outcomes[errors.Join(err, trouble(copies)) == nil]++
		v.close()
	}
	for i := range 4 { // what is opened once and kept
		run(i)
	}
	clear(outcomes)
	goroutines, files := runtime.NumGoroutine(), descriptors(t)
	for i := range 20 {
		run(i)
	}
	if outcomes[true] < 5 || outcomes[false] < 10 {
		t.Errorf("%d backups succeeded, %d did not: this test proves little", outcomes[true], outcomes[false])
	}
	if n := readers.Load(); n != 0 {
		t.Errorf("%d objects are still open", n) // the collector would close them, so their descriptors prove nothing
	}
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	late := time.After(10 * time.Second)
	for runtime.NumGoroutine() > goroutines || len(descriptors(t)) > len(files) {
		select {
		case <-tick.C:
		case <-late:
			stacks := make([]byte, 64<<10)
			t.Fatalf("%d goroutines, %d before; descriptors %q, before %q\n%s", runtime.NumGoroutine(), goroutines, descriptors(t), files, stacks[:runtime.Stack(stacks, true)])
		}
	}
}

// descriptors lists what this process has open.
func descriptors(t *testing.T) (open []string) {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if to, err := os.Readlink("/proc/self/fd/" + e.Name()); err == nil { // not the one that lists
			open = append(open, to)
		}
	}
	return open
}
