package journal

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"time"
)

const (
	maxGroup   = 16 << 20        // bytes at which a commit takes no more transactions
	keepBuffer = 4 << 20         // bytes of buffer that are kept between commits
	rideDelay  = 1 * time.Second // how long what need not be durable at once waits for a commit to ride with
	maxRiders  = 1024            // of them, before they get a commit of their own
)

// request is one transaction that waits for its commit.
type request struct {
	stage func(*group) error // decides, and adds records; on an error it adds none
	err   error              // stage's or the commit's, after done is closed
	done  chan struct{}      // nil: nobody waits, it rides along
}

// submit hands a transaction to the writer and waits for its commit. If ctx ends
// before the writer has taken it, nothing was done; later its end changes
// nothing, because the writer may hold the caller's slices.
func (j *Journal) submit(ctx context.Context, stage func(*group) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	r := &request{stage: stage, done: make(chan struct{})}
	if err := j.enqueue(r); err != nil {
		return err
	}
	select {
	case <-r.done:
		return r.err
	case <-ctx.Done():
	}
	if j.withdraw(r) {
		return ctx.Err()
	}
	<-r.done
	return r.err
}

// ride hands over what need not be durable at once.
func (j *Journal) ride(stage func(*group) error) error {
	return j.enqueue(&request{stage: stage})
}

func (j *Journal) enqueue(r *request) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.closed {
		return ErrClosed
	}
	if r.done == nil {
		j.riders = append(j.riders, r)
		if len(j.riders) != 1 && len(j.riders) < maxRiders {
			return nil // the writer knows that something rides
		}
	} else {
		j.queue = append(j.queue, r)
	}
	select {
	case j.wake <- struct{}{}:
	default:
	}
	return nil
}

func (j *Journal) withdraw(r *request) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	for i, q := range j.queue {
		if q == r {
			j.queue = append(j.queue[:i:i], j.queue[i+1:]...)
			return true
		}
	}
	return false
}

// waiting returns how many transactions wait and how many ride.
func (j *Journal) waiting() (queue, riders int) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return len(j.queue), len(j.riders)
}

// write is the writer: it makes groups of what waits and commits them until the
// journal is closed. It owns everything that touches the newest segment.
func (j *Journal) write() {
	defer close(j.done)
	ride := time.NewTimer(time.Hour)
	defer ride.Stop()
	riding := false
	look := time.NewTimer(0)
	defer look.Stop()
	for {
		if next := j.keep(time.Now()); next > 0 {
			look.Reset(next)
		}
		due := false
		select {
		case <-j.wake:
		case <-ride.C:
			riding, due = false, true
		case <-look.C:
		case <-j.stop:
			for q, r := j.waiting(); q+r > 0; q, r = j.waiting() {
				if err := j.commit(); err != nil {
					j.dropRiders(err)
				}
			}
			return
		}
		queued, riders := j.waiting()
		due = due || riders >= maxRiders
		if queued == 0 && !due {
			if riders > 0 && !riding {
				riding = true
				ride.Reset(j.opts.ride)
			}
			continue
		}
		// Those whom the last commit has just answered are about to come back: a
		// short wait makes larger groups.
		for range 4 {
			runtime.Gosched()
			n, _ := j.waiting()
			if n == queued {
				break
			}
			queued = n
		}
		for ; queued > 0 || due; queued, _ = j.waiting() {
			due = false
			j.commit() // its error went to those who waited
			j.keep(time.Now())
			runtime.Gosched()
		}
		if _, r := j.waiting(); r > 0 { // came too late, or the disk did not take them
			riding = true
			ride.Reset(j.opts.ride)
		}
	}
}

// dropRiders gives up what only rides, when the journal is closed and its disk
// takes nothing.
func (j *Journal) dropRiders(err error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if len(j.riders) > 0 {
		j.log.Warn("announcements were not written before the journal was closed; agents tell them again", "error", err)
		j.riders = nil
	}
}

// take moves what waits into a group, up to its limit of bytes.
func (j *Journal) take(g *group) (taken []*request) {
	for len(g.buf) < maxGroup {
		j.mu.Lock()
		var r *request
		switch {
		case len(j.riders) > 0:
			r, j.riders = j.riders[0], j.riders[1:]
		case len(j.queue) > 0:
			r, j.queue = j.queue[0], j.queue[1:]
		}
		j.mu.Unlock()
		if r == nil {
			break
		}
		r.err = r.stage(g)
		taken = append(taken, r)
	}
	return taken
}

// commit makes one group durable and answers its transactions. Its error is the
// disk's; transactions that were only refused do not count.
func (j *Journal) commit() error {
	g := &group{seed: j.seed, state: j.state, staged: agents{}, index: j.tail.index + 1, before: j.tail.last, buf: j.buf[:0], open: -1}
	taken := j.take(g)
	g.seal()
	var err error
	if g.count > 0 {
		err = j.store(g)
	}
	if err == nil {
		j.publish(g)
	} else {
		err = fmt.Errorf("the journal could not store a commit; whether it did is not known: %w", err)
	}
	if g.count > 0 {
		j.note(err)
	}
	if j.buf = g.buf; cap(j.buf) > keepBuffer {
		j.buf = nil
	}
	var again []*request
	for _, r := range taken {
		switch {
		case r.done == nil && err != nil:
			again = append(again, r)
		case r.done != nil:
			if err != nil {
				r.err = err
			}
			close(r.done)
		}
	}
	if len(again) > 0 {
		j.mu.Lock()
		j.riders = append(again, j.riders...)
		j.mu.Unlock()
	}
	return err
}

// note logs that commits fail, not more often than anyone can read, and that they
// do not any more.
func (j *Journal) note(err error) {
	const often = 10 * time.Second
	switch {
	case err == nil && !j.failed.IsZero():
		j.log.Info("the journal takes commits again", "dir", j.opts.Dir, "segment", segmentName(j.tail.ordinal))
		j.failed, j.said = time.Time{}, time.Time{}
	case err != nil && time.Since(j.said) >= often:
		j.said = time.Now()
		if j.failed.IsZero() {
			j.failed = j.said
		}
		j.log.Error("a commit failed; the next transaction begins a new segment", "dir", j.opts.Dir, "failing_since", j.failed, "error", err)
	}
}

// publish makes a stored group's state the visible one.
func (j *Journal) publish(g *group) {
	if g.count == 0 {
		return
	}
	j.mu.Lock()
	var told []told
	for id, a := range g.staged {
		if a == nil {
			delete(j.state, id)
			continue
		}
		told = noticed(told, id, j.state[id], a)
		j.state[id] = a
	}
	j.stats.Commits++
	j.stats.Records += g.count
	j.mu.Unlock()
	j.tell(told) // without the lock: a log may block
}

// store writes a group and makes it durable: at the end of the newest segment,
// or, if that is full or its file has failed, in a new one. A failure is tried
// once more in a new file, whose own fsync decides (rule 5).
func (j *Journal) store(g *group) error {
	var first error
	for {
		var err error
		if j.file != nil && j.tail.length+int64(len(g.buf)) <= j.opts.SegmentSize {
			err = j.extend(g)
		} else {
			err = j.create(g)
		}
		if err == nil {
			if errors.Is(first, errChanged) {
				j.log.Error("what the collector knows is whole and goes on in a new segment; stored messages may be gone, audit says which", "segment", segmentPath(j.opts.Dir, j.tail.ordinal), "cause", first)
			} else if first != nil {
				j.log.Warn("a commit failed and was written again into a new segment", "segment", segmentPath(j.opts.Dir, j.tail.ordinal), "cause", first)
			}
			return nil
		}
		j.abandon()
		if first != nil {
			return fmt.Errorf("%w, and again: %w", first, err)
		}
		first = err
	}
}

// abandon leaves the newest segment's file for good: what lies in it beyond the
// last good commit is void, and its next fsync would prove nothing.
func (j *Journal) abandon() {
	if j.file != nil {
		j.file.Close() // an error here changes nothing: the file is not trusted any more
		j.file = nil
	}
}

// extend appends a group to the newest segment.
func (j *Journal) extend(g *group) error {
	if err := j.long(); err != nil {
		return err
	}
	if _, err := j.file.WriteAt(g.buf, j.tail.length); err != nil {
		return err
	}
	if err := j.syncFile(j.file); err != nil {
		return err
	}
	if err := inPlace(j.file, segmentPath(j.opts.Dir, j.tail.ordinal)); err != nil {
		return err
	}
	t := j.tail
	t.length += int64(len(g.buf))
	t.index, t.last = g.index-1, g.before
	return j.advance(t, nil)
}

func (j *Journal) syncFile(f file) error {
	start := time.Now()
	err := f.sync()
	j.mu.Lock()
	j.stats.Syncs.Note(time.Since(start))
	j.mu.Unlock()
	return err
}

// advance makes what was just synced the end of the journal, for readers first.
func (j *Journal) advance(t mark, added *extent) error {
	if err := j.marked(); err != nil {
		return fmt.Errorf("mark what is synced: %w", err)
	}
	if _, err := j.markFile.WriteAt(t.append(make([]byte, 0, markSize)), 0); err != nil {
		return fmt.Errorf("mark what is synced: %w", err)
	}
	j.tail = t
	j.mu.Lock()
	defer j.mu.Unlock()
	if added != nil {
		if n := len(j.chain); n > 0 {
			j.chain[n-1].valid, j.chain[n-1].above = added.head.prevLength, added.head.first
		}
		j.chain = append(j.chain, *added)
	}
	j.chain[len(j.chain)-1].valid = t.length
	return nil
}
