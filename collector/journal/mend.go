package journal

import (
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/fieldpost/fieldpost/collector/ledger"
	"github.com/fieldpost/fieldpost/internal/durable"
	"github.com/fieldpost/fieldpost/wire"
)

// mend is one segment as repair makes it again: a head and pieces.
type mend struct {
	extent *extent
	why    []string
	head   head
	memory []byte // the snapshot
	pieces []piece
	lost   uint64 // records
	blank  bool   // the snapshot is made of nothing, and others behind it are not
}

// piece is a part of a segment: bytes as they are, or a hole.
type piece struct {
	off, end int64  // bytes of the file
	hole     []byte // a record of kindHole, whose skip reaches to the next piece; nil: bytes
}

// extents mends one segment after another, with the memory that the ones before it
// leave. removed is the last record that retention has removed, upto the last one
// that is known to have been synced, 0 if that is not known.
func (p *repair) extents(list []extent, removed, upto uint64) error {
	p.moved = map[uint64]int64{}
	past := replayer{seed: p.seed, lossy: true, state: agents{}}
	index, last := removed, summary{}   // of the last record
	prev, length := uint64(0), int64(0) // of the segment before
	known := false                      // past.state is what the records say
	for i := range list {
		if err := p.ctx.Err(); err != nil {
			return err
		}
		e := &list[i]
		next, sure := uint64(0), false // first record of the segment behind it, if that is known
		if i+1 == len(list) {
			next = upto + 1
		} else if list[i+1].headErr == nil {
			next, sure = list[i+1].head.first, true
		}
		m := mend{extent: e, head: e.head}
		var err error
		if e.headErr == nil {
			index, last = e.head.first-1, e.head.before
			var s agents
			if s, err = readSnapshot(e.path, &e.head); err == nil {
				past.state, known = s, true
			}
		}
		if n, ok := p.moved[prev]; ok && e.headErr == nil && e.head.prev == prev {
			m.why = append(m.why, "the segment before it has another length now")
			m.head.prevLength = n
		}
		m.memory, err = p.memory(&m, &past, err, prev, length, index, last, known)
		if err != nil {
			return err
		}
		if err := p.scan(&m, &index, &last, next, sure); err != nil {
			return err
		}
		if len(m.why) > 0 {
			if err := p.write(&m, i == len(list)-1, index, last); err != nil {
				return err
			}
		}
		if err := past.extent(e); err != nil {
			return err
		}
		prev, length = e.ordinal, e.valid
		p.found.LostRecords += m.lost
	}
	return nil
}

// memory returns the snapshot that the segment is to have, and completes its head
// if it has no good one.
func (p *repair) memory(m *mend, past *replayer, damage error, prev uint64, length int64, index uint64, last summary, known bool) ([]byte, error) {
	e := m.extent
	switch {
	case e.missing:
		m.why = append(m.why, "it is missing: a segment that says so takes its place")
	case e.headErr != nil:
		m.why = append(m.why, fmt.Sprintf("its head is damaged and is made again (%v)", e.headErr))
	case damage != nil:
		m.why = append(m.why, fmt.Sprintf("its snapshot is damaged and is made again (%v)", damage))
	default:
		f, err := openReading(e.path, true)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		b := make([]byte, e.head.snapshot)
		if _, err := f.ReadAt(b, headSize); err != nil {
			return nil, err
		}
		return b, nil
	}
	if e.headErr != nil {
		m.head = head{store: p.identity.Store, ordinal: e.ordinal, created: time.Now(), prev: prev, prevLength: length, first: index + 1, before: last}
	}
	if !known && index > 0 {
		m.why = append(m.why, "what was known before it is lost, and it begins with nothing")
		m.blank = true
	}
	past.lost(m.head.before)
	b := past.state.appendSnapshot(nil)
	m.head.version, m.head.snapshot, m.head.crc = ledger.SnapshotVersion, uint32(len(b)), crc32.Checksum(b, wire.Castagnoli)
	m.head.carried = 0 // not known, and needed only while the segment is the newest and untouched
	return b, nil
}

// scan makes pieces of a segment's records. index and last are those of the record
// before, and then of its last one; next is the first of the segment behind it, 0
// if that is not known; sure: it has those from there on.
func (p *repair) scan(m *mend, index *uint64, last *summary, next uint64, sure bool) error {
	e := m.extent
	if m.blank { // the snapshots behind it know more than it and the records
		m.pieces = append(m.pieces, p.hole(e.records(), e.records(), *index, *last))
		*last = summary{}
	}
	gap := func(off, end int64, upto uint64) {
		h := p.hole(off, end, max(upto, *index), *last)
		m.why = append(m.why, fmt.Sprintf("%d bytes at %d cannot be read, or hold records %d to %d no more: they are marked as gone", end-off, off, *index+1, upto))
		if upto > *index {
			m.lost += upto - *index
			*index = upto
		}
		m.pieces = append(m.pieces, h)
		*last = summary{}
	}
	if !e.missing {
		f, err := openReading(e.path, true)
		if err != nil {
			return err
		}
		defer f.Close()
		at := e.records() // up to here it is done
		s := newScanner(f, p.seed, at, e.valid, 0)
		for s.next() {
			if err := p.ctx.Err(); err != nil {
				return err
			}
			r := &s.rec
			if s.bad != nil || sure && r.index >= next || r.index <= *index && r.kind != kindHole || r.index < *index {
				continue // a hole, until the next good record
			}
			fresh := e.headErr != nil && at == 0 && r.index == *index+1 // the records begin here
			if _, err := parseEvent(r.kind, r.payload); err != nil {
				continue
			}
			if fresh {
				at = r.off
			}
			if r.kind == kindHole && r.off > at {
				gap(at, r.off, *index)
			} else if r.kind != kindHole && (r.off > at || r.index > *index+1) {
				if at == 0 {
					at = r.off // nothing of what came before is there
				}
				gap(at, r.off, r.index-1)
			}
			if k := len(m.pieces); k > 0 && m.pieces[k-1].hole == nil && m.pieces[k-1].end == r.off {
				m.pieces[k-1].end = r.end
			} else {
				m.pieces = append(m.pieces, piece{off: r.off, end: r.end})
			}
			at, *index, *last = r.end, r.index, summaryOf(r)
		}
		if s.err != nil {
			return s.err
		}
		if at < e.valid && at > 0 {
			gap(at, e.valid, max(*index, max(next, 1)-1))
		}
	}
	if next > 0 && *index+1 < next {
		gap(0, 0, next-1)
	}
	return nil
}

// hole makes a record that stands for bytes, as long as they are if it can be.
func (p *repair) hole(off, end int64, index uint64, before summary) piece {
	b := beginRecord(nil, index, kindHole, before)
	if size := end - off; size >= recordHead+holePayload {
		b = hole{skip: size - recordHead - holePayload, at: time.Now()}.append(b)
	}
	endRecord(b, p.seed, true)
	return piece{off: off, end: end, hole: b}
}

// write puts the mended segment in the place of the old one, which is kept.
func (p *repair) write(m *mend, newest bool, index uint64, last summary) error {
	e := m.extent
	for _, why := range m.why {
		p.step(e.path, "%s", why)
	}
	if !p.do {
		return nil
	}
	temp := e.path + tempSuffix
	if err := durable.RemoveFile(temp); err != nil && !os.IsNotExist(err) {
		return err
	}
	valid, err := p.build(m, temp)
	if err != nil {
		return err
	}
	if !e.missing {
		if err := p.aside(e.path, false); err != nil {
			return err
		}
	}
	if err := durable.RenameFile(temp, e.path); err != nil {
		return err
	}
	if valid != e.valid {
		p.moved[e.ordinal] = valid
	}
	e.head, e.headErr, e.missing, e.valid = m.head, nil, false, valid
	if newest {
		k := mark{boot: bootID(), ordinal: e.ordinal, length: valid, index: index, last: last}
		if err := durable.WriteFile(filepath.Join(p.dir, markName), k.append(nil), 0o600); err != nil {
			return err
		}
	}
	return durable.SyncDir(p.dir)
}

// build writes a mended segment, synced, and returns its length.
func (p *repair) build(m *mend, path string) (n int64, err error) {
	to, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return 0, err
	}
	put := func(b []byte) {
		if err == nil {
			_, err = to.WriteAt(b, n)
			n += int64(len(b))
		}
	}
	put(m.head.append(nil))
	put(m.memory)
	var from *reading
	if !m.extent.missing && err == nil {
		if from, err = openReading(m.extent.path, true); err == nil {
			defer from.Close()
		}
	}
	buf := make([]byte, 1<<20)
	for i := range m.pieces {
		c := &m.pieces[i]
		if c.hole != nil {
			put(c.hole)
			if r, rerr := parseRecord(c.hole, p.seed); rerr == nil {
				n += r.skip // zeros
			}
			continue
		}
		for off := c.off; off < c.end && err == nil; {
			k := 0
			if k, err = from.ReadAt(buf[:min(int64(len(buf)), c.end-off)], off); err == io.EOF && k > 0 {
				err = nil
			}
			put(buf[:k])
			off += int64(k)
		}
	}
	if err == nil {
		err = to.Truncate(n)
	}
	if err == nil {
		err = durable.SyncFile(to)
	}
	if e := to.Close(); err == nil {
		err = e
	}
	return n, err
}
