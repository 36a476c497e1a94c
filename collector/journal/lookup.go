package journal

import (
	"cmp"
	"errors"
	"os"
	"slices"
	"sync"

	"github.com/fieldpost/fieldpost/collector"
	"github.com/fieldpost/fieldpost/collector/ledger"
	"github.com/fieldpost/fieldpost/wire"
)

// memo finds fingerprints in the journal's records for one transaction, each one
// once.
type memo struct {
	j     *Journal
	agent wire.AgentID
	found map[place]wire.Fingerprint
}

type place struct {
	collector.Stream
	n wire.Seq
}

func (j *Journal) newMemo(agent wire.AgentID) *memo {
	return &memo{j, agent, map[place]wire.Fingerprint{}}
}

// lookup is a [ledger.Lookup].
func (m *memo) lookup(lane wire.Lane, epoch wire.Epoch, n wire.Seq) wire.Fingerprint {
	p := place{collector.Stream{Lane: lane, Epoch: epoch}, n}
	fp, ok := m.found[p]
	if !ok {
		var err error
		if fp, err = m.j.fingerprint(m.agent, p.Stream, n); err != nil {
			m.j.log.Error("a record could not be read back; its fingerprint counts as not known", "agent", m.agent, "lane", lane, "number", n, "error", err)
		}
		m.found[p] = fp
	}
	return fp
}

// fingerprint reads the fingerprint of a settled number from its record; 0 if
// the record is not there any more.
func (j *Journal) fingerprint(agent wire.AgentID, s collector.Stream, n wire.Seq) (wire.Fingerprint, error) {
	j.mu.Lock()
	chain := slices.Clone(j.chain)
	j.mu.Unlock()
	if len(chain) == 0 {
		return 0, nil
	}
	// Most often it is in the newest segment. Else the segments' snapshots tell.
	fp, found, err := j.sparse.find(&chain[len(chain)-1], j.seed, agent, s, n)
	if found || err != nil {
		return fp, err
	}
	older := chain[:len(chain)-1]
	i, _ := slices.BinarySearchFunc(older, n, func(e extent, n wire.Seq) int {
		if e.headErr == nil {
			if m, err := readSnapshot(e.path, &e.head); err == nil && m[agent] != nil {
				if st := m[agent].Stream(s.Lane, s.Epoch); st != nil && st.W >= n {
					return 1 // settled before this segment began
				}
			}
		}
		return -1
	})
	if i == 0 {
		return 0, nil
	}
	fp, _, err = j.sparse.find(&older[i-1], j.seed, agent, s, n)
	return fp, err
}

// sparseCache knows where in a segment a stream's numbers lie, for the few
// segments that were asked for last.
type sparseCache struct {
	mu   sync.Mutex
	list []*sparse // the last used first
}

// sparse has, for each stream of a segment, where some of its entries lie: the
// first one and then one for each stretch of the file.
type sparse struct {
	ordinal uint64
	upto    int64 // the file is indexed up to here
	last    uint64
	points  map[uint64][]point // by tag
}

type point struct {
	first wire.Seq
	off   int64
}

const (
	sparseKept    = 2
	sparseStretch = 64 << 10
)

// find finds number n of a stream in a segment.
func (c *sparseCache) find(e *extent, seed uint32, agent wire.AgentID, s collector.Stream, n wire.Seq) (fp wire.Fingerprint, found bool, err error) {
	if e.missing {
		return 0, false, nil
	}
	f, err := openReading(e.path, true)
	if errors.Is(err, os.ErrNotExist) {
		return 0, false, nil // retention has taken it meanwhile
	}
	if err != nil {
		return 0, false, err
	}
	defer f.Close()
	off, err := c.locate(e, f, seed, tagOf(agent, s), n)
	if off == 0 || err != nil {
		return 0, false, err
	}
	sc := newScanner(f, seed, off, e.valid, 0)
	sc.before = e.above
	for sc.next() {
		if sc.bad != nil || sc.rec.kind != kindEntry {
			continue
		}
		d := decoder{b: sc.rec.payload}
		r := d.entry(wire.AgentID(d.string()))
		if d.err != nil || r.id != agent || r.stream != s {
			continue
		}
		if r.entry.From > n {
			break
		}
		if n <= r.entry.To {
			return ledger.Fingerprint(&r.entry, n), true, nil
		}
	}
	return 0, false, sc.err
}

// locate returns where to begin to look for number n, 0 if the segment has only
// later numbers of the stream or none.
func (c *sparseCache) locate(e *extent, f *reading, seed uint32, tag uint64, n wire.Seq) (int64, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	i := slices.IndexFunc(c.list, func(x *sparse) bool { return x.ordinal == e.ordinal })
	var x *sparse
	if i >= 0 {
		x = c.list[i]
		c.list = slices.Delete(c.list, i, i+1)
	} else {
		x = &sparse{ordinal: e.ordinal, upto: e.records(), points: map[uint64][]point{}}
	}
	c.list = slices.Insert(c.list, 0, x)
	c.list = c.list[:min(len(c.list), sparseKept)]
	if err := x.extend(f, seed, e.valid, e.above); err != nil {
		return 0, err
	}
	points := x.points[tag]
	k, ok := slices.BinarySearchFunc(points, n, func(p point, n wire.Seq) int { return cmp.Compare(p.first, n) })
	if ok {
		return points[k].off, nil
	}
	if k == 0 {
		return 0, nil
	}
	return points[k-1].off, nil
}

// extend indexes what was appended since the last time.
func (x *sparse) extend(f *reading, seed uint32, valid int64, above uint64) error {
	s := newScanner(f, seed, x.upto, valid, x.last)
	s.before = above
	for s.next() {
		if s.bad != nil {
			continue
		}
		if m := summaryOf(&s.rec); m.to > 0 {
			p := x.points[m.tag]
			if len(p) == 0 || s.rec.off-p[len(p)-1].off >= sparseStretch {
				x.points[m.tag] = append(p, point{m.from, s.rec.off})
			}
		}
		x.upto, x.last = s.rec.end, s.rec.index
	}
	return s.err
}
