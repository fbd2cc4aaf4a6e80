package main

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"lifeboat/evidence"
)

// TestDrillWithoutCopies drills while no copy can be opened: the report says so, is signed, waits for a copy that takes it, and proves itself in a bundle.
func TestDrillWithoutCopies(t *testing.T) {
	t.Parallel()
	x := newFixture(t, "disk", "second")
	disks := fmt.Sprintf("  disk: {type: local, path: %s}\n  second: {type: local, path: %s}\n", x.path("disk"), x.path("second"))
	configure := func(targets string) {
		x.configure("lifeboat.yaml", "state", targets)
		x.policy(fmt.Sprintf("policies:\n  crm: {sources: [crm], drill: {scratch: %s}}\n", x.path("scratch")))
	}
	configure(disks)
	x.want(0, "backup", "crm")
	x.want(0, "drill", "run", "crm", "--identity", x.path("key"))

	// Nobody listens there: it is not known whether anything could be restored.
	l, err := net.Listen("tcp", "127.0.0.1:0")
	x.must(err)
	x.must(l.Close())
	configure(fmt.Sprintf("  cloud: {type: s3, bucket: b, endpoint: \"http://%s\", access_key: k, secret_key: s}\n", l.Addr()))
	r := x.drilledAs(3)
	if r.Result != evidence.Inconclusive || !strings.Contains(fmt.Sprint(r.Errors), "open a copy: ") || r.Backup.Copy.Target != "" || len(r.Backup.Copies) != 1 || len(r.Trend) != 1 {
		t.Errorf("no copy answers: %s, %q, %+v", r.Result, r.Errors, r.Backup)
	}

	// Both journals are damaged from their beginning.
	configure(disks)
	aside := map[string][]byte{}
	for _, target := range []string{"disk", "second"} {
		for _, name := range x.objects(target) {
			if strings.HasPrefix(name, "journal/") {
				path := x.path(target, name)
				aside[path] = x.read(target, name)
				x.must(os.WriteFile(path, []byte("{}\n"), 0o600))
			}
		}
	}
	if r := x.drilledAs(3); r.Result != evidence.Fail || !strings.Contains(fmt.Sprint(r.Errors), "open a copy: disk: ") || !strings.Contains(fmt.Sprint(r.Errors), "second: ") {
		t.Errorf("no journal can be read: %s, %q", r.Result, r.Errors)
	}
	for path, b := range aside {
		x.must(os.WriteFile(path, b, 0o600))
	}

	if left, err := filepath.Glob(x.path("scratch", "*")); err != nil || len(left) > 0 {
		t.Errorf("it left %v, %v", left, err)
	}
	x.want(0, "copy")
	var rows []drillRow
	x.must(json.Unmarshal([]byte(x.want(0, "drill", "list", "--json").out), &rows))
	if len(rows) != 3 || rows[1].Result != "inconclusive" || rows[2].Result != "fail" || len(x.waiting()) > 0 {
		t.Errorf("%+v are recorded, %v wait", rows, x.waiting())
	}
	x.want(0, "drill", "run", "crm", "--identity", x.path("key"))
	x.want(0, "drill", "show", rows[1].Report, "--html", x.path("report.html"))
	x.want(0, "drill", "bundle", "-o", x.path("bundle.zip"))

	// Nor does this host know the journal.
	x.must(os.Rename(x.path("disk"), x.path("gone")))
	x.must(os.Rename(x.path("second"), x.path("gone2")))
	x.must(os.Remove(x.path("state", "catalog.db")))
	if s := x.want(1, "drill", "run", "crm", "--identity", x.path("key")); !strings.Contains(s.err, "no report is made of it") || !strings.Contains(s.err, "the next backup makes it anew") {
		t.Errorf("nothing is known to report by: %s", s)
	}
}
