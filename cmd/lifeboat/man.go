package main

import (
	"fmt"
	"path/filepath"
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"lifeboat/internal/atomicfile"
)

// man writes the manual pages that packages install, one for each command, from the same texts as --help. It is hidden: the
// pages it writes are for `man`. They depend on nothing but the source, so that a release can be built again byte for byte.
func (a *app) man() *cobra.Command {
	return &cobra.Command{
		Use:    "man DIR",
		Short:  "Write the manual pages into a directory",
		Hidden: true,
		Args:   cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			c.Root().InitDefaultHelpCmd()
			return writeManual(args[0], c.Root())
		},
	}
}

func writeManual(dir string, c *cobra.Command) error {
	path := filepath.Join(dir, manName(c)+".1")
	if err := atomicfile.Write(path, []byte(manPage(c)), 0o644); err != nil {
		return fmt.Errorf("write manual pages: %w", err)
	}
	for _, sub := range c.Commands() {
		if !sub.IsAvailableCommand() || sub.Name() == "help" {
			continue
		}
		if err := writeManual(dir, sub); err != nil {
			return err
		}
	}
	return nil
}

func manName(c *cobra.Command) string { return strings.ReplaceAll(c.CommandPath(), " ", "-") }

// manPage is the page of one command, in the macros of man(7).
func manPage(c *cobra.Command) string {
	var b strings.Builder
	p := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	date, version := builtFrom()
	p(".TH %q 1 %q %q", strings.ToUpper(manName(c)), date, "lifeboat "+version)
	p(".SH NAME\n%s \\- %s", roff(manName(c)), roff(c.Short))
	p(".SH SYNOPSIS\n.B %s", roff(c.UseLine()))
	long := c.Long
	if long == "" {
		long = c.Short + "."
	}
	p(".SH DESCRIPTION\n%s", strings.ReplaceAll(roff(long), "\n\n", "\n.PP\n"))
	if c.HasExample() {
		p(".SH EXAMPLES\n.nf\n%s\n.fi", roff(c.Example))
	}
	manFlags(p, "OPTIONS", c.NonInheritedFlags())
	manFlags(p, "OPTIONS OF EVERY COMMAND", c.InheritedFlags())
	if !c.HasParent() {
		p(".SH EXIT STATUS")
		for _, s := range exitMeanings {
			p(".TP\n.B %d\n%s", s.code, roff(s.meaning))
		}
	}
	var others []string
	if c.HasParent() {
		others = append(others, manName(c.Parent()))
	}
	for _, sub := range c.Commands() {
		if sub.IsAvailableCommand() && sub.Name() != "help" {
			others = append(others, manName(sub))
		}
	}
	for i, name := range others {
		others[i] = `\fB` + roff(name) + `\fR(1)`
	}
	p(".SH SEE ALSO\n%s", strings.Join(others, ", "))
	return b.String()
}

func manFlags(p func(string, ...any), title string, flags *pflag.FlagSet) {
	if !flags.HasAvailableFlags() {
		return
	}
	p(".SH %s", title)
	flags.VisitAll(func(f *pflag.Flag) {
		if f.Hidden {
			return
		}
		name, usage := pflag.UnquoteUsage(f)
		term := "--" + f.Name
		if f.Shorthand != "" {
			term = "-" + f.Shorthand + ", " + term
		}
		if name != "" {
			term += " " + name
		}
		switch f.DefValue {
		case "", "0", "0s", "false", "[]":
		default:
			usage += " (default " + f.DefValue + ")"
		}
		p(".TP\n.B %s\n%s", roff(term), roff(usage))
	})
}

// roff escapes text: a backslash begins an escape, a point or an apostrophe at the beginning of a line a request, and a
// hyphen that is meant to be copied is not a typographer's.
func roff(s string) string {
	s = strings.NewReplacer(`\`, `\e`, "-", `\-`).Replace(s)
	lines := strings.Split(s, "\n")
	for i, l := range lines {
		if strings.HasPrefix(l, ".") || strings.HasPrefix(l, "'") {
			lines[i] = `\&` + l
		}
	}
	return strings.Join(lines, "\n")
}

// builtFrom is the day of the commit that the program was built from, and the version.
func builtFrom() (date, version string) {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "", "unknown"
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.time" {
			date, _, _ = strings.Cut(s.Value, "T")
		}
	}
	return date, info.Main.Version
}
