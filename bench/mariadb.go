package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"lifeboat/capture"
	"lifeboat/internal/testenv"
	"lifeboat/snapshot"
)

// mariaTables hold the rows: texts that compress, and attachments that do not, each about a half.
const mariaTables = 4

// mariaRows is how many rows make a MiB, with their indexes and what a page leaves free: 800 bytes of text that compresses by more than two, and 500 random bytes.
const mariaRows = 640

// text is SQL that makes one of 800 bytes.
func text(words string) string {
	return "CONCAT_WS('" + words + "'" + strings.Repeat(", MD5(RAND())", 13) + ")"
}

// mariadb makes a server and starts it.
func (b *bench) mariadb(ctx context.Context) error {
	s := &stage{ctx: ctx, dir: filepath.Join(b.dir, "server")}
	if err := errors.Join(os.Chmod(b.dir, 0o711), os.MkdirAll(s.dir, 0o700), os.Chmod(s.dir, 0o711)); err != nil { // the server is another user
		return err
	}
	var m *testenv.MariaDB
	s.try(func() {
		m = testenv.StartMariaDB(s, "innodb_buffer_pool_size=1G", "innodb_log_file_size=512M", "innodb_flush_log_at_trx_commit=1", "sync_binlog=1", "innodb_max_dirty_pages_pct=0")
		m.Query("", "CREATE DATABASE crm")
		for i := range mariaTables {
			m.Query("crm", fmt.Sprintf("CREATE TABLE contact%d (id INT PRIMARY KEY, name VARCHAR(80), email VARCHAR(120), note TEXT, attachment BLOB, KEY (name), KEY (email))", i))
			for from := int64(0); from < b.megabytes*mariaRows/mariaTables; from += 20000 {
				m.Query("crm", fmt.Sprintf("INSERT INTO contact%d SELECT seq, CONCAT('Contact ', MD5(seq)), CONCAT(MD5(seq + 1), '@example.com'), %s, RANDOM_BYTES(500) FROM seq_%d_to_%d",
					i, text(" called about the order of "), from+1, min(from+20000, b.megabytes*mariaRows/mariaTables)))
			}
		}
	})
	if err := errors.Join(s.errs...); err != nil {
		return err
	}
	b.maria = m
	b.db = &database{name: m.Query("", "SELECT CONCAT('MariaDB ', VERSION())")[0][0], dir: m.Dir, page: 16384,
		source: fmt.Sprintf("{engine: mysql, dsn: %q, mode: physical}", "mysql://root@localhost/?socket="+m.Socket()),
		files:  regexp.MustCompile(`^crm/contact\d\.ibd$`),
		check:  b.sameTables,
		churn: func(_ context.Context, seed int64, n int) error {
			r := rand.New(rand.NewPCG(uint64(seed), 1))
			s.try(func() {
				ses := m.Session("crm")
				defer ses.Close()
				ses.Query("BEGIN")
				for range n {
					ses.Query(fmt.Sprintf("UPDATE contact%d SET note = %s WHERE id = %d", r.IntN(mariaTables), text(" was called back because of "), 1+r.Int64N(b.megabytes*mariaRows/mariaTables)))
				}
				ses.Query("COMMIT")
				b.flush()
			})
			return errors.Join(s.errs...)
		},
		close: func() error {
			for _, end := range slices.Backward(s.ends) {
				s.try(end)
			}
			return errors.Join(s.errs...)
		}}
	s.try(b.flush)
	return errors.Join(s.errs...)
}

// flush lets the server write all changed pages.
func (b *bench) flush() {
	ses := b.maria.Session("crm")
	defer ses.Close()
	var names []string
	for i := range mariaTables {
		names = append(names, "contact"+strconv.Itoa(i))
	}
	ses.Query("FLUSH TABLES " + strings.Join(names, ", ") + " FOR EXPORT")
	ses.Query("UNLOCK TABLES")
	for range 300 { // what is in the log only would be copied with the pages
		if age, err := strconv.Atoi(ses.Query("SHOW GLOBAL STATUS LIKE 'Innodb_checkpoint_age'")[0][1]); err != nil || age < 1<<20 {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// sums are checksums of the tables of a server.
func sums(socket string) (string, error) {
	rows, err := testenv.QueryMariaDB(socket, "crm", "CHECKSUM TABLE contact0, contact1, contact2, contact3")
	return fmt.Sprint(rows), err
}

// sameTables starts what was restored and compares its tables.
func (b *bench) sameTables(restored string) error {
	u, err := exec.Command("chown", "-R", "postgres:postgres", restored).CombinedOutput()
	if err != nil {
		return fmt.Errorf("chown: %w: %s", err, u)
	}
	socket := filepath.Join(restored, "s")
	uid, gid, _ := serverUser()
	cmd := exec.Command("mariadbd", "--no-defaults", "--datadir="+restored, "--tmpdir="+restored, "--socket="+socket, "--skip-networking", "--skip-log-bin", "--skip-grant-tables")
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}
	var log bytes.Buffer
	cmd.Stderr = &log
	if err := errors.Join(os.Chmod(filepath.Dir(restored), 0o711), cmd.Start()); err != nil {
		return err
	}
	got := ""
	for range 600 {
		if got, err = sums(socket); err == nil {
			break
		}
		time.Sleep(100 * time.Millisecond)
	}
	_ = cmd.Process.Signal(syscall.SIGKILL) // it is not needed any more
	_ = cmd.Wait()
	if err != nil {
		return fmt.Errorf("%w: %s", err, log.Bytes())
	}
	want, err := sums(b.maria.Socket())
	if err == nil && got != want {
		err = fmt.Errorf("the restore is wrong: %s, want %s", got, want)
	}
	return err
}

// byHand is what an administrator writes: mariadb-backup, zstd and age.
func (b *bench) byHand(ctx context.Context) error {
	if b.maria == nil {
		return nil
	}
	t := &tool{name: "mariadb-backup, zstd and age by hand", bin: "/bin/bash", repo: filepath.Join(b.dir, "hand"), restored: b.out()}
	for _, name := range []string{"age", "zstd", "mbstream"} {
		if _, err := exec.LookPath(name); err != nil {
			b.rows = append(b.rows, row{tool: name, what: "not installed"})
			return nil
		}
	}
	key := filepath.Join(b.dir, "age.key")
	t.fresh = func(ctx context.Context) error {
		return errors.Join(os.RemoveAll(t.repo), os.RemoveAll(key), os.Mkdir(t.repo, 0o700), exec.CommandContext(ctx, "age-keygen", "-o", key).Run())
	}
	script := func(text string) []string { return []string{"-c", "set -e -o pipefail; " + text} }
	t.full = script(fmt.Sprintf("mariadb-backup --no-defaults --backup --stream=xbstream --user=root --socket=%s --target-dir=%s 2>/dev/null | zstd -q -T0 | age -r $(age-keygen -y %s) > %s/full", b.maria.Socket(), b.dir, key, t.repo))
	t.restore = script(fmt.Sprintf("age -d -i %s %s/full | zstd -q -dc | mbstream -x -C %[3]s; mariadb-backup --no-defaults --prepare --use-memory=512M --target-dir=%[3]s 2>/dev/null", key, t.repo, b.out()))
	b.tools = append(b.tools, t)
	return nil
}

// delays says how long after its commit a transaction stands in the repository.
func (b *bench) delays(ctx context.Context) error {
	if b.maria == nil || b.seconds == 0 {
		return nil
	}
	if err := b.fresh(ctx); err != nil {
		return err
	}
	if _, err := b.lifeboat.run(ctx, "", b.lifeboat.full...); err != nil {
		return err
	}
	cmd := b.lifeboat.command(ctx, "stream", "crm")
	if err := cmd.Start(); err != nil {
		return err
	}
	time.Sleep(3 * time.Second) // it begins
	type commit struct {
		at     time.Time
		offset uint64
	}
	var open []commit
	var took []time.Duration
	last := time.Now().Add(time.Duration(b.seconds) * time.Second)
	for n := 0; time.Now().Before(last) || len(open) > 0 && time.Now().Before(last.Add(time.Minute)); n++ {
		if time.Now().Before(last) {
			b.maria.Query("crm", fmt.Sprintf("UPDATE contact0 SET name = 'n%d' WHERE id = %d", n, 1+n%1000))
			at := time.Now()
			row := b.maria.Query("", "SHOW MASTER STATUS")[0]
			file, err1 := strconv.ParseUint(row[0][strings.LastIndexByte(row[0], '.')+1:], 10, 64)
			pos, err2 := strconv.ParseUint(row[1], 10, 64)
			if err := errors.Join(err1, err2); err != nil {
				return err
			}
			open = append(open, commit{at, snapshot.BinlogOffset(file, pos)})
		}
		paths, err := filepath.Glob(filepath.Join(b.lifeboat.repo, "log", "*", "*"))
		if err != nil {
			return err
		}
		far := uint64(0)
		for _, p := range paths {
			if name, ok := capture.ParseName("log/" + filepath.Base(filepath.Dir(p)) + "/" + filepath.Base(p)); ok {
				far = max(far, name.To.Offset)
			}
		}
		now := time.Now()
		for len(open) > 0 && open[0].offset <= far {
			took = append(took, now.Sub(open[0].at))
			open = open[1:]
		}
		time.Sleep(20 * time.Millisecond)
	}
	if err := errors.Join(cmd.Process.Signal(syscall.SIGTERM), cmd.Wait()); err != nil {
		return err
	}
	if len(open) > 0 || len(took) == 0 {
		return fmt.Errorf("%d transactions never came to the repository", len(open))
	}
	slices.Sort(took)
	b.rows = append(b.rows, row{tool: b.lifeboat.name, what: "commit to repository, p99", wall: took[len(took)*99/100], note: fmt.Sprintf("of %d transactions; median %s, longest %s", len(took), took[len(took)/2].Round(time.Millisecond), took[len(took)-1].Round(time.Millisecond))})
	return nil
}
