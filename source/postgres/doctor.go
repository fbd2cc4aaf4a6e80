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
func (s *Source) Doctor(ctx context.Context) []snapshot.Finding {
	e := &examination{}
	cfg, err := parse(s.dsn, s.password)
	if err != nil {
		e.add("dsn", snapshot.Fail, oneLine(err.Error()), "write it as postgres://user@host:5432/database")
		return e.found
	}
	e.cfg = cfg
	ses, cfg, err := dialAny(ctx, cfg)
	if err != nil {
		e.failed("connection", err)
		return e.found
	}
	defer ses.close()
	e.cfg = cfg
	e.add("connection", snapshot.OK, fmt.Sprintf("%s, PostgreSQL %d, cluster %d, timeline %d, as %s", where(cfg), ses.version/10000, ses.system, ses.timeline, cfg.User), "")
	settings, err := ses.settings()
	if err != nil {
		e.failed("settings", err)
		return e.found
	}
	e.senders(ctx, settings["max_wal_senders"])
	if _, err := ses.rows(`CREATE_REPLICATION_SLOT "lifeboat_doctor" TEMPORARY PHYSICAL RESERVE_WAL`); err != nil {
		e.failed("replication slot", err)
	} else {
		e.add("replication slot", snapshot.OK, "can be made", "")
	}
	if settings["data_checksums"] == "off" {
		e.add("data_checksums", snapshot.Warn, "off: the server cannot tell a damaged page from a good one", "pg_checksums --enable -D <data directory> # while the server is stopped")
	} else {
		e.add("data_checksums", snapshot.OK, settings["data_checksums"], "")
	}
	switch keep := settings["max_slot_wal_keep_size"]; keep {
	case "":
	case "-1":
		e.add("max_slot_wal_keep_size", snapshot.Warn, "unlimited: log that is not captured fills the server's disk while stream does not run", "ALTER SYSTEM SET max_slot_wal_keep_size = '50GB'; SELECT pg_reload_conf();")
	default:
		e.add("max_slot_wal_keep_size", snapshot.OK, keep, "")
	}
	if ses.version >= 170000 && settings["summarize_wal"] == "off" {
		e.add("summarize_wal", snapshot.Warn, "off: every backup reads the whole cluster, where the server could tell what changed", "ALTER SYSTEM SET summarize_wal = on; SELECT pg_reload_conf();")
	}
	e.configuration(ctx)
	if s.Canary != "" {
		e.canary(ctx)
	}
	e.slotLag(ses, s.Slot)
	return e.found
}

// configuration tells what of the server's configuration a snapshot would not hold.
func (e *examination) configuration(ctx context.Context) {
	c, err := readConfiguration(ctx, e.cfg)
	if err != nil {
		e.failed("configuration", err)
		return
	}
	if len(c.unread) == 0 {
		e.add("configuration", snapshot.OK, "can be read", "")
		return
	}
	user := strconv.Quote(e.cfg.User)
	e.add("configuration", snapshot.Warn, "not all of it can be read, and what cannot will not be in a snapshot: "+c.unread[0],
		fmt.Sprintf("GRANT pg_read_all_settings, pg_read_server_files TO %s; GRANT EXECUTE ON FUNCTION pg_read_file(text, bigint, bigint) TO %s; -- in the database of the dsn", user, user))
}

// examination is what was found so far.
type examination struct {
	cfg   *pgconn.Config
	found []snapshot.Finding
}

func (e *examination) add(name string, level snapshot.Level, detail, fix string) {
	e.found = append(e.found, snapshot.Finding{Name: name, Level: level, Detail: detail, Fix: fix})
}

// failed adds a failure for each server of the DSN that err tells about.
func (e *examination) failed(name string, err error) {
	if many, ok := err.(interface{ Unwrap() []error }); ok {
		for _, one := range many.Unwrap() {
			e.failed(name, one)
		}
		return
	}
	var why *Error
	if errors.As(describe("examine", e.cfg, err), &why) {
		e.add(name, snapshot.Fail, why.Server+": "+oneLine(why.Err.Error()), why.Hint)
	}
}

// senders makes sure that there can be two sessions at once, which a backup needs.
func (e *examination) senders(ctx context.Context, limit string) {
	second, err := dial(ctx, e.cfg)
	if err != nil {
		e.failed("max_wal_senders", err)
		return
	}
	second.close()
	if n, err := strconv.Atoi(limit); err == nil && n < 3 {
		e.add("max_wal_senders", snapshot.Warn, limit+": a backup uses two while it runs, and stream one more", "ALTER SYSTEM SET max_wal_senders = 10; -- and restart the server")
		return
	}
	e.add("max_wal_senders", snapshot.OK, limit, "")
}

const captureFix = "write logs: continuous into its policy and run the daemon; by hand: lifeboat stream <source>"

// slotLag tells how much log the permanent slot keeps on the server. Servers before version 15 do not tell.
func (e *examination) slotLag(ses *session, slot string) {
	if ses.version < 150000 || slot == "" {
		return
	}
	row, err := ses.row(fmt.Sprintf("READ_REPLICATION_SLOT %q", slot), 2)
	if err != nil || row[0] == "" {
		e.add("stream", snapshot.Warn, "the log is not captured: only snapshots can be restored", captureFix)
		return
	}
	at, err := parseLSN(row[1])
	if err != nil {
		e.add("stream", snapshot.Warn, fmt.Sprintf("slot %s keeps no log: it was invalidated, or never used", slot), captureFix)
		return
	}
	e.add("stream", snapshot.OK, fmt.Sprintf("slot %s keeps %s of log on the server", slot, humanize.IBytes(uint64(max(ses.position, at)-at))), "")
}
