package postgres

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/dustin/go-humanize"
	"github.com/jackc/pgx/v5/pgconn"

	"lifeboat/snapshot"
)

// Doctor runs every preflight of the cluster, and changes nothing but for a temporary slot that goes at once.
func (s *Source) Doctor(ctx context.Context) (found []snapshot.Finding) {
	add := func(name string, level snapshot.Level, detail, fix string) {
		found = append(found, snapshot.Finding{Name: name, Level: level, Detail: detail, Fix: fix})
	}
	failed := func(name string, cfg *pgconn.Config, err error) {
		var e *Error
		if errors.As(describe("examine", cfg, err), &e) {
			add(name, snapshot.Fail, oneLine(e.Err.Error()), e.Hint)
		}
	}
	cfg, err := parse(s.dsn, s.password)
	if err != nil {
		add("dsn", snapshot.Fail, oneLine(err.Error()), "write it as postgres://user@host:5432/database")
		return found
	}
	ses, cfg, err := dialAny(ctx, cfg)
	if err != nil {
		failed("connection", cfg, err)
		return found
	}
	defer ses.close()
	add("connection", snapshot.OK, fmt.Sprintf("%s, PostgreSQL %d, cluster %d, timeline %d, as %s", where(cfg), ses.version/10000, ses.system, ses.timeline, cfg.User), "")
	settings, err := ses.settings()
	if err != nil {
		failed("settings", cfg, err)
		return found
	}
	number := func(name string) int64 {
		n, err := strconv.ParseInt(settings[name], 10, 64)
		if err != nil {
			return -1
		}
		return n
	}
	if n := number("max_wal_senders"); n < 3 {
		add("max_wal_senders", snapshot.Warn, fmt.Sprintf("%d: a backup uses two while it runs, and stream one more", n), "ALTER SYSTEM SET max_wal_senders = 10; -- and restart the server")
	} else {
		add("max_wal_senders", snapshot.OK, strconv.FormatInt(n, 10), "")
	}
	if _, err := ses.rows(`CREATE_REPLICATION_SLOT "lifeboat_doctor" TEMPORARY PHYSICAL RESERVE_WAL`); err != nil {
		failed("replication slot", cfg, err)
	} else {
		add("replication slot", snapshot.OK, "can be made", "")
	}
	if settings["data_checksums"] == "off" {
		add("data_checksums", snapshot.Warn, "off: the server cannot tell a damaged page from a good one", "pg_checksums --enable -D <data directory> # while the server is stopped")
	} else {
		add("data_checksums", snapshot.OK, settings["data_checksums"], "")
	}
	switch keep := settings["max_slot_wal_keep_size"]; keep {
	case "":
	case "-1":
		add("max_slot_wal_keep_size", snapshot.Warn, "unlimited: log that is not captured fills the server's disk while stream does not run", "ALTER SYSTEM SET max_slot_wal_keep_size = '50GB'; SELECT pg_reload_conf();")
	default:
		add("max_slot_wal_keep_size", snapshot.OK, keep, "")
	}
	s.slotLag(ses, add)
	return found
}

// slotLag tells how much log the permanent slot keeps on the server. Servers before version 15 do not tell.
func (s *Source) slotLag(ses *session, add func(string, snapshot.Level, string, string)) {
	if ses.version < 150000 || s.Slot == "" {
		return
	}
	row, err := ses.row(fmt.Sprintf("READ_REPLICATION_SLOT %q", s.Slot), 2)
	if err != nil || row[0] == "" {
		add("stream", snapshot.Warn, "the log is not captured: only snapshots can be restored", "lifeboat stream <source>")
		return
	}
	at, err := parseLSN(row[1])
	if err != nil {
		add("stream", snapshot.Warn, fmt.Sprintf("slot %s keeps no log: it was invalidated, or never used", s.Slot), "lifeboat stream <source>")
		return
	}
	add("stream", snapshot.OK, fmt.Sprintf("slot %s keeps %s of log on the server", s.Slot, humanize.IBytes(uint64(max(ses.position, at)-at))), "")
}
