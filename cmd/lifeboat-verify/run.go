package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"runtime/debug"
	"slices"
	"strings"

	"lifeboat/bundle"
	"lifeboat/evidence"
)

// Exit codes.
const (
	exitVerified = 0 // by the fingerprint that was given, and nothing is missing
	exitFailed   = 1 // something could not be read or written
	exitUsage    = 2
	exitVerdict  = 3 // anything but exitVerified
)

const usage = `lifeboat-verify verifies evidence of restore drills, offline.

usage: lifeboat-verify BUNDLE.zip|REPORT.json --trust FINGERPRINT [--checkpoint FILE]... [--pages DIRECTORY] [--lang en|zh-CN] [--json]

  --trust FINGERPRINT   of the repository's root key, which you have from elsewhere than the file; without it the origin stays unverified
  --checkpoint FILE     a checkpoint that you kept, or an earlier bundle; can be given again. The journal must go on from each of them
  --pages DIRECTORY     write each genuine report as a page for people; the directory must be new or empty
  --lang LANGUAGE       of the pages: en or zh-CN
  --json                print the result as JSON
  --version             print the version

Exit code 0: verified, and all evidence is there. 3: it is not; the output says why. 2: wrong usage. 1: a file could not be read or written.
`

// order is what somebody asks for.
type order struct {
	file        string
	trust       string
	checkpoints []string
	pages, lang string
	json        bool
	version     bool
	out         io.Writer
}

// errUsage is wrapped where the arguments are wrong.
var errUsage = errors.New("wrong usage")

// errVerdict is wrapped where everything was done, and the verdict is not the best.
var errVerdict = errors.New("not verified")

// run does what the arguments say and returns the exit code.
func run(args []string, out, errw io.Writer) int {
	o, err := parse(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		fmt.Fprint(out, usage)
		return exitVerified
	case err == nil && o.version:
		fmt.Fprintf(out, "lifeboat-verify %s\n", version())
		return exitVerified
	case err == nil:
		o.out = out
		err = o.verify()
	}
	switch {
	case err == nil:
		return exitVerified
	case errors.Is(err, errUsage):
		fmt.Fprintf(errw, "lifeboat-verify: %v\n\n%s", err, usage)
		return exitUsage
	}
	if !errors.Is(err, errVerdict) {
		fmt.Fprintf(errw, "lifeboat-verify: %v\n", err)
	}
	if errors.Is(err, errVerdict) || errors.Is(err, bundle.ErrNoBundle) || errors.Is(err, evidence.ErrForged) {
		return exitVerdict
	}
	return exitFailed
}

// parse reads flags before and behind the file.
func parse(args []string) (*order, error) {
	o := &order{}
	f := flag.NewFlagSet("lifeboat-verify", flag.ContinueOnError)
	f.SetOutput(io.Discard)
	f.StringVar(&o.trust, "trust", "", "")
	f.Func("checkpoint", "", func(s string) error {
		o.checkpoints = append(o.checkpoints, s)
		return nil
	})
	f.StringVar(&o.pages, "pages", "", "")
	f.StringVar(&o.lang, "lang", evidence.English, "")
	f.BoolVar(&o.json, "json", false, "")
	f.BoolVar(&o.version, "version", false, "")
	var files []string
	for {
		if err := f.Parse(args); err != nil {
			return nil, errors.Join(errUsage, err)
		}
		if f.NArg() == 0 {
			break
		}
		files, args = append(files, f.Arg(0)), f.Args()[1:]
	}
	switch {
	case o.version:
		return o, nil
	case len(files) != 1:
		return nil, fmt.Errorf("%w: name one file", errUsage)
	case !slices.Contains(evidence.Languages(), o.lang):
		return nil, fmt.Errorf("%w: --lang %q: expected one of %s", errUsage, o.lang, strings.Join(evidence.Languages(), ", "))
	}
	o.file = files[0]
	return o, nil
}

func version() string {
	if info, ok := debug.ReadBuildInfo(); ok {
		return info.Main.Version
	}
	return "unknown"
}
