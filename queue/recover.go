package queue

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/fieldpost/fieldpost/internal/durable"
	"github.com/fieldpost/fieldpost/wire"
)

// recover takes over what a folder holds and begins a new incarnation. Nothing
// that is there is changed before that is on disk.
func (q *Queue) recover(ctx context.Context) error {
	dir := q.cfg.Dir
	if info, err := os.Stat(dir); err == nil && !info.IsDir() {
		return fmt.Errorf("%w: it is not a folder", ErrNotAQueue)
	}
	if err := durable.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	var err error
	if q.cfg.FreeSpace == 0 {
		if q.cfg.FreeSpace, err = defaultFree(dir); err != nil {
			q.log.Warn("how large the disk is cannot be found out; the lane keeps none of it free", "error", err)
		}
	}
	if q.lock, err = takeLock(ctx, dir); err != nil {
		return err
	}
	noted := readMemo(dir, q.cfg.Agent, q.cfg.Lane)
	segs, temps, err := list(dir)
	if err != nil {
		return err
	}
	for _, name := range temps {
		if err := durable.RemoveFile(filepath.Join(dir, name)); err != nil && !isNotExist(err) {
			return err
		}
	}
	if err := q.clear(); err != nil {
		return err
	}
	if len(segs) > 0 {
		q.ordinal = segs[len(segs)-1].ordinal // also of one that goes aside
	}
	names := straight{dir: dir, agent: q.cfg.Agent, lane: q.cfg.Lane, ours: noted != nil}
	err = names.run(func(segment) bool { return false })
	for _, w := range names.warnings {
		q.log.Error(w)
	}
	if err != nil {
		return err
	}
	segs, q.dubious = names.segs, names.dubious
	if len(segs) > 0 {
		q.ordinal = max(q.ordinal, segs[len(segs)-1].ordinal)
	}
	if noted != nil {
		q.ordinal = max(q.ordinal, noted.ordinal)
	}
	r := recovery{dir: dir, lane: q.cfg.Lane, agent: q.cfg.Agent, segs: segs, memo: noted, elsewhere: q.cfg.elsewhere, now: time.Now}
	if err := r.run(ctx); err != nil {
		return err
	}
	if err := r.returned(); err != nil {
		return err
	}
	if err := r.sortOut(); err != nil {
		return err
	}
	for _, w := range r.warnings {
		q.log.Error(w)
	}
	c := r.change
	s := &c.state
	inc := wire.Incarnation{ID: wire.NewID()}
	s.history = s.history.Begin(inc, s.next)
	if len(segs) == 0 && q.cfg.strand != nil {
		s.turn = q.cfg.strand.turn
	}
	s.clean, s.commit, s.letter = false, c.first(), s.dead-uint64(len(c.letters))
	c.silent = true
	q.clock.begin(s.anchor, s.age)
	q.expireAt = time.Now()
	s.anchor, s.age = q.anchorNow(), q.clock.now()
	for _, seg := range r.segs {
		if info, err := os.Stat(r.path(seg.ordinal)); err == nil {
			q.weigh(seg, info.Size())
		}
	}
	q.shown = *s // rotate and reclaim read by it
	q.handed = s.next - 1
	q.versions = newestVersion(s.inputs)
	q.files.segs, q.proven = r.segs, r.proven
	q.ballast.look()
	if err := q.resume(&r); err != nil {
		return err
	}
	if err := q.ballast.fill(); err != nil {
		q.fail(err) // puts wait, what is here can go
	}
	for _, seg := range r.damaged {
		if err := durable.RemoveFile(filepath.Join(dir, seg.name())); err != nil && !isNotExist(err) {
			return err
		}
	}
	q.log.Info("lane opened", "folder", dir, "epoch", s.epoch, "incarnation", inc,
		"next", s.next, "oldest", s.oldest, "acked", s.acked(), "rewritten", len(c.blocks), "segments", len(q.files.segs))
	return nil
}

// clear puts aside folders that have a segment's name: they would be in the way of
// a new one.
func (q *Queue) clear() error {
	entries, err := os.ReadDir(q.cfg.Dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if _, ok := parseSegment(e.Name()); !ok || !e.IsDir() {
			continue
		}
		if err := setAside(q.cfg.Dir, e.Name()); err != nil {
			return fmt.Errorf("%s is a folder and cannot be put aside: %w", filepath.Join(q.cfg.Dir, e.Name()), err)
		}
		q.log.Error("a folder had a segment's name; it is in the folder "+quarantine, "name", e.Name())
	}
	return nil
}

// resume commits the new incarnation: into the old tail if the last process has
// closed it in order and it has room, so that many short runs do not leave as
// many files; else into a new segment (rule 5).
func (q *Queue) resume(r *recovery) error {
	c := r.change
	if r.clean && len(r.damaged) == 0 {
		f, err := openTail(r.tail(), false)
		if err == nil {
			q.files.tail, q.proven.tx = f, f.meta.tx
			q.weigh(f.segment, 0) // the tail's is its own
			c.fresh = f.size >= q.cfg.SegmentSize/2
			return q.commit(c)
		}
		q.log.Warn("the old tail cannot be written, a new segment takes its place", "error", err)
	}
	return q.rotate(c)
}

// tail is the path of the newest file.
func (r *recovery) tail() string { return filepath.Join(r.dir, r.segs[len(r.segs)-1].name()) }

// errStrange: a segment is certainly not of the stream.
var errStrange = errors.New("it is of another stream")

// recovery rebuilds a lane's state from its files. It changes none of them but
// to take back a transaction that was cut off, and to keep copies in quarantine.
type recovery struct {
	dir   string
	agent wire.AgentID
	lane  wire.Lane

	now       func() time.Time
	memo      *memo           // nil: there is none
	elsewhere func() []string // as in files
	segs      []segment       // what is left to read from; damaged ones are taken out
	damaged   []segment       // their content is in change, or in quarantine
	change    *change         // what the new incarnation begins with
	clean     bool            // the newest segment was closed in order
	recalled  bool            // it is damaged, and stays
	proven    proven          // its last commit that is known to be on disk
	warnings  []string
}

func (r *recovery) warn(format string, a ...any) {
	r.warnings = append(r.warnings, fmt.Sprintf(format, a...))
}

// path is the path of the segment with an ordinal.
func (r *recovery) path(ordinal uint64) string {
	for _, s := range r.segs {
		if s.ordinal == ordinal {
			return filepath.Join(r.dir, s.name())
		}
	}
	return filepath.Join(r.dir, segment{ordinal, 0}.name()) // does not exist
}

// run finds the newest file whose state can be read, and takes over what later
// ones still have.
func (r *recovery) run(ctx context.Context) error {
	r.change = &change{state: state{oldest: 1, next: 1, commit: 1}}
	var patience time.Time // until when what cannot be read is tried again
	for len(r.segs) > 0 {
		seg := r.segs[len(r.segs)-1]
		err := r.adopt(seg, false)
		for isUnreadable(err) {
			if patience.IsZero() {
				patience = time.Now().Add(openPatience)
			}
			if time.Now().After(patience) {
				break
			}
			select {
			case <-time.After(tryPause):
				err = r.adopt(seg, false)
			case <-ctx.Done():
				return fmt.Errorf("segment %s: %w; %w", seg.name(), err, ctx.Err())
			}
		}
		if isDamage(err) && !isUnreadable(err) {
			err = r.cutOff(seg, err)
		} else if err == nil {
			err = r.lost(seg)
		}
		if err == nil {
			break
		}
		if errors.Is(err, errStrange) {
			if err := setAside(r.dir, seg.name()); err != nil {
				return fmt.Errorf("segment %s is of another stream and cannot be put aside: %w", seg.name(), err)
			}
			r.warn("segment %s is of another stream of the lane, or of another folder of it; it is in the folder %s", seg.name(), quarantine)
			r.segs = r.segs[:len(r.segs)-1]
			continue
		}
		if !isDamage(err) {
			return err
		}
		if err := keepCopy(r.dir, seg.name()); err != nil {
			return fmt.Errorf("segment %s is damaged and no copy of it could be kept: %w", seg.name(), err)
		}
		r.warn("segment %s is damaged, a copy is in the folder %s: %v", seg.name(), quarantine, err)
		if r.recall(seg) {
			break
		}
		r.segs = r.segs[:len(r.segs)-1]
		r.damaged = append([]segment{seg}, r.damaged...)
	}
	for _, seg := range r.damaged {
		if err := r.salvage(seg, true); err != nil {
			return err
		}
	}
	if err := r.unseen(); err != nil {
		return err
	}
	s := &r.change.state
	if s.epoch.IsZero() {
		s.epoch = wire.Epoch{ID: wire.NewID()}
	}
	return ctx.Err()
}

// recall takes the state that a damaged newest file still shows to a search of its
// bytes. The file stays where it is, as one that was damaged later: its batches
// are searched for as they are read. Those of the last commit, which nothing has
// proven, are written again.
func (r *recovery) recall(seg segment) bool {
	s, h, ok := r.remember(seg)
	if !ok {
		return false
	}
	path := filepath.Join(r.dir, seg.name())
	found, err := scan(path, r.lane)
	if err != nil {
		return false
	}
	r.memo.extend(&s)
	r.change.state, r.change.blocks = s, nil
	next := s.commit
	var blocks []block
	for _, e := range found {
		if e.first != next {
			continue
		}
		data, err := e.load(path)
		if err != nil {
			return false
		}
		if b, err := verify(&s, r.lane, data); err == nil && b.first == next && b.last < s.next {
			blocks, next = append(blocks, b), b.last+1
		}
	}
	if next == s.next {
		r.change.blocks = blocks
	}
	r.change.link, r.change.drops = true, true
	r.proven = proven{h.before.ordinal, h.before.tx}
	r.recalled = true
	r.warn("what segment %s knew of the lane was found by a search of its bytes: numbers up to %d", seg.name(), s.next-1)
	return true
}

// lost looks for a last commit whose meta page was damaged, which leaves the file
// as it was one commit before, with no sign that there was another: its batches
// are still there. A page of zeros is what is left of a commit that was taken back.
func (r *recovery) lost(seg segment) error {
	path := filepath.Join(r.dir, seg.name())
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	list, err := metaPages(f)
	wiped := false
	if err == nil && len(list) == 1 {
		b := make([]byte, metaSector)
		_, rerr := f.ReadAt(b, list[0].pageSize-list[0].offset) // there are two, the first at 0
		wiped = rerr == nil && !slices.ContainsFunc(b, func(c byte) bool { return c != 0 })
	}
	if err = errors.Join(err, f.Close()); err != nil || len(list) != 1 {
		return err
	}
	before := r.change.state.next
	said := len(r.warnings)
	if err := r.salvage(seg, !wiped); err != nil {
		return err
	}
	if wiped { // what was taken back and is found whole all the same is taken over; nothing is damaged
		r.warnings = r.warnings[:said]
		r.clean = r.clean && r.change.state.next == before
		return nil
	}
	r.clean = false
	if err := keepCopy(r.dir, seg.name()); err != nil {
		return fmt.Errorf("segment %s is damaged and no copy of it could be kept: %w", seg.name(), err)
	}
	r.warn("segment %s has lost a meta page, a copy is in the folder %s", seg.name(), quarantine)
	return nil
}

// returned puts files in quarantine that turned up after their numbers were
// declared missing (rule 13): only an operator enters them again.
func (r *recovery) returned() error {
	s := &r.change.state
	for i := 0; i+1 < len(r.segs); i++ {
		seg, end := r.segs[i], r.segs[i+1].first-1
		t, ok, _ := s.tomb(seg.first)
		if !ok || t.reason != wire.ReasonMissing || t.to < end || end < seg.first {
			continue
		}
		if err := keepCopy(r.dir, seg.name()); err != nil {
			return fmt.Errorf("segment %s turned up after it was declared missing, and cannot be put aside: %w", seg.name(), err)
		}
		r.warn("segment %s turned up after its numbers were declared missing; it is in the folder %s", seg.name(), quarantine)
	}
	return nil
}

// open reads a segment's head and state, and checks whose it is. The caller
// closes the file.
func (r *recovery) open(seg segment) (*file, head, state, error) {
	f, err := openSealed(filepath.Join(r.dir, seg.name()))
	if err != nil {
		return nil, head{}, state{}, err
	}
	h, s, err := f.load()
	if err == nil {
		err = h.belongs(f, r.agent, r.lane)
	}
	if err == nil {
		return f, h, s, nil
	}
	f.close()
	return nil, head{}, state{}, err
}

// belongs returns an error unless a file is what its head says, and the lane's:
// [ErrForeign], or damage.
func (h *head) belongs(f *file, agent wire.AgentID, lane wire.Lane) error {
	switch {
	case h.agent != agent:
		return fmt.Errorf("%w: %s is of agent %q, not %q", ErrForeign, filepath.Base(f.path), h.agent, agent)
	case h.lane != lane:
		return fmt.Errorf("%w: %s is of lane %q, not %q", ErrForeign, filepath.Base(f.path), h.lane, lane)
	case h.ordinal != f.ordinal || h.first != f.first:
		return &damage{f.path, fmt.Errorf("its head says %s", segment{h.ordinal, h.first}.name())}
	}
	return nil
}

// adopt takes the newest file's state. Unless the lane was closed in order, its
// last commit is in doubt: it must read whole, and is written there again (rule
// 5). before says that the last commit was cut off: the one before it is proven by
// its having begun.
func (r *recovery) adopt(seg segment, before bool) error {
	f, h, s, err := r.open(seg)
	if err != nil {
		return err
	}
	defer f.close()
	if r.memo.strange(&s) {
		return errStrange
	}
	var blocks []block
	if !before && !s.clean && f.meta.tx > firstTx {
		if err := f.verifyIndex(s.commit); err != nil {
			return err
		}
		if blocks, err = r.last(f, &s); err != nil {
			return err
		}
		switch err := f.harden(s.commit); {
		case isDamage(err):
			return err
		case isSpace(err) && durable.SyncFile(f.os) == nil:
			// Where each write needs new blocks (copy on write), neither file takes it. What
			// the last process could not sync was not accepted; if the power takes it after all,
			// the store has it, and the lane forks (rule 2).
			r.warn("the last commit of segment %s could not be written again for want of room, and was synced where it is: %v", seg.name(), err)
			blocks = nil
		case err != nil: // the new file is another chance
			r.warn("the last commit of segment %s could not be written again in its place: %v", seg.name(), err)
		default:
			blocks = nil
		}
	}
	r.change.state, r.change.blocks = s, blocks
	r.change.link, r.change.drops = true, true
	r.clean = s.clean && !before
	r.proven = proven{seg.ordinal, f.meta.tx}
	// A sync that failed, and an end before its commit could be taken back.
	if h.before.tx > 0 {
		if _, err := takeBack(r.path(h.before.ordinal), h.before.tx); err != nil && !isNotExist(err) {
			r.warn("the segment before %s: %v", seg.name(), err)
		}
	}
	return nil
}

// last reads the batches of a file's last commit.
func (r *recovery) last(f *file, s *state) (blocks []block, err error) {
	err = r.read(f, s, s.commit, func(b []block) { blocks = append(blocks, b...) })
	return blocks, err
}

// read hands all batches of the newest file from a number on to keep. Numbers
// that cannot be read are damage.
func (r *recovery) read(f *file, s *state, from wire.Seq, keep func([]block)) error {
	fs := &files{dir: r.dir, lane: r.lane, segs: r.segs, tail: f, look: true}
	for n := from; n < s.next; {
		if t, ok, _ := s.tomb(n); ok {
			n = t.to + 1
			continue
		}
		got, err := fs.read(s, n)
		if g := (*gap)(nil); errors.As(err, &g) {
			return &damage{"last commit", err}
		}
		if err != nil {
			return err
		}
		keep(got)
		n = got[len(got)-1].last + 1
		fs.ahead = nil
	}
	return nil
}
