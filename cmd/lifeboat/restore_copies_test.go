package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"lifeboat/internal/testenv"
)

// remote is a repository with a copy in a bucket and one on another host, each at the end of a line.
type remote struct {
	*fixture
	vault string // directory of the copy on the host
	lines map[string]*testenv.Proxy
	conf  map[string]string
}

// newRemote stores a database of about 48 MB that does not compress.
func newRemote(t *testing.T) *remote {
	t.Helper()
	store, host := testenv.StartS3(t), testenv.StartSSHD(t)
	store.Bucket("plain", false)
	x := &remote{newFixture(t, "disk"), filepath.Join(host.Home, "vault"), map[string]*testenv.Proxy{
		"cloud": testenv.StartProxy(t, store.Addr), "offsite": testenv.StartProxy(t, fmt.Sprintf("127.0.0.1:%d", host.Port))}, map[string]string{}}
	_, err := fmt.Sscanf(x.lines["offsite"].Addr, "127.0.0.1:%d", &host.Port)
	x.must(err)
	host.Know("host_key")
	x.conf["cloud"] = fmt.Sprintf("  cloud: {type: s3, bucket: plain, endpoint: %q, access_key: %s, secret_key: %s}\n", "http://"+x.lines["cloud"].Addr, store.AccessKey, store.SecretKey)
	x.conf["offsite"] = onSFTP(host, x.vault)
	x.sqlite("CREATE TABLE scan(id INTEGER PRIMARY KEY, image BLOB); WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i<48) INSERT INTO scan SELECT i, randomblob(1000000) FROM n")
	x.configure("lifeboat.yaml", "far", x.conf["cloud"]+x.conf["offsite"])
	x.want(0, "init", "--identity", x.path("key"))
	x.real = true
	x.want(0, "backup", "crm")
	x.real = false
	return x
}

// TestRestoreFailsOver does something to the copy that serves in the middle of a restore: what comes back is right, and it is said at most once which
// copy failed.
func TestRestoreFailsOver(t *testing.T) {
	x := newRemote(t)
	want := x.database()
	ways := map[string]func(line *testenv.Proxy){
		"is cut": func(line *testenv.Proxy) {
			line.Down(testenv.Fault{Cut: true})
			line.CutAll()
		},
		"stalls":       func(line *testenv.Proxy) { line.Down(testenv.Fault{Stall: true}) },
		"becomes slow": func(line *testenv.Proxy) { line.Down(testenv.Fault{Rate: 20 << 10}) },
	}
	told := 0
	for first, second := range map[string]string{"cloud": "offsite", "offsite": "cloud"} {
		x.configure("lifeboat.yaml", "far", x.conf[first]+x.conf[second])
		for name, strike := range ways {
			t.Run(first+" "+name, func(t *testing.T) { told += x.strike(t, first, second, want, strike) })
		}
	}
	if told < 3 {
		t.Errorf("of 6 copies that failed in the middle, %d were told", told)
	}
	x.configure("lifeboat.yaml", "far", x.conf["offsite"]+x.conf["cloud"])
	t.Run("offsite is damaged", func(t *testing.T) {
		x.strike(t, "offsite", "cloud", want, func(*testenv.Proxy) {
			x.must(filepath.WalkDir(filepath.Join(x.vault, "packs"), func(path string, d fs.DirEntry, err error) error {
				if err != nil || d.IsDir() {
					return err
				}
				f, err := os.OpenFile(path, os.O_RDWR, 0) // whoever has it open gets it too
				if err != nil {
					return err
				}
				info, err := f.Stat()
				for at := int64(0); err == nil && at < info.Size(); at += 10_000 {
					_, err = f.WriteAt([]byte("spoilt"), at)
				}
				return errors.Join(err, f.Close())
			}))
		})
	})
}

// strike restores, and does something to the first line once the first bytes were written. Both lines are slow enough for that to be in the
// middle, and the first one is the faster one.
func (x *remote) strike(t *testing.T, first, second string, want []byte, strike func(*testenv.Proxy)) (told int) {
	x.lines[first].Down(testenv.Fault{Rate: 16 << 20})
	x.lines[second].Down(testenv.Fault{Rate: 5 << 20})
	to := filepath.Join(t.TempDir(), "out")
	done := make(chan said, 1)
	go func() { done <- x.run("restore", "crm", "--identity", x.path("key"), "--to", to) }()
	file := filepath.Join(to, ".lifeboat-partial", "files", "crm.db")
	for struck := false; ; {
		select {
		case s := <-done:
			b, err := os.ReadFile(filepath.Join(to, "crm.db"))
			if s.code != 0 || err != nil || !bytes.Equal(b, want) {
				t.Fatalf("%v: %s", err, s)
			}
			told = strings.Count(s.err, "warning: "+first) // none where the other one was the faster one by then
			if told > 1 || strings.Contains(s.err, "warning: "+second) {
				t.Errorf("it says %s", s.err)
			}
			x.lines[first].Down(testenv.Fault{})
			x.lines[second].Down(testenv.Fault{})
			return told
		case <-time.After(5 * time.Millisecond):
			if _, err := os.Stat(file); err == nil && !struck {
				struck = true
				strike(x.lines[first])
			}
		}
	}
}

// TestDryRunTargets plans a restore from copies of which one lacks a pack.
func TestDryRunTargets(t *testing.T) {
	x := newFixture(t, "disk", "usb", "vault")
	x.want(0, "backup", "crm")
	dry := []string{"restore", "crm", "--identity", x.path("key"), "--dry-run"}
	var row struct {
		Plan struct {
			Needs []struct {
				Name string
				Size int64
			}
			Targets []struct {
				Target         string
				Packs, Missing int
				Bytes          int64
			}
		}
	}
	x.must(json.Unmarshal([]byte(x.want(0, append(dry, "--json")...).out), &row))
	lost := row.Plan.Needs[0].Name
	x.put(nil, "usb", lost)
	x.must(json.Unmarshal([]byte(x.want(0, append(dry, "--json")...).out), &row))
	var total int64
	for _, n := range row.Plan.Needs {
		total += n.Size
	}
	n, some := len(row.Plan.Needs), 0
	for i, name := range []string{"disk", "usb", "vault"} {
		got := row.Plan.Targets[i]
		if got.Target != name || got.Packs+got.Missing != n || (got.Missing == 0) != (got.Bytes == total) {
			t.Errorf("%+v of %d packs with %d bytes", got, n, total)
		}
		some += got.Missing
	}
	if some != 1 || row.Plan.Targets[1].Missing != 1 {
		t.Errorf("%+v", row.Plan.Targets)
	}
	s := x.want(0, append(dry, "-v")...)
	for _, want := range []string{"from disk first, then whichever is fastest", "  disk       ", "; 1 missing\n", "  needs      " + lost} {
		if !strings.Contains(s.out, want) {
			t.Errorf("%q is missing: %s", want, s)
		}
	}
	if s := x.want(0, append(dry, "--from", "vault")...); !strings.Contains(s.out, ", from vault\n") {
		t.Error(s)
	}
	if s := x.want(1, append(dry, "--from", "usb")...); !strings.Contains(s.err, lost+" is missing") || !strings.Contains(s.out, "; 1 missing\n") {
		t.Error(s)
	}
}
