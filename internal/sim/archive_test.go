package sim

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/fieldpost/fieldpost/collector"
	"github.com/fieldpost/fieldpost/collector/journal"
	"github.com/fieldpost/fieldpost/wire"
)

// drawAge draws how long a journal keeps messages: in every third schedule not for
// ever.
func drawAge(r *rand.Rand) time.Duration {
	if r.IntN(3) > 0 {
		return 0
	}
	return 4*time.Second + time.Duration(r.Int64N(int64(20*time.Second)))
}

// archive is a reader that follows a journal by a cursor, so that it has what
// retention has removed since then. It reads after each batch that is stored, before
// that is answered, each second, and before each opening: so it is never overtaken, and what it has
// is what was stored, or the journal shows what is not synced (rule 6).
type archive struct {
	mu     sync.Mutex
	cursor collector.Cursor
	all    *contents
	spare  *archive // what the last opening found, where retention may go by it at once
}

func newArchive() *archive { return &archive{all: newContents()} }

// readable is a journal, open or at rest.
type readable interface {
	Identity() collector.Identity
	Read(ctx context.Context, after collector.Cursor, f func(collector.Stored) error) (collector.Cursor, error)
}

// follow reads what the journal has behind the cursor. If the process that shows it
// is dead by then, that counts for nothing: a picture may be older.
func (a *archive) follow(from readable, dead func() bool) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	all, cursor, err := a.read(from)
	if s := a.spare; s != nil && (errors.Is(err, journal.ErrCursor) || errors.Is(err, journal.ErrRemoved)) {
		all, cursor, err = s.read(from)
	}
	if dead() {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read behind cursor %s: %w", a.cursor, err)
	}
	a.all, a.cursor = all, cursor
	return nil
}

func (a *archive) read(from readable) (*contents, collector.Cursor, error) {
	next := a.all.clone()
	cursor, err := from.Read(context.Background(), a.cursor, func(s collector.Stored) error {
		return next.take(&s, from.Identity().ID)
	})
	return next, cursor, err
}

// tail follows the journal of a running collector until ctx ends.
func (c *center) tail(ctx context.Context, s *slowStore) {
	if c.archive == nil {
		return
	}
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(time.Second):
			s.follow()
		}
	}
}

// follow lets the archive read what the store has by now.
func (s *slowStore) follow() {
	if a := s.w.center.archive; a != nil {
		if err := a.follow(s.Store, s.killed.Load); err != nil {
			s.w.fault("the archive: %v", err)
		}
	}
}

// clone returns a copy that goes its own way.
func (a *archive) clone() *archive {
	a.mu.Lock()
	defer a.mu.Unlock()
	return &archive{cursor: a.cursor, all: a.all.clone()}
}

// clone returns a copy; what is only appended to is shared.
func (c *contents) clone() *contents {
	n := *c
	n.held, n.told, n.gone = slices.Clip(c.held), slices.Clip(c.told), slices.Clip(c.gone)
	n.ends, n.drop = maps.Clone(c.ends), map[string]counts{}
	for k, v := range c.drop {
		n.drop[k] = maps.Clone(v)
	}
	return &n
}

// catchUp reads what the folder holds, which no process has open: all that an
// opening will take over, not only what the last process has vouched for.
func (c *center) catchUp() error {
	if c.archive == nil {
		return nil
	}
	dir := c.w.newDir("store-read")
	err := copyDir(dir, c.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = errors.Join(os.RemoveAll(filepath.Join(dir, "synced")), os.RemoveAll(filepath.Join(dir, "lock")))
	}
	var r *journal.Reader
	if err == nil {
		r, err = journal.OpenReader(dir)
	}
	if errors.Is(err, journal.ErrNone) {
		return nil
	}
	if err == nil {
		c.archive.spare = c.archive.clone()
		err = c.archive.spare.follow(r, func() bool { return false })
	}
	err = errors.Join(err, os.RemoveAll(dir))
	if err != nil {
		return fmt.Errorf("the archive: %w", err)
	}
	return nil
}

// contents returns all that the open store has ever held, but for what was lost
// when it was set back.
func (c *center) contents() (*contents, error) {
	now := newContents()
	_, err := c.store.Read(context.Background(), "", func(s collector.Stored) error {
		return now.take(&s, c.store.Identity().ID)
	})
	if err != nil || c.archive == nil {
		return now, err
	}
	if err := c.archive.follow(c.store, func() bool { return false }); err != nil {
		return nil, err
	}
	all := c.archive.all
	for stream, w := range now.ends {
		if all.ends[stream] != w {
			return nil, fmt.Errorf("stream %s: the journal ends at %d, whoever has followed it has read up to %d", stream, w, all.ends[stream])
		}
	}
	return all, nil
}

// left returns the tombstones that retention has left in the open journal.
func (c *center) left() ([]dropped, error) {
	now := newContents()
	_, err := c.store.Read(context.Background(), "", func(s collector.Stored) error {
		return now.take(&s, wire.StoreID{})
	})
	return now.gone, err
}
