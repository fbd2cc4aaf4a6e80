package main

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"lifeboat/config"
	"lifeboat/policies"
	"lifeboat/repository"
	"lifeboat/target"
)

// policyStatus is what a policy's rule says of the copies of one source, in JSON.
type policyStatus struct {
	Name    string       `json:"name"`
	Source  string       `json:"source"`
	Verdict string       `json:"verdict"`
	Have    copiesStatus `json:"have"`
	Want    copiesStatus `json:"want"`
	Unmet   []string     `json:"unmet"`
}

type copiesStatus struct {
	Count     int `json:"copies"`
	Media     int `json:"media"`
	Offsite   int `json:"offsite"`
	Immutable int `json:"immutable"`
}

func (s copiesStatus) String() string {
	return fmt.Sprintf("%d-%d-%d-%d", s.Count, s.Media, s.Offsite, s.Immutable)
}

// judge compares what there is of each policy's sources with the policy.
func (r *statusReport) judge(cfg *config.Config, positions []*repository.Copy) {
	for _, p := range cfg.Policies {
		for _, name := range p.Sources {
			i := slices.IndexFunc(r.Sources, func(s sourceStatus) bool { return s.Source == name })
			if i < 0 || p.Copies == (config.Copies{}) {
				continue
			}
			var copies []policies.Copy
			for _, c := range r.Copies {
				t, ok := cfg.Target(c.Target)
				if !ok || len(p.Targets) > 0 && !slices.Contains(p.Targets, c.Target) {
					continue
				}
				copies = append(copies, policies.Copy{Target: c.Target, Place: placeOf(t), Media: c.Media, Offsite: c.Offsite, Immutable: c.LockedUntil != nil, Against: c.against(r.Sources[i])})
			}
			rule := policies.Rule{Count: p.Copies.Count, Media: p.Copies.Media, Offsite: p.Copies.Offsite, Immutable: p.Copies.Immutable}
			v := rule.Judge(copies)
			s := policyStatus{Name: p.Name, Source: name, Verdict: "ok", Have: copiesStatus(v.Rule), Want: copiesStatus(rule), Unmet: append([]string{}, v.Unmet...)}
			if len(v.Unmet) > 0 {
				s.Verdict, r.Verdict = "not met", "bad"
			}
			r.Policies = append(r.Policies, s)
		}
	}
}

// against says why a copy does not count for a source; empty where it does.
func (c copyStatus) against(s sourceStatus) string {
	switch {
	case s.Last == nil:
		return "there is no snapshot"
	case c.Error != "":
		return "it cannot be reached"
	case c.Damaged > 0:
		return "it is damaged: run `lifeboat heal`"
	case s.Copies[c.Target] != "complete":
		return "the newest snapshot is not complete there"
	case c.LastCheck == nil:
		return "it was never checked: run `lifeboat check`"
	}
	return ""
}

// placeOf is what two targets share that are lost together.
func placeOf(t config.Target) string {
	switch t.Type {
	case config.S3:
		return strings.TrimSpace(fmt.Sprintf("bucket %s %s", t.Bucket, t.Endpoint))
	case config.SFTP:
		return "host " + t.Host
	case config.Local:
	}
	var st unix.Stat_t
	if err := unix.Stat(t.Path, &st); err != nil {
		return t.Path // it cannot be reached, and does not count
	}
	return fmt.Sprintf("device %d:%d", unix.Major(st.Dev), unix.Minor(st.Dev))
}

// mediaOf is what a target is made of, as far as it is said.
func mediaOf(t config.Target) string {
	return cmp.Or(t.Media, map[config.TargetType]string{config.Local: "disk", config.S3: "object", config.SFTP: "server"}[t.Type])
}

// locked is until when everything is protected from deletion that the newest snapshot added; nil where something is not.
func locked(ctx context.Context, t target.Target, objects []target.Object, now time.Time) (until *time.Time) {
	r, ok := t.(target.Retainer)
	if !ok {
		return nil
	}
	for _, o := range objects {
		u, err := r.Retained(ctx, o.Name)
		if err != nil || u.Before(now) {
			return nil // what cannot be seen does not count
		}
		if until == nil || u.Before(*until) {
			until = &u
		}
	}
	return until
}
