//go:build linux && amd64

package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"lifeboat/internal/testenv"
	"lifeboat/target"
	"lifeboat/target/local"
	"lifeboat/target/s3"
	"lifeboat/target/sftp"
)

// newChaos founds a repository on three targets, two of them behind bad lines.
func newChaos(t *testing.T, seed uint64) *chaos {
	t.Helper()
	for _, dir := range []string{os.TempDir(), filepath.Dir(os.TempDir())} {
		if err := os.Chmod(dir, 0o755); err != nil { // for the user that runs sshd
			t.Fatal(err)
		}
	}
	store, host := testenv.StartS3(t), testenv.StartSSHD(t)
	store.Bucket("chaos", false)
	c := &chaos{fixture: newFixture(t, "disk"), rng: rand.New(rand.NewPCG(seed, 0)), away: map[string]int{}, kept: map[string]bool{}, gone: map[string]bool{},
		spoiled: map[string]map[string]bool{"disk": {}, "cloud": {}, "offsite": {}}}
	c.lines = map[string]*testenv.Proxy{
		"cloud":   testenv.StartProxy(t, store.Addr),
		"offsite": testenv.StartProxy(t, net.JoinHostPort("127.0.0.1", strconv.Itoa(host.Port))),
	}
	_, port, err := net.SplitHostPort(c.lines["offsite"].Addr)
	c.must(err)
	far := &testenv.SSHD{User: host.User, Key: host.Key, KnownHosts: c.path("known_hosts")}
	far.Port, err = strconv.Atoi(port)
	c.must(err)
	known, err := os.ReadFile(host.KnownHosts)
	c.must(err)
	c.must(os.WriteFile(far.KnownHosts, bytes.Replace(known, []byte(strconv.Itoa(host.Port)), []byte(port), 1), 0o600))
	keys := fmt.Sprintf("region: %s, access_key: %s, secret_key: %s", testenv.S3Region, store.AccessKey, store.SecretKey)
	c.configure("lifeboat.yaml", "state", fmt.Sprintf("  disk: {type: local, path: %s}\n", c.path("disk"))+
		fmt.Sprintf("  cloud: {type: s3, bucket: chaos, prefix: prod, endpoint: %q, %s}\n", "http://"+c.lines["cloud"].Addr, keys)+onSFTP(far, "vault"))
	c.want(0, "init", "--identity", c.path("key"))

	disk, err := local.Open(c.path("disk"))
	c.must(err)
	cloud, err := s3.Open(t.Context(), s3.Config{Bucket: "chaos", Prefix: "prod", Endpoint: store.URL(), Region: testenv.S3Region, AccessKey: store.AccessKey, SecretKey: store.SecretKey})
	c.must(err)
	offsite, err := sftp.Open(t.Context(), sftp.Config{Host: "127.0.0.1", Port: host.Port, User: host.User, KeyFile: host.Key, KnownHosts: host.KnownHosts, Path: filepath.Join(host.Home, "vault")})
	c.must(err)
	c.direct = map[string]target.Target{"disk": disk, "cloud": cloud, "offsite": offsite}
	t.Cleanup(func() { c.must(errors.Join(disk.Close(), offsite.Close())) })
	return c
}

// trouble disturbs a line until it is told to stop.
func (c *chaos) trouble() (stop func()) {
	names := []string{"cloud", "offsite", ""}
	name := names[c.rng.IntN(len(names))]
	line := c.lines[name]
	if line == nil || c.away[name] > 0 {
		return func() {}
	}
	f := testenv.Fault{After: c.rng.Int64N(1 << (8 + c.rng.IntN(14))), Times: 1 + c.rng.Int64N(4)}
	var cuts []time.Duration
	switch what := c.rng.IntN(6); what {
	case 0:
		f.Cut = true
	case 1:
		f.Stall = true
		cuts = []time.Duration{time.Second + time.Duration(c.rng.IntN(2000))*time.Millisecond} // the network's patience is shorter than the program's
	case 2:
		f = testenv.Fault{Rate: 200_000 + c.rng.IntN(2_000_000)}
	case 3:
		f = testenv.Fault{Latency: time.Duration(c.rng.IntN(15)) * time.Millisecond}
	case 4:
		f = testenv.Fault{}
		for at := time.Duration(0); len(cuts) < 5; cuts = append(cuts, at) {
			at += time.Duration(c.rng.IntN(800)) * time.Millisecond
		}
	case 5:
		f.Corrupt = true
	}
	up := c.rng.IntN(2) == 0
	c.t.Logf("the line to %s, up %t: %+v, cut after %v", name, up, f, cuts)
	if up {
		line.Up(f)
	} else {
		line.Down(f)
	}
	ended, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		began := time.Now()
		for _, at := range cuts {
			select {
			case <-ended:
				return
			case <-time.After(time.Until(began.Add(at))):
				line.CutAll()
				if f.Stall {
					line.Up(testenv.Fault{})
					line.Down(testenv.Fault{})
				}
			}
		}
	}()
	return func() {
		close(ended)
		<-done
		line.Up(testenv.Fault{})
		line.Down(testenv.Fault{})
	}
}

// calm ends what disturbs the lines to targets that are not away.
func (c *chaos) calm() {
	for name, line := range c.lines {
		if c.away[name] == 0 {
			line.Up(testenv.Fault{})
			line.Down(testenv.Fault{})
		}
	}
}

// comeAndGo takes a target away for some rounds, and brings back what was away for long enough. One is always there.
func (c *chaos) comeAndGo() {
	c.t.Helper()
	for _, name := range []string{"disk", "cloud", "offsite"} {
		switch n := c.away[name]; {
		case n > 1:
			c.away[name]--
		case n == 1:
			c.comesBack(name)
		case c.rng.IntN(16) == 0 && len(c.away) < 2:
			c.away[name] = 1 + c.rng.IntN(3)
			c.t.Logf("%s goes away", name)
			if line := c.lines[name]; line != nil {
				line.Up(testenv.Fault{Cut: true})
				line.CutAll()
			} else {
				c.must(os.Rename(c.path(name), c.path(name+".away")))
			}
		}
	}
}

func (c *chaos) comesBack(name string) {
	c.t.Helper()
	delete(c.away, name)
	c.t.Logf("%s comes back", name)
	if line := c.lines[name]; line != nil {
		line.Up(testenv.Fault{})
	} else {
		c.must(os.Rename(c.path(name+".away"), c.path(name)))
	}
}

// founding is what tells that an empty copy is one: where both are lost, it is to be made anew.
var founding = []string{"lifeboat.json", "journal/writer/000000000001"}

// damage spoils an object on one copy by hand, or on two. Another one keeps it whole.
func (c *chaos) damage() {
	c.t.Helper()
	names := []string{"disk", "cloud", "offsite"}
	c.rng.Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
	objects := c.list(names[0])
	if len(objects) == 0 {
		return
	}
	object := objects[c.rng.IntN(len(objects))]
	if !strings.HasPrefix(object, "packs/") && c.rng.IntN(2) == 0 {
		return // without a key or a marker little can be done, and there are many records
	}
	for _, name := range names[:1+c.rng.IntN(2)] {
		b := c.get(name, object)
		if b == nil || !c.elsewhere(name, object) || object == founding[0] && c.spoiled[name][founding[1]] || object == founding[1] && c.spoiled[name][founding[0]] {
			continue
		}
		how := []string{"truncate", "flip", "empty", "gone"}[c.rng.IntN(4)]
		c.t.Logf("%s: %s is damaged: %s", name, object, how)
		c.spoiled[name][object] = true
		if how == "gone" {
			c.must(c.direct[name].Delete(c.t.Context(), object))
			continue
		}
		b = spoil(how, append(b, 0)[:max(len(b), 1)]) // one that was emptied gets a byte
		c.must(c.direct[name].(target.Repairer).Replace(c.t.Context(), object, io.NewSectionReader(bytes.NewReader(b), 0, int64(len(b)))))
	}
}

// elsewhere reports whether another copy has the object whole.
func (c *chaos) elsewhere(name, object string) bool {
	for other := range c.direct {
		if other != name && !c.spoiled[other][object] && c.get(other, object) != nil {
			return true
		}
	}
	return false
}

// repaired notes which objects are whole again: they are what a copy has on which nobody spoiled them.
func (c *chaos) repaired() {
	c.t.Helper()
	for name, objects := range c.spoiled {
		for object := range objects {
			var want []byte
			for other := range c.direct {
				if !c.spoiled[other][object] && want == nil {
					want = c.get(other, object)
				}
			}
			if want == nil || bytes.Equal(c.get(name, object), want) {
				delete(objects, object)
			}
		}
	}
}

func (c *chaos) list(name string) (out []string) {
	c.t.Helper()
	if name == "disk" && c.away[name] > 0 {
		return nil
	}
	for info, err := range c.direct[name].List(c.t.Context(), "") {
		c.must(err)
		if info.Name != ".conditional" && !strings.HasPrefix(info.Name, "probe-") {
			out = append(out, info.Name)
		}
	}
	return out
}

// get reads an object past the lines; nil where it is absent, or on a disk that is away.
func (c *chaos) get(name, object string) []byte {
	c.t.Helper()
	if name == "disk" && c.away[name] > 0 {
		return nil
	}
	r, err := c.direct[name].Get(c.t.Context(), object, 0, -1)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	c.must(err)
	b, err := io.ReadAll(r)
	c.must(errors.Join(err, r.Close()))
	return append([]byte{}, b...)
}
