package evidence

import (
	"fmt"
	"strings"
)

func (l language) fact(key, value string) fact { return fact{Label: l.text(key), Value: dash(value)} }
func (l language) says(key, value string) fact {
	return fact{Label: l.text(key), Said: l.said(dash(value))}
}
func (l language) code(key, value string) fact {
	return fact{Label: l.text(key), Value: dash(value), Code: true}
}

func (l language) selection(r *Report) []fact {
	s := r.Selection
	seed := l.code("seed", s.Seed)
	if s.Seed == "" {
		seed = l.fact("seed", l.text("seed none"))
	}
	window := "-"
	if s.Window > 0 {
		window = l.seconds(s.Window)
	}
	return []fact{l.fact("mode", l.word("mode", s.Mode)), l.fact("algorithm", l.word("algorithm", s.Algorithm)), l.fact("from", l.word("from", s.From)),
		l.fact("window", window), seed, l.says("population", s.Population)}
}

func (l language) backup(r *Report) []fact {
	b := r.Backup
	log := l.text("log none")
	if b.From != "" || b.To != "" {
		log = l.text("log of", dash(b.From), l.plain(dash(b.To)), size(b.LogSize))
	}
	return []fact{
		l.fact("engine", join(" ", b.Engine, b.Version)), l.fact("system", b.System),
		l.fact("snapshot", l.text("snapshot of", dash(b.Snapshot), l.word("snapshot", b.Kind), l.at(b.Taken))),
		l.code("record", b.Record), l.fact("log range", log),
		l.fact("size", l.text("size of", size(b.Size), size(b.Fetched), comma(int64(b.Frames)))),
		l.fact("copy", l.copyName(b.Copy)), l.says("cipher", b.Cipher), l.code("epochs", strings.Join(b.Epochs, " ")),
	}
}

func (l language) policy(r *Report) []fact {
	p, t := r.Policy, r.Trigger
	by := dash(t.By)
	if t.From != "" {
		by = l.text("by from", by, t.From)
	}
	schedule, due := p.Schedule, l.at(p.Due)
	if schedule == "" {
		schedule = l.text("by hand")
	}
	if p.Due == nil {
		due = l.text("not due")
	}
	return []fact{
		l.fact("policy", l.text("policy of", dash(p.Name), dash(p.Source))), l.fact("owner", p.Owner), l.fact("schedule", schedule),
		l.fact("previous", l.at(p.Previous)), l.fact("served", due), l.fact("next", l.at(p.Next)),
		l.fact("trigger", l.word("trigger", t.Kind)), l.fact("by", by), l.fact("reason", t.Reason), l.code("policy sum", p.Digest),
	}
}

func (l language) host(r *Report) []fact {
	h := r.Host
	return []fact{
		l.fact("name", h.Name), l.fact("os", h.System), l.fact("cpus", l.text("cpu of", h.CPUs, size(h.Memory))), l.says("clock", h.Clock),
		l.fact("tool", join(" ", r.Tool.Name, r.Tool.Version)), l.code("sum", r.Tool.SHA256),
	}
}

func (l language) proof(o *Opened) []fact {
	r, c := o.Report, o.Certificate
	prior := l.code("prior", r.Log.Previous)
	if r.Log.Previous == "" {
		prior = l.fact("prior", l.text("prior none"))
	}
	return []fact{
		l.code("repository", r.Environment.Repository), l.code("root", r.Environment.Fingerprint), l.code("signer", r.Signer.Key),
		l.fact("role", l.text("role of", l.word("role", string(c.Role)), c.From)), l.fact("journal", r.Log.Journal),
		l.fact("position", l.text("records of", fmt.Sprint(r.Log.Records), dash(r.Log.Root))), prior,
	}
}
