package queue

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/fieldpost/fieldpost/wire"
)

// late is one of the newest files of a folder at rest, which has more than its
// index shows.
type late struct {
	segment
	gaps bool // its state does not read; else only its last commit is cut off
}

// viewAtRest returns a stream's folder that no process has open. Where the newest
// file's state does not read, it is that of the newest one whose does; what later
// ones still hold comes behind it, as an opening would have it. Files of another
// agent or lane are looked at only if there are no others. The caller closes the
// view. Errors: [ErrInUse]; [ErrNotAQueue] for a folder without segments; of the
// system.
func viewAtRest(cfg *Config, dir string, number uint64) (_ *view, err error) {
	segs, _, err := list(dir)
	if err != nil {
		return nil, err
	}
	if len(segs) == 0 {
		return nil, fmt.Errorf("%w: it has no segment files", ErrNotAQueue)
	}
	v := &view{number: number, unlock: func() {}, state: state{oldest: 1, next: 1, commit: 1}}
	v.files = &files{dir: dir, lane: cfg.Lane, agent: cfg.Agent, look: true, search: true}
	defer func() {
		if err != nil {
			v.close()
		}
	}()
	l, err := os.Open(filepath.Join(dir, lockName))
	if err == nil {
		v.unlock = func() { l.Close() }
		err = lock(l)
	}
	if err != nil && !isNotExist(err) { // a copy of a folder may lack the lock file
		return nil, err
	}
	foreign := -1
	for k := len(segs) - 1; k >= 0 && v.files.tail == nil; k-- {
		err := v.adopt(segs[:k+1])
		switch {
		case err == nil:
		case errors.Is(err, ErrForeign):
			foreign = max(foreign, k)
		case isDamage(err):
			v.late = slices.Insert(v.late, 0, late{segs[k], true})
		default:
			return nil, fmt.Errorf("segment %s: %w", segs[k].name(), err)
		}
		if err != nil {
			v.damage = append(v.damage, err.Error())
		}
	}
	if v.files.tail == nil && foreign >= 0 {
		v.files.agent, v.files.lane, v.late = "", "", nil
		if err := v.adopt(segs[:foreign+1]); err != nil {
			return nil, err
		}
	}
	return v, nil
}

// adopt takes the state of the last one of segs. Where its newest transaction does
// not read, which may have been cut off, it is as it was before that.
func (v *view) adopt(segs []segment) error {
	seg := segs[len(segs)-1]
	f, err := openSealed(filepath.Join(v.files.dir, seg.name()))
	if err != nil {
		return err
	}
	h, s, err := f.load()
	var cut error
	if list, _ := metaPages(f.os); isDamage(err) && len(list) == 2 && list[1].tx >= firstTx {
		f.meta, cut = list[1], err
		if h, s, err = f.load(); err != nil {
			err = cut
		}
	}
	if err == nil && v.files.agent != "" {
		err = h.belongs(f, v.files.agent, v.files.lane)
	}
	if err != nil {
		f.close()
		return err
	}
	if cut != nil {
		v.damage = append(v.damage, fmt.Sprintf("the last commit was cut off: %v", cut))
		v.late = slices.Insert(v.late, 0, late{seg, false})
	}
	v.files.agent, v.files.lane = h.agent, h.lane
	v.files.tail, v.files.segs = f, segs
	v.state, v.settled, v.acked = s, s.acked(), s.acked()
	return nil
}

// rest goes on behind the view's state with what the late files hold, as an opening
// would have it. It keeps that in memory: it is of a file or two.
func (v *view) rest(ctx context.Context, n wire.Seq, yield func(part) error) error {
	if len(v.late) == 0 {
		return nil
	}
	was := v.state
	defer func() { v.state = was }()
	r := recovery{dir: v.files.dir, lane: v.files.lane, agent: v.files.agent, now: time.Now, change: &change{state: was}}
	for _, l := range v.late {
		if err := r.salvage(l.segment, l.gaps); err != nil {
			v.damage = append(v.damage, fmt.Sprintf("segment %s: %v", l.name(), err))
		}
	}
	v.state = r.change.state
	for n = max(n, was.next, v.state.oldest); n < v.state.next; {
		if err := ctx.Err(); err != nil {
			return err
		}
		to := v.state.next - 1
		blocks := r.change.blocks
		i := slices.IndexFunc(blocks, func(b block) bool { return b.last >= n })
		if i >= 0 && blocks[i].first <= n {
			var err error
			if n, err = v.records(blocks[i:i+1], n, yield); err != nil {
				return err
			}
			continue
		}
		if i >= 0 {
			to = blocks[i].first - 1
		}
		if err := yield(part{span: span{n, to}, err: errors.New("nothing of them is left in the damaged files")}); err != nil {
			return err
		}
		n = to + 1
	}
	return nil
}
