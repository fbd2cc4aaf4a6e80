package config_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"lifeboat/config"
	"lifeboat/internal/bandwidth"
	"lifeboat/internal/calendar"
)

func lookup(name string) (string, bool) {
	env := map[string]string{"PGPASS": "s3cret", "S3HOST": "s3.example.com", "TOKEN": "t0ken", "PORT": "2022", "EMPTY": "",
		"YES": "true", "NEST": "${TOKEN}", "WRONG": "s3cret-but-wrong", "RATE": "1.5MiB/s"}
	v, ok := env[name]
	return v, ok
}

func TestParseEverythingDocumented(t *testing.T) {
	text, err := os.ReadFile("testdata/full.yaml")
	if err != nil {
		t.Fatal(err)
	}
	c, err := config.Parse("full.yaml", text, lookup)
	if err != nil {
		t.Fatal(err)
	}
	dur := func(n int, unit string) calendar.Duration { return calendar.Duration{N: n, Unit: unit} }
	shanghai, err := time.LoadLocation("Asia/Shanghai")
	if err != nil {
		t.Fatal(err)
	}
	cron := func(s string) *calendar.Cron {
		c, err := calendar.ParseCron(s)
		if err != nil {
			t.Fatal(err)
		}
		return c.In(shanghai)
	}
	number := func(f float64) *float64 { return &f }
	yes, no := true, false
	want := &config.Config{
		Repository: "crm-prod",
		StateDir:   "/var/lib/lifeboat",
		Keys:       config.Keys{Recipients: []string{"age1pq1first", "age1second"}},
		Sources: []config.Source{
			{Name: "crm", Engine: config.Postgres, Owner: "crm-ops@example.com", PasswordFile: "/etc/lifeboat/pg",
				DSN: "postgres://backup:s3cret@db.internal:5432/crm"},
			{Name: "shop", Engine: config.MySQL, DSN: "mysql://backup@shop.internal/shop"},
			{Name: "demo", Engine: config.SQLite, Path: "/srv/crm/crm.db"},
			{Name: "crm-files", Engine: config.Files, Paths: []string{"/srv/crm/uploads", "/srv/crm/config.php"}},
		},
		Targets: []config.Target{
			{Name: "disk", Type: config.Local, Media: "disk", Path: "/backup/lifeboat"},
			{Name: "cloud", Type: config.S3, Media: "object", Endpoint: "https://s3.example.com", Region: "eu-west-1",
				Bucket: "crm-backup", Prefix: "prod", ObjectLock: config.ObjectLock{Mode: "compliance", For: dur(30, "d")}},
			{Name: "vault", Type: config.S3, Bucket: "crm-vault", AccessKey: "AKIA1", SecretKey: "t0ken", PathStyle: &yes, CAFile: "/etc/ca.pem",
				SSE: "aws:kms", SSEKMSKey: "alias/crm"},
			{Name: "office", Type: config.S3, Bucket: "crm-office", AccessKey: "AKIA2", SecretKeyFile: "/etc/secret", SSE: "AES256", PathStyle: &no,
				Bandwidth: bandwidth.Always(20_000_000)},
			{Name: "archive", Type: config.S3, Bucket: "crm-archive", Profile: "backup"},
			{Name: "offsite", Type: config.SFTP, Media: "tape", Offsite: true, Host: "vault.example.com", Port: 22,
				User: "lifeboat", KeyFile: "/etc/key", KnownHosts: "/etc/known", Path: "/srv/lifeboat",
				Bandwidth: bandwidth.Schedule{Zone: shanghai, Windows: []bandwidth.Window{
					{Window: calendar.Window{Days: calendar.Days{false, true, true, true, true, true, false}, From: 8 * 60, To: 20 * 60}, Rate: 5_000_000},
					{Window: calendar.Window{Days: calendar.Days{1: true, 5: true}, From: 20 * 60, To: 24 * 60}, Rate: 3 << 19}}}},
		},
		Policies: []config.Policy{{
			Name: "crm", Sources: []string{"crm", "crm-files"}, Logs: "continuous", RPO: dur(1, "m"),
			Schedule: config.Schedule{Full: cron("0 2 * * 0"), Incremental: cron("15 * * * *"), Zone: shanghai, Jitter: dur(5, "m"),
				Blackout: []calendar.Window{{Days: calendar.Days{1: true, 2: true, 3: true, 4: true, 5: true}, From: 9 * 60, To: 10 * 60}}},
			Check:   cron("0 5 * * 0"),
			Targets: []string{"disk", "cloud", "offsite"},
			Retention: config.Retention{PITR: dur(30, "d"), Daily: dur(90, "d"), Weekly: dur(26, "w"), Monthly: dur(24, "mo"), Yearly: dur(7, "y"),
				Minimum: dur(2, "d"), AllowBelow90d: "a test"},
			Copies:    config.Copies{Count: 3, Media: 2, Offsite: 1},
			Heartbeat: "https://ping.example.com/t0ken",
			Drill: config.Drill{Schedule: cron("0 4 * * 6"), RTO: dur(4, "h"), Select: "random", Window: dur(30, "d"), From: "rotate",
				Mode: "full", Source: "crm", Scratch: "/srv/drills", IdentityAccepted: true, CanaryAccepted: true, Baseline: dur(30, "s"), TimeLimit: dur(5, "m"),
				Checks: []config.Check{
					{Name: "customers", SQL: "select count(*) from customer where cost > '$5'", Min: number(1), Severity: "critical"},
					{Name: "open orders", SQL: "select 1;", Min: number(-1), Max: number(2.5), Severity: "critical"},
					{Name: "version", SQL: "select v", Equals: &config.Value{Text: "7"}, Severity: "warning"},
					{Name: "currency", SQL: "select ';'", Equals: &config.Value{Text: "5.00", Number: true}, Severity: "critical"},
					{Name: "mail", SQL: "select m", Matches: "^.+@.+$", Severity: "critical"},
					{Name: "sum", SQL: "select s", Within: 0.025, Severity: "critical"}}},
		}},
		Notify: []config.Notify{{Kind: "webhook", URL: "https://hook.example.com/t0ken"}, {Kind: "smtp", URL: "smtp://lifeboat@mail.example.com:587", From: "lifeboat@example.com",
			To: []string{"ops@example.com", "crm@example.com"}, PasswordFile: "/etc/lifeboat/smtp"}, {Kind: "smtp", URL: "smtps://u:s3cret@mail.example.com", To: []string{"boss@example.com"}},
			{Kind: "dingtalk", URL: "https://d.example.com", SecretFile: "/etc/lifeboat/ding"}, {Kind: "wecom", URL: "https://w.example.com"}},
		Daemon: config.Daemon{Listen: "127.0.0.1:9464"},
	}
	if !reflect.DeepEqual(c, want) {
		got, _ := json.MarshalIndent(c, "", " ")
		t.Errorf("parsed %s", got)
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		if s := fmt.Sprintf(verb, *c); strings.Contains(s, "s3cret") || strings.Contains(s, "t0ken") ||
			strings.Contains(s, fmt.Sprintf("%x", "s3cret")) {
			t.Errorf("%s shows a secret: %s", verb, s)
		}
	}
	var log strings.Builder
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "config", c, "dsn", c.Sources[0].DSN, "hook", c.Notify[0].URL)
	if s := log.String(); strings.Contains(s, "s3cret") || strings.Contains(s, "t0ken") || !strings.Contains(s, "postgres://backup@db.internal:5432/crm") {
		t.Errorf("logged %s", s)
	}
}

// minimal is a valid file with room for more of a section, to be filled by the tests.
const minimal = `repository: r
state_dir: /s
keys: {recipients_file: /r}
targets:
  disk: {type: local, path: /b}
`

func TestProblems(t *testing.T) {
	tests := []struct {
		name, text string
		want       []string // each a whole problem but the file name
	}{
		{"nothing", "", []string{" nothing in it: see the example in the documentation"}},
		{"only a list", "- a\n", []string{"1:1: wrong type: want keys with values: write KEY: VALUE, one a line"}},
		{"all at once", "repository: Bad\nstate_dri: /s\ntargets:\n  disk: {type: locl, pth: x}\n", []string{
			`1:1: no "state_dir" at the top level: it is required`,
			`1:1: no "keys" at the top level: it is required`,
			`1:13: name "Bad": a name is lower-case letters, digits and dashes, begins with a letter or a digit and has at most 64 of them`,
			`2:1: unknown key "state_dri" at the top level: did you mean "state_dir"?`,
			`4:16: unknown value "locl": did you mean "local"?`,
			`4:22: unknown key "pth" of a target: did you mean "path"?`}},
		{"far from any key", minimal + "zzzzzzzzz: 1\n", []string{
			`6:1: unknown key "zzzzzzzzz" at the top level: known are daemon, keys, notify, policies, repository, sources, state_dir, targets`}},
		{"duplicate key", minimal + "state_dir: /t\n", []string{`6:1: key "state_dir" for the second time: the first is on line 2`}},
		{"duplicate name", minimal + "sources:\n  a: {engine: sqlite, path: x}\n  a: {engine: sqlite, path: y}\n",
			[]string{`8:3: key "a" for the second time: the first is on line 7`}},
		{"tab", "a:\n\tb: 1\n  \tc: 2\n", []string{
			"2:1: a tab in the indentation: indent with spaces", "3:3: a tab in the indentation: indent with spaces"}},
		{"not closed", "repository: \"r\nstate_dir: /s\n", []string{"1:13: not YAML: could not find end character of double-quoted text"}},
		{"unquoted variable in braces", "targets:\n  disk: {path: ${X}, type: local}\n", []string{
			`2:17: not YAML: ',' or '}' must be specified: inside { } and [ ], a value with a variable needs quotes: "${NAME}"`}},
		{"second document", minimal + "---\na: 1\n", []string{"7:2: a second document: a configuration is one document; remove the ---"}},
		{"engine's own keys", minimal + "sources:\n  a: {engine: sqlite}\n  b: {engine: postgres, path: x}\n  c: {engine: files, paths: []}\n  d: {path: x}\n", []string{
			`7:6: no "path" of a sqlite source: it is required`,
			`8:6: no "dsn" of a postgres source: it is required`,
			`8:25: unknown key "path" of a postgres source: known are dsn, engine, owner, password_file`,
			`9:29: an empty list: leave the key out, or name something`,
			`10:6: no "engine" of a source: it is required`}},
		{"secrets in an endpoint", "repository: r\nstate_dir: /s\nkeys: {recipients_file: /r}\ntargets:\n  a: {type: s3, bucket: b, endpoint: \"https://u:hush@h\"}\n  b: {type: s3, bucket: b, endpoint: \"https://h/?token=hush\"}\n", []string{
			`5:38: a user or an option in an endpoint: write https://HOST alone, and the keys as access_key and secret_key_file`,
			`6:38: a user or an option in an endpoint: write https://HOST alone, and the keys as access_key and secret_key_file`}},
		{"target's own keys", "repository: r\nstate_dir: /s\nkeys: {recipients_file: /r}\ntargets:\n  a: {type: s3}\n  b: {type: sftp}\n  c: {type: local}\n", []string{
			`5:6: no "bucket" of an s3 target: it is required`,
			`6:6: no "host" of an sftp target: it is required`,
			`6:6: no "path" of an sftp target: it is required`,
			`7:6: no "path" of a local target: it is required`}},
		{"s3 credentials", "repository: r\nstate_dir: /s\nkeys: {recipients_file: /r}\ntargets:\n" +
			"  a: {type: s3, bucket: b, access_key: k}\n  b: {type: s3, bucket: b, secret_key: k}\n" +
			"  c: {type: s3, bucket: b, access_key: k, secret_key: k, secret_key_file: f}\n" +
			"  d: {type: s3, bucket: b, access_key: k, secret_key: k, profile: p}\n" +
			"  e: {type: s3, bucket: b, sse_kms_key: k, path_style: often}\n  f: {type: s3, bucket: b, sse: kms}\n", []string{
			`5:6: access_key and its secret go together: give access_key with secret_key_file, or neither`,
			`6:6: access_key and its secret go together: give access_key with secret_key_file, or neither`,
			`7:6: both secret_key and secret_key_file: keep one of them`,
			`8:6: both access_key and profile: keep one of them`,
			`9:6: sse_kms_key without sse: add sse: aws:kms`,
			`9:56: wrong type: want true or false`,
			`10:33: unknown value "kms": known are AES256, aws:kms`}},
		{"bandwidth", minimal + "  a: {type: sftp, host: h, path: p, bandwidth: 0MB/s, timezone: UTC}\n  b: {type: s3, bucket: b, bandwidth: 5, timezone: Mars/Olympus}\n" +
			"  c: {type: local, path: p, bandwidth: 5MB/s}\n  d:\n    type: s3\n    bucket: b\n    bandwidth:\n" +
			"      - {from: \"22:00\", to: \"06:00\", rate: 1MB/s, days: mon-fri}\n      - {from: \"05:59\", rate: 20Mb/s}\n" +
			"      - {from: \"05:59\", rate: 2MB/s, days: sat}\n      - {from: 06:00, to: 06:00, rate: 2MB/s}\n      - {form: 25:00, to: 8, days: [sun, funday]}\n" +
			"  e: {type: s3, bucket: b, bandwidth: []}\n", []string{
			`6:6: timezone without windows of bandwidth: take it out, or write bandwidth as a list of windows`,
			`6:48: "0MB/s" is too slow for any copy to be made: write 10kB/s or more, or leave it out for no limit`,
			`7:39: a rate without a unit: write bytes a second, like 5MB/s or 800kB/s; 8 Mbit/s are 1MB/s`,
			`7:52: "Mars/Olympus" is not a time zone: write a name of the IANA database, such as Asia/Shanghai or UTC`,
			`8:29: unknown key "bandwidth" of a local target: known are media, offsite, path, type`,
			`14:31: "20Mb/s" is not a rate: write bytes a second, like 5MB/s or 800kB/s; 8 Mbit/s are 1MB/s`,
			`15:9: a window that overlaps that on line 13, on sat 05:59: let each window end where the next one begins; outside of all windows there is no limit`,
			`16:9: a window that ends where it begins: leave from and to out for whole days, or write one from "20:00" to "08:00" for a night`,
			`17:9: no "rate" of a window of bandwidth: it is required`,
			`17:10: unknown key "form" of a window of bandwidth: did you mean "from"?`,
			`17:27: wrong type: want a time of day: put it in quotes`,
			`17:42: "funday" is not a day: write mon, mon-fri or [sat, sun], with mon tue wed thu fri sat sun`,
			`18:39: an empty list: leave the key out, or name something`}},
		{"types", minimal + "sources:\n  a: {engine: sqlite, path: 5, owner: [x]}\n  b:\n  c: {engine: files, paths: /x}\n", []string{
			"7:29: wrong type: want a text: put it in quotes",
			"7:39: wrong type: want a text",
			"8:5: no value: want keys with values, or leave the key out",
			"9:29: wrong type: want a list of texts: write [A, B], or a line with a dash for each"}},
		{"keys", "repository: r\nstate_dir: /s\ntargets: {d: {type: local, path: /b}}\nkeys: {recipients: [a], recipients_file: b}\n",
			[]string{"4:7: both recipients and recipients_file: keep one of them"}},
		{"no keys", "repository: r\nstate_dir: /s\ntargets: {d: {type: local, path: /b}}\nkeys: {}\n",
			[]string{"4:7: neither recipients nor recipients_file: name who can restore; lifeboat keygen makes a recipient"}},
		{"sftp port", minimal + "  off: {type: sftp, host: h, path: p, port: 70000, offsite: maybe}\n", []string{
			"6:45: not a whole number from 1 to 65535", "6:61: wrong type: want true or false"}},
		{"names", minimal + "sources:\n  -a: {engine: sqlite, path: x}\n  " + strings.Repeat("a", 65) + ": {engine: sqlite, path: x}\n", []string{
			`7:3: name "-a": a name is lower-case letters, digits and dashes, begins with a letter or a digit and has at most 64 of them`,
			`8:3: name "` + strings.Repeat("a", 64) + `…": a name is lower-case letters, digits and dashes, begins with a letter or a digit and has at most 64 of them`}},
		{"undefined and lone", minimal + "sources:\n  a: {engine: sqlite, path: \"${NOPE}/$x\"}\n  b: {engine: sqlite, path: \"${EMPTY}\"}\n", []string{
			`7:29: ${NOPE} is not set: set it in the environment, or write $$ for a dollar`,
			`7:29: a lone dollar sign: write $$ for a dollar, ${NAME} for a variable of the environment`,
			`8:29: empty: give a value`}},
		{"values from the environment are not shown", minimal + "sources:\n  a: {engine: \"${WRONG}\"}\n", []string{
			`7:15: unknown value "${WRONG}": known are postgres, mysql, sqlite, files`}},
		{"schedules", minimal + "sources:\n  a: {engine: sqlite, path: x}\n  b: {engine: sqlite, path: y}\npolicies:\n" +
			"  p: {sources: [a], schedule: {full: '61 * * * *', incremental: '0 0 30 2 *', timezone: Mars/Olympus}}\n" +
			"  q: {sources: [b, a], schedule: {timezone: UTC}, check: {schedule: never}, retention: {allow_below_90d: x}}\n", []string{
			`10:38: "61 * * * *" is not a schedule: write five fields, minute hour day month weekday, such as "15 * * * *", or @hourly, @daily, @weekly, @monthly, @yearly`,
			`10:65: "0 0 30 2 *" never comes: look at the day and the month`,
			`10:89: "Mars/Olympus" is not a time zone: write a name of the IANA database, such as Asia/Shanghai or UTC`,
			`11:16: source "a" is in policy "p" already: a source has one policy: take it out of one of them`,
			`11:34: neither full nor incremental: say when snapshots are taken, such as incremental: "15 * * * *"`,
			`11:69: "never" is not a schedule: write five fields, minute hour day month weekday, such as "15 * * * *", or @hourly, @daily, @weekly, @monthly, @yearly`,
			`11:88: retention that keeps nothing: say for how long, such as daily: 90d; without retention everything is kept`}},
		{"jitter and blackout", minimal + "sources:\n  a: {engine: sqlite, path: x}\npolicies:\n" +
			"  p: {sources: [a], schedule: {full: '@daily', jitter: 25h, blackout: [{days: mon}, {from: '08:00', to: '08:00'}]}}\n" +
			"  q: {sources: [a], schedule: {full: '@daily', jitter: 25h, blackout: [{days: mon-fri}, {days: sat-sun}]}}\ndaemon: {listen: ':9'}\n", []string{
			`9:85: a window that ends where it begins: leave from and to out for whole days, or write one from "20:00" to "08:00" for a night`,
			`10:16: source "a" is in policy "p" already: a source has one policy: take it out of one of them`,
			`10:71: a blackout that never ends: write windows such as {from: "08:00", to: "18:00", days: mon-fri}`,
			`11:18: not HOST:PORT: write 127.0.0.1:9464, or 0.0.0.0:9464 for everybody who reaches this host`}},
		{"references", minimal + "sources:\n  crm: {engine: sqlite, path: x}\npolicies:\n  p: {sources: [cmr, crm, crm], targets: [dsk], rpo: 5, retention: {daily: 3x}, logs: hourly, drill: {from: elsewhere}}\n", []string{
			`9:17: no source is called "cmr": did you mean "crm"?`,
			`9:27: source "crm" for the second time: name it once`,
			`9:43: no target is called "dsk": did you mean "disk"?`,
			`9:54: a duration without a unit: write 30d, or with another of s, m, h, w, mo and y`,
			`9:76: "3x" is not a duration: write a number and a unit of s, m, h, d, w, mo or y, up to 100y`,
			`9:87: unknown value "hourly": known are continuous`,
			`9:109: no target of this policy is called "elsewhere": known are rotate, disk`}},
		{"cyclic", "a: &x\n  b: *x\nc: *nope\n", []string{
			"2:6: alias *x inside what it stands for: a value cannot contain itself",
			"3:4: alias *nope of an anchor that is not there: put &nope before what it stands for, above"}},
		{"merge and tag", minimal + "sources:\n  a: &a {engine: sqlite, path: x}\n  b: {<<: *a}\n  c: {engine: sqlite, path: !!str 5}\n", []string{
			`8:6: no "engine" of a source: it is required`,
			"8:7: a merge key: write the keys out, or use an alias for the whole value",
			"9:29: a tag: write the value without !!str"}},
		{"notify", minimal + "notify: [{webhook: ftp://x}, {webhok: x}, {}, {webhook: https://a, wecom: https://b}, {to: [a@b.c]}]\n", []string{
			"6:20: not an http or https URL: write https://HOST/...",
			`6:31: unknown key "webhok" of notify: did you mean "webhook"?`,
			"6:43: no place to notify: write one of dingtalk, smtp, webhook, wecom, with its URL",
			"6:47: webhook and wecom in one: write a line for each place to notify",
			"6:87: no place to notify: write one of dingtalk, smtp, webhook, wecom, with its URL"}},
		{"notify by mail", minimal + "notify:\n  - {smtp: smtp://h}\n  - {smtp: mail.example.com, to: [ops@example.com]}\n  - {smtp: \"smtp://h?tls=off\", to: [ops, Ops <ops@example.com>, o@x.y, o@x.y]}\n" +
			"  - {smtp: \"smtps://h?tls=none\", to: [o@x.y]}\n  - {smtp: \"smtp://u:hush@h\", to: [o@x.y], password_file: f}\n  - {smtp: smtp://h, to: [o@x.y], password_file: f}\n" +
			"  - {smtp: \"smtp://h/path\", from: x, to: []}\n  - {webhook: https://h, to: [o@x.y]}\n  - {wecom: https://h, secret_file: f}\n", []string{
			`7:5: no "to" of notify by smtp: it is required`,
			`8:12: not an smtp or smtps URL: write smtp://USER@HOST:587, or smtps://USER@HOST:465`,
			`9:12: an option that smtp does not have: smtp:// takes ?tls=none or ?tls=starttls, and smtps:// nothing`,
			`9:37: not a mail address: write it like ops@example.com`,
			`9:42: not a mail address: write it like ops@example.com`,
			`9:72: address "o@x.y" for the second time: name it once`,
			`10:12: an option that smtp does not have: smtp:// takes ?tls=none or ?tls=starttls, and smtps:// nothing`,
			`11:5: both password_file and a password in the URL: keep one of them`,
			`12:5: password_file without a user: write the user into the URL: smtp://USER@HOST:587`,
			`13:12: not an smtp or smtps URL: write smtp://USER@HOST:587, or smtps://USER@HOST:465`,
			`13:35: not a mail address: write it like ops@example.com`,
			`13:42: an empty list: leave the key out, or name something`,
			`14:26: unknown key "to" of notify by webhook: known are webhook`,
			`15:24: unknown key "secret_file" of notify by wecom: known are wecom`}},
		{"heartbeat", minimal + "sources:\n  crm: {engine: sqlite, path: x}\npolicies:\n  p: {sources: [crm], heartbeat: \"${WRONG}\"}\n", []string{
			`9:34: not an http or https URL: write https://HOST/...`}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := config.Parse("f", []byte(tt.text), lookup)
			problems, ok := errors.AsType[config.Problems](err)
			if !ok {
				t.Fatalf("error is %v, want Problems", err)
			}
			var got []string
			for _, p := range problems {
				got = append(got, strings.TrimPrefix(p.Error(), "f:"))
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(tt.want, "\n"))
			}
		})
	}
}

func TestAliasesAndVariables(t *testing.T) {
	c, err := config.Parse("f", []byte(minimal+`  two: {type: sftp, host: &h "${NEST}", path: *h, port: "${PORT}", offsite: "${YES}"}
sources:
  a: &a {engine: sqlite, path: "$$${PGPASS}$$"}
  b: *a
  c:
    engine: sqlite
    path: |-
      x${PORT}
`), lookup)
	if err != nil {
		t.Fatal(err)
	}
	two, _ := c.Target("two")
	if two.Host != "${TOKEN}" || two.Path != "${TOKEN}" || two.Port != 2022 || !two.Offsite {
		t.Errorf("target is %+v", two)
	}
	b, ok := c.Source("b")
	if !ok || b.Path != "$s3cret$" || b.Name != "b" {
		t.Errorf("source is %+v", b)
	}
	if c, _ := c.Source("c"); c.Path != "x2022" {
		t.Errorf("source is %+v", c)
	}
	if _, ok := c.Source("nope"); ok {
		t.Error("found a source that is not there")
	}
}
