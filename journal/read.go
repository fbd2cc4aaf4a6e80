package journal

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"strings"

	"lifeboat/target"
)

// ErrForeign is wrapped where a target holds records that this host did not write.
var ErrForeign = errors.New("the target holds records that this state directory does not know")

const prefix = "journal/writer/"

// Extend appends the records that t holds after those of c. It stops at the first absent record; if others stand behind
// it, or one does not verify, the error wraps ErrBroken and c holds what could be verified.
func Extend(ctx context.Context, t target.Target, c *Chain) error {
	for {
		if err := extend(ctx, t, c); err != nil {
			return err
		}
		last, _, err := newest(ctx, t)
		if err != nil || last <= c.Len() {
			return err
		}
		// Either a writer committed meanwhile, or there is a hole.
		missing := c.Len() + 1
		if err := extend(ctx, t, c); err != nil {
			return err
		}
		if c.Len() < missing {
			return fmt.Errorf("record %d is missing, but %d stands: %w", missing, last, ErrBroken)
		}
	}
}

// extend appends up to the first absent record.
func extend(ctx context.Context, t target.Target, c *Chain) error {
	for {
		if done, err := extendByBundle(ctx, t, c); err != nil {
			return err
		} else if done {
			continue
		}
		raw, err := target.Read(ctx, t, Name(c.Len()+1), maxRecord)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := c.Append(raw); err != nil {
			return err
		}
	}
}

// extendByBundle takes 256 records at once where their bundle stands. A damaged bundle is no loss: the records stand too.
func extendByBundle(ctx context.Context, t target.Target, c *Chain) (bool, error) {
	if c.Len()%bundleSize != 0 {
		return false, nil
	}
	raw, err := target.Read(ctx, t, bundleName(c.Len()+bundleSize), maxBundle)
	if err != nil {
		return false, ctx.Err()
	}
	next := *c
	next.entries, next.hashes = slices.Clip(c.entries), slices.Clip(c.hashes)
	if err := next.appendBundle(raw); err != nil {
		return false, nil // the single records decide
	}
	*c = next
	return true, nil
}

// newest returns the number of the last record that t lists, and how many it lists.
func newest(ctx context.Context, t target.Target) (last, count uint64, err error) {
	for info, err := range t.List(ctx, prefix) {
		if err != nil {
			return 0, 0, fmt.Errorf("list the journal: %w", err)
		}
		seq, err := strconv.ParseUint(strings.TrimPrefix(info.Name, prefix), 10, 64)
		if err != nil || info.Name != Name(seq) {
			continue // a bundle, or nothing of ours
		}
		last = max(last, seq)
		count++
	}
	return last, count, nil
}

// Position returns how many of c's records stand on t without a hole. Records beyond c, or others in its place, are
// ErrForeign if they are signed: another host writes to this repository, or this state directory is older than the
// repository. If they are not they are damage, or somebody put them there, and the error wraps ErrBroken.
func Position(ctx context.Context, t target.Target, c *Chain) (uint64, error) {
	last, count, err := newest(ctx, t)
	if err != nil {
		return 0, err
	}
	if last > c.Len() {
		return 0, foreign(ctx, t, c)
	}
	if count < last {
		last = 0
		for ; last < c.Len(); last++ {
			if ok, err := has(ctx, t, c.entries[last]); err != nil {
				return 0, err
			} else if !ok {
				break
			}
		}
	}
	if last == 0 {
		return 0, nil
	}
	raw, err := target.Read(ctx, t, Name(last), maxRecord)
	if err != nil {
		return 0, err
	}
	if !bytes.Equal(raw, c.entries[last-1].Raw) {
		return 0, c.fork(ctx, t, last-1, raw)
	}
	return last, nil
}

// foreign looks at the first record that t holds beyond c.
func foreign(ctx context.Context, t target.Target, c *Chain) error {
	raw, err := target.Read(ctx, t, Name(c.Len()+1), maxRecord)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("it holds records beyond %d, but not %d: %w", c.Len(), c.Len()+1, ErrBroken)
	}
	if err != nil {
		return err
	}
	return c.fork(ctx, t, c.Len(), raw)
}

// fork says what it means that raw stands on t where the record behind the first n would. Where those before it are others, too, the first
// of them tells: what follows it cannot follow c.
func (c *Chain) fork(ctx context.Context, t target.Target, n uint64, raw []byte) error {
	for ; n > 0; n-- {
		before, err := target.Read(ctx, t, Name(n), maxRecord)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil || bytes.Equal(before, c.entries[n-1].Raw) {
			break
		}
		raw = before
	}
	return c.upTo(n).verdict(raw)
}

// verdict says what it means that raw stands where the next record of c would.
func (c *Chain) verdict(raw []byte) error {
	next := *c
	if err := next.Append(raw); err != nil {
		return fmt.Errorf("it holds something that is no record of this journal: %w", err)
	}
	return fmt.Errorf("record %d: %w", next.Len(), ErrForeign)
}

// upTo is the chain of the first n records, as it was then.
func (c *Chain) upTo(n uint64) *Chain {
	old := c.blank()
	for _, e := range c.entries[:n] {
		if old.Append(e.Raw) != nil {
			break // never: these records were verified
		}
	}
	return old
}

// blank awaits the first record again.
func (c *Chain) blank() *Chain {
	if c.role == "" {
		return &Chain{}
	}
	return &Chain{role: c.role, base: c.base, repository: c.repository, root: c.root, rootKey: c.rootKey, writer: c.writer, writers: c.writers}
}

func has(ctx context.Context, t target.Target, e Entry) (bool, error) {
	return target.Has(ctx, t, target.Object{Name: Name(e.Seq), Size: int64(len(e.Raw))})
}
