package queue

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/fieldpost/fieldpost/wire"
)

// Repaired is what [Lane.Repair] did.
type Repaired struct {
	Read     uint64 `json:"read"`     // numbers that were looked at: all that no store has acked and that are not dropped
	Dropped  uint64 `json:"dropped"`  // of them, those that got a tombstone: corrupt, or missing
	Waiting  uint64 `json:"waiting"`  // of them, those whose file is missing, which only a link's welcome may settle
	Kept     int    `json:"kept"`     // damaged files of which a copy is in quarantine now
	Straight bool   `json:"straight"` // the names of the segment files are right
}

// Repair does now what the lane would do as it meets damage: it puts files of a
// wrong name right, reads everything that no store has acked, searches damaged files
// for what is left, keeps copies of them in quarantine, and leaves tombstones for
// what is lost. What a missing file held waits for a welcome (rule 12). It may be
// called at any time. The error is ctx's, or of a disk that cannot be read or
// written now; what was done until then stays done.
func (l *Lane) Repair(ctx context.Context) (r Repaired, err error) {
	r.Straight = true
	for _, s := range l.list() {
		one, oneErr := s.q.repair(ctx)
		r.Read, r.Dropped, r.Waiting, r.Kept = r.Read+one.Read, r.Dropped+one.Dropped, r.Waiting+one.Waiting, r.Kept+one.Kept
		r.Straight = r.Straight && one.Straight
		err = errors.Join(err, oneErr)
	}
	return r, err
}

func (q *Queue) repair(ctx context.Context) (r Repaired, err error) {
	if err := q.do(ctx, func(*change) (bool, error) { return false, q.straighten() }); err != nil {
		return r, err
	}
	r.Straight = true
	s := q.snapshot()
	end := s.next
	for n := max(s.oldest, s.acked()+1); n < end; {
		if err := ctx.Err(); err != nil {
			return r, err
		}
		s := q.snapshot()
		if n = max(n, s.oldest, s.acked()+1); n >= end {
			break
		}
		if t, dropped, _ := s.tomb(n); dropped {
			n = t.to + 1
			continue
		}
		_, _, next := s.tomb(n)
		blocks, err := q.files.read(&s, n)
		if err == nil {
			to := min(blocks[len(blocks)-1].last, next-1)
			r.Read += uint64(to - n + 1)
			n = to + 1
			continue
		}
		var g *gap
		switch {
		case errors.Is(err, errTailLost):
			err = q.do(ctx, func(*change) (bool, error) { return true, nil })
		case errors.Is(err, errAstray):
			err = q.do(ctx, func(*change) (bool, error) { return false, q.straighten() })
		case errors.As(err, &g):
			to := min(g.to, next-1, end-1)
			before := q.snapshot()
			if err = q.giveUp(g); errors.Is(err, g) && g.reason == wire.ReasonMissing {
				r.Waiting += uint64(to - n + 1)
				err = nil
			} else if now := q.snapshot(); err == nil {
				for _, lost := range before.gaps(n, to) {
					if len(now.gaps(lost.from, lost.to)) == 0 {
						r.Dropped += uint64(lost.to - lost.from + 1)
					}
				}
			}
			r.Read += uint64(to - n + 1)
			n = to + 1
		}
		if err != nil {
			return r, err
		}
	}
	r.Kept = countFiles(filepath.Join(q.cfg.Dir, quarantine))
	return r, nil
}

// ReadQuarantined hands the messages of a damaged segment file of a lane to yield,
// ascending by the numbers that they had, each once: what a search of its bytes
// finds whole. An error of yield ends it.
func ReadQuarantined(path string, lane wire.Lane, yield func(n wire.Seq, m wire.Message) error) error {
	found, err := scan(path, lane)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	for _, e := range found {
		data, err := e.load(path)
		if err != nil {
			return err
		}
		p, err := wire.ParseBatch(data)
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		for r, err := range p.Records() {
			if err != nil {
				return fmt.Errorf("%s: batch %d: %w", path, p.First, err)
			}
			m, err := r.Record.Message()
			if err != nil {
				return fmt.Errorf("%s: number %d: %w", path, r.Seq, err)
			}
			if err := yield(r.Seq, m); err != nil {
				return err
			}
		}
	}
	return nil
}
