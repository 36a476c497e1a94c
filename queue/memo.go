package queue

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"slices"

	"github.com/fieldpost/fieldpost/wire"
)

// memo is what a stream's folder knows of its newest segment outside of it, so
// that the loss of that file does not go unnoticed: what had been accepted, and
// under which openings. It is written in place after each commit and never synced: it
// never says more than is on disk, and after a power cut perhaps less. It is no part of the
// state, and an opening goes on without it.
//
// Only a memo in the file in which it was written counts: in a copy of the folder
// that was made while the lane was at work, it could be newer than the segments.
//
// The file is the record's length in 16 bits and the record (record.go has the form).
// With the history of an ordinary lane it is less than 512 bytes, which a disk
// writes whole or not at all; one that is torn does not count.
//
//	'm' memo  flags u8 (1 the history is cut, 2 numbers were relabelled), file id u64, whose u32, ordinal u64, first u64, transaction u64, next u64,
//	          acked (store id, upto u64), epoch, store id, turn u64, dead letters u64, list of at most 8 (reason u8, count u64), history of at most 128 boundaries
type memo struct {
	file       uint64 // the system's number of the file
	whose      uint32 // checksum of agent and lane
	cut        bool   // history lacks its oldest part
	relabelled bool   // openings in the history are not those in the batches
	segment           // the newest
	tx         int    // its newest transaction
	next       wire.Seq
	acked      mark
	epoch      wire.Epoch
	store      wire.StoreID
	turn       uint64
	dead       uint64      // dead letters ever kept
	dropped    [256]uint64 // numbers ever dropped; of the first reasons
	history    wire.History
}

const (
	memoName    = "memo"
	memoSize    = 4096 // at most
	memoHistory = 128
	memoReasons = 8
)

// memoFile is the memo's file while the lane is open. The writer owns it.
type memoFile struct {
	f   *os.File
	id  uint64
	buf []byte
}

// whoseMemo is what a memo says of its owner.
func whoseMemo(agent wire.AgentID, lane wire.Lane) uint32 {
	return crc32.Checksum([]byte(string(agent)+"/"+string(lane)), wire.Castagnoli)
}

func appendMemo(dst []byte, m *memo) []byte {
	return appendRecord(dst, 'm', func(b []byte) []byte {
		flags := byte(0)
		if m.cut {
			flags |= 1
		}
		if m.relabelled {
			flags |= 2
		}
		b = appendU64(append(b, flags), m.file)
		b = binary.BigEndian.AppendUint32(b, m.whose)
		b = appendU64(b, m.ordinal, uint64(m.first), uint64(m.tx), uint64(m.next))
		b = appendU64(append(b, m.acked.store.ID[:]...), uint64(m.acked.upto))
		b = append(b, m.epoch.ID[:]...)
		b = append(b, m.store.ID[:]...)
		b = appendU64(b, m.turn, m.dead)
		at := len(b)
		kinds := 0
		b = appendCount(b, 0)
		for reason, n := range m.dropped {
			if n > 0 && kinds < memoReasons {
				b = appendU64(append(b, byte(reason)), n)
				kinds++
			}
		}
		binary.BigEndian.PutUint32(b[at:], uint32(kinds))
		return appendHistory(b, m.history)
	})
}

func parseMemo(b []byte) (m memo, err error) {
	r := openRecord(b, 'm')
	flags := r.u8()
	m.cut, m.relabelled = flags&1 != 0, flags&2 != 0
	m.file = r.u64()
	if v := r.take(4); v != nil {
		m.whose = binary.BigEndian.Uint32(v)
	}
	m.ordinal, m.first, m.tx, m.next = r.u64(), r.seq(), int(r.u64()), r.seq()
	m.acked = mark{wire.StoreID{ID: r.id()}, r.seq()}
	m.epoch, m.store, m.turn = wire.Epoch{ID: r.id()}, wire.StoreID{ID: r.id()}, r.u64()
	m.dead = r.u64()
	last := -1
	for range r.count(9) {
		reason := int(r.u8())
		if m.dropped[reason] = r.u64(); reason <= last || m.dropped[reason] == 0 {
			r.fail("the count of reason %d is out of order", reason)
		}
		last = reason
	}
	m.history = r.history()
	if flags > 3 {
		r.fail("flags %d are unknown", flags)
	}
	if n := len(m.history); r.err == nil && (n == 0 || m.first == 0 || m.next < m.first || m.next > wire.MaxSeq || m.acked.upto >= m.next || m.epoch.IsZero() || m.history[n-1].First > m.next) {
		r.fail("first %d, next %d, acked %d and %d boundaries do not go together", m.first, m.next, m.acked.upto, n)
	}
	return m, r.end("memo")
}

// readMemo reads the memo of a stream's folder; nil if there is none that counts and
// is the lane's.
func readMemo(dir string, agent wire.AgentID, lane wire.Lane) *memo {
	if m := loadMemo(dir); m != nil && m.whose == whoseMemo(agent, lane) {
		return m
	}
	return nil
}

// loadMemo is readMemo of whatever lane.
func loadMemo(dir string) *memo {
	f, err := openShared(filepath.Join(dir, memoName))
	if err != nil {
		return nil
	}
	defer f.Close()
	b := make([]byte, memoSize)
	n, err := io.ReadFull(f, b)
	if n < 2 || err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
		return nil
	}
	size := int(binary.BigEndian.Uint16(b))
	if size > n-2 {
		return nil
	}
	m, err := parseMemo(b[2 : 2+size])
	if err != nil {
		return nil
	}
	if id, err := fileID(f); err != nil || id != m.file {
		return nil
	}
	return &m
}

// open opens the memo's file in a folder, and makes it if there is none.
func (m *memoFile) open(dir string) error {
	m.close()
	f, err := os.OpenFile(filepath.Join(dir, memoName), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	if m.id, err = fileID(f); err != nil {
		f.Close()
		return err
	}
	m.f = f
	return nil
}

func (m *memoFile) close() {
	if m.f != nil {
		m.f.Close() // nothing that anybody was promised
	}
	m.f = nil
}

// remind writes the memo of what is committed. Without it a lost file goes
// unnoticed on this side; that is no reason to refuse messages.
func (q *Queue) remind() {
	f, tail := &q.memo, q.files.tail
	if tail == nil {
		return
	}
	if f.f == nil && (f.open(q.cfg.Dir) != nil) {
		return
	}
	s := &q.shown // the writer alone changes it
	m := memo{file: f.id, whose: whoseMemo(q.cfg.Agent, q.cfg.Lane), segment: tail.segment, tx: tail.meta.tx, next: s.next, dead: s.dead, dropped: s.dropped, relabelled: s.relabelled > 0,
		epoch: s.epoch, store: s.store, turn: s.turn, history: s.history}
	if k := len(s.marks) - 1; k >= 0 {
		m.acked = s.marks[k]
	}
	if k := len(m.history) - memoHistory; k > 0 {
		m.history, m.cut = m.history[k:], true
	}
	m.cut = m.cut || m.history[0].First > 1
	f.buf = appendMemo(append(f.buf[:0], 0, 0), &m)
	binary.BigEndian.PutUint16(f.buf, uint16(len(f.buf)-2))
	if _, err := f.f.WriteAt(f.buf, 0); err != nil {
		f.close()
	}
}

// knows reports whether an opening may have written in the memo's stream. Without a
// memo, nobody can tell.
func (m *memo) knows(inc wire.Incarnation) bool {
	return m == nil || m.relabelled || m.cut || slices.ContainsFunc(m.history, func(b wire.Boundary) bool { return b.Incarnation == inc })
}

// strange reports whether a newest file's state is certainly that of another stream. A
// stream that had no number yet is told by its epoch.
func (m *memo) strange(s *state) bool {
	if m == nil || m.relabelled || s.next == 1 || m.next == 1 && m.epoch == s.epoch {
		return false
	}
	return apart(m.history, s.history)
}

// apart reports whether two histories of streams that have number 1 have certainly
// nothing in common: lines that differ there never meet again.
func apart(a, b wire.History) bool {
	return len(a) > 0 && len(b) > 0 && a[0].First == 1 && b[0].First == 1 && a[0].Incarnation != b[0].Incarnation
}

// join returns the line of history that ends with the memo's and begins with a
// state's, whose numbers end before it. False: they do not belong together.
func (m *memo) join(s *state) (wire.History, bool) {
	h := m.history
	if m.cut {
		h = append(s.history.Upto(h[0].First-1), h...)
	}
	if h.Check() != nil || s.next > 1 && h.At(s.next-1) != s.history.At(s.next-1) {
		return nil, false
	}
	return h, true
}

// extend takes over from the memo that numbers behind the state's had been accepted.
// It returns how many.
func (m *memo) extend(s *state) (count uint64) {
	if m == nil || m.next <= s.next {
		return 0
	}
	if s.epoch.IsZero() { // nothing else is left
		*s = state{epoch: m.epoch, store: m.store, turn: m.turn, history: m.history, oldest: m.acked.upto + 1, next: m.acked.upto + 1, commit: m.acked.upto + 1}
		if m.acked.upto > 0 {
			s.marks = []mark{m.acked}
		}
	}
	h, ok := m.join(s)
	if !ok {
		return 0
	}
	count = uint64(m.next - s.next)
	s.history, s.next = h, m.next
	s.accepted += count
	return count
}

// unseen takes over what the memo knows of numbers that no file shows, once all files
// have been looked at. Elsewhere they are searched for as they are read, and found
// corrupt or missing then; only behind batches that go into the new file that is done
// at once, for it answers for all from its first number on.
func (r *recovery) unseen() error {
	s := &r.change.state
	from, none := s.next, s.epoch.IsZero()
	count := r.memo.extend(s)
	if m := r.memo; m != nil && (proven{m.ordinal, m.tx}).after(r.proven) {
		s.reclaim(1, endless, open, certain) // which of them are void is in the counts, or not known any more
		for reason, n := range m.dropped {
			s.dropped[reason] = max(s.dropped[reason], n)
		}
		s.dead = max(s.dead, m.dead)
		r.change.drops = true
	}
	if count == 0 {
		return nil
	}
	if none {
		from = s.oldest
	}
	r.change.link, r.change.drops, r.clean = true, true, false
	r.warn("the newest file is gone or damaged: numbers %d to %d had been accepted, and it does not show them", from, s.next-1)
	if len(r.change.blocks) == 0 {
		return nil
	}
	var others asides
	if err := others.look(r.files(), s.history, from); err != nil {
		return err
	}
	for last := s.next - 1; from <= last; {
		b, ok := others.find(from, func(f *aside, e extent) (block, bool) {
			data, err := e.load(f.path)
			if err != nil || e.first < from {
				return block{}, false
			}
			b, err := verify(s, r.lane, data)
			return b, err == nil && b.last <= last
		})
		if !ok {
			b.first = last + 1
		}
		if b.first > from {
			s.drop(r.declare(from, b.first-1)...)
		}
		if from = b.first; ok {
			r.change.blocks = append(r.change.blocks, b)
			from = b.last + 1
		}
	}
	return nil
}

// files is the folder as others are that are searched.
func (r *recovery) files() *files {
	return &files{dir: r.dir, lane: r.lane, agent: r.agent, elsewhere: r.elsewhere}
}

// after reports whether a transaction is newer than another one.
func (p proven) after(o proven) bool {
	return p.ordinal > o.ordinal || p.ordinal == o.ordinal && p.tx > o.tx
}

// declare returns tombstones for numbers that are lost, one of each opening (rule 8).
func (r *recovery) declare(from, to wire.Seq) (list []tombstone) {
	for s := &r.change.state; from <= to; {
		end := s.history.End(from, to)
		list = append(list, tombstone{span: span{from, end}, reason: wire.ReasonCorrupt, time: r.now(), claim: open})
		from = end + 1
	}
	return list
}
