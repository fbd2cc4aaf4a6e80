package daemon

import (
	"errors"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"lifeboat/repository"
)

// door is somebody who counts strangers, with a clock that the test sets.
type door struct {
	*strangers
	at    time.Time
	noted []repository.Noted
	fails error
}

func newDoor() *door {
	d := &door{at: time.Date(2026, 5, 1, 0, 0, 0, 0, time.UTC)}
	d.strangers = &strangers{now: func() time.Time { return d.at }, by: "daemon@host", log: slog.New(slog.DiscardHandler), list: map[string]*stranger{}, note: func(n repository.Noted) error {
		if d.fails == nil {
			d.noted = append(d.noted, n)
		}
		return d.fails
	}}
	return d
}

// counts are how often whom was refused, by what was noted.
func (d *door) counts(who string) (out []int) {
	for _, n := range d.noted {
		if n.Record.Denied.Who == who {
			out = append(out, n.Record.Denied.Count)
		}
	}
	return out
}

// TestStrangers notes the first refusal at once, and then one record an hour, with none forgotten.
func TestStrangers(t *testing.T) {
	d := newDoor()
	for range 50 {
		d.refused(1000, true)
		d.at = d.at.Add(time.Minute)
		d.flush(false)
	}
	d.refused(1001, true)
	d.refused(0, false)
	if got := d.counts("user 1000"); !slices.Equal(got, []int{1}) {
		t.Errorf("within the hour: %v", got)
	}
	d.at = d.at.Add(11 * time.Minute)
	d.flush(false)
	if got := d.counts("user 1000"); !slices.Equal(got, []int{1, 49}) {
		t.Errorf("when the hour is over: %v", got)
	}
	if d.counts("user 1001")[0] != 1 || d.counts("unknown")[0] != 1 {
		t.Errorf("the others: %+v", d.noted)
	}
	d.refused(1000, true)
	d.flush(true)
	if got := d.counts("user 1000"); !slices.Equal(got, []int{1, 49, 1}) {
		t.Errorf("at the end: %v", got)
	}
	d.at = d.at.Add(3 * time.Hour)
	d.flush(false)
	if len(d.list) != 0 {
		t.Errorf("%d are remembered", len(d.list))
	}
}

// TestManyStrangers does not let anybody fill the journal, or the memory.
func TestManyStrangers(t *testing.T) {
	d := newDoor()
	for uid := range uint32(1000) {
		d.refused(uid, true)
	}
	if len(d.noted) != maxStrangers+1 || len(d.list) != maxStrangers+1 {
		t.Errorf("%d records of %d", len(d.noted), len(d.list))
	}
	d.flush(true)
	total := 0
	for _, n := range d.noted {
		total += n.Record.Denied.Count
	}
	if total != 1000 {
		t.Errorf("%d were counted", total)
	}
}

// TestStrangersUnnoted counts on where it cannot be noted, and tries again an hour later only.
func TestStrangersUnnoted(t *testing.T) {
	d := newDoor()
	d.fails = errors.New("no room")
	d.refused(1000, true)
	d.refused(1000, true)
	d.fails = nil
	d.refused(1000, true)
	if len(d.noted) != 0 {
		t.Errorf("noted: %+v", d.noted)
	}
	d.at = d.at.Add(time.Hour)
	d.flush(false)
	if got := d.counts("user 1000"); !slices.Equal(got, []int{3}) {
		t.Errorf("an hour later: %v", got)
	}
}

// TestStrangerConnects lets another user connect to a socket that somebody has opened to all: it is closed at once, and counted.
func TestStrangerConnects(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Log("only root can be somebody else: what is counted is tested above")
		return
	}
	dir, err := os.MkdirTemp("/tmp", "stranger")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) }) // it is in the system's directory for temporary files
	path := filepath.Join(dir, "s")
	l, err := listenUnix(path)
	if err := errors.Join(err, os.Chmod(dir, 0o755), os.Chmod(path, 0o777)); err != nil {
		t.Fatal(err)
	}
	d := newDoor()
	accepted := make(chan net.Conn)
	go func() {
		c, err := peersOnly{l, d.refused}.Accept()
		if err != nil {
			t.Error(err)
		}
		accepted <- c
	}()
	const uid = 54321
	if n, err := connectAs(uid, path); n != 0 || err != nil {
		t.Errorf("the stranger reads %d bytes, %v", n, err)
	}
	own, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join((<-accepted).Close(), own.Close(), l.Close()); err != nil {
		t.Fatal(err)
	}
	if got := d.counts("user 54321"); !slices.Equal(got, []int{1}) {
		t.Errorf("noted: %+v", d.noted)
	}
}

// connectAs connects as another user and reads until the other side closes.
func connectAs(uid int, path string) (n int, err error) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // and never unlock it: the thread ends with its user
		if _, _, e := unix.RawSyscall(unix.SYS_SETRESUID, uintptr(uid), uintptr(uid), uintptr(uid)); e != 0 {
			err = e
			return
		}
		fd, serr := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM, 0)
		if err = serr; err != nil {
			return
		}
		defer func() { _ = unix.Close(fd) }() // nothing is written
		if err = unix.Connect(fd, &unix.SockaddrUnix{Name: path}); err == nil {
			n, err = unix.Read(fd, make([]byte, 10))
		}
	}()
	<-done
	return n, err
}
