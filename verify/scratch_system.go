package verify

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// trust refuses a directory in which others could exchange what this user made.
func trust(dir string) error {
	info, err := os.Lstat(dir)
	if err != nil {
		return err
	}
	const advice = "could exchange what a drill restores there: %s, or name another place with scratch in the policy's drill"
	if uid := info.Sys().(*syscall.Stat_t).Uid; uid != 0 && int64(uid) != int64(os.Geteuid()) {
		return fmt.Errorf("refuse %s: user %d owns it, and "+advice, dir, uid, fmt.Sprintf("chown it to user %d", os.Geteuid()))
	}
	if info.Mode()&0o022 != 0 && info.Mode()&fs.ModeSticky == 0 {
		return fmt.Errorf("refuse %s: others may write to it, and "+advice, dir, "chmod go-w")
	}
	return nil
}

// unmounted refuses a directory in which something is mounted: what is there may be anybody's. The device tells nothing, since a part of the same file system
// can be mounted, too.
func unmounted(dir string) error {
	b, err := os.ReadFile("/proc/self/mountinfo")
	if runtime.GOOS != "linux" && errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("find what is mounted there: %w", err)
	}
	if at := mountedIn(string(b), dir); at != "" {
		return fmt.Errorf("something is mounted at %s, and nothing is removed: unmount it and repeat", at)
	}
	return nil
}

// escaped is a byte as mountinfo has blanks and the like.
var escaped = regexp.MustCompile(`\\[0-3][0-7]{2}`)

// mountedIn is the first mount point of a mountinfo(5) that is dir or below it; empty where there is none.
func mountedIn(mountinfo, dir string) string {
	for line := range strings.Lines(mountinfo) {
		fields := strings.Split(line, " ")
		if len(fields) < 5 {
			continue
		}
		at := escaped.ReplaceAllStringFunc(fields[4], func(s string) string {
			n, _ := strconv.ParseUint(s[1:], 8, 8) // the expression has it fit
			return string([]byte{byte(n)})
		})
		if strings.HasPrefix(at+"/", dir+"/") {
			return at
		}
	}
	return ""
}

// endServers kills the database servers that work in dir, and waits until they are gone: for seconds, or somebody is told of them.
func endServers(dir string) {
	for range 100 {
		if _, servers := workersIn(dir, true); servers == 0 {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// workersIn names the processes whose working directory is dir or below it, as far as the system tells, and counts the database servers among them. With end
// these are killed: a drill starts nothing else that outlives it, so others are somebody's who looks at it.
func workersIn(dir string, end bool) (all []string, servers int) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, 0
	}
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || pid == os.Getpid() {
			continue
		}
		p, err := os.FindProcess(pid) // before anything is read of it: another one that gets its number is not killed
		if err != nil {
			continue
		}
		at := filepath.Join("/proc", e.Name())
		if cwd, err := os.Readlink(filepath.Join(at, "cwd")); err == nil && strings.HasPrefix(strings.TrimSuffix(cwd, " (deleted)")+"/", dir+"/") {
			name := programOf(at)
			all = append(all, fmt.Sprintf("process %d (%q)", pid, name))
			if name == serverProgram {
				servers++
				if end {
					_ = p.Kill() // it is counted again if it is still there
				}
			}
		}
		_ = p.Release() // it has no state but the handle
	}
	return all, servers
}

// serverProgram is the program of the database servers that a drill starts.
const serverProgram = "postgres"

// programOf is the name of what a process runs: of its file, or as it calls itself where that is hidden or a wrapper.
func programOf(at string) string {
	comm, _ := os.ReadFile(filepath.Join(at, "comm")) // empty is a name, too
	if name := strings.TrimSuffix(string(comm), "\n"); name == serverProgram {
		return name
	}
	exe, err := os.Readlink(filepath.Join(at, "exe"))
	if err != nil {
		return strings.TrimSuffix(string(comm), "\n")
	}
	return filepath.Base(strings.TrimSuffix(exe, " (deleted)"))
}
