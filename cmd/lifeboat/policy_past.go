package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"lifeboat/config"
	"lifeboat/daemon"
	"lifeboat/journal"
	"lifeboat/policies"
	"lifeboat/repository"
	"lifeboat/restore"
)

// past is what the copies tell of the sources.
type past struct {
	r         *repository.Reader
	positions []*repository.Copy
	done      map[string][]policies.Done // by opaque source
	opaque    map[string]string          // of each source that has snapshots
	logSince  map[string]time.Time       // from when on its log leads to now
}

// past reads the journal, and how far the log reaches.
func (a *app) past(ctx context.Context) (p past, err error) {
	x := access{}
	if _, err := repository.HostKeys(a.cfg.StateDir); absent(err) && identityPath(x) == "" {
		return p, errors.New("`lifeboat init` was not run here")
	}
	r, list, err := a.list(ctx, x, nil)
	if err != nil {
		return p, err
	}
	p = past{r: r, positions: a.positions(ctx, x, r), opaque: map[string]string{}, logSince: map[string]time.Time{}}
	p.done = daemon.DoneOf(r.Chain.Entries(), repository.DamagedEverywhere(a.cfg.StateDir, p.positions))
	newest := map[string]time.Time{}
	for _, s := range list {
		p.opaque[s.Name], newest[s.Name] = s.Opaque, s.Taken
	}
	rows, err := windows(ctx, list, &reaches{r: r, logs: map[logOf]restore.Log{}})
	if err != nil {
		return p, fmt.Errorf("how far the log reaches: %w", err)
	}
	for _, w := range rows {
		since := w.Earliest
		for _, g := range w.Gaps {
			since = g.To
		}
		if !since.After(newest[w.Source]) { // else log is missing behind the newest one, and only the next one is gone on from
			p.logSince[w.Source] = since
		}
	}
	return p, nil
}

// forecasts are what the policies of a configuration begin with, one for each source.
func forecasts(cfg *config.Config, p past, now time.Time) (out []planned) {
	keep := map[string]policies.Retention{}
	for _, k := range daemon.KeepOf(cfg, now) {
		keep[k.Source] = k.Retention
	}
	for _, policy := range cfg.Policies {
		for _, name := range policy.Sources {
			s, _ := cfg.Source(name)
			f := planned{Policy: policy.Name, Source: name}
			f.forecast = policies.Forecast{Name: policy.Name, Schedule: daemon.ScheduleOf(policy), Retention: keep[name], Logs: policy.Logs != "" && s.Engine.HasLog()}
			if opaque, ok := p.opaque[name]; ok {
				p.tell(cfg.StateDir, name, opaque, &f.forecast)
				f.Known = true
			}
			out = append(out, f)
		}
	}
	return out
}

// tell adds what is known of a source.
func (p past) tell(stateDir, name, opaque string, f *policies.Forecast) {
	var all, kept []journal.Entry // with those that were dropped, and without
	for _, e := range p.r.Chain.Entries() {
		if e.Snapshot != nil && e.Snapshot.Source == opaque {
			all = append(all, e)
		}
	}
	for _, e := range p.r.Chain.Snapshots() {
		if e.Snapshot.Source == opaque {
			kept = append(kept, e)
		}
	}
	f.Done = p.done[opaque]
	f.Sizes = sizesOf(all)
	if f.Logs {
		f.Sizes.LogPerDay = p.r.LogPerDay(name, all[len(all)-1].Snapshot.Log)
		f.LogSince = p.logSince[name]
	}
	next, carried := 0, int64(0)
	for _, point := range repository.Points(p.r.Chain, stateDir, p.positions, kept) {
		for ; next < len(all) && all[next].Seq <= point.Seq; next++ {
			carried += all[next].Snapshot.Stored
		}
		f.Points = append(f.Points, policies.Stored{Point: point, Bytes: min(carried, max(f.Sizes.Full, all[next-1].Snapshot.Stored))})
		carried = 0
	}
}

// fewLast is how many of the newest snapshots an average is taken of.
const fewLast = 200

// sizesOf are what snapshots of a source took: a full one as much of the newest size as the largest ever took of its own, each
// later one the average of the newest.
func sizesOf(all []journal.Entry) (s policies.Sizes) {
	largest, sum, n := 0, int64(0), int64(0)
	for i, e := range all {
		if e.Snapshot.Stored > all[largest].Snapshot.Stored {
			largest = i
		}
	}
	full := all[largest].Snapshot
	if s.Full = full.Stored; full.Size > 0 {
		s.Full = int64(float64(full.Stored) * float64(all[len(all)-1].Snapshot.Size) / float64(full.Size))
	}
	for i, e := range all {
		if i != largest && i >= len(all)-fewLast {
			sum, n = sum+e.Snapshot.Stored, n+1
		}
	}
	if n > 0 {
		s.Increment = sum / n
	}
	return s
}
