package queue

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/fieldpost/fieldpost/wire"
)

// Contents is what lies in a lane.
type Contents struct {
	Stats   Stats            // of all streams together
	Streams []StreamContents // in the order of their turns: the last takes puts
	Damage  []string         // what is wrong with files
}

// StreamContents is what lies in one stream of a lane.
type StreamContents struct {
	Number     uint64 // 0: the first, which is in the lane's own folder
	Stats      Stats
	Acks       []Ack        // ascending
	Dropped    []DropCount  // of the tombstones that are kept, by reason
	Tombstones []Tombstone  // the oldest of them, ascending
	Files      []File       // segments, ascending
	Quarantine []Quarantine // copies of damaged files
}

// Ack says that a store has acked the numbers up to one, above the ack before it.
type Ack struct {
	Store wire.StoreID `json:"store,omitzero"`
	Upto  wire.Seq     `json:"upto"`
}

// Tombstone is a run of dropped numbers.
type Tombstone struct {
	From   wire.Seq    `json:"from"`
	To     wire.Seq    `json:"to"`
	Reason wire.Reason `json:"reason"`
	Time   time.Time   `json:"time"` // of the last drop in it
	Detail string      `json:"detail,omitempty"`
	Acked  bool        `json:"acked"`          // the store knows what became of them
	Void   bool        `json:"void,omitempty"` // it has the messages: they were on their way when they were dropped
}

// maxTombstones is how many tombstones of a stream are listed.
const maxTombstones = 1000

// DropCount sums up a stream's tombstones of one reason.
type DropCount struct {
	Reason  wire.Reason `json:"reason"`
	Numbers uint64      `json:"numbers"`        // without those that are void
	Void    uint64      `json:"void,omitempty"` // numbers that the store has all the same
	Pending uint64      `json:"pending"`        // of Numbers, those that no store has acked
	Ranges  int         `json:"ranges"`
	From    wire.Seq    `json:"from"` // the first number
	To      wire.Seq    `json:"to"`   // and the last
	Time    time.Time   `json:"time"` // of the last drop
}

// File is a segment file.
type File struct {
	Name   string    `json:"name"`
	First  wire.Seq  `json:"first"` // the first number that it answers for
	Last   wire.Seq  `json:"last"`  // and the last; below First: none
	Bytes  int64     `json:"bytes"` // of the file
	Held   uint64    `json:"held"`  // numbers in it that are neither acked nor dropped
	Made   time.Time `json:"made,omitzero"`
	Tail   bool      `json:"tail,omitempty"`   // what the next messages are appended to
	Damage string    `json:"damage,omitempty"` // why it cannot be read, "" if its head can
}

// Quarantine is a copy of a damaged file that is kept.
type Quarantine struct {
	Name  string    `json:"name"`
	Bytes int64     `json:"bytes"`
	Time  time.Time `json:"time"` // when the file was last written
}

// Contents returns what lies in the lane now. It reads the head of each segment
// file, and changes nothing.
func (l *Lane) Contents() Contents {
	var c Contents
	var all []Stats
	for _, s := range l.list() {
		v := s.q.view(s.number)
		sc := v.contents()
		if len(v.damage) > 0 { // what is not there any more may be acked
			v.renew(s.q)
			v.damage = nil
			sc = v.contents()
		}
		sc.Stats = s.q.Stats()
		all = append(all, sc.Stats)
		c.Streams = append(c.Streams, sc)
		c.Damage = append(c.Damage, v.damage...)
		v.close()
	}
	c.Stats = together(all)
	c.Stats.Full = l.live().q.full()
	return c
}

// full reports which limit has no room for a message, nil if there is room.
func (q *Queue) full() error {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.room(&put{buf: []byte{0}, chunks: []chunk{{1, 1}}})
}

// ReadContents is [Lane.Contents] for a lane that no process has open; of cfg it
// needs Dir, Agent and Lane. It changes nothing in the folder. What can be told of a
// damaged folder it tells, and says in Damage what is wrong. Errors, for a folder of
// which nothing can be told: [ErrInUse], [ErrNotAQueue], or one of the system.
func ReadContents(cfg Config) (Contents, error) {
	var c Contents
	var all []Stats
	err := eachAtRest(&cfg, func(v *view) error {
		sc := v.contents()
		sc.Stats = v.stats()
		all = append(all, sc.Stats)
		c.Streams = append(c.Streams, sc)
		c.Damage = append(c.Damage, v.damage...)
		v.damage = nil
		return nil
	})
	if len(all) == 0 {
		return Contents{}, cmp.Or(err, error(ErrNotAQueue))
	}
	if err != nil {
		c.Damage = append(c.Damage, err.Error())
	}
	slices.SortStableFunc(c.Streams, func(a, b StreamContents) int { return cmp.Compare(a.Stats.turn, b.Stats.turn) })
	c.Stats = together(all)
	return c, nil
}

// stats returns the figures of a folder at rest.
func (v *view) stats() Stats {
	st := Stats{Agent: v.files.agent, Lane: v.files.lane, Segments: len(v.files.segs), Quarantined: countFiles(filepath.Join(v.files.dir, quarantine))}
	v.state.fill(&st, v.settled)
	for _, l := range v.late {
		if l.gaps {
			st.Segments++
		}
	}
	st.BacklogBytes = v.files.bytesAbove(&v.state, v.settled)
	st.OldestTime = v.files.timeOf(&v.state, v.settled+1)
	return st
}

// contents is all but the figures.
func (v *view) contents() StreamContents {
	s := &v.state
	c := StreamContents{Number: v.number, Quarantine: v.quarantined()}
	for _, m := range s.marks {
		c.Acks = append(c.Acks, Ack{m.store, m.upto})
	}
	for i := range s.tombs {
		t := &s.tombs[i]
		if i < maxTombstones {
			c.Tombstones = append(c.Tombstones, Tombstone{t.from, t.to, t.reason, t.time, t.detail, t.to <= v.settled, t.claim == void})
		}
		k := slices.IndexFunc(c.Dropped, func(d DropCount) bool { return d.Reason == t.reason })
		if k < 0 {
			k = len(c.Dropped)
			c.Dropped = append(c.Dropped, DropCount{Reason: t.reason, From: t.from})
		}
		c.Dropped[k].add(t, v.settled)
	}
	for i, seg := range v.files.segs {
		c.Files = append(c.Files, v.file(i, seg))
	}
	for _, l := range v.late {
		if l.gaps {
			f := File{Name: l.name(), First: l.first, Last: l.first - 1, Damage: "its state cannot be read"}
			f.Bytes, _ = fileSize(filepath.Join(v.files.dir, f.Name))
			c.Files = append(c.Files, f)
		}
	}
	if len(v.files.segs) > 0 {
		for _, part := range s.gaps(max(s.oldest, v.settled+1), min(v.files.segs[0].first, s.next)-1) {
			v.damage = append(v.damage, fmt.Sprintf("numbers %d to %d are in no segment file", part.from, part.to))
		}
	}
	return c
}

func (d *DropCount) add(t *tombstone, settled wire.Seq) {
	n := uint64(t.to - t.from + 1)
	d.Ranges++
	d.To = t.to
	if t.time.After(d.Time) {
		d.Time = t.time
	}
	if t.claim == void {
		d.Void += n
		return
	}
	d.Numbers += n
	if from := max(t.from, settled+1); from <= t.to {
		d.Pending += uint64(t.to - from + 1)
	}
}

// file looks at segment i.
func (v *view) file(i int, seg segment) File {
	s := &v.state
	last := i == len(v.files.segs)-1
	f := File{Name: seg.name(), First: seg.first, Last: v.files.end(i, s.next-1), Tail: last}
	held := s.gaps(max(seg.first, s.oldest, v.settled+1), f.Last)
	for _, part := range held {
		f.Held += uint64(part.to - part.from + 1)
	}
	var err error
	if f.Bytes, err = fileSize(v.files.path(seg)); err == nil {
		f.Made, err = v.made(i)
	}
	if err == nil && f.Held > 0 {
		err = v.ends(i, held[len(held)-1].to)
	}
	switch {
	case err == nil:
	case isNotExist(err) && f.Held == 0: // it goes
	default:
		f.Damage = err.Error()
		v.damage = append(v.damage, fmt.Sprintf("segment %s: %v", seg.name(), err))
	}
	return f
}

// ends returns an error unless number n, the last that segment i should hold, is in
// it: else the one behind it may be missing.
func (v *view) ends(i int, n wire.Seq) error {
	v.files.mu.Lock()
	defer v.files.mu.Unlock()
	_, err := v.files.readSegment(&v.state, i, n)
	return err
}

// made reads when segment i was made, and checks that it is the lane's.
func (v *view) made(i int) (time.Time, error) {
	v.files.mu.Lock()
	defer v.files.mu.Unlock()
	f, err := v.files.handle(i)
	if err != nil {
		return time.Time{}, err
	}
	h, err := f.readHead()
	if err == nil {
		err = h.belongs(f, v.files.agent, v.files.lane)
	}
	return h.made, err
}

func fileSize(path string) (int64, error) {
	info, err := os.Stat(path)
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

// quarantined lists the copies of damaged files.
func (v *view) quarantined() (list []Quarantine) {
	entries, err := os.ReadDir(filepath.Join(v.files.dir, quarantine))
	if err != nil {
		if !isNotExist(err) {
			v.damage = append(v.damage, err.Error())
		}
		return nil
	}
	for _, e := range entries {
		info, err := e.Info()
		switch {
		case errors.Is(err, os.ErrNotExist) || e.IsDir():
		case err != nil:
			v.damage = append(v.damage, err.Error())
		default:
			list = append(list, Quarantine{e.Name(), info.Size(), info.ModTime()})
		}
	}
	return list
}
