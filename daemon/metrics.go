package daemon

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"lifeboat/config"
	"lifeboat/policies"
)

// metrics are what Prometheus sees. Names of sources, policies and targets are their labels; nothing of what is backed up shows.
type metrics struct {
	d             *Daemon
	registry      *prometheus.Registry
	backups       *prometheus.CounterVec
	duration      *prometheus.HistogramVec
	delay         prometheus.Histogram
	gaps          *prometheus.CounterVec
	notifications *prometheus.CounterVec
}

const namespace = "lifeboat"

// newMetrics makes the metrics of a daemon.
func newMetrics(d *Daemon) *metrics {
	m := &metrics{d: d, registry: prometheus.NewRegistry(),
		backups: prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: namespace, Name: "backups_total", Help: "Backups that ended, by result: committed or failed."}, []string{"source", "result"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{Namespace: namespace, Name: "backup_duration_seconds", Help: "How long committed backups took.",
			Buckets: prometheus.ExponentialBuckets(0.1, 4, 10)}, []string{"source", "kind"}),
		delay: prometheus.NewHistogram(prometheus.HistogramOpts{Namespace: namespace, Name: "schedule_delay_seconds", Help: "From the time at which a run was due until it was in the queue.",
			Buckets: []float64{0.01, 0.1, 0.5, 1, 5, 60, 600, 3600}}),
		gaps:          prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: namespace, Name: "log_gaps_total", Help: "Gaps in the captured log of a source."}, []string{"source"}),
		notifications: prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: namespace, Name: "notifications_failed_total", Help: "Attempts to tell people that failed."}, []string{"channel"}),
	}
	m.registry.MustRegister(m, m.backups, m.duration, m.delay, m.gaps, m.notifications, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// expect begins to count what a configuration makes possible: where a counter appears only with its first failure, nobody sees that it rose.
func (m *metrics) expect(cfg *config.Config) {
	for _, p := range cfg.Policies {
		for _, name := range p.Sources {
			m.backups.WithLabelValues(name, "committed")
			m.backups.WithLabelValues(name, "failed")
			if p.Logs != "" {
				m.gaps.WithLabelValues(name)
			}
		}
	}
}

// Describe says nothing: what Collect yields depends on the configuration.
func (m *metrics) Describe(chan<- *prometheus.Desc) {}

// Collect reads the status.
func (m *metrics) Collect(out chan<- prometheus.Metric) {
	s, e := m.d.Status(), exposition{out}
	e.gauge("info", "Always 1; the version is a label.", 1, "version", s.Version)
	e.gauge("ready", "Whether the daemon has started.", truth(s.Ready))
	e.gauge("reload_failed", "Whether the newest configuration was refused and the one before is in use.", truth(s.Reload != ""))
	e.gauge("notify_failed", "Whether not everybody can be notified: `lifeboat status` says why.", truth(s.Notify != ""))
	running := 0
	for _, j := range s.Jobs {
		if j.Began != nil {
			running++
		}
	}
	e.gauge("jobs_running", "Jobs that run.", float64(running))
	e.gauge("jobs_waiting", "Jobs that wait.", float64(len(s.Jobs)-running))
	if s.Pruned != nil {
		e.gauge("retention_timestamp_seconds", "When retention was last applied or tried.", seconds(*s.Pruned))
	}
	for _, row := range s.Sources {
		e.source(row)
	}
	for _, t := range s.Targets {
		e.target(t)
	}
	for _, row := range s.Drills {
		e.drill(row)
	}
	for kind, n := range m.d.troubles() {
		e.gauge("troubles", "What people were told of and is not over yet, by kind.", float64(n), "kind", kind)
	}
}

// exposition is where the values of a moment go.
type exposition struct{ out chan<- prometheus.Metric }

func (e exposition) source(s SourceStatus) {
	labels := []string{"source", s.Source, "policy", s.Policy}
	if s.Taken != nil {
		e.gauge("last_snapshot_timestamp_seconds", "When the newest snapshot of a source was consistent.", seconds(*s.Taken), labels...)
		e.gauge("last_snapshot_size_bytes", "What the newest snapshot of a source restores to.", float64(s.Size), labels...)
		e.gauge("last_snapshot_stored_bytes", "What the newest snapshot of a source added to each copy.", float64(s.Stored), labels...)
		e.gauge("last_snapshot_changed_bytes", "What of the newest snapshot of a source differs from the one before.", float64(s.Changed), labels...)
	}
	if s.Allowed > 0 {
		e.gauge("snapshot_age_allowed_seconds", "How old the newest snapshot of a source may be by its policy.", float64(s.Allowed), labels...)
	}
	if s.Next != nil {
		e.gauge("next_run_timestamp_seconds", "When the next snapshot of a source is due.", seconds(*s.Next), labels...)
	}
	e.gauge("failures", "Backups of a source that failed since the last that did not.", float64(s.Failures), labels...)
	e.value(prometheus.CounterValue, "missed_runs_total", "Times of the schedule that passed without a run.", float64(s.Missed), labels...)
	e.gauge("anomaly_held", "Whether older snapshots of a source are held because a newer one is unusual, and nobody has released them.", truth(s.Held > 0), labels...)
	if s.Log != "" {
		e.gauge("log_capturing", "Whether the log of a source is being captured.", truth(s.Log == "capturing"), labels...)
	}
}

func (e exposition) drill(s DrillStatus) {
	if s.Last != nil {
		e.gauge("last_drill_timestamp_seconds", "When a policy was last drilled.", seconds(*s.Last), "policy", s.Policy)
		e.gauge("last_drill_passed", "Whether the last drill of a policy passed, and the last of each copy.", truth(s.Result == policies.Passed && len(s.Failing) == 0), "policy", s.Policy)
		e.gauge("last_drill_rto_seconds", "How long the last drill of a policy took until the database answered; 0 where it never did.", float64(s.RTO)/1000, "policy", s.Policy)
		e.gauge("last_drill_rpo_seconds", "How much work would have been lost by the last drill of a policy.", float64(s.RPO)/1000, "policy", s.Policy)
	}
	if s.Next != nil {
		e.gauge("next_drill_timestamp_seconds", "When the next drill of a policy is due.", seconds(*s.Next), "policy", s.Policy)
	}
	e.gauge("drill_overdue", "Whether a drill of a policy should have been made and was not.", truth(s.Overdue != nil), "policy", s.Policy)
}

func (e exposition) target(t TargetStatus) {
	e.gauge("target_reachable", "Whether a target could be reached by the last job.", truth(t.Error == ""), "target", t.Target)
	e.gauge("target_records_behind", "Records of the journal that a target lacks.", float64(t.Behind), "target", t.Target)
	e.gauge("damaged_objects", "Objects of a target that its last check found damaged and that were not healed.", float64(t.Damaged), "target", t.Target)
	if t.LastCheck != nil {
		e.gauge("last_check_timestamp_seconds", "When a target was last checked whole.", seconds(*t.LastCheck), "target", t.Target)
	}
	if t.LocksLapse != nil {
		e.gauge("locks_lapse_timestamp_seconds", "When the first lock on something that is needed on a target can lapse.", seconds(*t.LocksLapse), "target", t.Target)
		e.gauge("locks_term_seconds", "For how long a lock on a target is set.", float64(t.LocksTerm), "target", t.Target)
	}
}

func (e exposition) gauge(name, help string, v float64, labels ...string) {
	e.value(prometheus.GaugeValue, name, help, v, labels...)
}

// value exposes a value; labels are names, each followed by its value.
func (e exposition) value(kind prometheus.ValueType, name, help string, v float64, labels ...string) {
	var names, values []string
	for i := 0; i+1 < len(labels); i += 2 {
		names, values = append(names, labels[i]), append(values, labels[i+1])
	}
	e.out <- prometheus.MustNewConstMetric(prometheus.NewDesc(prometheus.BuildFQName(namespace, "", name), help, names, nil), kind, v, values...)
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

func seconds(t time.Time) float64 { return float64(t.UnixMilli()) / 1000 }
