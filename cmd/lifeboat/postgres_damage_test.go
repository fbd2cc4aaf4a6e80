package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"lifeboat/internal/testenv"
)

// TestPostgresDamagedPage backs up a cluster with a page that its checksum does not fit: the snapshot is taken, and says so.
func TestPostgresDamagedPage(t *testing.T) {
	t.Parallel()
	x, pg := newCluster(t, testenv.PostgresBin)
	x.want(0, "backup", "crm")
	file := pg.Query("postgres", "SELECT pg_relation_filepath('pgbench_accounts')")[0][0]
	pg.Query("postgres", "CHECKPOINT")
	pg.Run("pg_ctl", "stop", "-D", pg.Dir, "-w", "-s", "-m", "fast")
	f, err := os.OpenFile(filepath.Join(pg.Dir, file), os.O_WRONLY, 0)
	x.must(err)
	_, err = f.WriteAt([]byte("damage"), 5*8192+4000)
	x.must(err)
	x.must(f.Close())
	pg.Start()
	s := x.want(3, "backup", "crm")
	if !strings.Contains(s.err, file) || !strings.Contains(s.err, "block 5") || !strings.HasPrefix(s.out, "s3 ") {
		t.Errorf("a damaged page: %s", s)
	}
	x.want(0, "check", "--identity", x.path("key"))
}
