package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"lifeboat/internal/clock"
)

// demoIn runs the demo with a temporary directory of its own. at is called once, as soon as the output contains text.
func demoIn(ctx context.Context, t *testing.T, engine, text string, at func(dir string)) (code int, out, errs string) {
	t.Helper()
	temp := t.TempDir()
	for dir := temp; dir != "/" && dir != os.TempDir(); dir = filepath.Dir(dir) {
		if err := os.Chmod(dir, 0o755); err != nil { // for the user that runs the server
			t.Fatal(err)
		}
	}
	t.Setenv("TMPDIR", temp)
	t.Setenv("GORACE", "atexit_sleep_ms=0")
	t.Setenv("LIFEBOAT_CONFIG", filepath.Join(temp, "somebody-else's.yaml"))
	before, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	w := &watched{text: text, at: func() {
		dirs, err := filepath.Glob(filepath.Join(temp, "lifeboat-demo-*"))
		if err != nil || len(dirs) != 1 {
			t.Errorf("the demo's directories are %v: %v", dirs, err)
			return
		}
		at(dirs[0])
	}}
	var said bytes.Buffer
	code = (&app{in: strings.NewReader(""), out: w, err: &said, now: clock.System}).run(ctx, []string{"demo", "--size", "1MiB", "--engine", engine})
	t.Logf("%s%s", w, &said)
	if left, err := os.ReadDir(temp); err != nil || len(left) > 0 {
		t.Errorf("the demo left %v: %v", left, err)
	}
	if left := processesIn(t, temp); len(left) > 0 {
		t.Errorf("the demo left processes: %q", left)
	}
	if after, err := os.Getwd(); err != nil || after != before {
		t.Errorf("the working directory is %s, not %s: %v", after, before, err)
	}
	if got, want := os.Getenv("LIFEBOAT_CONFIG"), filepath.Join(temp, "somebody-else's.yaml"); got != want {
		t.Errorf("$LIFEBOAT_CONFIG is %s, not %s", got, want)
	}
	return code, w.String(), said.String()
}

// watched is output that calls at when text has come.
type watched struct {
	bytes.Buffer
	text string
	at   func()
}

func (w *watched) Write(b []byte) (int, error) {
	n, err := w.Buffer.Write(b)
	if w.text != "" && strings.Contains(w.String(), w.text) {
		w.text = ""
		w.at()
	}
	return n, err
}

// processesIn are the commands of processes that have to do with a directory.
func processesIn(t *testing.T, dir string) (out []string) {
	t.Helper()
	files, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if b, err := os.ReadFile(f); err == nil && bytes.Contains(b, []byte(dir)) {
			out = append(out, string(b))
		}
		if d, err := os.Readlink(filepath.Join(filepath.Dir(f), "cwd")); err == nil && strings.HasPrefix(d, dir) {
			out = append(out, f+" in "+d)
		}
	}
	return out
}

func TestDemo(t *testing.T) {
	demoSays(t, "sqlite", []string{
		`s2  full snapshot of crm`,
		`s6  incremental snapshot of crm`,
		`\(meanwhile the writer committed [1-9][0-9,]* transactions\)`,
		`rows deleted at .*; contacts left: 0`,
		`using s5, taken`,
		`restored/crm.db passes integrity_check and foreign_key_check`,
		`contacts +([1-9][0-9,]*) before the mistake, 0 after it, [1-9][0-9,]* restored`,
		`their SHA-256 +([0-9a-f]{16})... before, [0-9a-f]{16}... restored: equal`,
		`hash chain unbroken from transaction 1 to [1-9][0-9,]*`,
		`integrity_check and foreign_key_check find no fault`,
		`is removed`,
		"`lifeboat demo --engine postgres` plays",
	})
}

// The story on PostgreSQL ends with every transaction before the mistake.
func TestDemoPostgres(t *testing.T) {
	demoSays(t, "postgres", []string{
		`bin/initdb -D server/data`,
		`crm +PostgreSQL [0-9]+, .*, [1-9][0-9,]* contacts`,
		`dsn: "postgres://backup@/crm\?host=`,
		`\$ lifeboat stream crm 2> stream.log &`,
		`s2  full snapshot of crm`,
		`s6  incremental snapshot of crm`,
		`\(meanwhile the writer committed [1-9][0-9,]* transactions\)`,
		`crm=# DELETE FROM contact;\n +([1-9][0-9,]*) rows deleted at .*; contacts left: 0`,
		`lifeboat log show crm --since .*\n +TIME +XID .*\n(.* commit\n){7}`,
		`lifeboat restore crm --at xid:[0-9]+ --before --to restored --start`,
		`it runs: connect with (runuser -u postgres -- )?psql`,
		`contacts +([1-9][0-9,]*) before the mistake, 0 after it, [1-9][0-9,]* restored`,
		`their SHA-256 +([0-9a-f]{16})... before, [0-9a-f]{16}... restored: equal`,
		`hash chain unbroken from transaction 1 to [1-9][0-9,]*`,
		`was the last before the mistake: none is lost`,
		`log, so far +[0-9.]+ MiB +3 x`,
		`is removed`,
	})
}

// demoSays plays the story, which must succeed and say all that is wanted.
func demoSays(t *testing.T, engine string, wanted []string) {
	t.Helper()
	code, out, errs := demoIn(t.Context(), t, engine, "", nil)
	if code != exitDone || errs != "" {
		t.Errorf("exit code %d, and on standard error: %s", code, errs)
	}
	for _, want := range wanted {
		if !regexp.MustCompile(want).MatchString(out) {
			t.Errorf("the demo does not say %s", want)
		}
	}
	if n := strings.Count(out, "     whole\n"); n != len(demoCopies) {
		t.Errorf("%d copies are whole, not %d", n, len(demoCopies))
	}
}

// Each step that fails is named; here all copies are damaged just before the restore.
func TestDemoNamesWhatFailed(t *testing.T) {
	code, _, errs := demoIn(t.Context(), t, "sqlite", "5  The way back", func(dir string) {
		packs, err := filepath.Glob(filepath.Join(dir, "copies/*/packs/*/*"))
		if err != nil || len(packs) == 0 {
			t.Errorf("packs %v: %v", packs, err)
		}
		for _, pack := range packs {
			if err := os.Remove(pack); err != nil {
				t.Error(err)
			}
		}
	})
	if code != exitFailed || !strings.Contains(errs, `demo: step "The way back" failed: `+"`lifeboat restore crm") {
		t.Errorf("exit code %d: %s", code, errs)
	}
}

func TestDemoInterrupted(t *testing.T) {
	for i, at := range [][2]string{{"sqlite", "1  A CRM"}, {"sqlite", "s3  incremental"}, {"postgres", "pg_ctl start"}, {"postgres", "6  The proof"}} {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			ctx, stop := context.WithCancel(t.Context())
			defer stop()
			if code, _, errs := demoIn(ctx, t, at[0], at[1], func(string) { stop() }); code != exitInterrupted {
				t.Errorf("exit code %d: %s", code, errs)
			}
		})
	}
}

func readme(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	return regexp.MustCompile(`(?m)^> ?`).ReplaceAllString(string(b), "")
}

// The first thing to copy is two commands, one for each of the two things that somebody new wants.
func TestReadmeBegins(t *testing.T) {
	block := regexp.MustCompile("(?s)```sh\n(.*?)```").FindStringSubmatch(readme(t))
	if block == nil {
		t.Fatal("README.md shows no commands")
	}
	lines := strings.Split(strings.TrimSpace(block[1]), "\n")
	if len(lines) != 2 || !strings.HasPrefix(lines[0], "go run ./cmd/lifeboat demo ") || !strings.HasPrefix(lines[1], "make test ") {
		t.Errorf("README.md begins with %q", lines)
	}
}

// Every command line of README.md names a command, arguments and flags that there are.
func TestReadmeCommands(t *testing.T) {
	lines := regexp.MustCompile(`(?m)^\$ lifeboat (.*)$`).FindAllStringSubmatch(readme(t), -1)
	if len(lines) < 10 {
		t.Fatalf("README.md shows %d commands", len(lines))
	}
	for _, line := range lines {
		text, _, _ := strings.Cut(line[1], " >") // what the shell does with the output
		root := (&app{in: strings.NewReader(""), out: &bytes.Buffer{}, err: &bytes.Buffer{}, now: clock.System}).root()
		c, args, err := root.Find(strings.Fields(text))
		if err == nil && !c.Runnable() {
			t.Errorf("lifeboat %s: not a command", text)
		}
		if err == nil {
			err = c.ParseFlags(args)
		}
		if err == nil && c.Args != nil {
			err = c.Args(c, c.Flags().Args())
		}
		if err != nil {
			t.Errorf("lifeboat %s: %v", text, err)
		}
	}
}
