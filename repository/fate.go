package repository

import (
	"lifeboat/chunkstore"
	"lifeboat/journal"
	"lifeboat/target"
)

// fates says what became of the packs, index objects and objects of logs that were condemned, by their names. What a later record names among
// its objects is needed again and not here: an index that shrinks can come to be what it was before.
type fates map[string]fate

type fate struct {
	by    journal.Entry // the record that condemned it; without a condemn, where that is not known
	swept bool          // and deleted since, on purpose
}

func fatesIn(c *journal.Chain) fates {
	f := fates{}
	for _, e := range c.Entries() {
		for _, o := range e.Objects {
			delete(f, o.Name)
		}
		for _, name := range names(e.Condemn) {
			f[name] = fate{by: e}
		}
		for _, name := range names(e.Sweep) {
			f[name] = fate{f[name].by, true}
		}
	}
	return f
}

// logPrefix begins the names of all objects of logs.
const logPrefix = "log/"

// names lists the objects of a condemn or a sweep.
func names(b *journal.PacksBody) (out []string) {
	if b == nil {
		return nil
	}
	for _, d := range b.Packs {
		out = append(out, chunkstore.PackName(d))
	}
	for _, d := range b.Indexes {
		out = append(out, chunkstore.IndexName(d))
	}
	for _, name := range b.Logs {
		out = append(out, logPrefix+name)
	}
	return out
}

// unneeded reports whether no snapshot needs the object any more, deleted or not.
func (f fates) unneeded(name string) bool {
	_, ok := f[name]
	return ok
}

// needs calls each for what must stand on a copy before a record stands there: its objects, or in the place of one that was
// condemned since, what the record that condemned it names, to where the frames that are needed were moved. Records in seen
// were asked for before; needs adds to them.
func (f fates) needs(e journal.Entry, seen map[uint64]bool, each func(target.Object) error) error {
	if seen[e.Seq] {
		return nil
	}
	seen[e.Seq] = true
	for _, o := range e.Objects {
		err := error(nil)
		if gone, ok := f[o.Name]; ok {
			err = f.needs(gone.by, seen, each)
		} else {
			err = each(o)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
