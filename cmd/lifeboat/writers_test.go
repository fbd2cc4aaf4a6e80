package main

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"testing"
)

// TestTwoHosts clones a backup host, and each of the two reaches another copy only: both commit the same numbers. Once they see each other's
// copy both are refused and told what to do; what each committed restores, until one of them is made the writer and after that.
func TestTwoHosts(t *testing.T) {
	x := newFixture(t, "disk", "usb")
	x.want(0, "backup", "crm")
	x.must(copyDir(x.path("state"), x.path("twin")))
	x.must(os.Chmod(x.path("twin", "secrets.json"), 0o600))
	targets := func(disk, usb string) string {
		return fmt.Sprintf("  disk: {type: local, path: %s}\n  usb: {type: local, path: %s}\n", x.path(disk), x.path(usb))
	}
	x.configure("one.yaml", "state", targets("disk", "unplugged"))
	x.configure("other.yaml", "twin", targets("unplugged", "usb"))
	x.configure("twin.yaml", "twin", targets("disk", "usb"))
	committed := map[string][]byte{}
	for i, file := range []string{"one.yaml", "other.yaml"} {
		for _, id := range []string{"s3 ", "s4 "} {
			x.must(churnRows(t.Context(), x.path("crm.db"), uint64(i), 20))
			if s := x.want(3, "-c", x.path(file), "backup", "crm"); !strings.HasPrefix(s.out, id) {
				t.Fatalf("%s: %s", file, s)
			}
		}
		committed[[]string{"disk", "usb"}[i]] = x.database()
	}
	restores := func() {
		t.Helper()
		for name, want := range committed {
			if !bytes.Equal(x.restored("--from", "file://"+x.path(name)), want) {
				t.Errorf("%s does not restore what was committed there", name)
			}
		}
	}
	for _, file := range []string{"lifeboat.yaml", "twin.yaml"} {
		for _, args := range [][]string{{"backup", "crm"}, {"copy"}, {"forget", "s2", "--yes"}} {
			s := x.want(4, append([]string{"-c", x.path(file)}, args...)...)
			if !strings.Contains(s.err, "another host writes to this repository") || !strings.Contains(s.err, "stop the other host; `lifeboat init --take-over --identity FILE`") {
				t.Errorf("%s %v: %s", file, args, s)
			}
		}
		if s := x.want(3, "-c", x.path(file), "heal"); !strings.Contains(s.err, "its journal is not that of the other copies") {
			t.Errorf("%s heal: %s", file, s)
		}
	}
	restores()
	if s := x.want(4, "init", "--take-over", "--identity", x.path("key")); !strings.Contains(s.err, "target usb") || !strings.Contains(s.err, "move the copy away that is not the right one") {
		t.Errorf("a take-over while there are two journals: %s", s)
	}
	x.must(os.Rename(x.path("usb"), x.path("aside")))
	committed["aside"] = committed["usb"]
	delete(committed, "usb")
	x.configure("lifeboat.yaml", "state", fmt.Sprintf("  disk: {type: local, path: %s}\n", x.path("disk")))
	x.want(0, "init", "--take-over", "--identity", x.path("key"))
	x.configure("lifeboat.yaml", "state", targets("disk", "usb"))
	x.want(0, "init", "--identity", x.path("key"), "--yes")
	x.want(0, "backup", "crm")
	if !bytes.Equal(x.restored("--at", "snapshot:s4"), committed["disk"]) || !bytes.Equal(x.restored("--from", "file://"+x.path("aside")), committed["aside"]) {
		t.Error("what was committed before the take-over does not restore")
	}
	x.want(4, "-c", x.path("twin.yaml"), "backup", "crm")
	x.want(0, "check", "--identity", x.path("key"))
}

// TestCutBack takes the newest records from every copy, as somebody does who wants a snapshot forgotten, and puts older ones in their place.
// The backup host notices, and remembers its journal: as the objects stand, nothing that was committed is lost.
func TestCutBack(t *testing.T) {
	for what, replay := range map[string]bool{"removed": false, "replayed": true} {
		t.Run(what, func(t *testing.T) {
			x := newFixture(t, "disk", "usb")
			x.want(0, "backup", "crm")
			x.must(churnRows(t.Context(), x.path("crm.db"), 1, 20))
			x.want(0, "backup", "crm")
			second := x.database()
			x.must(churnRows(t.Context(), x.path("crm.db"), 2, 20))
			x.want(0, "backup", "crm")
			for _, name := range []string{"disk", "usb"} {
				var body []byte
				if replay {
					body = x.read(name, "journal/writer/000000000002")
				}
				x.put(body, name, "journal/writer/000000000003")
				x.put(body, name, "journal/writer/000000000004")
			}
			x.want(3, "check")
			x.want(3, "status")
			if s := x.want(0, "restore", "crm", "--identity", x.path("key"), "--to", x.path("out")); !strings.Contains(s.err, "ends with record 2, and this host knows 4: what is newest is missing") {
				t.Errorf("a restore: %s", s)
			}
			if replay {
				if s := x.run("backup", "crm"); s.code == 0 || !strings.Contains(s.err, "`lifeboat heal` repairs it") {
					t.Errorf("a backup: %s", s)
				}
				x.want(0, "heal")
			}
			x.want(0, "backup", "crm")
			if !bytes.Equal(x.restored("--at", "snapshot:s3"), second) || !bytes.Equal(x.restored(), x.database()) {
				t.Error("what was committed does not restore")
			}
			x.want(0, "check", "--identity", x.path("key"))
		})
	}
}
