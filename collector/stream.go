package collector

import (
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/fieldpost/fieldpost/wire"
)

// stream is an open stream of a link.
type stream struct {
	Stream
	number uint32
	lane   *lane

	part part // owned by the reader: the batch that is on its way

	// owned by the worker
	returning bool // the sender was told to go back to W+1, and has not yet

	// written by the worker under pending.mu
	w wire.Seq // watermark

	// guarded by pending.mu
	announced wire.Seq // numbers below it exist
	news      bool     // in pending.announced
	backlog   struct {
		bytes  uint64
		oldest time.Time // zero: nothing waits
	}

	told told // guarded by output.mu
}

// lane is what the streams of one lane share.
type lane struct {
	pending atomic.Int64 // what counts against its window: has come, or begun to, and is not answered
}

// entryCost is what an entry counts against the window beside its batch;
// entryMemory, what it takes in memory.
const (
	entryCost   = 64
	entryMemory = 256
)

// part is a batch of which the first fragments have come.
type part struct {
	entry wire.Entry
	size  int    // bytes of the whole batch; 0: none is on its way
	data  []byte // what has come
	room  room
}

// room is what an entry holds until it is answered.
type room struct {
	memory int64 // reserved bytes
	window int64 // counted in lane.pending
}

// add takes the next fragment and reports whether the batch is complete.
func (p *part) add(b []byte) (whole bool, err error) {
	if len(b) > p.size-len(p.data) {
		return false, fmt.Errorf("%d bytes too many for a batch of %d", len(b)-(p.size-len(p.data)), p.size)
	}
	if need := len(p.data) + len(b); need > cap(p.data) {
		p.data = grow(p.data, need, p.size)
	}
	p.data = append(p.data, b...)
	return len(p.data) == p.size, nil
}

// onData begins an entry.
func (l *link) onData(p []byte) error {
	number, e, size, first, err := wire.ParseData(p)
	if err != nil {
		return err
	}
	st := l.streams[number]
	switch {
	case st == nil:
		return fmt.Errorf("data for stream %d, which no resume has opened", number)
	case st.part.size > 0:
		return fmt.Errorf("data for stream %d while its batch %d to %d is incomplete", number, st.part.entry.From, st.part.entry.To)
	case len(first) > l.srv.cfg.Fragment:
		return l.fragmentTooLong(len(first))
	}
	r, err := l.admit(st, size)
	if err != nil {
		return err
	}
	if size == 0 {
		return l.entry(st, e, r)
	}
	st.part = part{entry: e, size: size, room: r}
	l.incomplete++
	return l.fragment(st, first)
}

// onMore goes on with one.
func (l *link) onMore(p []byte) error {
	number, b, err := wire.ParseMore(p)
	if err != nil {
		return err
	}
	st := l.streams[number]
	switch {
	case st == nil:
		return fmt.Errorf("more for stream %d, which no resume has opened", number)
	case st.part.size == 0:
		return fmt.Errorf("more for stream %d without data before it", number)
	case len(b) > l.srv.cfg.Fragment:
		return l.fragmentTooLong(len(b))
	}
	return l.fragment(st, b)
}

func (l *link) fragmentTooLong(n int) error {
	return fmt.Errorf("fragment of %d bytes: the welcome allows %d", n, l.srv.cfg.Fragment)
}

// admit waits until there is room for an entry with a batch of so many bytes.
//
// An entry larger than the window may come alone, so none counts for more than
// the window. An agent that goes back to W+1 forgets what it had on its way, so
// up to two windows may lie here.
//
// A link that has parts of batches never waits for memory: what it waited for
// could be held by other links that wait as well.
func (l *link) admit(st *stream, size int) (room, error) {
	window := int64(l.srv.cfg.Window)
	buffer, _ := bufferFor(size)
	r := room{memory: int64(buffer) + entryMemory, window: min(int64(size)+entryCost, window)}
	if have := st.lane.pending.Load(); have+r.window > 2*window {
		return room{}, fmt.Errorf("lane %s has %d bytes on their way, %d more are beyond the window of %d", st.Lane, have, size, window)
	}
	switch memory := &l.srv.memory; {
	case memory.try(r.memory):
	case l.incomplete > 0:
		if !memory.take(r.memory) {
			return room{}, l.srv.busy("the collector's memory for batches is full")
		}
	default:
		l.pause(true)
		granted := memory.wait(r.memory, l.done)
		l.pause(false)
		if !granted {
			return room{}, errEnded
		}
	}
	st.lane.pending.Add(r.window)
	return r, nil
}

// errEnded is returned where the link has ended meanwhile.
var errEnded = errors.New("the link has ended")

// fragment adds to a stream's batch.
func (l *link) fragment(st *stream, b []byte) error {
	whole, err := st.part.add(b)
	if err != nil {
		return fmt.Errorf("stream %d, entry %d to %d: %w", st.number, st.part.entry.From, st.part.entry.To, err)
	}
	if !whole {
		return nil
	}
	e, r := st.part.entry, st.part.room
	e.Batch = st.part.data
	st.part = part{}
	l.incomplete--
	return l.entry(st, e, r)
}

// entry verifies a whole entry, so that the store never holds one that cannot be
// read, and hands it on.
func (l *link) entry(st *stream, e wire.Entry, r room) error {
	b, err := e.Check()
	fp := e.Fingerprint
	if err == nil && !e.IsTombstone() {
		if err = b.Check(); err == nil && b.Lane != st.Lane {
			err = fmt.Errorf("its batch is of lane %s", b.Lane)
		}
		fp = b.Fingerprint(e.To)
	}
	if err != nil {
		l.srv.memory.give(r.memory)
		return fmt.Errorf("stream %d (lane %s), entry %d to %d: %w", st.number, st.Lane, e.From, e.To, err)
	}
	l.srv.count.entries.Add(1)
	l.pending.push(work{stream: st, entry: e, fp: fp, room: r, time: time.Now()})
	return nil
}
