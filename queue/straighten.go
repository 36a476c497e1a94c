package queue

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/fieldpost/fieldpost/internal/durable"
	"github.com/fieldpost/fieldpost/wire"
)

// movedPrefix begins the name that a segment has on its way to its own name.
const movedPrefix = "moved-"

// straight is the names of a folder's segments, as their heads say that they are.
type straight struct {
	dir   string
	agent wire.AgentID
	lane  wire.Lane
	ours  bool               // the folder is known to be the lane's
	alien func(segment) bool // the file is of another stream; nil: that is looked at later

	segs     []segment // ascending; those that are there under their own name, or whose head cannot be read
	dubious  []segment // of them, those whose head cannot be read
	foreign  error     // a file is another agent's or lane's
	own      bool      // a file is ours
	warnings []string
}

// run gives each segment file the name that its head says: an operator, a file
// system's repair or a restored copy may have exchanged them, and a file of a
// wrong name hides others. What is not the lane's, or is there twice, goes into
// quarantine. Files for which keep returns true stay as they are. After a crash in
// the middle the next call goes on.
func (r *straight) run(keep func(segment) bool) error {
	r.segs, r.dubious, r.own, r.foreign = nil, nil, r.ours, nil
	segs, _, err := list(r.dir)
	if err != nil {
		return err
	}
	moved, err := r.onTheWay()
	if err != nil {
		return err
	}
	var others []string            // of another agent or lane
	wrong := map[segment]segment{} // by the name it has
	from := map[segment]segment{}  // the reverse
	for _, s := range segs {
		if keep(s) {
			r.segs, r.own = append(r.segs, s), true
			continue
		}
		h, err := headOf(filepath.Join(r.dir, s.name()))
		switch {
		case isNotExist(err):
		case err != nil:
			r.segs = append(r.segs, s)
			if isDamage(err) {
				r.dubious = append(r.dubious, s)
			}
		case h.agent != r.agent || h.lane != r.lane:
			r.foreign = fmt.Errorf("%w: segment %s is of agent %q, lane %q, not of agent %q, lane %q", ErrForeign, s.name(), h.agent, h.lane, r.agent, r.lane)
			others = append(others, s.name())
		case r.alien != nil && r.alien(s):
			if err := r.aside(s.name(), "is of another stream of the lane, or of another folder of it"); err != nil {
				return err
			}
		default:
			r.own = true
			if own := (segment{h.ordinal, h.first}); own != s {
				wrong[s] = own
			} else {
				r.segs = append(r.segs, s)
			}
		}
	}
	if !r.own && len(moved) == 0 && r.foreign != nil { // the folder is another's
		return r.foreign
	}
	for _, name := range others {
		if err := r.aside(name, "is not the lane's"); err != nil {
			return err
		}
	}
	names := slices.SortedFunc(maps.Keys(wrong), func(a, b segment) int { // of two copies the one that is not cut short
		return cmp.Or(r.short(a.name())-r.short(b.name()), a.compare(b))
	})
	for _, name := range names {
		own := wrong[name]
		to := movedPrefix + own.name()
		if slices.Contains(moved, own) { // a second copy of it
			if err := r.aside(name.name(), "is a copy of segment "+own.name()); err != nil {
				return err
			}
			continue
		}
		if err := durable.RenameFile(filepath.Join(r.dir, name.name()), filepath.Join(r.dir, to)); err != nil {
			return err
		}
		r.warn("segment file %s is segment %s by its head", name.name(), own.name())
		moved = append(moved, own)
		from[own] = name
	}
	for _, own := range moved {
		if err := r.place(own, from[own]); err != nil {
			return err
		}
	}
	for _, s := range r.dubious { // one number stands for one file
		if slices.ContainsFunc(r.segs, func(o segment) bool { return o.ordinal == s.ordinal && o != s }) && slices.Contains(r.segs, s) {
			if err := r.aside(s.name(), "is damaged and has the ordinal of another"); err != nil {
				return err
			}
			r.segs = slices.DeleteFunc(r.segs, func(o segment) bool { return o == s })
		}
	}
	slices.SortFunc(r.segs, segment.compare)
	if len(wrong)+len(moved) > 0 {
		return durable.SyncDir(r.dir)
	}
	return nil
}

// short is 1 for a segment file that ends before its last page, else 0.
func (r *straight) short(name string) int {
	f, err := openSealed(filepath.Join(r.dir, name))
	if err != nil {
		return 1
	}
	defer f.close()
	if f.info.Size() < f.size {
		return 1
	}
	return 0
}

// place gives a segment that is on the way its name. Where another file has it whose
// head cannot be read, the two were perhaps exchanged: that one gets the name that
// has become free.
func (r *straight) place(own, from segment) error {
	if slices.Contains(r.segs, own) {
		if !slices.Contains(r.dubious, own) && r.short(own.name()) > r.short(movedPrefix+own.name()) {
			from = segment{}
		} else if !slices.Contains(r.dubious, own) {
			return r.aside(movedPrefix+own.name(), "is a copy of segment "+own.name())
		}
		isOwn := func(s segment) bool { return s == own }
		r.segs, r.dubious = slices.DeleteFunc(r.segs, isOwn), slices.DeleteFunc(r.dubious, isOwn)
		if from.ordinal == 0 || slices.Contains(r.segs, from) {
			if err := r.aside(own.name(), "is damaged and has the name of another"); err != nil {
				return err
			}
		} else {
			if err := durable.RenameFile(filepath.Join(r.dir, own.name()), filepath.Join(r.dir, from.name())); err != nil {
				return err
			}
			r.warn("segment file %s cannot be read, and is perhaps segment %s", own.name(), from.name())
			r.segs, r.dubious = append(r.segs, from), append(r.dubious, from)
		}
	}
	r.segs = append(r.segs, own)
	return durable.RenameFile(filepath.Join(r.dir, movedPrefix+own.name()), filepath.Join(r.dir, own.name()))
}

func (r *straight) warn(format string, a ...any) {
	r.warnings = append(r.warnings, fmt.Sprintf(format, a...))
}

func (r *straight) aside(name, why string) error {
	if err := setAside(r.dir, name); err != nil {
		return fmt.Errorf("segment file %s %s, and cannot be put aside: %w", name, why, err)
	}
	r.warn("segment file %s %s; it is in the folder %s", name, why, quarantine)
	return nil
}

// onTheWay returns the segments that an earlier run has left on the way to their
// names.
func (r *straight) onTheWay() (moved []segment, err error) {
	entries, err := os.ReadDir(r.dir)
	for _, e := range entries {
		name, ok := strings.CutPrefix(e.Name(), movedPrefix)
		if s, is := parseSegment(name); ok && is && !e.IsDir() {
			moved = append(moved, s)
		}
	}
	return moved, err
}

// headOf reads the head of a segment file.
func headOf(path string) (h head, err error) {
	f, err := openSealed(path)
	if err != nil {
		return h, err
	}
	h, err = f.readHead()
	return h, errors.Join(err, f.close())
}

// straighten compares the names of the segment files with their heads while the
// lane is open. The writer calls it.
func (q *Queue) straighten() error {
	q.removals.Wait() // of the names that are being given to others
	if err := q.mend(); err != nil {
		return err
	}
	fs := q.files
	r := straight{dir: q.cfg.Dir, agent: q.cfg.Agent, lane: q.cfg.Lane, ours: true}
	now := q.snapshot()
	r.alien = func(s segment) bool { return stranger(fs.path(s), &now) }
	tail := fs.tail
	err := r.run(func(s segment) bool { return s == tail.segment && tail.linked() == nil })
	for _, w := range r.warnings {
		q.log.Error(w)
	}
	if err != nil {
		return fmt.Errorf("the names of the segment files cannot be put right: %w", err)
	}
	q.dubious = r.dubious
	fs.mu.Lock()
	defer fs.mu.Unlock()
	fs.checked = time.Now()
	if len(r.warnings) == 0 {
		return nil
	}
	for _, s := range fs.segs {
		q.weigh(s, 0)
		fs.drop(s.ordinal)
	}
	fs.ahead, fs.salvaged, fs.heads = nil, nil, nil
	fs.asides.looked = time.Time{}
	fs.segs = slices.DeleteFunc(r.segs, func(s segment) bool { return s.compare(tail.segment) >= 0 })
	for _, s := range fs.segs {
		if info, err := os.Stat(fs.path(s)); err == nil {
			q.weigh(s, info.Size())
		}
	}
	fs.segs = append(fs.segs, tail.segment)
	return nil
}
