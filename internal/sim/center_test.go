package sim

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/fieldpost/fieldpost/collector"
	"github.com/fieldpost/fieldpost/collector/journal"
	"github.com/fieldpost/fieldpost/collector/storetest"
	"github.com/fieldpost/fieldpost/internal/oracle"
	"github.com/fieldpost/fieldpost/transport"
	"github.com/fieldpost/fieldpost/wire"
)

// center is the collector's machine: a store, and the process before it.
type center struct {
	w     *world
	files bool          // the store is a journal, else memory
	age   time.Duration // how long the journal keeps messages, 0: for ever
	disk  *disk
	dir   string          // the journal's
	store collector.Store // nil: closed
	door  *door           // nil: the collector is down
	copy  string          // an older copy of the journal, "" if there is none

	replaces []wire.StoreID // stores whose place this one took
	memory   *storetest.Memory
	earlier  []earlier
	archive  *archive // of a journal that does not keep everything, else nil
	copied   *archive // of the copy
}

// earlier is what a store held before it was set back or replaced.
type earlier struct {
	store wire.StoreID
	held  []oracle.Stored
	gone  []dropped
	kept  map[string]bool // what a store that was set back still held after that, by place; nil: it was replaced
}

// door is a running collector.
type door struct {
	stop   context.CancelFunc
	joined chan struct{}
	store  *slowStore
	server *collector.Server

	imports sync.WaitGroup // that go on beside the schedule
}

// open opens the store. If its disk is failing that may be refused.
func (c *center) open(died func()) error {
	if !c.files {
		if c.memory == nil {
			c.memory = storetest.NewMemory().Replaces(c.replaces...)
		}
		c.store = c.memory
		return nil
	}
	if err := c.catchUp(); err != nil {
		return err
	}
	c.disk.mount(c.dir, died)
	j, err := journal.Open(journal.Options{Dir: c.dir, Logger: c.w.logger("journal"), SegmentSize: segmentSize, Replaces: c.replaces,
		MaxAge: c.age})
	if err != nil {
		c.disk.unmount()
		return err
	}
	c.store = j
	return nil
}

// start starts the collector. On a failing disk that may be refused, and is tried
// again later.
func (c *center) start() error {
	slow := newSlowStore(c.w, nil, c.w.r.Uint64())
	err := c.open(func() { slow.killed.Store(true) })
	if err != nil && c.disk.hurt() {
		c.w.note("the journal does not open: %v", err)
		c.w.saw("collector: a failing disk keeps it from opening")
		return nil
	}
	if err != nil {
		return err
	}
	slow.Store = c.store
	s, err := collector.New(collector.Config{InsecurePlaintext: true, Store: slow, Heartbeat: heartbeat, Logger: c.w.logger("collector")})
	if err != nil {
		return err
	}
	l, err := c.w.net.Listen(address)
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(context.Background())
	d := &door{stop: stop, joined: make(chan struct{}), store: slow, server: s}
	go func() {
		defer close(d.joined)
		var reader sync.WaitGroup
		reader.Go(func() { c.tail(ctx, slow) })
		defer reader.Wait()
		if err := s.Serve(ctx, l); err != nil && !errors.Is(err, net.ErrClosed) && ctx.Err() == nil {
			c.w.fault("collector: %v", err)
		}
	}()
	c.door = d
	return nil
}

// stop ends the collector in good order.
func (c *center) stop() error {
	c.door.imports.Wait()
	c.door.stop()
	<-c.door.joined
	c.door = nil
	return c.close()
}

// close gives the store free.
func (c *center) close() error {
	j, ok := c.store.(*journal.Journal)
	c.store = nil
	if !ok {
		return nil
	}
	err := j.Close()
	if err != nil && c.disk.hurt() {
		c.w.note("the journal closes with: %v", err)
		err = nil
	}
	c.disk.unmount()
	return err
}

// kill ends the collector as SIGKILL does: nobody is told, and its folder stays
// as it is at this moment.
func (c *center) kill() error {
	c.w.freeze()
	c.door.store.killed.Store(true)
	if c.files {
		next := c.w.newDir("store")
		if err := copyDir(next, c.dir); err != nil {
			return err
		}
		defer func() { c.dir = next }()
		c.disk.kill()
	}
	return c.endGhost()
}

// endGhost ends a collector that was killed, where nobody hears it.
func (c *center) endGhost() error {
	for _, m := range c.w.machines {
		m.line.Cut()
	}
	return c.stop()
}

// killAtStep lets the collector die ahead of a step of its journal.
func (c *center) killAtStep() error {
	if !c.files {
		return nil
	}
	w := c.w
	if c.door == nil {
		if err := c.start(); err != nil || c.door == nil {
			return err
		}
	}
	phases := turnover["collector"]
	k := c.disk.arm(phases[w.r.IntN(len(phases))], w.r.IntN(2))
	w.hurry(true)
	select {
	case <-k.done:
	case <-time.After(patience):
	}
	w.hurry(false)
	if !c.disk.disarm(k) {
		return nil
	}
	if err := c.endGhost(); err != nil {
		w.note("the ghost of the collector closed with: %v", err)
	}
	if k.err != nil {
		return fmt.Errorf("collector: picture: %w", k.err)
	}
	c.dir = k.to
	if err := c.start(); err != nil {
		return err
	}
	if c.door != nil {
		k.count(w, "collector")
	}
	return nil
}

// save copies the journal.
func (c *center) save() error {
	if _, err := os.Stat(filepath.Join(c.dir, "store.json")); err != nil {
		return nil // memory, or it is no store yet
	}
	c.w.freeze()
	c.copy = c.w.newDir("store-copy")
	if c.archive != nil {
		c.copied = c.archive.clone()
	}
	return copyDir(c.copy, c.dir)
}

// setBack puts the older copy in the journal's place, or makes one if there is
// none. What was stored since then is sent again or declared.
func (c *center) setBack() error {
	if c.copy == "" {
		return c.save()
	}
	had, err := c.give()
	if err != nil {
		return err
	}
	c.disk.settle()
	c.dir = c.w.newDir("store")
	if err := copyDir(c.dir, c.copy); err != nil {
		return err
	}
	if c.archive != nil {
		c.archive = c.copied.clone()
	}
	if err := c.open(nil); err != nil {
		return err
	}
	was := earlier{store: c.store.Identity().ID, held: had.held, gone: had.gone, kept: map[string]bool{}}
	now, err := c.contents()
	if err != nil {
		return err
	}
	for i := range now.held {
		was.kept[placeOf(&now.held[i])] = true
	}
	c.earlier = append(c.earlier, was)
	c.w.copied = true
	if err := c.close(); err != nil {
		return err
	}
	return c.start()
}

// give ends the collector and returns what its store held.
func (c *center) give() (*contents, error) {
	c.w.healDisks()
	if c.door != nil {
		c.door.imports.Wait()
		c.door.stop()
		<-c.door.joined
		c.door = nil
	} else if err := c.open(nil); err != nil {
		return nil, err
	}
	had, err := c.contents()
	if err != nil {
		return nil, err
	}
	return had, c.close()
}

// replace puts another store in the place of this one. For a while it does not
// say that it replaces the old one: then agents must send it nothing.
func (c *center) replace() error {
	w := c.w
	if c.replaces != nil || w.restored {
		return nil // of what only a folder held that is gone, nobody can tell the new store
	}
	if c.door == nil { // so that agents have met the store that goes
		return c.start()
	}
	old := c.store.Identity().ID
	oldDir, oldMemory, oldArchive := c.dir, c.memory, c.archive
	had, err := c.give()
	if err != nil {
		return err
	}
	met := true // by every agent: one that knows no store would go with any
	for _, m := range w.machines {
		met = met && m.life != nil && !m.life.a.Status().Link.Store.IsZero()
	}
	c.disk.settle()
	c.empty()
	if met && w.r.IntN(3) > 0 {
		if err := c.stranger(); err != nil {
			return err
		}
		if w.r.IntN(2) == 0 { // the operator has noticed
			c.disk.settle()
			c.dir, c.memory, c.archive = oldDir, oldMemory, oldArchive
			return c.start()
		}
		c.memory = nil
	}
	c.earlier = append(c.earlier, earlier{store: old, held: had.held, gone: had.gone})
	c.replaces, c.copy = []wire.StoreID{old}, ""
	return c.start()
}

// empty gives the center a store that holds nothing.
func (c *center) empty() {
	c.dir, c.memory = c.w.newDir("store"), nil
	if c.age > 0 {
		c.archive = newArchive()
	}
}

// stranger lets the collector run with a store that no agent knows.
func (c *center) stranger() error {
	w := c.w
	if err := c.start(); err != nil {
		return err
	}
	for _, m := range w.machines {
		m.line.Heal()
	}
	time.Sleep(time.Duration(w.r.Int64N(int64(20 * time.Second))))
	for _, m := range w.machines {
		if m.life.a.Status().Link.State == string(transport.DifferentStore) {
			w.saw("different store: nothing is sent")
		}
	}
	had, err := c.give()
	if err == nil && len(had.held)+len(had.gone) > 0 {
		err = fmt.Errorf("a store that replaces nothing was sent %d messages and %d tombstoned numbers", len(had.held), len(had.gone))
	}
	return err
}
