package queue

import (
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/fieldpost/fieldpost/wire"
)

// Stats is what a lane says of itself.
type Stats struct {
	Agent wire.AgentID
	Lane  wire.Lane
	Epoch wire.Epoch
	Store wire.StoreID // last obeyed, zero before the first welcome

	Oldest   wire.Seq // the oldest number that is held; Next if none is
	Next     wire.Seq // number of the next message
	Acked    wire.Seq // the largest number that a store has acked
	Accepted uint64   // messages accepted since the folder was made

	Backlog      uint64    // messages that are not acked (or that a store which was set back lacks) and not dropped
	BacklogBytes uint64    // about how many bytes they have on disk
	OldestTime   time.Time // of the oldest message that is not acked; zero if there is none

	Dropped     map[wire.Reason]uint64 // numbers that got a tombstone since the folder was made; what was on its way by then is a claim until acked
	DeadLetters uint64                 // messages that a store refused for good
	LettersKept uint64                 // of them, those that are kept as dead letters
	LettersLost uint64                 // and those that had to go because there were too many
	Forks       uint64                 // epochs begun because the folder and the store had parted
	RolledBack  uint64                 // times that memory was seen to have gone back
	Relabelled  uint64                 // numbers that may be stored twice because of that

	Streams     int       // that are not drained, the one that takes puts included
	Segments    int       // segment files
	DiskBytes   int64     // bytes they take
	Quarantined int       // damaged files of which a copy is kept
	AckedCount  uint64    // numbers that were acked since Open
	Commits     uint64    // transactions since Open
	Syncs       SyncTimes // of them

	Stopped bool  // by a run of refusals: nothing is sent
	Full    error // which limit has no room for a message now; nil: there is room, or the folder is at rest
	Failing error // why nothing can be stored at the moment, nil if it can

	turn uint64 // of the stream, in its lane
}

// Stats returns the lane's figures. It may read one batch from disk, for
// OldestTime.
func (q *Queue) Stats() Stats {
	q.mu.Lock()
	s, acked, settled := q.shown, q.acked(), q.settled()
	s.heed(q.sure, q.pending)
	st := Stats{Streams: 1, Commits: q.commits, Syncs: q.syncs, AckedCount: q.ackedCount, Stopped: q.stopped, Failing: q.failing, DiskBytes: q.used}
	if st.Failing == nil {
		st.Failing = q.low
	}
	q.mu.Unlock()
	s.fill(&st, settled)
	st.Agent, st.Lane, st.Acked = q.cfg.Agent, q.cfg.Lane, acked
	st.BacklogBytes = q.backlogBytes(&s, settled)
	st.OldestTime = q.timeOf(&s, settled+1)
	st.Quarantined = countFiles(filepath.Join(q.cfg.Dir, quarantine))
	q.files.mu.Lock()
	st.Segments = len(q.files.segs)
	q.files.mu.Unlock()
	return st
}

func (s *state) fill(st *Stats, acked wire.Seq) {
	st.Epoch, st.Store, st.turn = s.epoch, s.store, s.turn
	st.Oldest, st.Next, st.Acked, st.Accepted = s.oldest, s.next, acked, s.accepted
	st.Backlog = s.backlog(acked)
	st.Dropped = map[wire.Reason]uint64{}
	for reason, n := range s.dropped {
		if n > 0 {
			st.Dropped[wire.Reason(reason)] = n
		}
	}
	st.LettersKept, st.LettersLost = s.letters(), s.evicted
	st.DeadLetters, st.Forks, st.RolledBack, st.Relabelled = s.dead, s.forks, s.rolledBack, s.relabelled
}

// readStats returns the figures of one stream that no process has open.
func readStats(dir string) (Stats, error) {
	fs, s, unlock, err := openAtRest(dir)
	if err != nil {
		return Stats{}, err
	}
	defer unlock()
	defer fs.close()
	st := Stats{Agent: fs.agent, Lane: fs.lane, Segments: len(fs.segs), Quarantined: countFiles(filepath.Join(dir, quarantine))}
	s.fill(&st, s.acked())
	st.BacklogBytes = fs.bytesAbove(&s, s.acked())
	st.OldestTime = fs.timeOf(&s, s.acked()+1)
	return st, nil
}

// backlogBytes is about how many bytes on disk are above the acks. With the
// first number of each segment stands how many bytes came before it; within a
// segment, bytes are taken to be spread evenly.
func (q *Queue) backlogBytes(s *state, acked wire.Seq) uint64 {
	if s.backlog(acked) == 0 {
		return 0
	}
	return q.files.bytesAbove(s, acked)
}

func (fs *files) bytesAbove(s *state, acked wire.Seq) uint64 {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	n := max(acked+1, s.oldest)
	for t, dropped, _ := s.tomb(n); dropped; t, dropped, _ = s.tomb(n) { // its file may be gone
		n = t.to + 1
	}
	i := fs.index(n)
	if i < 0 || n >= s.next {
		return 0
	}
	low, ok := fs.bytesBefore(i)
	high, end := s.bytes, s.next
	if i+1 < len(fs.segs) {
		var ok2 bool
		high, ok2 = fs.bytesBefore(i + 1)
		end, ok = fs.segs[i+1].first, ok && ok2
	}
	first := fs.segs[i].first
	if !ok || high < low || end <= first || n > end {
		return 0
	}
	part := new(big.Int).Mul(big.NewInt(int64(high-low)), big.NewInt(int64(n-first)))
	at := low + part.Div(part, big.NewInt(int64(end-first))).Uint64()
	return s.bytes - min(at, s.bytes)
}

// bytesBefore returns how many bytes of batches came before segment i.
func (fs *files) bytesBefore(i int) (uint64, bool) {
	h, err := fs.head(i)
	return h.bytes, err == nil
}

// timeOf returns the time of the first message from n on that is held and not
// dropped; zero if there is none or it cannot be read.
func (q *Queue) timeOf(s *state, n wire.Seq) time.Time {
	g := s.gaps(max(n, s.oldest), s.next-1)
	if len(g) == 0 {
		return time.Time{}
	}
	n = g[0].from
	q.mu.Lock()
	if q.oldestTime.n == n {
		defer q.mu.Unlock()
		return q.oldestTime.time
	}
	blocks := q.recent.from(n, 0)
	q.mu.Unlock()
	var t time.Time
	if blocks != nil {
		t = timeIn(blocks[0], n)
	} else {
		t = q.files.timeOf(s, n)
	}
	q.mu.Lock()
	q.oldestTime = stamp{n, t}
	q.mu.Unlock()
	return t
}

func (fs *files) timeOf(s *state, n wire.Seq) time.Time {
	g := s.gaps(max(n, s.oldest), s.next-1)
	if len(g) == 0 {
		return time.Time{}
	}
	blocks, err := fs.read(s, g[0].from)
	if err != nil {
		return time.Time{}
	}
	return timeIn(blocks[0], g[0].from)
}

func timeIn(b block, n wire.Seq) time.Time {
	p, err := wire.ParseBatch(b.data)
	if err != nil {
		return time.Time{}
	}
	for r, err := range p.Records() {
		if err == nil && r.Seq == n {
			return r.Record.Time()
		}
	}
	return time.Time{}
}

func countFiles(dir string) int {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return 0
	}
	return len(slices.DeleteFunc(entries, func(e os.DirEntry) bool { return e.IsDir() }))
}
