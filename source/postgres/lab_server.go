package postgres

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"lifeboat/internal/phrase"
	"lifeboat/restore"
)

// server is a running postgres that is a child of this process.
type server struct {
	dir, log string
	network  string        // what it shares, and why; "none…" where it has its own
	pid      int           // of its first process
	ended    chan struct{} // closed when that has ended
	how      error         // it ended; valid then
	unwatch  func() bool   // ends the watch over the context
	stopping sync.Mutex
}

// labSettings are given on the command line, so that no file in the directory can say otherwise.
func labSettings(dir string, version int) []string {
	list := []string{
		// Nobody comes in but through the socket, and nothing goes out.
		"data_directory=" + dir, "hba_file=" + filepath.Join(dir, "pg_hba.conf"), "ident_file=" + filepath.Join(dir, "pg_ident.conf"), "external_pid_file=" + filepath.Join(ours, "server.pid"),
		"listen_addresses=", "port=5432", "unix_socket_directories=.", "unix_socket_permissions=0700", "unix_socket_group=", "ssl=off", "bonjour=off",
		"archive_mode=off", "archive_command=", "archive_cleanup_command=", "recovery_end_command=", "restore_command=/bin/false",
		"primary_conninfo=", "primary_slot_name=", "synchronous_standby_names=", "max_logical_replication_workers=0",
		// No code but the server's own.
		"shared_preload_libraries=", "session_preload_libraries=", "local_preload_libraries=", "jit=off", "autovacuum=off",
		// Nothing is left behind: shared memory stands in the directory, and a session ends with whoever asked.
		"dynamic_shared_memory_type=mmap", "client_connection_check_interval=1s",
		// All log is kept: it proves which tables did not change.
		"wal_keep_size=2147483647",
		// A standby that serves reads would wait for ever where the original's limits were raised behind the snapshot.
		"hot_standby=off",
		// What it says goes to its output, without statements.
		"logging_collector=off", "log_destination=stderr", "log_min_error_statement=panic", "log_statement=none", "log_min_duration_statement=-1", "lc_messages=C",
		"cluster_name=lifeboat-drill", "update_process_title=on",
	}
	if version >= 150000 {
		list = append(list, "archive_library=")
	}
	if version >= 170000 {
		list = append(list, "event_triggers=off", "summarize_wal=off", "sync_replication_slots=off")
	}
	var args []string
	for _, s := range list {
		args = append(args, "-c", s)
	}
	return args
}

// launch starts the server in namespaces of its own, or where the system refuses them without. It is killed when ctx ends, or this process.
func launch(ctx context.Context, bin, dir string, owner *restore.Owner, version int) (s *server, err error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s = &server{dir: dir, log: filepath.Join(dir, ours, "start.log")}
	args := append([]string{"-D", dir}, labSettings(dir, version)...)
	refused := s.spawn(filepath.Join(bin, "postgres"), args, owner, true)
	if refused != nil {
		if err := s.spawn(filepath.Join(bin, "postgres"), args, owner, false); err != nil {
			return nil, err
		}
	}
	switch own, err := ownNetwork(s.pid); {
	case own:
		s.network = phrase.OwnNetwork.Say()
	case refused != nil:
		s.network = phrase.HostNetwork.Say(refused)
	default:
		s.network = phrase.UnknownNetwork.Say(err)
	}
	s.unwatch = context.AfterFunc(ctx, s.kill)
	return s, nil
}

// spawn starts the program. The system ends a child with the thread that made it, so that thread is kept for it.
func (s *server) spawn(program string, args []string, owner *restore.Owner, apart bool) error {
	root, err := os.OpenRoot(s.dir)
	if err != nil {
		return err
	}
	defer root.Close()
	log, err := root.OpenFile(filepath.Join(ours, "start.log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	if owner != nil {
		if err := log.Chown(owner.UID, owner.GID); err != nil {
			return err
		}
	}
	cmd := exec.Command(program, args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr, cmd.Env = s.dir, log, log, plainEnvironment()
	cmd.SysProcAttr = attributes(owner, apart)
	ended, started := make(chan struct{}), make(chan error)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			s.how = cmd.Wait()
			close(ended)
		}
	}()
	if err := <-started; err != nil {
		return err
	}
	s.pid, s.ended = cmd.Process.Pid, ended
	return nil
}

// as lets a child run as owner, in a group of its own: what the terminal sends to this process is not for it.
func as(owner *restore.Owner) *syscall.SysProcAttr {
	a := &syscall.SysProcAttr{Setpgid: true}
	if owner != nil && os.Geteuid() == 0 {
		a.Credential = &syscall.Credential{Uid: uint32(owner.UID), Gid: uint32(owner.GID)}
	}
	return a
}

// plainEnvironment has neither a setting of PostgreSQL nor a secret of this process.
func plainEnvironment() []string {
	out := []string{"LC_ALL=C.UTF-8", "TZ=UTC"}
	for _, name := range []string{"PATH", "LD_LIBRARY_PATH"} {
		if v, ok := os.LookupEnv(name); ok {
			out = append(out, name+"="+v)
		}
	}
	return out
}

// ready waits until the log is replayed and the server takes connections. Nobody connects before: its log would be full of that.
func (s *server) ready(ctx context.Context) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		b, err := os.ReadFile(filepath.Join(s.dir, "postmaster.pid"))
		if lines := strings.Split(string(b), "\n"); err == nil && len(lines) > 7 && strings.TrimSpace(lines[7]) == "ready" {
			return nil
		}
		select {
		case <-s.ended:
			return fmt.Errorf("the server ended: %v", s.how)
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

// How long a server may take to stop: with a checkpoint, and without.
const (
	stopFast = 30 * time.Second
	stopNow  = 10 * time.Second
)

// stop ends the server, first kindly, and waits. It returns how many processes are left; when ctx ends they are killed.
func (s *server) stop(ctx context.Context) int {
	s.unwatch()
	for _, step := range []struct {
		signal syscall.Signal
		wait   time.Duration
	}{{syscall.SIGINT, stopFast}, {syscall.SIGQUIT, stopNow}} {
		_ = syscall.Kill(s.pid, step.signal) // it may have ended
		select {
		case <-s.ended:
		case <-ctx.Done():
		case <-time.After(step.wait):
			continue
		}
		break
	}
	s.kill()
	return len(s.left())
}

// kill ends whatever is there of the server at once, and waits for it.
func (s *server) kill() {
	s.stopping.Lock()
	defer s.stopping.Unlock()
	select {
	case <-s.ended:
	default:
		_ = errors.Join(syscall.Kill(-s.pid, syscall.SIGKILL), syscall.Kill(s.pid, syscall.SIGKILL)) // what is left is looked at below
		select {
		case <-s.ended:
		case <-time.After(stopNow):
			return
		}
	}
	for range 100 { // without a namespace, its processes outlive it for a moment
		left := s.left()
		if len(left) == 0 {
			return
		}
		for _, pid := range left {
			if isPostgres(pid) {
				_ = syscall.Kill(pid, syscall.SIGKILL) // it may have ended
			}
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// left are the processes of the server: those that work in its directory, or name it.
func (s *server) left() []int {
	return slices.DeleteFunc(processes(), func(pid int) bool { return pid == os.Getpid() || !worksIn(pid, s.dir) })
}
