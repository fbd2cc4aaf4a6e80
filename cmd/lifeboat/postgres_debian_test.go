package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"lifeboat/internal/testenv"
)

// TestDebianCluster backs up a cluster as Debian's tools make one, with its configuration outside of the data directory, and starts
// it beside the running original, which does not notice. What is restored can be backed up in turn.
func TestDebianCluster(t *testing.T) {
	t.Parallel()
	x, pg := newCluster(t, testenv.PostgresBin)
	pg.Run("pg_ctl", "stop", "-D", pg.Dir, "-w", "-s", "-m", "fast")
	data, etc := debianCluster(t, pg)
	pg.Query("postgres", "CREATE ROLE backup REPLICATION LOGIN")
	space := filepath.Join(pg.Base, "fast")
	x.must(os.Mkdir(space, 0o700))
	x.must(os.Chown(space, ownerOf(t, data), -1))
	pg.Query("postgres", fmt.Sprintf("CREATE TABLESPACE fast LOCATION '%s'", space))
	pg.Query("postgres", "CREATE TABLE account TABLESPACE fast AS SELECT g FROM generate_series(1, 1000) g")

	x.want(0, "backup", "crm")
	pg.Query("postgres", "GRANT pg_read_all_settings, pg_read_server_files TO backup; GRANT EXECUTE ON FUNCTION pg_read_file(text, bigint, bigint) TO backup")
	x.want(0, "backup", "crm")
	before := pg.Query("postgres", "SELECT pg_postmaster_start_time(), (SELECT count(*) FROM account)")

	dir, _ := x.boot(pg, "--at", "snapshot:s2") // its role could read nothing
	if _, err := os.Stat(filepath.Join(dir, "lifeboat/files", etc)); err == nil {
		t.Error("files came back that could not be read")
	}
	dir, query := x.boot(pg)
	if n := query("SELECT count(*) FROM account")[0][0]; n != "1000" {
		t.Errorf("%s rows came back", n)
	}
	for setting, want := range map[string]string{"data_directory": dir, "config_file": dir + "/postgresql.conf", "hba_file": dir + "/pg_hba.conf", "listen_addresses": "", "archive_mode": "off"} {
		if got := query("SHOW " + setting)[0][0]; got != want {
			t.Errorf("%s is %q, not %q", setting, got, want)
		}
	}
	for _, name := range []string{"postgresql.conf", "pg_hba.conf", "conf.d/crm.conf"} {
		want, err := os.ReadFile(filepath.Join(etc, name))
		x.must(err)
		if got, err := os.ReadFile(filepath.Join(dir, "lifeboat/files", etc, name)); err != nil || string(got) != string(want) {
			t.Errorf("%s: %v, %d bytes of %d", name, err, len(got), len(want))
		}
	}
	settings, err := os.ReadFile(filepath.Join(dir, "lifeboat/settings.conf"))
	if err != nil || !strings.Contains(string(settings), "\nwork_mem = '7MB'\n") {
		t.Errorf("settings: %v: %s", err, settings)
	}
	if after := pg.Query("postgres", "SELECT pg_postmaster_start_time(), (SELECT count(*) FROM account)"); fmt.Sprint(after) != fmt.Sprint(before) {
		t.Errorf("the original noticed: %v, not %v", after, before)
	}

	x.must(os.WriteFile(x.path("lifeboat.yaml"), []byte(strings.ReplaceAll(string(x.read("lifeboat.yaml")), pg.DSN("backup", "postgres"),
		fmt.Sprintf("host=%s port=%s user=postgres dbname=postgres", dir, query("SHOW port")[0][0]))), 0o600))
	x.want(0, "backup", "crm")
	_, query = x.boot(pg)
	if n := query("SELECT count(*) FROM account")[0][0]; n != "1000" {
		t.Errorf("%s rows came back the second time", n)
	}
}

// debianCluster replaces the cluster of pg by one that pg_createcluster makes and starts it on the same port.
func debianCluster(t *testing.T, pg *testenv.Postgres) (data, etc string) {
	t.Helper()
	root, data := filepath.Join(pg.Base, "etc"), filepath.Join(pg.Base, "debian")
	cmd := exec.CommandContext(t.Context(), "pg_createcluster", "--port", fmt.Sprint(pg.Port), "--datadir", data, "--socketdir", pg.Base, "--logfile", filepath.Join(pg.Base, "debian.log"),
		"--locale", "C.UTF-8", "15", "crm", "--", "--auth", "trust", "--data-checksums")
	cmd.Env = append(os.Environ(), "PG_CLUSTER_CONF_ROOT="+root)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	etc = filepath.Join(root, "15", "crm")
	if err := os.WriteFile(filepath.Join(etc, "conf.d", "crm.conf"), []byte("work_mem = 7MB\nssl = off\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	pg.Run("pg_ctl", "start", "-D", data, "-w", "-s", "-l", filepath.Join(pg.Base, "log"), "-o", "-c config_file="+filepath.Join(etc, "postgresql.conf"))
	t.Cleanup(func() { testenv.StopPostgres(t, pg.Bin, data) })
	return data, etc
}
