package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"os"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"lifeboat/daemon"
	"lifeboat/internal/testenv"
	"lifeboat/repository"
)

// monitored is a daemon that serves metrics.
type monitored struct {
	*fixture
	*life
	url string
}

// metric is a line of what Prometheus reads.
type metric struct {
	name, labels string
	value        float64
}

var metricLine = regexp.MustCompile(`^([a-z][a-zA-Z0-9_]*)(?:\{(.*)\})? (\S+)$`)

// metrics reads what the daemon exposes.
func (m *monitored) metrics() (all []metric) {
	m.t.Helper()
	r, err := http.Get(m.url)
	if errors.Is(err, syscall.ECONNREFUSED) {
		return nil // it has not begun yet
	}
	m.must(err)
	b, err := io.ReadAll(r.Body)
	m.must(errors.Join(err, r.Body.Close()))
	for line := range strings.Lines(string(b)) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		parts := metricLine.FindStringSubmatch(strings.TrimSpace(line))
		if parts == nil {
			m.t.Fatalf("what is %q?", line)
		}
		v, err := strconv.ParseFloat(parts[3], 64)
		m.must(err)
		all = append(all, metric{parts[1], parts[2], v})
	}
	return all
}

// value is that of one metric, whose labels are written as Prometheus does; NaN where it is not there.
func (m *monitored) value(name, labels string) float64 {
	m.t.Helper()
	for _, got := range m.metrics() {
		if got.name == name && got.labels == labels {
			return got.value
		}
	}
	return math.NaN()
}

// reaches waits until a metric has a value.
func (m *monitored) reaches(name, labels string, want func(float64) bool) {
	m.t.Helper()
	m.eventually(fmt.Sprintf("%s{%s} is as it should be", name, labels), func() bool { return want(m.value(name, labels)) }, m.log)
}

func positive(v float64) bool { return v > 0 }
func zero(v float64) bool     { return v == 0 }
func one(v float64) bool      { return v == 1 }

// monitoredHost is a host with a daemon about whom there is something to say by every metric: two engines, a log, a disk, a store that locks, a target
// that is away, a snapshot unlike those before, and nobody who hears of it.
func monitoredHost(t *testing.T) (*monitored, *testenv.Postgres) {
	t.Helper()
	pg := testenv.StartPostgres(t, testenv.PostgresBin)
	pg.Query("postgres", "CREATE ROLE backup REPLICATION LOGIN")
	store := testenv.StartS3(t)
	store.Bucket("locks", true)
	x := newFixture(t, "disk", "away")
	x.sqlite(`CREATE TABLE note (t TEXT); WITH n AS (SELECT 1 i UNION ALL SELECT i + 1 FROM n WHERE i < 90000) INSERT INTO note SELECT i || ' called again' FROM n`)
	port := testenv.FreePort(t)
	x.must(os.WriteFile(x.path("lifeboat.yaml"), fmt.Appendf(nil, `repository: crm
state_dir: %s
keys: {recipients_file: %s}
sources:
  crm: {engine: sqlite, path: %s}
  orders: {engine: postgres, dsn: %q}
targets:
  disk: {type: local, path: %s}
  away: {type: local, path: %s}
  cloud: {type: s3, bucket: locks, endpoint: %q, access_key: %s, secret_key: %q, object_lock: {mode: governance, for: 30d}}
policies:
  often: {sources: [crm], schedule: {incremental: "@hourly"}, retention: {daily: 90d}, drill: {schedule: "0 0 1 6 *", scratch: %s}}
  daily: {sources: [orders], schedule: {full: "@daily"}, logs: continuous, rpo: 1m}
notify: [{webhook: "http://127.0.0.1:%d/"}]
daemon: {listen: "127.0.0.1:%d"}
`, x.path("state"), x.path("recipients"), x.path("crm.db"), pg.DSN("backup", "postgres"), x.path("disk"), x.path("away"), store.URL(), store.AccessKey, store.SecretKey, x.path("scratch"), testenv.FreePort(t), port), 0o600))
	x.want(0, "init")
	x.want(0, "backup", "crm")
	x.shift = time.Minute
	x.sqlite("DELETE FROM note WHERE rowid > 100; VACUUM")
	x.want(0, "backup", "crm")
	x.alarm()
	x.want(0, "drill", "run", "often", "--from", "disk", "--identity", x.path("key"))
	x.must(os.Rename(x.path("away"), x.path("gone")))
	long, err := json.Marshal(time.Now().AddDate(0, 0, -20)) // since the locks were renewed
	x.must(err)
	x.must(os.WriteFile(x.path("state", "locks", "cloud.json"), long, 0o600))
	return &monitored{x, x.daemon(), fmt.Sprintf("http://127.0.0.1:%d/metrics", port)}, pg
}

// alarm compares the newest snapshot of crm with those before it, as the daemon does after its own.
func (x *fixture) alarm() {
	x.t.Helper()
	x.writing(func(h *repository.Host) {
		alarms, err := h.Alarms(x.t.Context(), "crm")
		if err != nil || len(alarms) != 1 || alarms[0].Hold == 0 || h.Alarmed()[h.Opaque("crm")] != alarms[0].Hold {
			x.t.Fatalf("nothing is unusual: %+v: %v", alarms, err)
		}
	})
}

// writing does something with the repository open for writing.
func (x *fixture) writing(do func(*repository.Host)) {
	x.t.Helper()
	a := &app{now: func() time.Time { return time.Now().Add(x.shift) }, file: x.path("lifeboat.yaml")}
	h, err := a.host(x.t.Context())
	x.must(err)
	do(h)
	x.must(h.Close())
	daemon.CloseAll(h.Copies)
}

// TestMetrics reads what a real daemon tells Prometheus, and compares it with what the commands say.
func TestMetrics(t *testing.T) {
	m, pg := monitoredHost(t)
	const crm, orders = `policy="often",source="crm"`, `policy="daily",source="orders"`
	m.reaches("lifeboat_last_check_timestamp_seconds", `target="disk"`, positive)
	m.reaches("lifeboat_last_check_timestamp_seconds", `target="cloud"`, positive)
	m.reaches("lifeboat_last_snapshot_timestamp_seconds", orders, positive)
	m.reaches("lifeboat_log_capturing", orders, one)
	m.reaches("lifeboat_retention_timestamp_seconds", "", positive)
	m.reaches("lifeboat_notifications_failed_total", m.channel(), positive)
	exposed := m.metrics()
	documented(t, exposed)
	graphed(t, exposed)

	for name, want := range map[string]float64{
		`lifeboat_snapshot_age_allowed_seconds{` + crm + `}`:                      7200,
		`lifeboat_snapshot_age_allowed_seconds{` + orders + `}`:                   2 * 86400,
		`lifeboat_backups_total{result="committed",source="crm"}`:                 1,
		`lifeboat_backups_total{result="failed",source="crm"}`:                    0,
		`lifeboat_backups_total{result="failed",source="orders"}`:                 0,
		`lifeboat_failures{` + crm + `}`:                                          0,
		`lifeboat_missed_runs_total{` + crm + `}`:                                 0,
		`lifeboat_anomaly_held{` + crm + `}`:                                      1,
		`lifeboat_anomaly_held{` + orders + `}`:                                   0,
		`lifeboat_target_reachable{target="disk"}`:                                1,
		`lifeboat_target_reachable{target="away"}`:                                0,
		`lifeboat_damaged_objects{target="disk"}`:                                 0,
		`lifeboat_locks_term_seconds{target="cloud"}`:                             30 * 86400,
		`lifeboat_ready{}`:                                                        1,
		`lifeboat_reload_failed{}`:                                                0,
		`lifeboat_troubles{kind="target"}`:                                        1,
		`lifeboat_troubles{kind="late"}`:                                          0,
		`lifeboat_troubles{kind="locks"}`:                                         0,
		`lifeboat_backup_duration_seconds_count{kind="incremental",source="crm"}`: 1,
	} {
		name, labels, _ := strings.Cut(strings.TrimSuffix(name, "}"), "{")
		if got := m.value(name, labels); got != want {
			t.Errorf("%s{%s} is %v; want %v", name, labels, got, want)
		}
	}
	if got := m.value("lifeboat_locks_lapse_timestamp_seconds", `target="disk"`); !math.IsNaN(got) {
		t.Errorf("locks of a disk lapse at %v", got)
	}
	m.life.says("the locks of cloud begin to lapse")
	m.life.says("the locks of cloud are renewed again")
	m.agrees(crm)

	t.Run("damage", func(t *testing.T) { m.damage() })
	t.Run("log", func(t *testing.T) {
		pg.Stop("immediate")
		m.reaches("lifeboat_log_capturing", orders, zero)
	})
	t.Run("release", func(t *testing.T) {
		var holds []holdRow
		m.must(json.Unmarshal([]byte(m.want(0, "hold", "list", "--json").out), &holds))
		m.want(3, "hold", "release", strconv.FormatUint(holds[0].ID, 10), "--reason", "a purge", "--yes")
		m.writing(func(h *repository.Host) {
			if hold := h.Alarmed()[h.Opaque("crm")]; hold != 0 {
				t.Errorf("hold %d was released", hold)
			}
		})
	})
	t.Run("reload", func(t *testing.T) { m.reload() })
	if code := m.end(syscall.SIGTERM); code != 0 {
		t.Errorf("exit code %d: %s", code, m.log)
	}
	pg.Start()
}

// channel is the label of the one channel.
func (m *monitored) channel() string {
	m.t.Helper()
	address := regexp.MustCompile(`webhook: "http://(.*)/"`).FindStringSubmatch(string(m.read("lifeboat.yaml")))[1]
	return fmt.Sprintf(`channel="webhook %s"`, address)
}

// agrees compares the daemon with the commands.
func (m *monitored) agrees(crm string) {
	t := m.t
	t.Helper()
	var rows []snapshotRow
	m.must(json.Unmarshal([]byte(m.want(0, "snapshots", "crm", "--json", "--from", "disk").out), &rows))
	last := rows[len(rows)-1]
	var report statusReport
	m.must(json.Unmarshal([]byte(m.want(3, "status", "--json").out), &report))
	for _, c := range report.Copies {
		if c.Target == "away" {
			continue
		}
		for name, want := range map[string]*time.Time{"lifeboat_last_check_timestamp_seconds": c.LastCheck, "lifeboat_locks_lapse_timestamp_seconds": c.LocksLapse} {
			if got := m.value(name, fmt.Sprintf("target=%q", c.Target)); want != nil && math.Abs(got-float64(want.UnixMilli())/1000) > 0.001 {
				t.Errorf("%s of %s is %v; status says %v", name, c.Target, got, want)
			}
		}
		if c.Target == "cloud" && (c.LocksLapse == nil || c.LastCheck == nil) {
			t.Errorf("status says nothing of locks or checks: %+v", c)
		}
	}
	for name, want := range map[string]int64{"size": last.Size, "stored": last.Stored, "changed": last.Changed} {
		if got := m.value("lifeboat_last_snapshot_"+name+"_bytes", crm); got != float64(want) {
			t.Errorf("%s is %v; snapshots says %d", name, got, want)
		}
	}
	if taken := m.value("lifeboat_last_snapshot_timestamp_seconds", crm); math.Abs(taken-float64(last.Taken.UnixMilli())/1000) > 0.001 {
		t.Errorf("taken %v; snapshots says %v", taken, last.Taken)
	}
}

// damage spoils a pack; a check by hand counts for the daemon too, as does the healing.
func (m *monitored) damage() {
	m.t.Helper()
	for _, name := range m.objects("disk") {
		if strings.HasPrefix(name, "packs/") {
			m.must(os.Chmod(m.path("disk", name), 0o600))
			m.must(os.Truncate(m.path("disk", name), 100))
			break
		}
	}
	m.want(3, "check", "--from", "disk")
	m.reaches("lifeboat_damaged_objects", `target="disk"`, one)
	m.want(3, "heal")
	m.reaches("lifeboat_damaged_objects", `target="disk"`, zero)
}

// reload puts a configuration with a mistake, and then one without the target that is away, into use.
func (m *monitored) reload() {
	m.t.Helper()
	before := m.read("lifeboat.yaml")
	m.put(append(bytes.Clone(before), "mistake: 1\n"...), "lifeboat.yaml")
	m.must(m.cmd.Process.Signal(syscall.SIGHUP))
	m.reaches("lifeboat_reload_failed", "", one)
	m.put(regexp.MustCompile(`(?m)^  away: .*\n`).ReplaceAll(before, nil), "lifeboat.yaml")
	m.must(m.cmd.Process.Signal(syscall.SIGHUP))
	m.reaches("lifeboat_reload_failed", "", zero)
	m.reaches("lifeboat_target_reachable", `target="away"`, math.IsNaN)
}
