package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"lifeboat/config"
	"lifeboat/crypto"
)

// soundPolicy is a configuration that nothing is to be said of.
const soundPolicy = `repository: crm-prod
state_dir: /var/lib/lifeboat
keys: {recipients: [age1first]}
sources:
  crm: {engine: postgres, dsn: "postgres://backup@db.internal:5432/crm"}
targets:
  disk: {type: local, path: /backup/lifeboat, media: disk}
  cloud: {type: s3, bucket: crm-backup, media: object, object_lock: {mode: compliance, for: 30d}}
  offsite: {type: sftp, host: vault.example.com, path: /srv/lifeboat, media: tape, offsite: true}
policies:
  crm:
    sources: [crm]
    schedule: {full: "0 2 * * 0", incremental: "15 * * * *", timezone: Asia/Shanghai}
    logs: continuous
    rpo: 1m
    retention: {pitr: 30d, daily: 90d, weekly: 26w, monthly: 24mo, yearly: 7y}
    copies: {count: 3, media: 2, offsite: 1, immutable: 1}
    drill: {schedule: "0 4 * * 6", rto: 4h, select: random, window: 30d, checks: [{name: customers, sql: "select count(*) from customer", min: 1}]}
notify: [{webhook: "https://hook.example.com/x"}]
`

// warned lists the warnings of a configuration.
func warned(t *testing.T, text string, recipients ...crypto.Recipient) (out []string) {
	t.Helper()
	cfg, err := config.Parse("lifeboat.yaml", []byte(text), func(string) (string, bool) { return "", false })
	if err != nil {
		t.Fatal(err)
	}
	for i := range cfg.Policies {
		if z := &cfg.Policies[i].Schedule.Zone; *z == time.Local && (*z).String() == nameless { // by chance this host's has no name
			*z = time.UTC
		}
	}
	for _, f := range warnings(cfg, recipients, time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)) {
		if f.Hint == "" {
			t.Errorf("no hint at what to do about: %s", f)
		}
		out = append(out, f.String())
	}
	return out
}

// TestPolicyWarnings changes one thing at a time in a configuration that is sound.
func TestPolicyWarnings(t *testing.T) {
	const retention, copies, drill = "{pitr: 30d, daily: 90d, weekly: 26w, monthly: 24mo, yearly: 7y}", "    copies: {count: 3, media: 2, offsite: 1, immutable: 1}\n", `    drill: {schedule: "0 4 * * 6", rto: 4h, select: random, window: 30d, checks: [{name: customers, sql: "select count(*) from customer", min: 1}]}` + "\n"
	const postgres, sftp, schedule = `{engine: postgres, dsn: "postgres://backup@db.internal:5432/crm"}`, "{type: sftp, host: vault.example.com, path: /srv/lifeboat, media: tape, offsite: true}", `{full: "0 2 * * 0", incremental: "15 * * * *", timezone: Asia/Shanghai}`
	for _, tt := range []struct {
		name     string
		old, new string
		want     []string // the beginning of each warning; none: it is sound
	}{
		{"sound", "", "", nil},
		{"two directories of one device", sftp, "{type: local, path: /backup/other, media: tape, offsite: true}",
			[]string{"policy crm: targets disk and offsite are one copy: both are on device ", "policy crm: its targets can never give what copies asks for: 2 of 3 copies; 0 of 1 copies offsite"}},
		{"two prefixes of one bucket", sftp, "{type: s3, bucket: crm-backup, prefix: other, media: tape, offsite: true}",
			[]string{"policy crm: targets cloud and offsite are one copy: both are on bucket crm-backup", "policy crm: its targets can never give"}},
		{"one host", "media: object, object_lock: {mode: compliance, for: 30d}}", "media: object, object_lock: {mode: compliance, for: 30d}}\n  second: {type: sftp, host: vault.example.com, path: /srv/second}",
			[]string{"policy crm: targets second and offsite are one copy: both are on host vault.example.com", "policy crm: its targets can never give what copies asks for: 0 of 1 copies offsite"}},
		{"too few targets", "    copies: ", "    targets: [disk, offsite]\n    copies: ", []string{"policy crm: its targets can never give what copies asks for: 2 of 3 copies; 0 of 1 copies protected from deletion: add targets"}},
		{"one medium", "media: object", "media: disk", nil},
		{"no other medium", "media: 2", "media: 4", []string{"policy crm: its targets can never give what copies asks for: 3 of 4 kinds of media"}},
		{"nothing is asked for", copies, "", nil},
		{"rpo without log", "    logs: continuous\n    rpo: 1m\n    retention: {pitr: 30d, ", "    rpo: 30m\n    retention: {",
			[]string{"policy crm: rpo is 30m, and up to 1h pass between snapshots of crm, without log: write logs: continuous"}},
		{"rpo that snapshots keep", "    logs: continuous\n    rpo: 1m\n    retention: {pitr: 30d, ", "    rpo: 1h\n    retention: {", nil},
		{"rpo of days", "    schedule: " + schedule + "\n    logs: continuous\n    rpo: 1m\n    retention: {pitr: 30d, ", "    schedule: {full: \"0 2 * * 0\"}\n    rpo: 1d\n    retention: {",
			[]string{"policy crm: rpo is 1d, and up to 7 days pass between"}},
		{"rpo and no schedule", "    schedule: " + schedule + "\n    logs: continuous\n    rpo: 1m\n    retention: {pitr: 30d, ", "    rpo: 1d\n    retention: {",
			[]string{"policy crm: nothing is backed up by itself", "policy crm: rpo is 1d, and snapshots of crm are not taken by themselves"}},
		{"no schedule", "    schedule: " + schedule + "\n", "", []string{"policy crm: nothing is backed up by itself"}},
		{"log of an engine without one", postgres, "{engine: sqlite, path: crm.db}", []string{"policy crm: logs: continuous does nothing for crm: engine sqlite has no log",
			"policy crm: rpo is 1m, and up to 1h pass between snapshots of crm, without log: take", "policy crm: pitr is 30d, and no log is captured"}},
		{"files beside a log", "    sources: [crm]", "    sources: [crm, up]", []string{"policy crm: rpo is 1m, and up to 1h pass between snapshots of up, without log: take snapshots more often"}},
		{"pitr without log", "    logs: continuous\n    rpo: 1m\n", "", []string{"policy crm: pitr is 30d, and no log is captured: only snapshots"}},
		{"log without pitr", "pitr: 30d, ", "", []string{"policy crm: the log is captured, and only that since the newest snapshot is kept"}},
		{"no drill", drill, "", []string{"policy crm: it is never drilled"}},
		{"drill without a schedule", `schedule: "0 4 * * 6", rto`, "rto", []string{"policy crm: it is never drilled"}},
		{"drill of a quarter", `"0 4 * * 6"`, `"0 4 1 */3 *"`, nil},
		{"drill twice a year", `"0 4 * * 6"`, `"0 4 1 1,7 *"`, []string{"policy crm: up to 184 days pass between drills"}},
		{"drill without checks", `, checks: [{name: customers, sql: "select count(*) from customer", min: 1}]`, "", []string{"policy crm: its drills have no checks: a database that is whole, and empty, would pass"}},
		{"drill without restore", "rto: 4h", "mode: tier1", []string{"policy crm: its drills start nothing"}},
		{"drill without companions", "rto: 4h", "mode: full", []string{"policy crm: mode is full, and there are no files to restore beside the database"}},
		{"identity on the host", "rto: 4h", "identity_on_host: accepted", []string{"policy crm: identity_on_host is accepted: whoever owns this host can read every backup: drill on another host"}},
		{"drill of what is not kept", "window: 30d", "window: 60d", []string{"policy crm: drills draw from the last 60d, and only in those of pitr, 30d, is every second kept: make it as long, or write select: snapshot"}},
		{"drill of snapshots", "select: random, window: 30d", "select: snapshot, window: 60d", nil},
		{"drill of snapshots that are not kept", "select: random, window: 30d", "select: snapshot, window: 10y", []string{"policy crm: drills draw from the last 10y, and nothing is kept for so long"}},
		{"nothing to drill", postgres, "{engine: files, paths: [/srv/up]}",
			[]string{"policy crm: logs: continuous does nothing for crm", "policy crm: rpo is 1m, and up to 1h", "policy crm: pitr is 30d, and no log", "policy crm: there is no database to drill"}},
		{"below the floor", "daily: 90d", "daily: 60d", []string{"policy crm: retention says less than a snapshot a day for 90 days: that floor holds all the same"}},
		{"below the floor with a reason", "daily: 90d", `daily: 60d, allow_below_90d: "it is a copy of another"`, []string{"policy crm: less than a snapshot a day is kept for 90 days, because: it is a copy of another"}},
		{"a floor by pitr", "daily: 90d", "daily: 60d, minimum: 3mo", nil},
		{"no retention", "    retention: " + retention + "\n", "", []string{"policy crm: everything is kept for ever"}},
		{"source in no policy", "targets:", "  demo: {engine: sqlite, path: x.db}\ntargets:", []string{"source demo is in no policy: it is backed up by hand only"}},
		{"either day", `"0 2 * * 0"`, `"0 2 13 * 5"`, []string{`policy crm: schedule.full, "0 2 13 * 5", restricts both days, of which either is enough: it comes at 02:00 on day 13 of the month, and on Fridays: write *`}},
		{"either day of a drill", `"0 4 * * 6"`, `"0 4 1-7 * 6"`, []string{`policy crm: drill.schedule, "0 4 1-7 * 6", restricts both days`}},
		{"either day of a check", drill, drill + "    check: {schedule: \"0 4 1 * 6\"}\n", []string{`policy crm: check.schedule, "0 4 1 * 6", restricts both days`}},
		{"short blackout", "timezone: Asia/Shanghai", `timezone: Asia/Shanghai, blackout: [{from: "09:00", to: "18:00"}]`, nil},
		{"long blackout", "timezone: Asia/Shanghai", `timezone: Asia/Shanghai, blackout: [{from: "06:00", to: "23:00"}]`, []string{"policy crm: schedule.incremental: 70% of its times are in the blackout"}},
		{"blackout over the full", "timezone: Asia/Shanghai", `timezone: Asia/Shanghai, blackout: [{from: "01:00", to: "03:00", days: sun}]`, []string{"policy crm: schedule.full: 100% of its times are in the blackout"}},
		{"long jitter", "timezone: Asia/Shanghai", "timezone: Asia/Shanghai, jitter: 90m", []string{"policy crm: jitter of 90m is longer than the 1h between two times of schedule.incremental"}},
		{"jitter as long", "timezone: Asia/Shanghai", "timezone: Asia/Shanghai, jitter: 60m", nil},
		{"short lock", "for: 30d", "for: 7d", []string{"policy crm: object_lock of target cloud is 7d, shorter than pitr, 30d"}},
		{"long lock", "for: 30d", "for: 10y", []string{"policy crm: object_lock of target cloud is 10y, longer than anything is kept"}},
		{"nobody is told", "notify: ", "#", []string{"nobody is told of anything"}},
		{"inline", "https://hook.example.com/x", "https://hook.example.com/x?token=hush", []string{"lifeboat.yaml:19:20: a URL with its token in the file itself: write the token, or all of the URL, as ${NAME}"}},
	} {
		text := strings.Replace(soundPolicy, tt.old, tt.new, 1)
		if tt.old != "" && text == soundPolicy {
			t.Errorf("%s: nothing is changed", tt.name)
		}
		if strings.Contains(text, "[crm, up]") {
			text = strings.Replace(text, "targets:", "  up: {engine: files, paths: [/srv/up]}\ntargets:", 1)
		}
		got := warned(t, text)
		if !slices.EqualFunc(got, tt.want, strings.HasPrefix) {
			t.Errorf("%s:\n%s\nwant\n%s", tt.name, strings.Join(got, "\n"), strings.Join(tt.want, "\n"))
		}
	}
}

// TestNamelessZone warns of drills by a clock that nobody elsewhere can name, and of nothing else where there are none.
func TestNamelessZone(t *testing.T) {
	for _, tt := range []struct {
		text string
		zone *time.Location
		want int
	}{
		{soundPolicy, time.FixedZone(nameless, 8*3600), 1},
		{soundPolicy, time.UTC, 0},
		{strings.Replace(soundPolicy, `schedule: "0 4 * * 6", rto`, "rto", 1), time.FixedZone(nameless, 8*3600), 0},
	} {
		cfg, err := config.Parse("lifeboat.yaml", []byte(tt.text), func(string) (string, bool) { return "", false })
		if err != nil {
			t.Fatal(err)
		}
		cfg.Policies[0].Schedule.Zone = tt.zone
		got := 0
		for _, f := range warnings(cfg, nil, time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)) {
			if strings.Contains(f.String(), "which has no name: an auditor cannot tell when one was due: write a timezone") {
				got++
			}
		}
		if got != tt.want {
			t.Errorf("%s: %d warnings, want %d", tt.zone, got, tt.want)
		}
	}
}

func TestClassicWarning(t *testing.T) {
	pq, classic := crypto.Recipient{Class: crypto.PQ}, crypto.Recipient{Class: crypto.Classic}
	for _, tt := range []struct {
		recipients []crypto.Recipient
		want       int
	}{{[]crypto.Recipient{pq}, 0}, {[]crypto.Recipient{classic, pq}, 0}, {[]crypto.Recipient{classic, classic}, 1}} {
		if got := warned(t, soundPolicy, tt.recipients...); len(got) != tt.want || tt.want > 0 && !strings.HasPrefix(got[0], "all recipients are classic") {
			t.Errorf("%v: %q", tt.recipients, got)
		}
	}
}

// TestExposed warns of a file that others can read only where it holds a secret.
func TestExposed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lifeboat.yaml")
	inline := strings.Replace(soundPolicy, "backup@db", "backup:hush@db", 1)
	for _, tt := range []struct {
		text string
		mode os.FileMode
		want int
	}{{soundPolicy, 0o644, 0}, {inline, 0o600, 1}, {inline, 0o640, 2}} {
		if err := os.WriteFile(path, []byte(tt.text), tt.mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, tt.mode); err != nil {
			t.Fatal(err)
		}
		cfg, err := config.Load(path)
		if err != nil {
			t.Fatal(err)
		}
		got := exposed(cfg)
		if len(got) != tt.want || tt.want == 2 && got[1].String() != path+" holds a secret and can be read by others (mode 0640): put the secret into a file of its own, or let nobody but who runs lifeboat read "+path {
			t.Errorf("mode %o: %v", tt.mode, got)
		}
		for _, f := range got {
			if strings.Contains(f.String(), "hush") {
				t.Error("the secret shows: ", f)
			}
		}
	}
}

// TestMeanings says what policies mean.
func TestMeanings(t *testing.T) {
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	for _, tt := range []struct {
		old, new string
		want     string // all lines
	}{
		{"", "", `crm to all targets
full snapshots at 02:00 on Sundays, Asia/Shanghai, next Sun 2026-11-29 02:00 +08:00
increments at minute 15 of every hour, Asia/Shanghai, next Sun 2026-11-22 20:15 +08:00
the log is captured, so that any second of the last 30 days can be restored
every snapshot is kept for 30 days
after that one snapshot a day for 90 days, one a week for 26 weeks, one a month for 24 months and one a year for 7 years
at most 1 minute of work may be lost
at least 3 copies on 2 media, 1 offsite, 1 protected from deletion
its copies are checked once a week
drilled at 04:00 on Saturdays, next Sat 2026-11-28 04:00 +08:00
each drill restores and starts crm as of a random moment of the last 30 days, from disk, cloud and offsite in turn
a restore may take 4 hours
the restored database is asked 1 check of the policy's own, each for up to 1 minute`},
		{soundPolicy[strings.Index(soundPolicy, "    schedule"):], `    targets: [disk]
    drill: {canary: accepted}
    schedule: {incremental: "@daily", timezone: UTC, jitter: 10m, blackout: [{from: "08:00", to: "18:00", days: mon-fri}]}
    check: {schedule: "0 5 * * *"}
    retention: {weekly: 4w, minimum: 2d}
    copies: {offsite: 1}
    heartbeat: https://ping.example.com/
`, `crm to disk
increments at 00:00 every day, UTC, next Mon 2026-11-23 00:06 +00:00
up to 10 minutes later than on the dot, always by the same, so that not all policies run at once
nothing begins from 08:00 to 18:00 on Mondays to Fridays
no log is captured, so that only snapshots can be restored
every snapshot is kept for 2 days at least
after that one snapshot a week for 4 weeks
one a day is kept for 90 days all the same: that is the floor
at least 1 offsite
its copies are checked at 05:00 every day, next Mon 2026-11-23 05:00 +00:00
drilled by hand only: nothing proves by itself that it can be restored
right before each snapshot of crm a row is written to it, into lifeboat_canary, for drills to look for: nothing else is ever written there
a heartbeat is sent after each run that reached all of its targets, while no source of it fails`},
		{soundPolicy[strings.Index(soundPolicy, "targets:"):], `  shop: {engine: sqlite, path: shop.db}
  up: {engine: files, paths: [/srv/up]}
targets: {disk: {type: local, path: /backup/lifeboat}, tape: {type: local, path: /tape}}
policies:
  crm:
    sources: [crm, shop, up]
    schedule: {incremental: "@daily", timezone: UTC}
    logs: continuous
    drill: {schedule: "@weekly", mode: full, select: random, from: disk, identity_on_host: accepted, baseline: 30s, canary: accepted, time_limit: 5m,
            checks: [{name: a, sql: x, min: 1}, {name: b, sql: x, min: 1}]}
`, `crm, shop and up to all targets
increments at 00:00 every day, UTC, next Mon 2026-11-23 00:00 +00:00
the log of crm is captured, so that any second from then on can be restored
everything is kept for ever
its copies are checked once a week
drilled at 00:00 on Sundays, next Sun 2026-11-29 00:00 +00:00
each drill restores and starts crm and shop in turn as of a random moment, or snapshot where no log is captured, from disk, with up beside it
a restore may take 4 hours, as the policy says nothing else
the restored database is asked 2 checks of the policy's own, each for up to 5 minutes
with each snapshot tables are counted in production, for up to 30 seconds, to compare with
the backup host may have an identity, to drill with
right before each snapshot of crm or shop a row is written to it, into lifeboat_canary, for drills to look for: nothing else is ever written there`},
		{soundPolicy[strings.Index(soundPolicy, "    schedule"):], `    schedule: {incremental: "@daily", timezone: UTC}
    targets: [cloud]
    drill: {schedule: "@weekly", mode: tier1, rto: 1d, checks: [{name: a, sql: x, min: 1}]}
`, `crm to cloud
increments at 00:00 every day, UTC, next Mon 2026-11-23 00:00 +00:00
no log is captured, so that only snapshots can be restored
everything is kept for ever
its copies are checked once a week
drilled at 00:00 on Sundays, next Sun 2026-11-29 00:00 +00:00
each drill decrypts and hashes crm as of the newest point there is, from cloud, and starts nothing
a restore may take 1 day`},
		{soundPolicy[strings.Index(soundPolicy, "    schedule"):], "    logs: continuous\n", `crm to all targets
snapshots only by hand, by ` + "`lifeboat backup`" + `
the log is captured, so that any second from then on can be restored
everything is kept for ever
its copies are checked once a week
drilled by hand only: nothing proves by itself that it can be restored`},
	} {
		cfg, err := config.Parse("lifeboat.yaml", []byte(strings.Replace(soundPolicy, tt.old, tt.new, 1)), nil)
		if err != nil {
			t.Fatal(err)
		}
		m := meaning(cfg, cfg.Policies[0], now)
		if got := strings.Join(m.Means, "\n"); got != tt.want {
			t.Errorf("it means\n%s\nwant\n%s", got, tt.want)
		}
		if full := cfg.Policies[0].Schedule.Full; (m.NextFull != nil) != (full != nil) || full != nil && !m.NextFull.Equal(full.Next(now)) {
			t.Errorf("the next full is %v", m.NextFull)
		}
	}
}
