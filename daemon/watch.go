package daemon

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"lifeboat/config"
	"lifeboat/notify"
	"lifeboat/repository"
	"lifeboat/restore"
)

// watchEvery is how often it is looked for what should have happened and did not.
const watchEvery = time.Minute

// watch tells of what is late, and of logs that are not captured.
func (d *Daemon) watch(ctx context.Context) {
	now, cfg := d.Now(), d.config()
	d.mu.Lock()
	early := now.Sub(d.watched) < watchEvery && !now.Before(d.watched)
	if !early {
		d.watched = now
	}
	d.mu.Unlock()
	if early {
		return
	}
	d.gone(cfg)
	d.overdue(now, cfg)
	d.bury()
	if d.Drills {
		return
	}
	d.stalled(ctx, now, cfg)
	d.lapsing(now)
	for _, p := range cfg.Policies {
		allowed := allowedAge(p, now)
		for _, name := range p.Sources {
			if allowed == 0 {
				d.unscheduled(name, p.Name)
			}
			d.late(name, p.Name, now, allowed)
		}
	}
}

// unscheduled ends the failures of a source of which no backup is due any more: none would end them.
func (d *Daemon) unscheduled(name, policy string) {
	d.mu.Lock()
	s := d.source(name)
	over := s.failures.Count > 0 && s.full == ""
	if over {
		s.failures = trouble{}
	}
	d.mu.Unlock()
	if over {
		d.keep()
		d.tell(notify.Event{Key: backupKey(name), Kind: notify.Recovered, Severity: notify.Info, Policy: policy, Source: name, Recovered: true, Title: fmt.Sprintf("no backup of %s is scheduled any more", name)})
	}
}

// allowedAge is how old the newest snapshot of a policy's sources may be: as old as the schedule lets it be, and as long again, for a run that takes its
// time; or as the RPO says where no log makes up for it. Without a schedule it is 0: any.
func allowedAge(p config.Policy, now time.Time) time.Duration {
	every, rpo := ScheduleOf(p).Longest(now), p.RPO.Length()
	if p.Logs == "" && every > 0 && rpo > every {
		return rpo
	}
	return 2 * every
}

// lapsing tells of locks that nothing has renewed for too long, those of targets that cannot be reached too.
func (d *Daemon) lapsing(now time.Time) {
	d.mu.Lock()
	targets := map[string]targetState{}
	for name, t := range d.targets {
		targets[name] = *t
	}
	d.mu.Unlock()
	for name, t := range targets {
		e := notify.Event{Key: "locks/" + name, Kind: notify.Recovered, Severity: notify.Info, Target: name, Recovered: true, Title: fmt.Sprintf("the locks of %s are renewed again", name)}
		if !t.lapse.IsZero() && repository.LocksLapsing(t.lapse, t.term, now) {
			e.Kind, e.Severity, e.Recovered, e.Title = notify.LockLapsing, notify.Critical, false, fmt.Sprintf("the locks of %s begin to lapse", name)
			e.Detail = fmt.Sprintf("from %s on, whoever has its credentials can delete what backups need; a backup renews them: `lifeboat backup` says what hinders it", t.lapse.Format(time.RFC3339))
		}
		d.tell(e)
	}
}

func (d *Daemon) late(name, policy string, now time.Time, allowed time.Duration) {
	d.mu.Lock()
	s := d.source(name)
	last, since := s.last, d.began
	why := s.failures.Why
	d.mu.Unlock()
	what := "there is no snapshot at all"
	if last != nil {
		since = last.Snapshot.Taken
		what = fmt.Sprintf("the newest snapshot, %s, is of %s", restore.FormatID(last.Seq), since.UTC().Format(time.RFC3339))
	}
	e := notify.Event{Key: "late/" + name, Kind: notify.BackupLate, Severity: notify.Critical, Policy: policy, Source: name, Title: fmt.Sprintf("the backup of %s is late", name), Detail: what}
	if why != "" {
		e.Detail += "; " + why
	}
	if allowed == 0 || now.Sub(since) <= allowed {
		e.Kind, e.Severity, e.Recovered, e.Title, e.Detail = notify.Recovered, notify.Info, true, fmt.Sprintf("the backup of %s is in time again", name), ""
	}
	d.tell(e)
}

// gone ends what people were told of what a configuration does not have any more: nothing else would find out that it is over.
func (d *Daemon) gone(cfg *config.Config) {
	d.mu.Lock()
	told := maps.Clone(d.told)
	d.mu.Unlock()
	logs := logsWanted(cfg)
	for key, title := range told {
		kind, name, _ := strings.Cut(key, "/")
		stays := true
		switch kind {
		case pruneKey, unheardKey, "unentered":
		case "target", "check", "unchecked", "locks":
			_, stays = cfg.Target(name)
		case "log":
			_, stays = logs[name]
		case "drill", "overdue":
			name, _, _ = strings.Cut(name, "/")
			stays = slices.ContainsFunc(cfg.Policies, func(p config.Policy) bool { return p.Name == name })
		default:
			_, stays = PolicyOf(cfg, name)
		}
		if !stays {
			d.tell(notify.Event{Key: key, Kind: notify.Recovered, Severity: notify.Info, Recovered: true, Title: "not configured any more: " + title})
		}
	}
}
