package main

import (
	"crypto/sha256"
	"encoding/hex"
	"io"
	"os"
	"runtime"
	"time"

	"golang.org/x/sys/unix"

	"lifeboat/config"
	"lifeboat/evidence"
	"lifeboat/internal/phrase"
)

// tool is this program, for a report.
func tool() evidence.Tool {
	t := evidence.Tool{Name: "lifeboat", Version: buildVersion()}
	if sum, err := hashSelf(); err == nil { // a report without it says that the binary is not known
		t.SHA256 = sum
	}
	return t
}

func hashSelf() (string, error) {
	f, err := os.Open("/proc/self/exe")
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// machine is this host, for a report.
func machine(identityAccepted bool) evidence.Host {
	h := evidence.Host{System: runtime.GOOS + "/" + runtime.GOARCH, CPUs: runtime.NumCPU(), Clock: clockSource(), IdentityAccepted: identityAccepted}
	h.Name, _ = os.Hostname() // a report without a name says that it is not known
	var info unix.Sysinfo_t
	if unix.Sysinfo(&info) == nil {
		h.Memory = int64(info.Totalram) * int64(info.Unit)
	}
	return h
}

// clockSource says whether somebody keeps the system's clock right, as far as the system knows.
func clockSource() string {
	var t unix.Timex
	state, err := unix.Adjtimex(&t)
	switch {
	case err != nil:
		return phrase.ClockUnknown.Say()
	case state == unix.TIME_ERROR:
		return phrase.ClockLoose.Say()
	}
	return phrase.ClockSynced.Say(time.Duration(t.Maxerror) * time.Microsecond)
}

// policyFacts are what a report says of a policy.
func policyFacts(p config.Policy, s config.Source, text []byte) evidence.Policy {
	sum := sha256.Sum256(text)
	out := evidence.Policy{Name: p.Name, Source: s.Name, Owner: s.Owner, Digest: hex.EncodeToString(sum[:]), Text: string(text), Missed: []time.Time{}}
	if p.Drill.Schedule != nil {
		out.Schedule = p.Drill.Schedule.String()
	}
	return out
}
