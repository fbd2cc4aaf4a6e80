package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"sync"
	"syscall"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"lifeboat/config"
	"lifeboat/crypto"
	"lifeboat/internal/clock"
	"lifeboat/journal"
	"lifeboat/repository"
	"lifeboat/restore"
	"lifeboat/snapshot"
	"lifeboat/source/postgres"
)

// Exit codes.
const (
	exitDone        = 0
	exitFailed      = 1
	exitUsage       = 2
	exitVerdict     = 3 // done, and the verdict is bad
	exitRefused     = 4 // nothing touched
	exitInterrupted = 130
)

// exitMeanings says the same to people, in the manual.
var exitMeanings = []struct {
	code    int
	meaning string
}{
	{exitDone, "done"},
	{exitFailed, "failed"},
	{exitUsage, "wrong usage or configuration"},
	{exitVerdict, "done, and the verdict is bad: damage found, a target missed"},
	{exitRefused, "refused, nothing touched: no such point, directory not empty, no or wrong identity, lock held"},
	{exitInterrupted, "interrupted; safe to repeat"},
}

// app is one run of the program.
type app struct {
	in         io.Reader
	out, err   io.Writer
	now        clock.Clock
	file       string // -c
	json       bool
	quiet      bool
	cfg        *config.Config
	unverified string            // fingerprint that was shown for comparing
	identity   map[string][]byte // files that were read: a pipe can be read only once
	unlimited  bool              // no target's bandwidth is limited
	limits     sync.Map          // of targets, by name: one that is opened twice has one limit
	beside     *app              // runs in the same process, and its limits hold for both
	called     []string          // the copies of the reader at hand
	noting     sync.Mutex        // held while a line is written
	amid       bool              // backups go on beside: copies may be behind for a while
}

// usageError and verdictError choose their exit codes.
type (
	usageError   struct{ error }
	verdictError struct{ error }
)

func (e usageError) Unwrap() error   { return e.error }
func (e verdictError) Unwrap() error { return e.error }

func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// run executes one command and returns its exit code.
func run(ctx context.Context, args []string, in io.Reader, out, errw io.Writer) int {
	a := &app{in: in, out: out, err: errw, now: clock.System}
	return a.run(ctx, args)
}

func (a *app) run(ctx context.Context, args []string) int {
	out := &checkedWriter{w: a.out}
	a.out = out
	root := a.root()
	root.SetArgs(args)
	if c, _, err := root.Find(args); err != nil || c.Name() != daemonName { // which reads its configuration again
		var stop func()
		ctx, stop = hangup(ctx)
		defer stop()
	}
	err := errors.Join(root.ExecuteContext(ctx), out.err)
	if err == nil {
		return exitDone
	}
	if ctx.Err() != nil {
		fmt.Fprintln(a.err, "lifeboat: interrupted; what was committed stands, and it is safe to repeat the command")
		return exitInterrupted
	}
	fmt.Fprintf(a.err, "lifeboat: %s\n", message(err))
	return exitCode(err)
}

// checkedWriter remembers the first error of the standard output: a result that could not be written is a failure, and is
// noticed here once for all commands.
type checkedWriter struct {
	w   io.Writer
	err error
}

func (c *checkedWriter) Write(b []byte) (int, error) {
	n, err := c.w.Write(b)
	if err != nil && c.err == nil {
		c.err = fmt.Errorf("write the result: %w", err)
	}
	return n, err
}

func exitCode(err error) int {
	var usage usageError
	var verdict verdictError
	var problems config.Problems
	switch {
	case errors.As(err, &usage), errors.As(err, &problems), errors.Is(err, postgres.ErrDSN):
		return exitUsage
	case errors.As(err, &verdict):
		return exitVerdict
	}
	for _, refusal := range []error{restore.ErrRefused, repository.ErrLocked, repository.ErrNotInitialised, repository.ErrNoRepository, snapshot.ErrOther, crypto.ErrIdentity, journal.ErrForeign, errTrust, errDeclined} {
		if errors.Is(err, refusal) {
			return exitRefused
		}
	}
	return exitFailed
}

// message is an error for people: the hint that fits, and no more lines than it needs.
func message(err error) string {
	s := err.Error()
	switch {
	case errors.Is(err, crypto.ErrIdentity) && !strings.Contains(s, "--identity"):
		s += ": give the right one with --identity FILE"
	case errors.Is(err, crypto.ErrDamaged) && !strings.Contains(s, "--from"):
		s += ": try another copy with --from, and run `lifeboat check`"
	case errors.Is(err, syscall.ENOSPC):
		s += ": make room there"
	}
	return s
}

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:           "lifeboat",
		Short:         "Encrypted backups of CRM databases that are known to restore",
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          cobra.NoArgs,
		RunE:          func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	root.SetOut(a.out)
	root.SetErr(a.err)
	root.SetIn(a.in)
	f := root.PersistentFlags()
	f.StringVarP(&a.file, "config", "c", "", "configuration `FILE` (default $LIFEBOAT_CONFIG, ./lifeboat.yaml, /etc/lifeboat/lifeboat.yaml)")
	f.BoolVar(&a.quiet, "quiet", false, "show no progress")
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return usagef("%w: see `%s --help`", err, c.CommandPath())
	})
	root.AddCommand(a.keygen(), a.initialise(), a.backup(), a.stream(), a.snapshots(), a.window(), a.log(), a.sources(), a.restore(), a.check(), a.healCommand(), a.copyCommand(), a.status(),
		a.forget(), a.prune(), a.holds(), a.policy(), a.drills(), a.daemon(), a.doctor(), a.notify(), a.keys(), a.audit(), a.demo(), a.completion(), a.man(), a.version())
	usageArgs(root)
	strictHelp(root)
	return root
}

// strictHelp makes `help` of what is not there a usage error; by itself it shows something else, and succeeds.
func strictHelp(root *cobra.Command) {
	root.InitDefaultHelpCmd()
	help, _, err := root.Find([]string{"help"})
	if err != nil {
		return // there is none
	}
	help.Args = func(_ *cobra.Command, args []string) error {
		if of, rest, err := root.Find(args); err != nil || len(rest) > 0 {
			return wrongArgs(of, rest)
		}
		return nil
	}
}

// usageArgs makes wrong arguments of every command usage errors.
func usageArgs(c *cobra.Command) {
	c.SuggestionsMinimumDistance = 2
	if check := c.Args; check != nil {
		c.Args = func(c *cobra.Command, args []string) error {
			if err := check(c, args); err != nil {
				return wrongArgs(c, args)
			}
			return nil
		}
	}
	if c.HasSubCommands() && c.RunE == nil { // without a command of its own it shows what there is, and takes nothing else
		c.RunE = func(c *cobra.Command, _ []string) error { return c.Help() }
	}
	for _, sub := range c.Commands() {
		usageArgs(sub)
	}
}

// wrongArgs says how a command is called, or which command was meant.
func wrongArgs(c *cobra.Command, args []string) error {
	if !c.HasSubCommands() || len(args) == 0 {
		return usagef("usage: %s: see `%s --help`", c.UseLine(), c.CommandPath())
	}
	for _, s := range c.SuggestionsFor(args[0]) {
		return usagef("there is no command %q: did you mean `%s %s`?", args[0], c.CommandPath(), s)
	}
	return usagef("there is no command %q: see `%s --help`", args[0], c.CommandPath())
}

// config loads the configuration once.
func (a *app) config() (*config.Config, error) {
	if a.cfg != nil {
		return a.cfg, nil
	}
	path, err := config.Find(a.file)
	if err != nil {
		return nil, usageError{err}
	}
	if a.cfg, err = config.Load(path); err != nil {
		return nil, usageError{err}
	}
	return a.cfg, nil
}

// printJSON writes v for programs.
func (a *app) printJSON(v any) error {
	enc := json.NewEncoder(a.out)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}

// printLine writes v for programs, in one line.
func (a *app) printLine(v any) error { return json.NewEncoder(a.out).Encode(v) }

func (a *app) jsonFlag(c *cobra.Command) *cobra.Command {
	c.Flags().BoolVar(&a.json, "json", false, "print JSON")
	return c
}

// note tells people something beside the result.
func (a *app) note(format string, args ...any) {
	a.noting.Lock()
	defer a.noting.Unlock()
	fmt.Fprintf(a.err, format+"\n", args...)
}

// warn tells people what went wrong beside what they asked for.
func (a *app) warn(err error) { a.note("lifeboat: warning: %v", err) }

// terminal reports whether w is one.
func terminal(w any) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

var errDeclined = errors.New("not confirmed: nothing was done")

// confirm asks before something is destroyed; without a terminal it needs --yes.
func (a *app) confirm(yes bool, question string) error {
	if yes {
		return nil
	}
	if !terminal(a.in) || !terminal(a.err) {
		return fmt.Errorf("%w: repeat with --yes", errDeclined)
	}
	fmt.Fprintf(a.err, "%s [y/N] ", question)
	var answer string
	if _, err := fmt.Fscanln(a.in, &answer); err != nil || !strings.EqualFold(answer, "y") && !strings.EqualFold(answer, "yes") {
		return errDeclined
	}
	return nil
}

// absent reports that a path is not there, in words for people.
func absent(err error) bool { return errors.Is(err, fs.ErrNotExist) }
