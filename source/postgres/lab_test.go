package postgres

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"lifeboat/internal/cell"
	"lifeboat/internal/testenv"
	"lifeboat/restore"
)

// TestLab starts what a backup of a cluster in use brings, at both ends of the versions.
func TestLab(t *testing.T) {
	t.Parallel()
	for _, version := range []string{"14", "15", "17", "18"} {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			pg := testenv.StartPostgres(t, testenv.PostgresVersion(t, version))
			pg.Query("postgres", "CREATE ROLE backup REPLICATION LOGIN; CREATE TABLE ledger (id int); ALTER ROLE postgres SET role = 'backup'; ALTER DATABASE postgres SET session_preload_libraries = 'not_there'")
			var last string
			k := take(t, New(pg.DSN("backup", "template1"), ""), func() {
				for range 20 {
					_, err := testenv.Query(t.Context(), pg.DSN("postgres", "template1"), "SET ROLE NONE; CREATE TABLE IF NOT EXISTS during (n int); INSERT INTO during VALUES (1)")
					must(t, err)
				}
				last = "20"
			})
			l, dir := k.lab(t, pg.Bin), scratch(t, strings.Repeat("a-long-name-", 8)+"/"+strings.Repeat("b", 60)+"/data")
			k.bring(t, l, dir)
			d := start(t, l, dir)
			r, err := d.Reached(t.Context())
			if err != nil || r.Position < k.manifest.End || time.Since(r.Last).Abs() > time.Hour {
				t.Errorf("reached %v (%v), want at least %s", r, err, k.manifest.End)
			}
			value(t, d, "postgres", "SELECT 1") // whatever its settings are
			if got := value(t, d, "template1", "SELECT count(*) FROM public.during"); got != "[["+last+"]]" {
				t.Errorf("%s rows, want %s", got, last)
			}
			if !strings.HasPrefix(l.Version(), "PostgreSQL "+version) {
				t.Error(l.Version())
			}
			i := d.Isolation()
			if !strings.HasPrefix(i.Network, "none") || i.User != "postgres" && os.Geteuid() == 0 || !i.Separate {
				t.Errorf("isolation is %+v", i)
			}
			log, err := os.ReadFile(filepath.Join(d.server.Dir, labLog))
			must(t, err)
			if strings.Contains(string(log), "starting up") || strings.Contains(string(log), "external PID") {
				t.Errorf("the log complains: %s", log)
			}
			left, err := d.Stop(t.Context())
			if left != 0 || err != nil {
				t.Errorf("%d left, %v", left, err)
			}
			if b, err := os.ReadFile(filepath.Join(d.server.Dir, labLog)); err != nil || !strings.Contains(string(b), "database system is shut down") {
				t.Errorf("it did not stop by itself: %v: %s", err, b)
			}
		})
	}
}

// TestLabIsAlone looks from inside the server at what it can reach.
func TestLabIsAlone(t *testing.T) {
	t.Parallel()
	pg := testenv.StartPostgres(t, testenv.PostgresBin)
	pg.Query("postgres", "CREATE EXTENSION dblink; CREATE TABLE seen (line text)")
	// What the directory says must not count.
	pg.Query("postgres", "ALTER SYSTEM SET listen_addresses = '*'")
	pg.Query("postgres", "ALTER SYSTEM SET archive_mode = on")
	pg.Query("postgres", "ALTER SYSTEM SET archive_command = '/bin/true'")
	d := labOf(t, pg)
	value(t, d, "postgres", "SET default_transaction_read_only = off")
	must(t, d.with(t.Context(), "postgres", func(c *conn) error {
		return c.run(t.Context(), "COPY public.seen FROM PROGRAM 'cat /proc/net/dev; readlink /proc/self/ns/net; env'")
	}))
	here, err := os.Readlink("/proc/self/ns/net")
	must(t, err)
	seen := value(t, d, "postgres", "SELECT line FROM public.seen")
	if !strings.Contains(seen, "lo:") || strings.Contains(seen, "eth") || strings.Contains(seen, here) || !strings.Contains(seen, "net:[") {
		t.Errorf("the server sees the network of the host: %s", seen)
	}
	if home, ok := os.LookupEnv("HOME"); ok && strings.Contains(seen, "HOME="+home) {
		t.Errorf("the server has this process's environment: %s", seen)
	}
	if _, err := testenv.Query(t.Context(), pg.DSN("postgres", "postgres"), "SELECT 1"); err != nil {
		t.Fatal("the original does not answer:", err)
	}
	err = d.with(t.Context(), "postgres", func(c *conn) error { // with the code that dblink was cut off from
		must(t, c.run(t.Context(), "UPDATE pg_proc SET probin = '$libdir/dblink' WHERE probin = '"+nowhere+"'"))
		_, err := c.ask(t.Context(), fmt.Sprintf("SELECT * FROM public.dblink('%s', 'SELECT 1') AS x(n int)", pg.DSN("postgres", "postgres")))
		return err
	})
	if err == nil || !strings.Contains(err.Error(), "could not establish connection") {
		t.Errorf("the restored cluster reached the original: %v", err)
	}
	if got := value(t, d, "postgres", "SELECT current_setting('listen_addresses'), current_setting('archive_mode'), current_setting('archive_command')"); got != "[[ off (disabled)]]" {
		t.Error(got)
	}
	must(t, d.alone(t.Context(), d.session))
}

// TestLabWithoutNamespaces starts a server as where the system refuses them.
func TestLabWithoutNamespaces(t *testing.T) {
	t.Parallel()
	pg := testenv.StartPostgres(t, testenv.PostgresBin)
	k := take(t, New(pg.DSN("postgres", "postgres"), ""), nil)
	l, dir := k.lab(t, pg.Bin), scratch(t, "data")
	k.bring(t, l, dir)
	p := program(pg.Bin, dir, l.Owner, k.manifest.Version)
	p.Shared = true
	s, err := cell.Start(t.Context(), p)
	must(t, err)
	must(t, ready(t.Context(), s))
	if !strings.Contains(s.Network, "as it was asked for") {
		t.Errorf("it has a network of its own: %s", s.Network)
	}
	if n := len(cell.Left(dir)); n < 4 {
		t.Errorf("%d processes of a server that runs", n)
	}
	s.Kill()
	if left := cell.Left(dir); len(left) > 0 {
		t.Errorf("%v outlive the server", left)
	}
}

// TestLabFails asks for what cannot start, and looks that nothing is left of it.
func TestLabFails(t *testing.T) {
	t.Parallel()
	pg := testenv.StartPostgres(t, testenv.PostgresBin)
	k := take(t, New(pg.DSN("postgres", "postgres"), ""), nil)
	start := func(change func(l *Lab, dir string), ctx context.Context) error {
		l, dir := k.lab(t, pg.Bin), scratch(t, "data")
		k.bring(t, l, dir)
		change(l, dir)
		_, err := l.Start(ctx, dir)
		if left := cell.Left(dir); len(left) > 0 {
			t.Errorf("%v are left", left)
		}
		return err
	}
	err := start(func(l *Lab, dir string) { must(t, os.Remove(filepath.Join(dir, control))) }, t.Context())
	if err == nil || !strings.Contains(err.Error(), "could not find the database system") {
		t.Errorf("without %s: %v", control, err)
	}
	err = start(func(l *Lab, _ string) { l.Manifest.End = "FF/0" }, t.Context())
	if !errors.Is(err, ErrNotReached) {
		t.Errorf("too short: %v", err)
	}
	err = start(func(l *Lab, _ string) { l.Manifest.System = "7" }, t.Context())
	if err == nil || !strings.Contains(err.Error(), "the server is of cluster") {
		t.Errorf("another cluster: %v", err)
	}
	err = start(func(l *Lab, _ string) { l.Bin = "/nowhere" }, t.Context())
	if !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no program: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	err = start(func(*Lab, string) {}, ctx)
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("too late: %v", err)
	}
}

// TestLabEndsWithContext ends the context of a server that runs.
func TestLabEndsWithContext(t *testing.T) {
	t.Parallel()
	pg := testenv.StartPostgres(t, testenv.PostgresBin)
	k := take(t, New(pg.DSN("postgres", "postgres"), ""), nil)
	l, dir := k.lab(t, pg.Bin), scratch(t, "data")
	k.bring(t, l, dir)
	ctx, cancel := context.WithCancel(t.Context())
	db, err := l.Start(ctx, dir)
	must(t, err)
	cancel()
	wait(t, "the server outlives its context", func() bool { return len(cell.Left(dir)) == 0 })
	if left, err := db.Stop(t.Context()); left != 0 || err != nil {
		t.Error(left, err)
	}
}

// TestMain is the process that TestLabDies kills, where that asks for it.
func TestMain(m *testing.M) {
	if dir := os.Getenv("LIFEBOAT_TEST_LAB"); dir != "" {
		if err := holdLab(dir); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
	}
	os.Exit(m.Run())
}

// holdLab starts the server of a directory, puts it to work, and waits to be killed.
func holdLab(dir string) error {
	owner := os.Getenv("LIFEBOAT_TEST_OWNER")
	l := &Lab{Bin: testenv.PostgresBin}
	if owner != "" {
		l.Owner = owners(owner)
	}
	s, err := cell.Start(context.Background(), program(l.Bin, dir, l.Owner, 150000))
	if err != nil {
		return err
	}
	if err := ready(context.Background(), s); err != nil {
		return err
	}
	d := &Restored{lab: l, server: s}
	c, err := d.dial(context.Background(), "postgres", "postgres", nil, maxMessage)
	if err != nil {
		return err
	}
	fmt.Println("runs")
	return c.run(context.Background(), "SELECT count(*) FROM generate_series(1, 10000000000)")
}

// TestLabDies kills a process that runs a lab.
func TestLabDies(t *testing.T) {
	t.Parallel()
	pg := testenv.StartPostgres(t, testenv.PostgresBin)
	k := take(t, New(pg.DSN("postgres", "postgres"), ""), nil)
	l, dir := k.lab(t, pg.Bin), scratch(t, "data")
	k.bring(t, l, dir)
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "LIFEBOAT_TEST_LAB="+dir)
	if l.Owner != nil {
		cmd.Env = append(cmd.Env, fmt.Sprintf("LIFEBOAT_TEST_OWNER=%d:%d", l.Owner.UID, l.Owner.GID))
	}
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "runs\n" {
		t.Fatal(line, err)
	}
	time.Sleep(200 * time.Millisecond)
	if n := len(cell.Left(dir)); n < 5 {
		t.Errorf("%d processes of a server that works", n)
	}
	must(t, cmd.Process.Signal(syscall.SIGKILL))
	_ = cmd.Wait() // it was killed
	wait(t, "the server outlives the process", func() bool { return len(cell.Left(dir)) == 0 })
}

func owners(text string) *restore.Owner {
	o := &restore.Owner{}
	_, _ = fmt.Sscanf(text, "%d:%d", &o.UID, &o.GID) // as TestLabDies writes it
	return o
}

// wait waits a moment until something is so.
func wait(t *testing.T, otherwise string, so func() bool) {
	t.Helper()
	began := time.Now()
	for !so() {
		if time.Since(began) > 15*time.Second {
			t.Fatal(otherwise)
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Logf("after %s", time.Since(began))
}
