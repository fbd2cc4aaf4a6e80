package daemon

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"time"

	"lifeboat/config"
	"lifeboat/notify"
	"lifeboat/repository"
	"lifeboat/snapshot"
)

// logsWanted lists the sources whose logs a configuration wants, each with what its capture depends on.
func logsWanted(cfg *config.Config) map[string]config.Source {
	out := map[string]config.Source{}
	if cfg == nil {
		return out
	}
	for _, p := range cfg.Policies {
		if p.Logs == "" {
			continue
		}
		for _, name := range p.Sources {
			if s, ok := cfg.Source(name); ok && s.Engine.HasLog() {
				out[name] = s
			}
		}
	}
	return out
}

// streaming starts and ends captures so that they are those of a configuration. One whose source or targets changed is begun anew.
func (d *Daemon) streaming(ctx context.Context, old, cfg *config.Config) {
	before, now := logsWanted(old), logsWanted(cfg)
	same := old != nil && reflect.DeepEqual(old.Targets, cfg.Targets)
	ended := map[string]<-chan struct{}{}
	for name, s := range before {
		if other, ok := now[name]; !ok || !same || !reflect.DeepEqual(s, other) {
			ended[name] = d.endStream(name)
		}
	}
	for name := range now {
		d.mu.Lock()
		_, runs := d.streams[name]
		d.mu.Unlock()
		if !runs {
			d.beginStream(ctx, name, ended[name])
		}
	}
}

// endStream ends a capture. It returns what is closed once that has ended, which takes long where a target does not answer; nil where there was none.
func (d *Daemon) endStream(name string) (ended <-chan struct{}) {
	d.mu.Lock()
	defer d.mu.Unlock()
	s := d.streams[name]
	if s == nil {
		return nil
	}
	delete(d.streams, name)
	s.cancel()
	return s.ended
}

// beginStream captures the log of a source for ever, once the capture before it, if there is one, has ended.
func (d *Daemon) beginStream(ctx context.Context, name string, before <-chan struct{}) {
	ctx, cancel := context.WithCancel(ctx)
	s := &stream{cancel: cancel, ended: make(chan struct{}), missed: map[string]string{}, absent: map[string]bool{}}
	d.mu.Lock()
	d.streams[name] = s
	d.mu.Unlock()
	streamer := d.streamer(name, s)
	d.wait.Go(func() {
		defer close(s.ended)
		defer cancel()
		if before != nil {
			s.mu.Lock()
			s.broken.failed(d.Now(), errors.New("the capture before it has not ended: the server or a target does not answer; a new start of the daemon ends it"))
			s.mu.Unlock()
			select {
			case <-before:
			case <-ctx.Done():
				return
			}
		}
		if err := streamer.Run(ctx); err != nil {
			d.Log.Error("the log is not captured", "source", name, "error", err)
		}
	})
}

// streamer says what becomes of a stream, to its state, the log and people.
func (d *Daemon) streamer(name string, s *stream) *Streamer {
	return &Streamer{
		Name: name,
		Open: func(ctx context.Context) (c repository.Config, src snapshot.LogSource, closing func(), err error) {
			found, err := d.Wiring.Source(d.config(), name)
			if err != nil {
				return c, nil, nil, err
			}
			src, ok := found.(snapshot.LogSource)
			if !ok {
				return c, nil, nil, fmt.Errorf("source %s: %w", name, errNoLog)
			}
			s.mu.Lock()
			clear(s.absent)
			s.mu.Unlock()
			c, closing, err = d.open(ctx)
			return c, src, closing, err
		},
		Hopeless: func(err error, _ bool) bool { return errors.Is(err, errNoLog) },
		Opened: func(at snapshot.Pos) {
			s.mu.Lock()
			s.since, s.broken = d.Now(), trouble{}
			s.mu.Unlock()
			d.Log.Info("capturing the log", "source", name, "from", at.String())
			d.tell(notify.Event{Key: "log/" + name, Kind: notify.Recovered, Severity: notify.Info, Source: name, Recovered: true, Title: fmt.Sprintf("the log of %s is captured again", name)})
		},
		Broken: func(err error, pause time.Duration) {
			s.mu.Lock()
			s.since = time.Time{}
			s.broken.failed(d.Now(), err)
			s.mu.Unlock()
			d.Log.Warn("the capture of the log broke off", "source", name, "error", err, "again_in", pause)
		},
		Missed: func(target string, err error) {
			s.mu.Lock()
			defer s.mu.Unlock()
			if err == nil {
				delete(s.missed, target)
				d.Log.Info("the log goes on to a target", "source", name, "target", target)
				return
			}
			s.missed[target] = err.Error()
			s.absent[target] = s.since.IsZero()
			d.Log.Warn("the log does not get to a target", "source", name, "target", target, "error", err)
		},
		Unrecorded: func(err error) {
			d.Log.Warn("the log is stored, and the journal could not be told so; it is tried again", "source", name, "error", err)
		},
		Full: func(behind snapshot.Pos) {
			d.mu.Lock()
			if d.source(name).full == "" { // told again until that snapshot is there
				d.metrics.gaps.WithLabelValues(name).Inc()
			}
			d.source(name).full = "a gap in the log"
			d.mu.Unlock()
			signal(d.queue.changed)
			d.tell(notify.Event{Key: "gap/" + name, Kind: notify.LogGap, Severity: notify.Critical, Source: name, Title: fmt.Sprintf("log of %s is lost", name),
				Detail: fmt.Sprintf("the server had dropped the log behind %s before it was captured: points between there and the full snapshot that is taken now cannot be restored", behind)})
		},
	}
}

// stalled tells of logs that have not been captured for longer than their policy allows, and begins those anew that leave out a target which can be
// reached again.
func (d *Daemon) stalled(ctx context.Context, now time.Time, cfg *config.Config) {
	d.mu.Lock()
	streams := maps.Clone(d.streams)
	d.mu.Unlock()
	for name, s := range streams {
		p, _ := PolicyOf(cfg, name)
		s.mu.Lock()
		broken, since, absent := s.broken, s.since, maps.Clone(s.absent)
		s.mu.Unlock()
		if broken.Count > 0 && now.Sub(broken.Since) > max(p.RPO.Length(), time.Minute) {
			d.tell(notify.Event{Key: "log/" + name, Kind: notify.LogStalled, Severity: notify.Critical, Policy: p.Name, Source: name, Title: fmt.Sprintf("the log of %s is not captured", name),
				Detail: fmt.Sprintf("since %s: %s", broken.Since.UTC().Format(time.RFC3339), broken.Why)})
		}
		if !since.IsZero() && now.Sub(since) > time.Minute && d.reachable(absent) {
			d.Log.Info("a target of the log can be reached again: capture begins anew", "source", name)
			d.beginStream(ctx, name, d.endStream(name))
		}
	}
}

// reachable reports whether one of some targets could not be reached, and can be by now.
func (d *Daemon) reachable(absent map[string]bool) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	for name, left := range absent {
		if t := d.target(name); left && t.seen && t.err == "" {
			return true
		}
	}
	return false
}
