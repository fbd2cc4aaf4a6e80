package mysql

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"lifeboat/snapshot"
)

// Doctor runs every preflight of the server, and changes nothing.
func (s *Source) Doctor(ctx context.Context) []snapshot.Finding {
	e := &examination{}
	at, err := parse(s.dsn, s.password)
	if err != nil {
		e.add("dsn", snapshot.Fail, err.Error(), dsnHint)
		return e.found
	}
	e.at = at
	ses, err := dial(ctx, at)
	if err != nil {
		e.failed("connection", err)
		return e.found
	}
	defer ses.close()
	e.add("connection", snapshot.OK, fmt.Sprintf("%s, %s, as %s", at, ses.version.text, at.user), "")
	settings, err := ses.variables()
	if err != nil {
		e.failed("settings", err)
		return e.found
	}
	how, err := s.choose(ctx, ses)
	if err != nil {
		e.failed("mode", err)
	} else {
		e.mode(how)
	}
	e.privileges(ses)
	e.log(settings)
	e.tables(ses)
	return e.found
}

// examination is what was found so far.
type examination struct {
	at    *server
	found []snapshot.Finding
}

func (e *examination) add(name string, level snapshot.Level, detail, fix string) {
	e.found = append(e.found, snapshot.Finding{Name: name, Level: level, Detail: detail, Fix: fix})
}

// failed adds a failure.
func (e *examination) failed(name string, err error) {
	var why *Error
	if errors.As(describe("examine", e.at, err), &why) {
		fix := why.Hint
		if name == "connection" {
			fix += "; as root: " + e.account()
		}
		e.add(name, snapshot.Fail, oneLine(why.Err.Error()), fix)
	}
}

// mode tells how snapshots are taken, and why.
func (e *examination) mode(c choice) {
	switch {
	case c.mode == Physical:
		e.add("mode", snapshot.OK, fmt.Sprintf("physical, by %s: the server's files in %s can be read", c.tool, c.local.data), "")
	case c.why == "":
		e.add("mode", snapshot.OK, "logical, by "+c.tool, "")
	default:
		e.add("mode", snapshot.OK, fmt.Sprintf("logical, by %s; not physical: %s", c.tool, c.why), "")
	}
}

// needed are the privileges that a snapshot of either mode, and capture, need.
var needed = []string{"SELECT", "RELOAD", "PROCESS", "LOCK TABLES", "SHOW VIEW", "TRIGGER", "EVENT", "BINLOG MONITOR", "REPLICATION SLAVE"}

// account is the SQL that makes the user of the DSN.
func (e *examination) account() string {
	return fmt.Sprintf("CREATE USER IF NOT EXISTS %s@'<this host>' IDENTIFIED BY '<password>'; GRANT %s ON *.* TO %[1]s@'<this host>';", quoted(e.at.user), strings.Join(needed, ", "))
}

// quoted is a literal.
func quoted(s string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, "'", "''").Replace(s) + "'"
}

// privileges looks for what is granted on everything.
func (e *examination) privileges(ses *session) {
	rows, err := ses.rows("SHOW GRANTS")
	if err != nil {
		e.failed("privileges", err)
		return
	}
	whom := ""
	var have []string
	for _, r := range rows {
		grants, to, ok := strings.Cut(strings.TrimPrefix(r[0], "GRANT "), " ON *.* TO ")
		if !ok {
			continue
		}
		whom, _, _ = strings.Cut(to, " IDENTIFIED")
		for g := range strings.SplitSeq(grants, ", ") {
			have = append(have, strings.TrimSpace(g))
		}
	}
	whom, _, _ = strings.Cut(whom, " WITH GRANT")
	missing := slices.DeleteFunc(slices.Clone(needed), func(p string) bool { return slices.Contains(have, p) || slices.Contains(have, "ALL PRIVILEGES") })
	if len(missing) > 0 {
		if whom == "" {
			whom = "CURRENT_USER"
		}
		e.add("privileges", snapshot.Fail, "not granted on *.*: "+strings.Join(missing, ", "), fmt.Sprintf("GRANT %s ON *.* TO %s;", strings.Join(missing, ", "), whom))
		return
	}
	e.add("privileges", snapshot.OK, strings.Join(needed, ", "), "")
}

// log looks whether the binary log can lead to points between snapshots.
func (e *examination) log(settings map[string]string) {
	if settings["log_bin"] != "ON" {
		e.add(noBinlog.Name, noBinlog.Level, noBinlog.Detail, noBinlog.Fix)
		return
	}
	e.add("log_bin", snapshot.OK, settings["log_bin_basename"], "")
	for _, want := range []struct{ name, good, why, fix string }{
		{"binlog_format", "ROW", "statements that do not give the same result twice are replayed wrong", "SET GLOBAL binlog_format = 'ROW'; -- and in the configuration"},
		{"binlog_row_image", "FULL", "points can be reached, and single transactions not be undone", "SET GLOBAL binlog_row_image = 'FULL'; -- and in the configuration"},
		{"sync_binlog", "1", "a crash of the server's host loses log that was committed", "SET GLOBAL sync_binlog = 1; -- and in the configuration"},
		{"innodb_flush_log_at_trx_commit", "1", "a crash of the server's host loses transactions that were committed", "SET GLOBAL innodb_flush_log_at_trx_commit = 1; -- and in the configuration"},
		{"encrypt_binlog", "OFF", "the files of the log on the server are encrypted; what it sends is not", ""},
	} {
		switch value, known := settings[want.name]; {
		case !known:
		case value == want.good:
			e.add(want.name, snapshot.OK, value, "")
		default:
			e.add(want.name, snapshot.Warn, value+": "+want.why, want.fix)
		}
	}
	if n, err := strconv.Atoi(settings["binlog_expire_logs_seconds"]); err == nil && n > 0 && n < 24*60*60 {
		e.add("binlog_expire_logs_seconds", snapshot.Warn, fmt.Sprintf("%d: log that is not captured within it is lost", n), "SET GLOBAL binlog_expire_logs_seconds = 259200; -- and in the configuration")
	}
}

// notTransactional counts the tables that a transaction does not cover.
const notTransactional = "SELECT COUNT(*) FROM information_schema.TABLES WHERE TABLE_TYPE = 'BASE TABLE' AND ENGINE <> 'InnoDB' AND TABLE_SCHEMA NOT IN (" + systemList + ")"

// tables looks for those that a transaction does not cover.
func (e *examination) tables(ses *session) {
	n, err := ses.value(notTransactional)
	switch {
	case err != nil:
		e.failed("engines", err)
	case n == "0":
		e.add("engines", snapshot.OK, "all tables are of InnoDB", "")
	default:
		e.add("engines", snapshot.Warn, n+" tables are not of InnoDB: writes to them wait for a moment at the end of a physical snapshot; in a logical one each is as it was when it was read", "ALTER TABLE <table> ENGINE = InnoDB;")
	}
}
