package queue

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/fieldpost/fieldpost/internal/durable"
	"github.com/fieldpost/fieldpost/wire"
)

// A lane has at most so many streams besides the one that takes puts, drained ones
// included: fewer where it may have few bytes on disk. While none of them can go,
// no other is begun.
const (
	maxBacklogs  = 8
	bytesBacklog = 512 << 10
)

// streamRoom is what a stream that holds nothing may take of Config.MaxBytes. A
// lane that goes live first keeps so much free for the next one.
const streamRoom = minSegmentSize

// backlogs is how many streams the lane may have besides the one that takes puts:
// at least the first, which never goes, and one that can.
func (cfg *Config) backlogs() int {
	if cfg.MaxBytes > 0 {
		return int(min(maxBacklogs, max(2, cfg.MaxBytes/bytesBacklog)))
	}
	return maxBacklogs
}

// reserve is what puts leave of MaxBytes.
func (cfg *Config) reserve() int64 {
	if cfg.LiveFirst > 0 {
		return streamRoom
	}
	return 0
}

// A stream that is drained stays for as long as its place is not needed: should
// the store be set back, it sends again what it has, and declares the rest (rule
// 3). What is gone can declare nothing.

// past is what the streams were that are gone; file removed. Writing it is what
// removes them, their folders go later.
type past struct {
	Format      int                    `json:"format"`
	Upto        uint64                 `json:"upto"` // the number of the last one
	Accepted    uint64                 `json:"accepted"`
	Dropped     map[wire.Reason]uint64 `json:"dropped,omitempty"`
	DeadLetters uint64                 `json:"dead_letters,omitempty"`
	LettersLost uint64                 `json:"letters_lost,omitempty"`
	Forks       uint64                 `json:"forks,omitempty"`
	RolledBack  uint64                 `json:"rolled_back,omitempty"`
	Relabelled  uint64                 `json:"relabelled,omitempty"`
}

const (
	pastFile   = "removed"
	pastFormat = 1
)

// readStreams returns which streams a lane had, and which folders it has besides
// the first: of streams, and up to past.Upto those that are to be deleted.
func readStreams(lane string) (p past, numbers []uint64, err error) {
	if numbers, err = listStreams(lane); err != nil {
		return past{}, nil, err
	}
	if p, err = readPast(lane); err != nil {
		return past{}, nil, err
	}
	var found []uint64
	for _, n := range numbers {
		ok, err := begun(lane, n)
		if err != nil {
			return past{}, nil, err
		}
		if ok || n <= p.Upto {
			found = append(found, n)
		}
	}
	return p, found, nil
}

func readPast(lane string) (p past, err error) {
	path := filepath.Join(lane, streamsFolder, pastFile)
	b, err := os.ReadFile(path)
	switch {
	case isNotExist(err):
		return past{Format: pastFormat}, nil
	case err != nil:
		return past{}, err
	}
	if err := json.Unmarshal(b, &p); err != nil {
		return past{}, fmt.Errorf("%s: %w", path, err)
	}
	if p.Format != pastFormat {
		return past{}, fmt.Errorf("%s: format %d, this program knows %d", path, p.Format, pastFormat)
	}
	return p, nil
}

// alive notes that a link asks or tells something.
func (l *Lane) alive() { l.linked.Store(int64(time.Since(l.opened))) }

// away is how long no link has been seen.
func (l *Lane) away() time.Duration { return time.Since(l.opened) - time.Duration(l.linked.Load()) }

// due reports whether what has piled up is to become a backlog: the link was
// gone, or its oldest message has waited, for longer than the setting.
func (l *Lane) due(ctx context.Context, away time.Duration) (bool, error) {
	if l.cfg.LiveFirst == 0 {
		return false, nil
	}
	q := l.live().q
	q.mu.Lock()
	s, settled, stopped := q.shown, q.settled(), q.stopped
	q.mu.Unlock()
	switch {
	case settled >= s.next-1, stopped: // what the store refuses in a row is not to be tried in another stream
		return false, nil
	case away > l.cfg.LiveFirst:
		return true, nil
	}
	return q.waited(ctx, l.cfg.LiveFirst)
}

// waited reports whether the oldest message that is not acked has waited for d,
// as far as is certain.
func (q *Queue) waited(ctx context.Context, d time.Duration) (old bool, err error) {
	err = q.do(ctx, func(c *change) (bool, error) {
		q.mu.Lock()
		settled := q.settled()
		q.mu.Unlock()
		to, _, err := q.files.olderThan(&c.state, max(settled+1, c.state.oldest), q.clock.now()-d)
		old = to > 0
		return false, err
	})
	return old, err
}

// errManyBacklogs: no place is free for another stream.
var errManyBacklogs = errors.New("the lane has as many older streams as it may, and none of them can go yet")

// split begins another stream, which takes puts from now on, and returns its
// resume. The stream that took them until now only drains. Which stream takes
// puts is told by the folders alone, so a crash at any instant leaves a lane
// that is whole: before the new stream's folder is there, nothing has happened;
// afterwards the next opening takes it up.
func (l *Lane) split(ctx context.Context, store wire.StoreID) (wire.Resume, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closing {
		return wire.Resume{}, ErrClosed
	}
	old := l.live()
	if err := old.q.cramped(); err != nil {
		return wire.Resume{}, err
	}
	if len(l.list()) > l.cfg.backlogs() {
		if err := l.remove(ctx); err != nil {
			return wire.Resume{}, err
		}
	}
	s, err := l.open(ctx, max(old.number, l.past.Upto)+1)
	if err != nil {
		return wire.Resume{}, err
	}
	resumes, err := s.q.Welcome(ctx, store, s.q.Streams(), []wire.Match{{}})
	if err != nil {
		return wire.Resume{}, errors.Join(err, s.q.Close())
	}
	l.append(s)
	l.log.Warn("what has piled up follows as a backlog; new messages go ahead of it in a new epoch", "backlog", old.q.Stats().Backlog, "epoch", resumes[0].Epoch, "stream", s.number)
	return resumes[0], nil
}

// cramped returns why the lane must not grow now, nil if it may.
func (q *Queue) cramped() error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.failing != nil {
		return q.failing
	}
	return q.low
}

// remove deletes the oldest stream but the first, if it is of no more use: all
// of it is acked, durably, by a store that has it, and no copy of a damaged file
// is in its folder. Its dead letters go to the stream that takes puts. The caller
// holds mu.
func (l *Lane) remove(ctx context.Context) error {
	s := l.list()[1]
	if s.puts.Load() > 0 {
		return errManyBacklogs
	}
	if done, err := s.q.finished(ctx); err != nil || !done {
		return errors.Join(errManyBacklogs, err)
	}
	st := s.q.Stats()
	if st.Quarantined > 0 {
		return fmt.Errorf("%w: see the folder %s", errManyBacklogs, filepath.Join(s.q.cfg.Dir, quarantine))
	}
	if err := l.live().q.inherit(ctx, s.q); err != nil {
		return errors.Join(errManyBacklogs, err)
	}
	p := l.past
	p.add(&st)
	p.Upto = s.number
	b, err := json.Marshal(p)
	if err == nil {
		err = durable.WriteFile(filepath.Join(l.cfg.Dir, streamsFolder, pastFile), append(b, '\n'), 0o600)
	}
	if err != nil { // it may be written all the same: then the next opening goes on from here
		return errors.Join(errManyBacklogs, err)
	}
	l.past = p
	list := append([]*strand{l.list()[0]}, l.list()[2:]...)
	l.all.Store(&list)
	l.log.Info("a stream that is delivered gives its place to another", "stream", s.number, "epoch", st.Epoch, "numbers", st.Next-1)
	err = s.q.Close()
	if err == nil {
		err = removeStream(l.cfg.Dir, s.number)
	}
	if err != nil {
		l.log.Warn("a stream that is delivered is removed; its folder goes with the next opening", "stream", s.number, "error", err)
	}
	return nil
}

// finished reports whether nothing is left to do for the stream, and that is on
// disk. It is called after a welcome.
func (q *Queue) finished(ctx context.Context) (bool, error) {
	err := q.do(ctx, func(c *change) (bool, error) { return c.state.acked() == c.state.next-1, nil })
	q.mu.Lock()
	defer q.mu.Unlock()
	done := q.welcomed && q.behind == 0 && q.waiting == nil && q.taken.count == 0 && q.shown.acked() == q.shown.next-1
	return done && err == nil, err
}

// add counts a stream that goes.
func (p *past) add(st *Stats) {
	total := Stats{Dropped: map[wire.Reason]uint64{}}
	p.fill(&total)
	total.count(st)
	p.Accepted, p.Dropped, p.DeadLetters, p.LettersLost = total.Accepted, total.Dropped, total.DeadLetters, total.LettersLost
	p.Forks, p.RolledBack, p.Relabelled = total.Forks, total.RolledBack, total.Relabelled
}

// fill adds what p has counted to st.
func (p *past) fill(st *Stats) {
	st.count(&Stats{Accepted: p.Accepted, Dropped: p.Dropped, DeadLetters: p.DeadLetters, LettersLost: p.LettersLost, Forks: p.Forks, RolledBack: p.RolledBack, Relabelled: p.Relabelled})
}
