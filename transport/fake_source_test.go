package transport

import (
	"bytes"
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/fieldpost/fieldpost/wire"
)

// fakeSource is a lane in memory. Its streams follow one another.
type fakeSource struct {
	name wire.Lane

	mu        sync.Mutex
	store     wire.StoreID
	streams   []*fakeStream
	welcomes  int
	rejects   []wire.Seq
	stopAfter int   // refusals in a row that stop the lane; 0: never
	refusals  int   // in a row
	nextErr   error // of Next
	rejectErr error // of the next Reject only
	welErr    error // of Welcome
	stall     chan struct{}
	ahead     bool // the last stream waits for nobody
	begin     bool // the next welcome begins a stream
}

// Ahead implements [LiveFirst].
func (f *fakeSource) Ahead() (wire.Epoch, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.tail().epoch, f.ahead && len(f.streams) > 1
}

type fakeStream struct {
	epoch wire.Epoch
	inc   wire.Incarnation
	acked wire.Seq
	slots []slot // number n is slots[n-1]
}

type slot struct {
	batch []byte
	last  wire.Seq // of the batch
	tomb  wire.Reason
}

// newSource returns a lane whose streams hold so many messages each, three in a
// batch, of so many bytes.
func newSource(name wire.Lane, size int, counts ...int) *fakeSource {
	f := &fakeSource{name: name}
	for _, n := range counts {
		f.streams = append(f.streams, &fakeStream{epoch: wire.Epoch{ID: wire.NewID()}, inc: wire.Incarnation{ID: wire.NewID()}})
		for n > 0 {
			f.put(min(n, 3), size)
			n -= 3
		}
	}
	return f
}

func (f *fakeSource) tail() *fakeStream { return f.streams[len(f.streams)-1] }

// put adds a batch to the last stream.
func (f *fakeSource) put(count, size int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	s := f.tail()
	first := s.next()
	var records []byte
	for n := first; n < first+wire.Seq(count); n++ {
		body := fmt.Appendf(nil, "%s %s %d ", f.name, s.epoch, n)
		if len(body) < size {
			body = append(body, bytes.Repeat([]byte{'.'}, size-len(body))...)
		}
		var err error
		if records, err = wire.AppendRecord(records, &wire.Message{Time: time.Unix(1, 0), Body: body}); err != nil {
			panic(err)
		}
	}
	b := wire.AppendBatch(nil, wire.BatchHeader{Lane: f.name, Epoch: s.epoch, Incarnation: s.inc, First: first, Count: uint32(count)}, records)
	for range count {
		s.slots = append(s.slots, slot{batch: b, last: first + wire.Seq(count) - 1})
	}
}

func (s *fakeStream) next() wire.Seq { return wire.Seq(len(s.slots)) + 1 }

func (f *fakeSource) find(e wire.Epoch) (int, *fakeStream) {
	for i, s := range f.streams {
		if s.epoch == e {
			return i, s
		}
	}
	return -1, nil
}

func (f *fakeSource) Lane() wire.Lane { return f.name }

func (f *fakeSource) Store() wire.StoreID {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.store
}

func (f *fakeSource) Streams() (list []wire.StreamState) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, s := range f.streams {
		list = append(list, wire.StreamState{Lane: f.name, Epoch: s.epoch, Next: s.next(), Acked: s.acked, Boundaries: wire.History{{Incarnation: s.inc, First: 1}}})
	}
	return list
}

func (f *fakeSource) Welcome(ctx context.Context, store wire.StoreID, said []wire.StreamState, matches []wire.Match) ([]wire.Resume, error) {
	f.wait(ctx)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.welcomes++
	if f.welErr != nil {
		return nil, f.welErr
	}
	f.store = store
	var list []wire.Resume
	for i, m := range matches {
		s := f.streams[i]
		s.acked = m.Common
		list = append(list, wire.Resume{Lane: f.name, Epoch: s.epoch, Base: m.Common, Next: s.next(), Boundaries: said[i].Boundaries})
	}
	if f.begin {
		f.begin = false
		s := &fakeStream{epoch: wire.Epoch{ID: wire.NewID()}, inc: wire.Incarnation{ID: wire.NewID()}}
		f.streams = append(f.streams, s)
		list = append(list, wire.Resume{Lane: f.name, Epoch: s.epoch, Next: 1, Boundaries: wire.History{{Incarnation: s.inc, First: 1}}})
	}
	return list, nil
}

// wait is a disk that hangs.
func (f *fakeSource) wait(ctx context.Context) {
	f.mu.Lock()
	ch := f.stall
	f.mu.Unlock()
	if ch != nil {
		select {
		case <-ch:
		case <-ctx.Done():
		}
	}
}

func (f *fakeSource) Next(e wire.Epoch, n wire.Seq) (wire.Entry, bool, error) {
	f.wait(context.Background())
	f.mu.Lock()
	defer f.mu.Unlock()
	i, s := f.find(e)
	switch {
	case f.nextErr != nil:
		return wire.Entry{}, false, f.nextErr
	case f.stopAfter > 0 && f.refusals >= f.stopAfter, n >= s.next(), i > 0 && !f.ahead && f.streams[i-1].acked+1 < f.streams[i-1].next():
		return wire.Entry{}, false, nil
	}
	at := s.slots[n-1]
	out := wire.Entry{From: n, To: n, Incarnation: s.inc}
	for out.To < at.last && s.slots[out.To].tomb == at.tomb {
		out.To++
	}
	if at.tomb == 0 {
		out.Batch = at.batch
	} else {
		out.Reason, out.Time = at.tomb, time.Unix(2, 0)
	}
	return out, true, nil
}

func (f *fakeSource) Ack(e wire.Epoch, w wire.Seq) {
	f.mu.Lock()
	defer f.mu.Unlock()
	_, s := f.find(e)
	for s.acked < w {
		if s.acked++; s.slots[s.acked-1].tomb == 0 {
			f.refusals = 0
		}
	}
}

func (f *fakeSource) Reject(_ context.Context, e wire.Epoch, n wire.Seq, _ string) (bool, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.rejectErr; err != nil {
		f.rejectErr = nil
		return false, err
	}
	_, s := f.find(e)
	s.slots[n-1].tomb = wire.ReasonRejected
	f.rejects = append(f.rejects, n)
	f.refusals++
	return f.stopAfter > 0 && f.refusals >= f.stopAfter, nil
}

func (f *fakeSource) Announce(e wire.Epoch) (wire.Announcement, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	_, s := f.find(e)
	if s == nil {
		return wire.Announcement{}, false
	}
	return wire.Announcement{Next: s.next(), BacklogBytes: uint64(s.next() - 1 - s.acked)}, true
}

// delivered reports whether everything is acked.
func (f *fakeSource) delivered() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, s := range f.streams {
		if s.acked+1 != s.next() {
			return false
		}
	}
	return true
}

// set changes the source from a test.
func (f *fakeSource) set(change func(*fakeSource)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change(f)
}

// rejected returns how many refusals the source was told of.
func (f *fakeSource) rejected() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.rejects)
}
