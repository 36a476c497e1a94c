package queue

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync/atomic"
)

// strand is one stream of a lane, and what the others ask it without waiting for
// its queue.
type strand struct {
	// Static.
	lane   *Lane
	number uint64 // 0: the lane's own folder
	turn   uint64 // with which it begins, if it is new
	q      *Queue

	retired atomic.Bool   // another one takes puts
	used    atomic.Int64  // bytes of its files
	held    atomic.Uint64 // messages that are not acked, if the lane counts them
}

// streamsFolder holds the folders of a lane's streams but the first.
const streamsFolder = "streams"

func streamDir(lane string, number uint64) string {
	return filepath.Join(lane, streamsFolder, fmt.Sprintf("%08d", number))
}

// begun reports whether a stream's folder has, or had, a segment. One without was never
// opened to its end, on a full disk for instance: no number was given there.
func begun(lane string, number uint64) (bool, error) {
	dir := streamDir(lane, number)
	segs, _, err := list(dir)
	return len(segs) > 0 || loadMemo(dir) != nil, err
}

// readStreams returns the numbers of a lane's streams but the first, ascending.
func readStreams(lane string) (numbers []uint64, err error) {
	entries, err := os.ReadDir(filepath.Join(lane, streamsFolder))
	if isNotExist(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		n, err := strconv.ParseUint(e.Name(), 10, 64)
		if err != nil || n == 0 || !e.IsDir() || filepath.Base(streamDir(lane, n)) != e.Name() {
			continue
		}
		ok, err := begun(lane, n)
		if err != nil {
			return nil, err
		}
		if ok {
			numbers = append(numbers, n)
		}
	}
	slices.Sort(numbers)
	return numbers, nil
}

// note tells the lane's other streams what this one has by now.
func (q *Queue) note() {
	s := q.cfg.strand
	if s == nil {
		return
	}
	q.mu.Lock()
	used, held := q.used, uint64(0)
	if q.cfg.MaxMessages > 0 {
		held = q.shown.backlog(q.settled())
	}
	q.mu.Unlock()
	less := used < s.used.Swap(used)
	if held < s.held.Swap(held) || less {
		s.tellRoom()
	}
}

// tellRoom wakes who waits for room in another stream.
func (s *strand) tellRoom() {
	list := s.lane.list()
	if len(list) < 2 {
		return
	}
	for _, o := range list {
		if o == s {
			continue
		}
		o.q.mu.Lock()
		o.q.tellRoom()
		o.q.mu.Unlock()
	}
}

// others returns what the lane's other streams have. It may be called with the
// queue's lock held.
func (s *strand) others() (used int64, held uint64) {
	if s == nil {
		return 0, 0
	}
	for _, o := range s.lane.list() {
		if o != s {
			used += o.used.Load()
			held += o.held.Load()
		}
	}
	return used, held
}

// yield has the streams before this one, in their order, give messages up (DropOldest)
// until they have freed bytes on disk and count messages, if they have so much.
// It returns what they have freed.
func (s *strand) yield(bytes int64, count uint64) (freed int64, fewer uint64) {
	if s == nil {
		return 0, 0
	}
	for _, o := range s.lane.list() {
		if o == s || freed >= bytes && fewer >= count {
			break
		}
		f, n, err := o.q.giveRoom(max(0, bytes-freed), count-min(count, fewer))
		if err != nil {
			s.lane.log.Warn("an older stream of the lane cannot make room", "stream", o.number, "error", err)
		}
		freed, fewer = freed+f, fewer+n
	}
	return freed, fewer
}

// giveRoom gives the oldest messages up until so many bytes and messages are
// gone, or nothing is left. It returns how many are.
func (q *Queue) giveRoom(bytes int64, count uint64) (freed int64, fewer uint64, err error) {
	measure := func() (int64, uint64) {
		q.mu.Lock()
		defer q.mu.Unlock()
		return q.used, q.shown.backlog(q.settled())
	}
	used, held := measure()
	if held == 0 && (bytes == 0 || used <= minSegmentSize/2) {
		return 0, 0, nil
	}
	err = q.do(context.Background(), func(c *change) (bool, error) {
		err := q.dropOldest(c, bytes, count)
		return c.drops || c.fresh, err
	})
	u, h := measure()
	return max(0, used-u), held - min(held, h), err
}
