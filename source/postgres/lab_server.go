package postgres

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"lifeboat/internal/cell"
	"lifeboat/restore"
)

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

// program is the server to start.
func program(bin, dir string, owner *restore.Owner, version int) cell.Program {
	return cell.Program{
		Path: filepath.Join(bin, "postgres"), Name: "postgres", Args: append([]string{"-D", dir}, labSettings(dir, version)...), Dir: dir, Log: labLog, User: (*cell.User)(owner),
		Stop: []cell.Step{{Signal: syscall.SIGINT, Wait: 30 * time.Second}, {Signal: syscall.SIGQUIT, Wait: 10 * time.Second}}, Orphan: syscall.SIGQUIT, // with a checkpoint, and without
	}
}

// labLog is what the server says, in its directory.
var labLog = filepath.Join(ours, "start.log")

// ready waits until the log is replayed and the server takes connections. Nobody connects before: its log would be full of that.
func ready(ctx context.Context, s *cell.Server) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		b, err := os.ReadFile(filepath.Join(s.Dir, "postmaster.pid"))
		if lines := strings.Split(string(b), "\n"); err == nil && len(lines) > 7 && strings.TrimSpace(lines[7]) == "ready" {
			return nil
		}
		select {
		case <-s.Ended:
			return s.How()
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}
