//go:build linux && amd64

package main

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"lifeboat/internal/strike"
	"lifeboat/journal"
	"lifeboat/repository"
)

// TestKillNoted kills a command before every call that writes while it records what was noted: each note is recorded once, in its order, and none is lost.
func TestKillNoted(t *testing.T) {
	inMemory(t)
	x := newFixture(t, "disk", "usb")
	x.want(0, "backup", "crm")
	at := time.Date(2026, 5, 1, 0, 0, 0, 0, time.UTC)
	for n := range 3 {
		x.must(repository.Note(x.path("state"), repository.Noted{Record: journal.Record{Type: journal.Denied, By: "daemon@host", Happened: &at, Denied: &journal.DeniedBody{At: "socket", Who: "user 1000", Count: n}}}))
		text := fmt.Appendf(nil, "text %d", n)
		x.must(repository.Note(x.path("state"), repository.Noted{Document: text, Record: journal.Record{Type: journal.Policy, By: "daemon@host", Happened: &at, Policy: &journal.PolicyBody{Policy: "0123456789abcdef", Digest: journal.Hash(text)}}}))
	}
	s := stage{"copy", []string{"copy"}, x, nil}
	calls, err := strike.Count(s.command(s.twin(t)))
	x.must(err)
	t.Logf("%d calls that write", calls)
	rng := rand.New(rand.NewPCG(1, 99))
	moments := rng.Perm(calls)
	if !soak() {
		moments = moments[:min(calls, 3*killBudget)]
	}
	for _, k := range moments {
		y := s.twin(t)
		r, err := strike.Run(s.command(y), k+1, rng)
		y.must(err)
		if y.want(0, "copy"); y.noted() {
			continue
		}
		t.Fatalf("killed at call %d, %s, kept %d", k+1, r.Call, r.Kept)
	}
}

// noted reports whether everything that TestKillNoted noted is recorded once, in its order, on both copies.
func (x *fixture) noted() bool {
	x.t.Helper()
	if n, _ := repository.Unrecorded(x.path("state")); n > 0 {
		x.t.Errorf("%d notes wait", n)
	}
	for _, name := range []string{"disk", "usb"} {
		var got []string
		for _, e := range x.records(name) {
			switch {
			case e.Denied != nil:
				got = append(got, fmt.Sprint("refusal ", e.Denied.Count))
			case e.Policy != nil:
				got = append(got, e.Policy.Digest[:6])
			}
		}
		var want []string
		for n := range 3 {
			want = append(want, fmt.Sprint("refusal ", n), journal.Hash(fmt.Appendf(nil, "text %d", n))[:6])
		}
		if !slices.Equal(got, want) {
			x.t.Errorf("%s: %v, want %v", name, got, want)
		}
		x.want(0, "check", "--from", name, "--identity", x.path("key"))
	}
	return !x.t.Failed()
}
