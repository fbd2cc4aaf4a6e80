// Package cell runs the server of a restored database out of reach of everything else: in namespaces of its own where the system allows it, without what the environment
// of this process holds, and never longer than this process or its context.
package cell

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"sync"
	"syscall"
	"time"

	"lifeboat/internal/phrase"
)

// User is whom a server runs as.
type User struct{ UID, GID int }

// Program is a server to run.
type Program struct {
	Path, Name string // file, and what its processes are called
	Args       []string
	Dir        string // in which it works
	Log        string // below Dir, for what it writes
	User       *User  // nil: this process's
	Stop       []Step // how it is asked to end, in turn
	// Orphan is what it gets when this process dies, where it has no namespace of processes: one that takes all of them with it.
	Orphan syscall.Signal
	// Shared asks for no namespaces.
	Shared bool
}

// Step is a signal that asks a server to end, and how long it may take.
type Step struct {
	Signal syscall.Signal
	Wait   time.Duration
}

// Server is one that runs.
type Server struct {
	Program
	// Network says what it shares, and why; "none" and how where it has its own.
	Network string
	// PID is its first process, and Ended closed when that has ended.
	PID   int
	Ended chan struct{}

	how      error       // it ended; valid then
	unwatch  func() bool // ends the watch over the context
	stopping sync.Mutex
}

// Start runs a server in namespaces of its own, or where the system refuses them without. It is killed when ctx ends, or this process.
func Start(ctx context.Context, p Program) (*Server, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s := &Server{Program: p}
	refused := errShared
	if !p.Shared {
		refused = s.spawn(true)
	}
	if refused != nil {
		if err := s.spawn(false); err != nil {
			return nil, err
		}
	}
	switch own, err := ownNetwork(s.PID); {
	case own:
		s.Network = phrase.OwnNetwork.Say()
	case refused != nil:
		s.Network = phrase.HostNetwork.Say(refused)
	default:
		s.Network = phrase.UnknownNetwork.Say(err)
	}
	s.unwatch = context.AfterFunc(ctx, s.Kill)
	return s, nil
}

var errShared = errors.New("as it was asked for")

// spawn starts the program. The system ends a child with the thread that made it, so that thread is kept for it.
func (s *Server) spawn(apart bool) error {
	root, err := os.OpenRoot(s.Dir)
	if err != nil {
		return err
	}
	defer root.Close()
	log, err := root.OpenFile(s.Log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	if s.User != nil {
		if err := log.Chown(s.User.UID, s.User.GID); err != nil {
			return err
		}
	}
	cmd := exec.Command(s.Path, s.Args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr, cmd.Env = s.Dir, log, log, Environment()
	cmd.SysProcAttr = attributes(s.User, apart, s.Orphan)
	ended, started := make(chan struct{}), make(chan error)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			s.how = cmd.Wait()
			close(ended)
		}
	}()
	if err := <-started; err != nil {
		return err
	}
	s.PID, s.Ended = cmd.Process.Pid, ended
	return nil
}

// How is how it ended, once it has.
func (s *Server) How() error { return fmt.Errorf("the server ended: %v", s.how) }

// As lets a child run as somebody, in a group of its own: what the terminal sends to this process is not for it.
func As(u *User) *syscall.SysProcAttr {
	a := &syscall.SysProcAttr{Setpgid: true}
	if u != nil && os.Geteuid() == 0 {
		a.Credential = &syscall.Credential{Uid: uint32(u.UID), Gid: uint32(u.GID)}
	}
	return a
}

// Environment has neither a setting of a server nor a secret of this process.
func Environment() []string {
	out := []string{"LC_ALL=C.UTF-8", "TZ=UTC"}
	for _, name := range []string{"PATH", "LD_LIBRARY_PATH"} {
		if v, ok := os.LookupEnv(name); ok {
			out = append(out, name+"="+v)
		}
	}
	return out
}

// End asks the server to end, first kindly, and waits. It returns how many processes are left; when ctx ends they are killed.
func (s *Server) End(ctx context.Context) int {
	s.unwatch()
	for _, step := range s.Stop {
		_ = syscall.Kill(s.PID, step.Signal) // it may have ended
		select {
		case <-s.Ended:
		case <-ctx.Done():
		case <-time.After(step.Wait):
			continue
		}
		break
	}
	s.Kill()
	return len(Left(s.Dir))
}

// killWithin is how long what was killed may take to be gone.
const killWithin = 10 * time.Second

// Kill ends whatever is there of the server at once, and waits for it.
func (s *Server) Kill() {
	s.stopping.Lock()
	defer s.stopping.Unlock()
	select {
	case <-s.Ended:
	default:
		_ = errors.Join(syscall.Kill(-s.PID, syscall.SIGKILL), syscall.Kill(s.PID, syscall.SIGKILL)) // what is left is looked at below
		select {
		case <-s.Ended:
		case <-time.After(killWithin):
			return
		}
	}
	for range 100 { // without a namespace, its processes outlive it for a moment
		left := Left(s.Dir)
		if len(left) == 0 {
			return
		}
		for _, pid := range left {
			if called(pid) == s.Name { // others in its directory are somebody's who looks at it
				_ = syscall.Kill(pid, syscall.SIGKILL) // it may have ended
			}
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// Left are the processes of a server: those that work in its directory, or name it.
func Left(dir string) []int {
	return slices.DeleteFunc(processes(), func(pid int) bool { return pid == os.Getpid() || !worksIn(pid, dir) })
}

// maxSocketDir is how long the path of a socket's directory may be, bytes: it leaves room for its name in an address of 107.
const maxSocketDir = 90
