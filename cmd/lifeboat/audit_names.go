package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"unicode"

	"github.com/dustin/go-humanize/english"

	"lifeboat/chunkstore"
	"lifeboat/crypto"
	"lifeboat/journal"
	"lifeboat/repository"
	"lifeboat/restore"
)

// auditNames are the names of sources and policies behind what stands for them in records.
type auditNames struct {
	chain  *journal.Chain
	hasher *crypto.Hasher // nil without any key
	source map[string]string
	policy map[string]string
	drop   map[uint64]string // opaque sources of snapshots
	logs   uint64            // the highest number of a log
}

// auditNames finds out what it can: with an identity the names in the copy, and on the backup host those in its configuration.
func (a *app) auditNames(ctx context.Context, x access, r *repository.Reader) (*auditNames, error) {
	n := &auditNames{chain: r.Chain, source: map[string]string{}, policy: map[string]string{}, drop: map[uint64]string{}}
	for _, e := range r.Chain.Entries() {
		if e.Snapshot != nil {
			n.drop[e.Seq], n.logs = e.Snapshot.Source, max(n.logs, e.Snapshot.Log)
		}
	}
	ids, err := a.identities(x)
	if err != nil {
		return nil, err
	}
	var found []string
	if len(ids) > 0 {
		if err := r.Unlock(ctx, ids); err != nil {
			return nil, err
		}
		n.hasher = r.IDs.NewHasher()
		list, err := r.Snapshots(ctx, "")
		if err != nil && !chunkstore.Damaged(err) {
			return nil, err
		}
		for _, s := range list {
			found = append(found, s.Name)
		}
	} else if keys := a.hostKeys(); keys != nil && keys.Root == r.Chain.RootKey() {
		n.hasher = keys.IDs.NewHasher()
	}
	if n.hasher == nil {
		return n, nil
	}
	if cfg, err := a.config(); err == nil {
		for _, s := range cfg.Sources {
			found = append(found, s.Name)
		}
		for _, p := range cfg.Policies {
			n.policy[n.hasher.Source(repository.OpaquePolicy+p.Name)] = p.Name
		}
	}
	slices.Sort(found)
	for _, name := range slices.Compact(found) {
		n.add(name)
	}
	return n, nil
}

// add makes a source known by its name.
func (n *auditNames) add(name string) {
	n.source[n.hasher.Source(name)] = name
	for log := range n.logs + 1 {
		n.source[n.hasher.Log(name, log)] = name
	}
}

// unknown refuses a name where nobody can tell what stands for it.
func (n *auditNames) unknown(name string) error {
	return fmt.Errorf("--source %s: %w: the names of sources are encrypted: --identity FILE, or run this on the backup host", name, crypto.ErrIdentity)
}

// named is the name of a source, or what stands for it.
func (n *auditNames) named(opaque string) string {
	if name, ok := n.source[opaque]; ok {
		return clean(name)
	}
	return clean(opaque)
}

// of names the sources that a record concerns.
func (n *auditNames) of(e journal.Entry) (out []string) {
	var opaque []string
	switch {
	case e.Snapshot != nil:
		opaque = []string{e.Snapshot.Source}
	case e.Log != nil:
		opaque = []string{e.Log.Source}
	case e.Drill != nil:
		opaque = []string{e.Drill.Source}
	case e.Restore != nil:
		opaque = []string{e.Restore.Source}
	case e.Drop != nil:
		opaque = n.sourcesOf(e.Drop.Seqs())
	case e.Hold != nil:
		opaque = append(n.sourcesOf(e.Hold.Snapshots), e.Hold.Source)
	case e.Release != nil && e.Release.Hold > 0:
		return n.of(n.chain.Entries()[e.Release.Hold-1])
	}
	for _, o := range opaque {
		out = append(out, n.source[o])
	}
	return out
}

func (n *auditNames) sourcesOf(seqs []uint64) (out []string) {
	for _, seq := range seqs {
		out = append(out, n.drop[seq])
	}
	return out
}

// object names what a record is about.
func (n *auditNames) object(e journal.Entry) string {
	switch {
	case e.Takeover != nil && n.chain.Rotated(e.Seq):
		return "a new epoch, the same host"
	case e.Takeover != nil:
		return "a new host"
	case e.Log != nil && e.Log.Gap != "":
		return n.known("", e.Log.Source) + "gap: " + clean(e.Log.Gap)
	case e.Log != nil:
		return strings.TrimSuffix(n.known("", e.Log.Source), ": ")
	case e.Snapshot != nil:
		return n.known("", e.Snapshot.Source) + restore.FormatID(e.Seq)
	case e.Drop != nil:
		return snapshotIDs(e.Drop.Seqs())
	case e.Hold != nil && e.Hold.Source == "":
		return snapshotIDs(e.Hold.Snapshots)
	case e.Hold != nil && e.Hold.Through > 0:
		return "source " + n.named(e.Hold.Source) + " up to " + restore.FormatID(e.Hold.Through)
	case e.Hold != nil:
		return "source " + n.named(e.Hold.Source)
	case e.Release != nil:
		return fmt.Sprintf("hold %d", e.Release.Hold)
	case e.Condemn != nil:
		return english.Plural(len(e.Condemn.Packs), "pack", "")
	case e.Sweep != nil:
		return english.Plural(len(e.Sweep.Packs), "pack", "")
	}
	return n.event(e)
}

// event is object for what people do and see.
func (n *auditNames) event(e journal.Entry) string {
	switch {
	case e.Drill != nil && e.Drill.Snapshot > 0:
		return n.known("source ", e.Drill.Source) + restore.FormatID(e.Drill.Snapshot) + ", report " + e.Drill.Report[:12]
	case e.Drill != nil:
		return "source " + n.named(e.Drill.Source) + ", report " + e.Drill.Report[:12]
	case e.Review != nil:
		return "report " + e.Review.Report[:12] + ", as " + clean(e.Review.As)
	case e.Policy != nil:
		name, ok := n.policy[e.Policy.Policy]
		if !ok {
			name = e.Policy.Policy
		}
		if e.Policy.Digest == "" {
			return "policy " + clean(name) + " removed"
		}
		return "policy " + clean(name) + ", text " + e.Policy.Digest[:12]
	case e.Restore != nil:
		return n.known("source ", e.Restore.Source) + restore.FormatID(e.Restore.Snapshot) + ", to " + clean(e.Restore.Point)
	case e.Certify != nil, e.Revoke != nil:
		return n.key(e.Seq)
	case e.Denied != nil:
		return fmt.Sprintf("%s, %s, %s", clean(e.Denied.At), clean(e.Denied.Who), english.Plural(e.Denied.Count, "time", ""))
	}
	return ""
}

// key names the drill host whose key a record is about.
func (n *auditNames) key(seq uint64) string {
	for _, h := range n.chain.DrillHosts() {
		if h.Certified == seq || h.Revoked == seq {
			return "key of " + string(h.Role)
		}
	}
	return ""
}

// known begins a text with the name of a source; without the name with what stands for it, where that says what it is.
func (n *auditNames) known(what, opaque string) string {
	if name, ok := n.source[opaque]; ok {
		return clean(name) + ": "
	}
	if what == "" {
		return ""
	}
	return what + clean(opaque) + ": "
}

// object names what a record is about, without names of sources.
func object(c *journal.Chain, e journal.Entry) string { return (&auditNames{chain: c}).object(e) }

// snapshotIDs names snapshots, the first few of many.
func snapshotIDs(seqs []uint64) string {
	var out []string
	for _, seq := range seqs[:min(len(seqs), 5)] {
		out = append(out, restore.FormatID(seq))
	}
	if more := len(seqs) - len(out); more > 0 {
		out = append(out, fmt.Sprintf("%d more", more))
	}
	return strings.Join(out, ", ")
}

// clean keeps what shows as nothing, or as something else, of a signed but strange text away from the terminal: control characters, and what turns the direction of writing.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsGraphic(r) {
			return '?'
		}
		return r
	}, s)
}
