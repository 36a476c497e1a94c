package queue

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/fieldpost/fieldpost/wire"
)

// view is a stream as it stands at one moment, to be looked at: of a queue that is
// open, or of a folder that no process has open. It reads through handles of its
// own, but for the tail of an open queue, and changes nothing: neither in the
// folder, nor in what the queue has in memory.
type view struct {
	number  uint64 // of the stream
	files   *files
	shared  bool // the tail's handle is the queue's
	state   state
	settled wire.Seq
	acked   wire.Seq // not below settled
	late    []late   // at rest: what may have more than state knows, ascending
	damage  []string // what is wrong with files
	unlock  func()
}

// view returns the queue as it is shown now. The caller closes it.
func (q *Queue) view(number uint64) *view {
	v := &view{number: number, shared: true, unlock: func() {}}
	v.renew(q)
	return v
}

// renew makes the view of an open queue new. What is known of damaged files stays.
func (v *view) renew(q *Queue) {
	q.mu.Lock()
	v.state, v.settled, v.acked = q.shown, q.settled(), q.acked()
	q.mu.Unlock()
	q.files.mu.Lock() // after the state: what that shows is in these files, or acked and gone
	defer q.files.mu.Unlock()
	if v.files == nil {
		v.files = &files{dir: q.cfg.Dir, lane: q.cfg.Lane, agent: q.cfg.Agent, look: true, search: true}
	}
	v.files.segs, v.files.tail, v.files.ahead = slices.Clone(q.files.segs), q.files.tail, nil
}

// close gives back what the view has.
func (v *view) close() {
	if v.shared {
		v.files.tail = nil
	}
	v.files.close()
	v.unlock()
}

// part is what stands at some numbers of a stream: one message, a tombstone, or
// what cannot be read.
type part struct {
	span
	tomb   *tombstone
	record wire.Record
	err    error
}

// stretch is what stands at some numbers of a stream as it lies on disk: a
// tombstone, consecutive batches of which the first holds number from, or what
// cannot be read.
type stretch struct {
	span
	tomb   *tombstone
	blocks []block
	err    error
}

// each hands what stands at the numbers from n on to visit, ascending, which returns
// the number to go on with. It returns the number that comes after all. An error of
// visit ends it, and so does ctx's. q is the queue if it is open: then the view is
// made new once for each place that is not there any more, which may be gone because
// it is acked.
func (v *view) each(ctx context.Context, q *Queue, n wire.Seq, visit func(stretch) (wire.Seq, error)) (wire.Seq, error) {
	renewed := wire.Seq(0)
	s := &v.state
	for n = max(n, s.oldest); n < s.next; n = max(n, s.oldest) {
		if err := ctx.Err(); err != nil {
			return n, err
		}
		var at stretch
		t, dropped, next := s.tomb(n)
		if dropped {
			at = stretch{span: span{n, t.to}, tomb: &t}
		} else if blocks, err := v.files.read(s, n); err == nil {
			at = stretch{span: span{n, blocks[len(blocks)-1].last}, blocks: blocks}
		} else {
			var g *gap
			damaged := errors.As(err, &g)
			if q != nil && renewed != n && (!damaged || g.reason == wire.ReasonMissing) {
				renewed = n
				v.renew(q)
				continue
			}
			to := min(next-1, s.next-1)
			if damaged {
				to = min(to, g.to)
			} else if i := v.files.index(n); i >= 0 {
				to = min(to, v.files.end(i, to))
			}
			at = stretch{span: span{n, to}, err: err}
		}
		var err error
		if n, err = visit(at); err != nil {
			return n, err
		}
	}
	return n, nil
}

// walk hands what stands at the numbers from n on to yield, ascending, one message
// at a time. An error of yield ends it, and so does ctx's. q is as for each.
func (v *view) walk(ctx context.Context, q *Queue, n wire.Seq, yield func(part) error) error {
	n, err := v.each(ctx, q, n, func(at stretch) (wire.Seq, error) {
		if at.blocks != nil {
			return v.records(at.blocks, at.from, yield)
		}
		return at.to + 1, yield(part{span: at.span, tomb: at.tomb, err: at.err})
	})
	if err != nil {
		return err
	}
	return v.rest(ctx, n, yield)
}

// records hands the messages of blocks from number n on to yield, up to the first
// number that has a tombstone. It returns the number after the last one.
func (v *view) records(blocks []block, n wire.Seq, yield func(part) error) (wire.Seq, error) {
	for _, b := range blocks {
		p, err := wire.ParseBatch(b.data)
		if err == nil {
			for r, rerr := range p.Records() {
				if err = rerr; err != nil {
					break
				}
				if r.Seq < n {
					continue
				}
				if _, dropped, _ := v.state.tomb(r.Seq); dropped || r.Seq >= v.state.next {
					return r.Seq, nil
				}
				if err := yield(part{span: span{r.Seq, r.Seq}, record: r.Record}); err != nil {
					return 0, err
				}
				n = r.Seq + 1
			}
		}
		if err != nil && n <= b.last {
			if err := yield(part{span: span{n, b.last}, err: fmt.Errorf("batch %d: %w", b.first, err)}); err != nil {
				return 0, err
			}
			n = b.last + 1
		}
	}
	return n, nil
}
