package queue

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/fieldpost/fieldpost/internal/sabotage"
	"github.com/fieldpost/fieldpost/wire"
)

const (
	maxHandles = 3         // older segments that are open at a time
	readAhead  = 256 << 10 // bytes of batches that one read brings, at least one batch
)

// files is a lane's segments and how they are read. The newest segment that
// begins at or below a number is the one that holds it: on overlap the newer
// file wins (rule 5).
//
// mu is held during reads; it is taken before Queue.mu, never after it.
type files struct {
	dir  string
	lane wire.Lane
	look bool // only look: nothing is changed in the folder

	elsewhere func() []string // the folders of the agent's other streams; nil: there are none

	search bool // if look: damaged files are searched for what is left
	agent  wire.AgentID

	mu       sync.Mutex
	segs     []segment           // ascending; the last one is the tail
	tail     *file               // what the writer appends to
	open     []*file             // older ones, the last used at the end
	ahead    []block             // what the last read brought, verified
	salvaged map[uint64][]extent // by ordinal, of files whose database is damaged
	asides   asides              // what other folders have of the stream
	tries    map[uint64]int      // by ordinal, attempts that met an error of the system
	heads    map[uint64]head     // by ordinal, without what is long in them
	checked  time.Time           // when the names were last compared with the heads
}

// errAstray: numbers cannot be found where they should be, and it is not known
// whether a file has another's name.
var errAstray = errors.New("the segment files have to be looked through")

// errTailLost: the newest segment cannot be read until the lane has begun another.
var errTailLost = errors.New("the newest segment met a fault")

// gap is an error: numbers that should be held and cannot be found.
type gap struct {
	span
	reason wire.Reason // corrupt or missing
	seg    segment     // where they should be; ordinal 0 if there is no such file
	cause  error
}

func (g *gap) Error() string {
	return fmt.Sprintf("numbers %d to %d are %s: %v", g.from, g.to, g.reason, g.cause)
}

func (g *gap) Unwrap() error { return g.cause }

func (fs *files) path(s segment) string { return filepath.Join(fs.dir, s.name()) }

// index returns the position of the segment that holds n, -1 if none can.
func (fs *files) index(n wire.Seq) int {
	for i := len(fs.segs) - 1; i >= 0; i-- {
		if fs.segs[i].first <= n {
			return i
		}
	}
	return -1
}

// end returns the last number that segment i holds, where the lane's last is last.
func (fs *files) end(i int, last wire.Seq) wire.Seq {
	if i+1 < len(fs.segs) {
		return fs.segs[i+1].first - 1
	}
	return last
}

// read returns verified batches, in order and without a gap; the first contains
// number n. s is the committed state: nothing at or beyond its next is shown. An
// error that is a [gap] says that n cannot be had any more, after a second try
// and a search of the file for what is left.
func (fs *files) read(s *state, n wire.Seq) ([]block, error) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	if i := slices.IndexFunc(fs.ahead, func(b block) bool { return b.first <= n && n <= b.last }); i >= 0 {
		return fs.ahead[i:], nil
	}
	last := s.next - 1
	i := fs.index(n)
	if i < 0 {
		to := last
		if len(fs.segs) > 0 {
			to = fs.segs[0].first - 1
		}
		return fs.salvage(s, i, &gap{span{n, to}, wire.ReasonMissing, segment{}, errors.New("no segment file holds them")})
	}
	blocks, err := fs.readSegment(s, i, n)
	if err != nil {
		fs.drop(fs.segs[i].ordinal)
		blocks, err = fs.readSegment(s, i, n)
	}
	if err != nil && sabotage.TombFirst {
		return nil, &gap{span{n, fs.end(i, last)}, wire.ReasonCorrupt, fs.segs[i], err}
	}
	if g := (*gap)(nil); errors.As(err, &g) {
		if isUnreadable(g.cause) && fs.try(fs.segs[i].ordinal) < salvageTries && !fs.look {
			return nil, fmt.Errorf("segment %s cannot be read now: %w", fs.segs[i].name(), g.cause)
		}
		if i == len(fs.segs)-1 && !fs.look { // never written again; searched once it is not the tail any more
			fs.tail.abandon(err)
			return nil, fmt.Errorf("%w: %w", errTailLost, err)
		}
		blocks, err = fs.salvage(s, i, g)
	}
	if err != nil {
		return nil, err
	}
	fs.ahead = blocks
	return blocks, nil
}

// leftover is read for a number that has a tombstone. Its bytes may still be
// there, or never have been: what is not found is no damage.
func (fs *files) leftover(s *state, n wire.Seq) ([]block, error) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	i := fs.index(n)
	if i < 0 {
		return nil, &gap{span{n, n}, wire.ReasonMissing, segment{}, errors.New("no segment file holds them")}
	}
	return fs.readSegment(s, i, n)
}

// try counts the attempts to read a segment that the system answered with an
// error.
func (fs *files) try(ordinal uint64) int {
	if fs.tries == nil {
		fs.tries = map[uint64]int{}
	}
	fs.tries[ordinal]++
	return fs.tries[ordinal]
}

// readSegment is one attempt.
func (fs *files) readSegment(s *state, i int, n wire.Seq) ([]block, error) {
	return fs.readUpTo(s, i, n, fs.end(i, s.next-1))
}

// readUpTo is readSegment of a file that answers for numbers up to end.
func (fs *files) readUpTo(s *state, i int, n, end wire.Seq) (blocks []block, err error) {
	seg := fs.segs[i]
	whole := span{n, end}
	f, err := fs.handle(i)
	switch {
	case isNotExist(err):
		return nil, &gap{whole, wire.ReasonMissing, seg, err}
	case isDamage(err):
		return nil, &gap{whole, wire.ReasonCorrupt, seg, err}
	case err != nil:
		return nil, advise(fs.dir, err)
	}
	if shared := fs.look && i == len(fs.segs)-1; !shared && !f.fetched { // a tail may be the writer's
		f.fetched = true
		prefetch(f.os)
	}
	verr := f.view(func(t *tree) error {
		blocks, err = scanBatches(t, s, fs.lane, n, end)
		return nil
	})
	g := (*gap)(nil)
	switch {
	case isDamage(verr):
		return nil, &gap{whole, wire.ReasonCorrupt, seg, verr}
	case verr != nil:
		return nil, verr
	case isDamage(err) && !errors.As(err, &g):
		return nil, &gap{whole, wire.ReasonCorrupt, seg, err}
	case errors.As(err, &g):
		g.seg = seg
		// A file is missing between this one and the next, and the gap goes on to
		// the end of this one.
		if g.cause == nil {
			g.cause = errors.New("the segment has no such batch")
			if g.to == end && i+1 < len(fs.segs) && fs.segs[i+1].ordinal != seg.ordinal+1 {
				g.reason, g.cause = wire.ReasonMissing, fmt.Errorf("no segment file lies between %s and %s", seg.name(), fs.segs[i+1].name())
			}
		}
	}
	return blocks, err
}

// scanBatches copies batches out of a transaction, from the one that contains n
// up to about readAhead bytes. end is the last number this file answers for.
func scanBatches(t *tree, s *state, lane wire.Lane, n, end wire.Seq) (blocks []block, err error) {
	c, err := t.floor(seqKey(n))
	if err != nil {
		return nil, err
	}
	k, data, err := c.batch()
	if k > n {
		return nil, &gap{span: span{n, min(end, k-1)}, reason: wire.ReasonCorrupt}
	}
	for size := 0; k > 0 && size < readAhead; k, data, err = c.batch() {
		var b block
		if err == nil {
			b, err = verify(s, lane, data)
		}
		if err == nil && b.first != k {
			err = fmt.Errorf("batch %d lies under key %d", b.first, k)
		}
		if len(blocks) > 0 {
			if err != nil || b.first != blocks[len(blocks)-1].last+1 || b.last > end {
				break // its own read will say what is wrong
			}
		} else if err != nil || b.last < n {
			to := end
			if nerr := c.next(); nerr == nil && c.number() > n {
				to = min(end, c.number()-1)
			}
			if err != nil {
				err = &damage{"batch", err}
			}
			return nil, &gap{span: span{n, to}, reason: wire.ReasonCorrupt, cause: err}
		}
		blocks = append(blocks, b)
		size += len(data)
		if c.next() != nil {
			break
		}
	}
	if len(blocks) == 0 {
		return nil, &gap{span: span{n, end}, reason: wire.ReasonCorrupt, cause: err}
	}
	return blocks, nil
}

// verify checks an encoded batch against its checksum, the lane and the history.
func verify(s *state, lane wire.Lane, data []byte) (block, error) {
	if sabotage.NoChecksum && len(data) > 4 {
		data = binary.BigEndian.AppendUint32(bytes.Clone(data[:len(data)-4]), crc32.Checksum(data[:len(data)-4], wire.Castagnoli))
	}
	p, err := wire.ParseBatch(data)
	if err != nil {
		return block{}, err
	}
	if p.Lane != lane {
		return block{}, fmt.Errorf("batch %d is of lane %s", p.First, p.Lane)
	}
	// A relabelled number has another incarnation in the history than in its batch.
	if doubled, _ := s.mayBeDoubled(p.First); !doubled && s.history.At(p.First) != p.Incarnation {
		return block{}, fmt.Errorf("batch %d is of incarnation %s, not of %s", p.First, p.Incarnation, s.history.At(p.First))
	}
	return block{p.First, p.Last(), data}, nil
}

// handle returns segment i opened.
func (fs *files) handle(i int) (*file, error) {
	if i == len(fs.segs)-1 {
		err := fs.tail.broken()
		if err == nil {
			return fs.tail, nil
		}
		if !fs.look {
			return nil, fmt.Errorf("%w: %w", errTailLost, err)
		}
	}
	seg := fs.segs[i]
	k := slices.IndexFunc(fs.open, func(f *file) bool { return f.ordinal == seg.ordinal })
	if k >= 0 && fs.open[k].broken() == nil {
		f := fs.open[k]
		fs.open = append(slices.Delete(fs.open, k, k+1), f)
		return f, nil
	}
	fs.drop(seg.ordinal)
	f, err := openSealed(fs.path(seg))
	if err != nil {
		return nil, err
	}
	// A file whose head cannot be read may have whole batches.
	if h, err := f.readHead(); err == nil && (h.ordinal != seg.ordinal || h.first != seg.first || fs.agent != "" && h.agent != fs.agent || h.lane != fs.lane) {
		f.close()
		return nil, &damage{f.path, fmt.Errorf("its head says that it is segment %s of agent %s, lane %s", segment{h.ordinal, h.first}.name(), h.agent, h.lane)}
	}
	fs.hold(f)
	return f, nil
}

// hold keeps an open older segment, and closes the one that was not used longest.
func (fs *files) hold(f *file) {
	fs.open = append(fs.open, f)
	if len(fs.open) > maxHandles {
		fs.open[0].close()
		fs.open = slices.Delete(fs.open, 0, 1)
	}
}

// drop closes an older segment's handle.
func (fs *files) drop(ordinal uint64) {
	fs.open = slices.DeleteFunc(fs.open, func(f *file) bool {
		if f.ordinal == ordinal {
			f.close()
		}
		return f.ordinal == ordinal
	})
}

// advance makes f the tail. The old one stays readable.
func (fs *files) advance(f *file) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	if old := fs.tail; old.broken() == nil {
		fs.hold(old)
	}
	fs.tail = f
	fs.segs = append(fs.segs, f.segment)
}

// rollBack takes the tail's last transaction back, whose sync failed: what a read
// would show of it, its index pages too, may change once the system lets go of
// them. The tail stays as it was after transaction trust, and is sealed.
func (fs *files) rollBack(trust int) error {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	old := fs.tail
	if err := old.linked(); err != nil { // another's file is left alone
		old.abandon(err)
		return err
	}
	if err := old.close(); err != nil {
		old.abandon(err)
	}
	_, err := takeBack(old.path, trust)
	f, oerr := openSealed(old.path)
	if oerr != nil {
		f = &file{segment: old.segment, path: old.path, lost: oerr}
	}
	fs.tail = f
	return errors.Join(err, oerr)
}

// forget takes segments off the list, with their handles.
func (fs *files) forget(gone []segment) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	for _, g := range gone {
		fs.drop(g.ordinal)
		delete(fs.salvaged, g.ordinal)
		delete(fs.heads, g.ordinal)
	}
	fs.segs = slices.DeleteFunc(fs.segs, func(s segment) bool { return slices.Contains(gone, s) })
}

// close closes every handle, and returns the tail's error.
func (fs *files) close() error {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	for _, f := range fs.open {
		f.close()
	}
	fs.open, fs.ahead = nil, nil
	if fs.tail == nil {
		return nil
	}
	return fs.tail.close()
}

// fingerprint returns the fingerprint of a held number; false if it cannot be had.
func (fs *files) fingerprint(s *state, n wire.Seq) (wire.Fingerprint, bool) {
	if n == 0 || n >= s.next {
		return 0, false
	}
	if n == s.oldest-1 {
		return s.before, s.before != 0
	}
	if n < s.oldest {
		return 0, false
	}
	read := fs.read
	if t, ok, _ := s.tomb(n); ok {
		if n == t.to && t.fingerprint != 0 {
			return t.fingerprint, true
		}
		read = fs.leftover
	}
	blocks, err := read(s, n)
	if err != nil {
		return 0, false
	}
	p, err := wire.ParseBatch(blocks[0].data)
	if err != nil {
		return 0, false
	}
	fp := p.Fingerprint(n)
	return fp, fp != 0
}

func isNotExist(err error) bool { return errors.Is(err, fs.ErrNotExist) }
