package journal

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"lifeboat/crypto"
)

// DrillHost is a host that the root certified to sign drills, and its journal as far as it was entered here.
type DrillHost struct {
	Role        crypto.Role
	Key         string // verifier key
	Certificate string
	Certified   uint64 // record
	Revoked     uint64 // record; 0: it counts
	Chain       *Chain // what was entered; whoever appends clones it
}

// Role is who writes the journal.
func (c *Chain) Role() crypto.Role { return cmp.Or(c.role, crypto.Writer) }

// DrillHosts lists the drill hosts that were ever certified, in order.
func (c *Chain) DrillHosts() []*DrillHost { return c.hosts }

// DrillHost is the one of a role; nil without one.
func (c *Chain) DrillHost(role crypto.Role) *DrillHost {
	i := slices.IndexFunc(c.hosts, func(h *DrillHost) bool { return h.Role == role })
	if i < 0 {
		return nil
	}
	return c.hosts[i]
}

// DrillChain awaits the first record of the drill host that a certificate by the root is for.
func DrillChain(repository crypto.ID, rootKey, certificate string) (*Chain, error) {
	root, err := crypto.NewVerifier(repository, crypto.Root, rootKey)
	if err != nil {
		return nil, err
	}
	cert, err := crypto.OpenCertificate(root, certificate)
	if err != nil {
		return nil, err
	}
	if cert.Repository != repository || !cert.Role.Drills() {
		return nil, errOtherCertificate
	}
	key, err := crypto.NewVerifier(repository, cert.Role, cert.Key)
	if err != nil {
		return nil, err
	}
	return &Chain{role: cert.Role, base: Hash([]byte(certificate)), repository: repository, root: root, rootKey: rootKey, writer: key, writers: []from{{1, key}}}, nil
}

var errOtherCertificate = errors.New("its certificate is for something else")

// allowDrillHost checks what a record of a drill host may be: what is noted.
func (c *Chain) allowDrillHost(r *Record) error {
	switch {
	case r.Repository != c.repository:
		return errOtherRepository
	case !r.noted():
		return fmt.Errorf("a %q is nothing that a drill host records", r.Type)
	}
	own := r.Noted()
	own.adopt(r)
	own.HostClock, own.Objects = r.HostClock, r.Objects
	switch {
	case !own.equal(r), !r.namesDocument():
		return fmt.Errorf("it says more than a %q of a drill host may", r.Type)
	case r.By != Plain(r.By), r.From != Plain(r.From):
		return errors.New("it is not by somebody whose name can be shown")
	case slices.ContainsFunc(r.times(), impossible):
		return errors.New("it names a time that cannot be")
	}
	return nil
}

// times are all that a record of a drill host can name.
func (r *Record) times() []time.Time {
	out := []time.Time{r.Time}
	for _, t := range []*time.Time{r.HostClock, r.Happened} {
		if t != nil {
			out = append(out, *t)
		}
	}
	if d := r.Drill; d != nil {
		out = append(append(out, d.Began), d.Missed...)
		if d.Due != nil {
			out = append(out, *d.Due)
		}
	}
	return out
}

// impossible reports whether a time is none that this program writes: some could not be written again.
func impossible(t time.Time) bool {
	_, offset := t.Zone()
	return offset != 0 || t.Year() < 2000 || t.Year() > 2999
}

// spelled refuses other spellings of a record of a drill host than the one that it writes: what the writer repeats of it would be another.
func (r *Record) spelled(text string) error {
	line, err := json.Marshal(r)
	if err == nil && text != string(line)+"\n" {
		err = errors.New("it is not spelled as a record is")
	}
	return err
}

// adopt takes over what Commit completes.
func (r *Record) adopt(from *Record) {
	r.Format, r.Repository, r.Seq, r.Prev, r.Time = from.Format, from.Repository, from.Seq, from.Prev, from.Time
}

func (r *Record) equal(other *Record) bool {
	a, aerr := json.Marshal(r)
	b, berr := json.Marshal(other)
	return aerr == nil && berr == nil && bytes.Equal(a, b)
}

// namesDocument reports whether the objects are the document of the record where it has one, and nothing else.
func (r *Record) namesDocument() bool {
	if _, ok := r.Document(); !ok {
		return len(r.Objects) == 0
	}
	if len(r.Objects) != 1 {
		return false
	}
	digest, ok := strings.CutPrefix(r.Objects[0].Name, "documents/")
	return ok && !notDigest(digest) && r.Objects[0].Size > 0
}

// allowHosts takes in what a record of the writer says of drill hosts.
func (c *Chain) allowHosts(r *Record) error {
	switch {
	case r.Type == Certify && r.Certify != nil:
		return c.enrol(r)
	case r.Type == Revoke && r.Revoke != nil:
		return c.revoke(r)
	case r.Via != nil:
		return c.enter(r)
	}
	return nil
}

func (c *Chain) enrol(r *Record) error {
	chain, err := DrillChain(c.repository, c.rootKey, r.Certify.Certificate)
	if err != nil {
		return err
	}
	cert, err := crypto.OpenCertificate(c.root, r.Certify.Certificate)
	if err != nil {
		return err
	}
	if cert.From != r.Seq || !slices.Contains(c.epochs, cert.Epoch) {
		return errOtherCertificate
	}
	if c.DrillHost(cert.Role) != nil {
		return fmt.Errorf("there was a %s before", cert.Role)
	}
	c.hosts = append(slices.Clip(c.hosts), &DrillHost{Role: cert.Role, Key: cert.Key, Certificate: r.Certify.Certificate, Certified: r.Seq, Chain: chain})
	return nil
}

func (c *Chain) revoke(r *Record) error {
	cert, err := crypto.OpenRevocation(c.root, r.Revoke.Revocation)
	if err != nil {
		return err
	}
	h := c.DrillHost(cert.Role)
	if h == nil || h.Revoked > 0 || cert.Repository != c.repository || cert.Key != h.Key || cert.From != r.Seq {
		return errors.New("its revocation is for something else")
	}
	next := *h
	next.Revoked = r.Seq
	c.replace(h, &next)
	return nil
}

func (c *Chain) replace(h, next *DrillHost) {
	c.hosts = slices.Clone(c.hosts)
	c.hosts[slices.Index(c.hosts, h)] = next
}

// enter takes in the record of a drill host, which the writer repeats.
func (c *Chain) enter(r *Record) error {
	h := c.DrillHost(r.Via.Host)
	if h == nil || h.Revoked > 0 {
		return fmt.Errorf("it enters a record of %.60q, which is not certified", r.Via.Host)
	}
	next, chain := *h, *h.Chain
	next.Chain = &chain
	if err := next.Chain.Append([]byte(r.Via.Record)); err != nil {
		return fmt.Errorf("what it enters of %s: %w", h.Role, err)
	}
	if !r.repeats(next.Chain.entries[next.Chain.Len()-1]) {
		return fmt.Errorf("it does not say what the record %d of %s says", next.Chain.Len(), h.Role)
	}
	c.replace(h, &next)
	return nil
}

// Entering is the record by which the writer enters one of a drill host; Commit completes it.
func Entering(host crypto.Role, e Entry) Record {
	r := e.Noted()
	r.Objects, r.Via = e.Objects, &ViaBody{host, string(e.Raw)}
	if r.Happened == nil {
		at := e.Time
		r.Happened = &at
	}
	return r
}

// repeats reports whether r is Entering of e, but for what the writer adds.
func (r *Record) repeats(e Entry) bool {
	want := Entering(r.Via.Host, e)
	want.adopt(r)
	want.HostClock = r.HostClock
	return want.equal(r)
}
