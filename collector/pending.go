package collector

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/fieldpost/fieldpost/internal/sabotage"
	"github.com/fieldpost/fieldpost/wire"
)

// pending is what a link has for the store, in the order in which it came. A
// goroutine, the worker, hands it over and exists only while there is some; what
// comes while it is busy is the next group. The reader never waits for the store,
// so pings are answered while it stalls; the windows bound what gathers.
type pending struct {
	link *link

	mu        sync.Mutex
	idle      sync.Cond // the worker has nothing left
	queue     []work
	announced []*stream // with news for the store
	working   bool
	discarded bool // nothing is to be handed over any more

	// owned by the worker
	entries []Append
	items   []work
}

// work is one thing for the store: a stream to open, or an entry.
type work struct {
	stream *stream
	resume *wire.Resume // opens the stream; nil: an entry
	entry  wire.Entry
	fp     wire.Fingerprint // of number entry.To
	room   room
	time   time.Time
}

// open adds a stream, to be opened at the store.
func (p *pending) open(st *stream, r *wire.Resume) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.link.streams[st.number] = st
	p.queue = append(p.queue, work{stream: st, resume: r})
	p.start()
}

// push adds w.
func (p *pending) push(w work) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.queue = append(p.queue, w)
	p.start()
}

// announce notes that a stream goes up to next, if that is news.
func (p *pending) announce(st *stream, a wire.Announcement) {
	p.mu.Lock()
	defer p.mu.Unlock()
	st.backlog.bytes, st.backlog.oldest = a.BacklogBytes, time.Time{}
	if a.OldestAge > 0 {
		st.backlog.oldest = time.Now().Add(-a.OldestAge)
	}
	if a.Next <= st.announced {
		return
	}
	st.announced = a.Next
	if !st.news {
		st.news = true
		p.announced = append(p.announced, st)
		p.start()
	}
}

func (p *pending) start() {
	if !p.working && !p.discarded {
		p.working = true
		p.link.worker.Go(p.work)
	}
}

// drain waits until everything has been handed over, but not long.
func (p *pending) drain() {
	p.mu.Lock()
	defer p.mu.Unlock()
	late := false
	defer time.AfterFunc(drainTimeout, func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		late = true
		p.idle.Broadcast()
	}).Stop()
	for p.working && !late {
		p.idle.Wait()
	}
}

// discard drops what waits; the agent has it, and sends it again.
func (p *pending) discard() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.discarded = true
	p.clear(p.queue)
	p.queue = nil
}

// clear gives back the memory of a list of work; nobody uses its batches any more.
func (p *pending) clear(list []work) {
	for i := range list {
		p.link.srv.memory.give(list[i].room.memory)
		list[i].stream.lane.pending.Add(-list[i].room.window)
		recycle(list[i].entry.Batch)
		list[i] = work{}
	}
}

// work hands over groups until nothing is left.
func (p *pending) work() {
	ctx := p.link.serving.store
	for {
		p.mu.Lock()
		if p.discarded || len(p.queue)+len(p.announced) == 0 {
			p.working, p.items, p.entries = false, nil, nil
			p.idle.Broadcast()
			p.mu.Unlock()
			return
		}
		group := p.queue
		p.queue = p.items[:0]
		news := p.news()
		p.mu.Unlock()

		err := p.hand(ctx, group)
		if err == nil && len(news) > 0 {
			err = p.link.srv.cfg.Store.Announce(ctx, p.link.session, news)
		}
		p.clear(group)
		p.items = group
		if err != nil {
			p.fail(err)
		}
	}
}

// news takes the streams' announcements.
func (p *pending) news() []Announcement {
	var list []Announcement
	for i, st := range p.announced {
		st.news = false
		list = append(list, Announcement{st.Stream, st.announced})
		p.announced[i] = nil
	}
	p.announced = p.announced[:0]
	return list
}

// hand hands a group to the store: consecutive entries in one transaction.
func (p *pending) hand(ctx context.Context, group []work) error {
	for len(group) > 0 {
		n := 0
		for n < len(group) && group[n].resume == nil {
			n++
		}
		if n == 0 {
			if err := p.resume(ctx, &group[0]); err != nil {
				return err
			}
			group = group[1:]
			continue
		}
		if err := p.append(ctx, group[:n]); err != nil {
			return err
		}
		group = group[n:]
	}
	return nil
}

func (p *pending) resume(ctx context.Context, w *work) error {
	st := w.stream
	at, err := p.link.srv.cfg.Store.Resume(ctx, p.link.session, *w.resume)
	if err != nil {
		return err
	}
	if at != w.resume.Base {
		return fmt.Errorf("the store resumed lane %s at %d, its base is %d: %w", st.Lane, at, w.resume.Base, ErrConflict)
	}
	p.settle(st, at)
	return nil
}

// settle notes a stream's watermark.
func (p *pending) settle(st *stream, w wire.Seq) {
	p.mu.Lock()
	defer p.mu.Unlock()
	st.w = w
}

// append hands over entries and answers them.
func (p *pending) append(ctx context.Context, group []work) error {
	l := p.link
	p.entries = p.entries[:0]
	for i := range group {
		w := &group[i]
		p.entries = append(p.entries, Append{w.stream.Stream, w.entry, w.time, w.fp})
	}
	if sabotage.AckFirst {
		l.out.mu.Lock()
		for i := range group {
			l.out.ack(group[i].stream, group[i].entry.To)
		}
		l.out.mu.Unlock()
	}
	count := &l.srv.count
	count.appending(p, time.Now())
	answers, err := l.srv.cfg.Store.Append(ctx, l.session, p.entries)
	count.appended(p, time.Now(), err == nil)
	clear(p.entries)
	if err != nil {
		return err
	}
	if len(answers) != len(group) {
		return fmt.Errorf("the store gave %d answers to %d entries", len(answers), len(group))
	}
	l.out.mu.Lock()
	defer l.out.mu.Unlock()
	for i := range answers {
		p.answer(group[i].stream, &group[i].entry, &answers[i])
	}
	return nil
}

// answer tells the peer what became of an entry. output.mu is held.
//
// A sender goes back to W+1 by an answer that W has not moved. What it had sent
// behind a gap or a refused number before it heard of it comes as gaps again;
// answering each would send it back each time, and every such return doubles
// what is on its way. So one answer is given, and no further one until the
// sender has gone back. For the same reason a duplicate is answered only when
// the sender has not been told W just now.
func (p *pending) answer(st *stream, e *wire.Entry, a *Answer) {
	l, count := p.link, &p.link.srv.count
	before := st.w
	switch {
	case a.Rejected != 0:
		count.rejects.Add(1)
		l.out.reject(st, a.W, a.Rejected, a.Why)
		st.returning = true
	case e.From > a.W+1:
		count.gaps.Add(1)
		if !st.returning {
			l.out.again(st, a.W)
			st.returning = true
		}
	case e.To <= before:
		count.duplicates.Add(1)
		st.returning = false
		if l.out.stale(st, time.Second) {
			l.out.again(st, a.W)
		}
	default:
		st.returning = false
		l.out.ack(st, a.W)
		if n := uint64(a.W - before); e.IsTombstone() {
			count.tombstoned[e.Reason%maxReasons].Add(n)
		} else {
			count.messages.Add(n)
		}
	}
	if a.W != before {
		p.settle(st, a.W)
	}
}

// fail ends the link for an error of the store.
func (p *pending) fail(err error) {
	l := p.link
	switch {
	case errors.Is(err, ErrFenced):
		l.end(ending{cause: "fenced through another collector", fenced: true})
	case errors.Is(err, ErrMoved):
		l.fail(&refusal{code: wire.RefuseBusy, retry: time.Second, err: errors.New("a carry file has brought a part of what this agent has: connect again")})
	case errors.Is(err, ErrUnknown), errors.Is(err, ErrConflict):
		l.fail(err)
	case errors.Is(err, ErrLimit):
		l.fail(&refusal{code: wire.RefuseLimit, err: err})
	case l.serving.store.Err() != nil:
		l.end(ending{cause: "the collector shuts down", shutdown: true})
	default:
		l.fail(l.srv.storeFailed(err))
	}
	p.discard()
}

// storeFailed makes the refusal of a link whose store call failed: nothing is
// acked, and the agent's next hello finds out what became of it. Agents come
// back spread over some seconds.
func (s *Server) storeFailed(err error) error {
	s.warn("store", "the store failed: links that need it are closed, their agents try again and lose nothing", "error", err)
	return &refusal{code: wire.RefuseStore, retry: spread(), err: errors.New("the store cannot take anything now: see the collector's log")}
}

// backlog sums up what the link's streams have announced and not settled.
func (p *pending) backlog() (sum backlog) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, st := range p.link.streams {
		sum.add(st)
	}
	return sum
}
