package main

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"lifeboat/evidence"
	"lifeboat/internal/atomicfile"
	"lifeboat/journal"
)

// drilledWeekly is what both hosts go by.
const drilledWeekly = `policies:
  crm:
    sources: [crm]
    schedule: {incremental: "0 0 * * 6", timezone: UTC}
    drill: {schedule: "0 4 * * 6", rto: 1h, select: latest, from: rotate, scratch: %s, checks: [{name: contacts, sql: "select count(*) from contact", min: 1}]}
`

// TestDrillHost lets the daemon of a drill host drill two copies in turn, of which it cannot write the one and writes nothing but its own evidence on the other.
// The daemon of the backup host, which has no identity, enters its drills, failed and missed ones included, and tells of them.
func TestDrillHost(t *testing.T) {
	t.Parallel()
	x := newFixture(t, "disk", "usb")
	x.policy(fmt.Sprintf(drilledWeekly, x.path("scratch")))
	y := x.guest("vault")
	begin := time.Now().UTC().Truncate(24 * time.Hour)
	for begin.Weekday() != time.Saturday {
		begin = begin.AddDate(0, 0, 1)
	}
	at := func(week int, hour float64) time.Time {
		passed := begin.AddDate(0, 0, 7*week).Add(time.Duration(hour * float64(time.Hour)))
		x.must(atomicfile.Write(x.path("clock"), []byte(time.Until(passed.Add(time.Minute)).String()), 0o600))
		return passed
	}
	clock := clockEnv + "=@" + x.path("clock")
	at(0, 0)
	x.must(x.fastly(clock, 0, nil, "backup", "crm"))
	key := strings.TrimSpace(y.want(0, "drill", "enrol", "vault", "--identity", y.path("key")).out)
	for want, s := range map[string]said{
		"nobody has certified this drill host yet": y.want(4, "daemon", "--drills", "--identity", y.path("key")),
		"start its daemon with --drills":           y.want(4, "daemon", "--identity", y.path("key")),
		"give the identity":                        y.want(4, "daemon", "--drills"),
		"lifeboat drill enrol":                     x.want(4, "daemon", "--drills", "--identity", x.path("key")),
	} {
		if !strings.Contains(s.err, want) {
			t.Errorf("no %q: %s", want, s)
		}
	}
	x.must(x.fastly(clock, 0, nil, "keys", "certify", key, "--identity", x.path("key")))
	before := x.objects("usb")

	// While the backup host is away.
	drills := y.daemon(clock, "LIFEBOAT_IDENTITY_FILE="+y.path("key"), "--drills")
	drilled := func(f *fixture, n int, args ...string) (rows []drillRow) {
		f.eventually(fmt.Sprintf("%d drills are known", n), func() bool {
			rows = nil
			f.must(f.fastly(clock, 0, &rows, append([]string{"drill", "list", "--json"}, args...)...))
			return len(rows) >= n
		}, drills.log)
		return rows
	}
	own := []string{"--identity", y.path("key")}
	at(0, 4)
	drilled(y, 1, own...)
	x.spoilPacks(x.path("usb", "packs"))
	at(1, 4)
	drilled(y, 2, own...)
	y.eventually("the copy that it may write has its policy and both drills", func() bool {
		return slices.Contains(x.objects("usb"), "hosts/drill-vault/"+journal.Name(3))
	}, drills.log)
	if code := drills.end(syscall.SIGKILL); code != -1 {
		t.Fatalf("exit code %d: %s", code, drills.log)
	}
	outside := slices.DeleteFunc(x.objects("usb"), func(name string) bool { return strings.HasPrefix(name, "hosts/drill-vault/") })
	if !slices.Equal(outside, before) || len(outside) == len(x.objects("usb")) {
		t.Errorf("the drill host wrote elsewhere than it may, or nowhere: %v", x.objects("usb"))
	}

	// The backup host hears of them, and that the third is overdue.
	at(2, 4+25)
	backup := x.daemon(clock)
	backup.says("the drill of crm from usb failed")
	backup.says("the drill of policy crm is overdue")
	if s, err := y.status(clock); err != nil || len(s.Drills) != 1 || s.Drills[0].Overdue == nil {
		t.Errorf("the drill host's status: %+v, %v", s, err)
	}
	drills = y.daemon(clock, "LIFEBOAT_IDENTITY_FILE="+y.path("key"), "--drills")
	at(3, 5)
	drilled(y, 3, own...)
	y.eventually("it says that the host makes them", func() bool {
		s, err := y.status(clock)
		return err == nil && s.Daemon != nil && len(s.Daemon.Drills) == 1 && s.Daemon.Drills[0].Here && s.Drills[0].Overdue == nil
	}, drills.log)
	at(3, 6)
	drilled(x, 3)
	for _, l := range []*life{drills, backup} {
		if code := l.end(syscall.SIGTERM); code != 0 {
			t.Fatalf("exit code %d: %s", code, l.log)
		}
	}
	var got []string
	rows := drilled(x, 3)
	for _, row := range rows {
		got = append(got, fmt.Sprint(row.Copy, " ", row.Result, " ", row.Missed, " ", row.Host))
	}
	if want := []string{"disk pass 0 drill-vault", "usb fail 0 drill-vault", "disk pass 1 drill-vault"}; !slices.Equal(got, want) {
		t.Errorf("the backup host knows %q, want %q", got, want)
	}
	var r evidence.Report
	x.must(x.fastly(clock, 0, &r, "drill", "show", rows[1].Report, "--identity", x.path("key"), "--json"))
	if r.Host.IdentityAccepted || !strings.Contains(r.Signer.Key, "/drill-vault+") || r.Trigger.Kind != "scheduled" {
		t.Errorf("the report says %+v, %+v, %+v", r.Host, r.Signer, r.Trigger)
	}
	var result struct{ Verdict string }
	x.must(x.fastly(clock, 0, &result, "drill", "bundle", "-o", x.path("bundle.zip"), "--identity", x.path("key"), "--json"))
	if result.Verdict != "verified" {
		t.Errorf("the bundle is %q", result.Verdict)
	}
	if left, err := os.ReadDir(x.path("scratch")); err != nil || len(left) > 0 {
		t.Errorf("drills left %v, %v", left, err)
	}
}

// guest is a second host: it has a state directory and an identity of its own, and sees the copy on disk through a mount that it cannot write.
func (x *fixture) guest(name string) *fixture {
	x.t.Helper()
	y := &fixture{t: x.t, dir: x.path(name), real: x.real}
	x.must(os.MkdirAll(y.path("disk"), 0o700))
	x.must(unix.Mount(x.path("disk"), y.path("disk"), "", unix.MS_BIND, ""))
	x.t.Cleanup(func() {
		if err := unix.Unmount(y.path("disk"), unix.MNT_DETACH); err != nil {
			x.t.Error(err)
		}
	})
	x.must(unix.Mount("", y.path("disk"), "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_RDONLY, ""))
	b := strings.NewReplacer("state_dir: "+x.path("state"), "state_dir: "+y.path("state"), "path: "+x.path("disk"), "path: "+y.path("disk")).Replace(string(x.read("lifeboat.yaml")))
	x.must(os.WriteFile(y.path("lifeboat.yaml"), []byte(b), 0o600))
	x.must(os.WriteFile(y.path("key"), x.read("key"), 0o600))
	return y
}

// status is what `lifeboat status` says of drills, whatever its verdict.
func (x *fixture) status(clock string) (s statusReport, err error) {
	for _, code := range []int{0, exitVerdict} {
		if err = x.fastly(clock, code, &s, "status", "--json", "--identity", x.path("key")); err == nil {
			return s, nil
		}
	}
	return s, err
}
