package journal

import (
	"errors"
	"fmt"
	"maps"

	"github.com/fieldpost/fieldpost/collector"
	"github.com/fieldpost/fieldpost/internal/sabotage"
)

// recover reads the newest segment and makes its tail durable again. What is
// served afterwards is synced by this process or by one that proved it.
func (j *Journal) recover(ordinals []uint64) error {
	err := j.rebuild(ordinals)
	if unreadable(err) {
		return fmt.Errorf("%w; nothing is concluded from that: start again when the disk gives it; if it never will, collector repair marks what cannot be read as gone", err)
	}
	return err
}

func (j *Journal) rebuild(ordinals []uint64) error {
	dir, boot := j.opts.Dir, bootID()
	m, merr := readMark(dir)
	if merr != nil && !errors.Is(merr, errNoMark) {
		j.log.Warn("the mark of what is synced cannot be read and is made again", "error", merr)
	}
	j.tail = mark{boot: boot}
	if len(ordinals) == 0 {
		if merr == nil {
			j.log.Error("the journal's segments are gone; agents will declare what they held as lost at the store", "dir", dir, "segment", m.ordinal)
			j.ordinal, j.tail.index = m.ordinal, m.index
		}
		j.state = agents{}
		return j.create(nil)
	}
	newest := ordinals[len(ordinals)-1]
	j.ordinal = max(newest, m.ordinal)
	if merr == nil && m.ordinal > newest {
		j.log.Error("the journal's newest segment is gone; agents will declare what it held as lost at the store", "missing", segmentPath(dir, m.ordinal), "newest", segmentPath(dir, newest))
	}
	synced := int64(0)
	if merr == nil && m.ordinal == newest {
		synced = m.length
	}
	t, err := findTail(segmentPath(dir, newest), j.identity.Store, vouch{length: synced, index: m.index})
	if err != nil {
		return err
	}
	if j.chain, err = chain(dir, j.identity.Store, ordinals, newest, t.end, j.removed.ordinal, m.index, readHead, false); err != nil {
		return err
	}
	if t.end < synced {
		j.log.Error("the journal is shorter than what was synced; agents will declare the rest as lost at the store",
			"segment", segmentPath(dir, newest), "length", t.end, "synced", synced)
	}
	c, err := j.replay(&t)
	if err != nil {
		return err
	}
	j.tail.ordinal, j.tail.length, j.tail.index, j.tail.last = newest, t.end, t.index, t.last
	if merr == nil && m.index > t.index { // indexes are not used again: readers may have seen them
		j.tail.index, j.tail.last = m.index, m.last
	}

	e := &j.chain[len(j.chain)-1]
	confirmed := merr == nil && (m.boot != boot || m.ordinal == newest && m.length == t.end)
	untouched := e.headErr == nil && t.end == e.head.records()+e.head.carried && merr == nil && m.ordinal == newest
	if e.headErr == nil && t.size == t.end && (t.clean && confirmed || untouched) {
		if j.file, err = j.disk.open(e.path); err != nil {
			return err
		}
		return j.advance(j.tail, nil)
	}
	// The file is not written again, and its last commit only counts where this
	// process syncs it.
	if c.state != nil {
		j.carry = c
	}
	if err := j.create(nil); err != nil {
		j.log.Error("the journal's disk takes no writes; every transaction fails until it does", "dir", dir, "error", err)
	}
	return nil
}

// replay builds the state from the chain, and returns what a new segment has to
// carry: the last commit, which begins at t.lastCommit of the newest segment.
func (j *Journal) replay(t *tail) (*carry, error) {
	c := &carry{}
	r := replayer{seed: j.seed}
	r.damage = func(path string, off int64, cause error) {
		j.log.Error("a part of the journal is damaged and skipped; audit names what it held", "file", path, "offset", off, "cause", cause)
	}
	newest := j.chain[len(j.chain)-1].path
	r.visit = func(path string, s *scanner) {
		if path != newest || s.rec.off < t.lastCommit {
			return
		}
		if c.state == nil {
			c.state, c.end, c.first, c.before = r.state.frozen(), t.lastCommit, s.rec.index, s.rec.before // which may be a lost one's
		}
		c.records = append(c.records, s.bytes()...)
	}
	if err := r.run(j.chain); err != nil {
		return nil, err
	}
	if !r.complete && !sabotage.Amnesia {
		return nil, fmt.Errorf("%w: the head of %s is damaged, and no older segment is left that has it: restore that file from a backup; if there is none, collector repair begins a new store and keeps this one for reading",
			ErrMemory, newest)
	}
	j.state = r.state
	return c, nil
}

// replayer builds the state that records say, from the newest good snapshot on.
type replayer struct {
	seed   uint32
	lossy  bool // what the disk does not give is damage: for who only looks
	state  agents
	visit  func(path string, s *scanner)             // nil or called before a record is applied
	damage func(path string, off int64, cause error) // nil or called for what is skipped

	last uint64 // index of the last record

	// The state began with a good snapshot, or with the journal's first record.
	complete bool
}

// run replays the end of a chain. An error is a disk that cannot be read: where
// the memory lies that is not damage, because a store that goes on without its
// memory takes again what it has (rule 7).
func (r *replayer) run(chain []extent) error {
	r.state, r.complete = agents{}, len(chain) == 0
	from := len(chain)
	for from > 0 {
		from--
		e := &chain[from]
		if unreadable(e.headErr) && !r.lossy {
			return e.headErr
		}
		if e.headErr != nil {
			r.damaged(e.path, 0, e.headErr)
			continue
		}
		m, err := readSnapshot(e.path, &e.head)
		if err == nil {
			r.state, r.complete = m, true
			break
		}
		if unreadable(err) && !r.lossy {
			return err
		}
		r.damaged(e.path, headSize, err)
	}
	for ; from < len(chain); from++ {
		if err := r.extent(&chain[from]); err != nil {
			return err
		}
	}
	return nil
}

func (r *replayer) damaged(path string, off int64, cause error) {
	if r.damage != nil {
		r.damage(path, off, cause)
	}
}

func (r *replayer) extent(e *extent) error {
	if e.missing {
		return nil
	}
	f, err := openReading(e.path, r.lossy)
	if err != nil {
		return err
	}
	defer f.Close()
	last, behind := r.last, false // behind a hole
	if e.headErr == nil {
		last = e.head.first - 1
		r.lost(e.head.before) // if its snapshot was not good
	}
	defer func() { r.last = last }()
	s := newScanner(f, r.seed, e.records(), e.valid, last)
	s.before = e.above
	for s.next() {
		if s.bad != nil {
			r.damaged(e.path, s.bad.off, s.bad.why)
			continue
		}
		if s.rec.kind == kindHole {
			last, behind = max(last, s.rec.index), true
			continue
		}
		if s.rec.index <= last {
			r.damaged(e.path, s.rec.off, fmt.Errorf("record %d stands here again", s.rec.index))
			continue
		}
		ev, err := parseEvent(s.rec.kind, s.rec.payload)
		if err != nil {
			r.damaged(e.path, s.rec.off, err)
			continue
		}
		if behind || last > 0 && s.rec.index > last+1 {
			r.lost(s.rec.before)
		}
		if r.visit != nil {
			r.visit(e.path, s)
		}
		r.complete = r.complete || s.rec.index == 1
		last, behind = s.rec.index, false
		if v, ok := ev.(*settled); ok {
			v.complete()
		}
		r.state.apply(ev)
	}
	return s.err
}

// lost takes the numbers that a record which is gone has settled from the record
// behind it: W never falls below them (rule 7).
func (r *replayer) lost(m summary) {
	if m.to == 0 || sabotage.LowerW {
		return
	}
	for id, a := range r.state {
		for _, s := range a.Streams() {
			if tagOf(id, collector.Stream{Lane: s.Lane, Epoch: s.Epoch}) == m.tag {
				a.Advance(s.Lane, s.Epoch, m.to)
				return
			}
		}
	}
}

// frozen returns the state as it is, for reading, while m itself goes on.
func (m agents) frozen() agents {
	old := maps.Clone(m)
	for id, a := range old {
		m[id] = a.Clone()
	}
	return old
}
