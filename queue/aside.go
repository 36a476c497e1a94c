package queue

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/fieldpost/fieldpost/wire"
)

// aside is a segment file in the folder quarantine, and what a search of its bytes
// finds that the lane may still need. It went there damaged, as a second copy, or
// because another file has its name: what it alone holds whole is no loss.
type aside struct {
	segment // as its head says that it is, else as its name does
	path    string
	size    int64
	changed time.Time
	found   []extent
	tries   int // attempts to open it that failed; 0: it was searched
}

// asides is what may hold numbers that a stream's folder does not show: its quarantine,
// and that of the agent's other streams with what lies in their folders by mistake. A
// file is searched once.
type asides struct {
	list   []aside
	looked time.Time
	others map[string]os.FileInfo // segment files of other streams, by path
	tries  int                    // looks in a row that met an error of the system
}

// asideSegment reads the name that a segment file has in quarantine.
func asideSegment(name string) (segment, bool) {
	name = strings.TrimPrefix(name, movedPrefix)
	if base, n, ok := strings.Cut(name, segmentSuffix+"."); ok {
		if _, err := strconv.Atoi(n); err != nil {
			return segment{}, false
		}
		name = base + segmentSuffix
	}
	return parseSegment(name)
}

// look searches what was not searched yet, for batches of the stream that end at number
// from or later; others are the folders of other streams. Files that are also under
// their own name in the folder are left out. An error is one of the system: a file
// could not be read now.
func (a *asides) look(fs *files, line wire.History, from wire.Seq) error {
	if a.others == nil {
		a.others = map[string]os.FileInfo{}
	}
	var failed error
	var list []aside
	add := func(path string, seg segment) {
		info, err := os.Stat(path)
		if err != nil {
			if !isNotExist(err) {
				failed = errors.Join(failed, err)
			}
			return
		}
		f := aside{segment: seg, path: path, size: info.Size(), changed: info.ModTime()}
		if here, err := os.Stat(filepath.Join(fs.dir, seg.name())); err == nil && os.SameFile(info, here) {
			return
		}
		if k := slices.IndexFunc(a.list, func(o aside) bool {
			return o.path == f.path && o.size == f.size && o.changed.Equal(f.changed)
		}); k >= 0 {
			if f = a.list[k]; f.tries == 0 || f.tries == 2*salvageTries {
				list = append(list, f)
				return
			}
		}
		if h, err := headOf(f.path); err == nil {
			f.segment = segment{h.ordinal, h.first}
		}
		found, err := scan(f.path, fs.lane)
		switch {
		case isNotExist(err) || isDamage(err):
			return
		case err != nil && found == nil: // it cannot be opened, perhaps only now
			if f.tries++; f.tries < 2*salvageTries {
				failed = errors.Join(failed, err)
			}
		default: // pages that the disk does not give are zeros
			f.tries = 0
		}
		f.found = slices.DeleteFunc(found, func(e extent) bool { return e.last < from })
		list = append(list, f)
	}
	dirs := []string{fs.dir}
	if fs.elsewhere != nil {
		dirs = append(dirs, fs.elsewhere()...)
	}
	for i, dir := range dirs {
		if i > 0 { // first: its stream may just be putting them aside
			for _, path := range strays(dir, fs, line, a.others) {
				seg, _ := parseSegment(filepath.Base(path))
				add(path, seg)
			}
		}
		folder := filepath.Join(dir, quarantine)
		entries, err := os.ReadDir(folder)
		if err != nil && !isNotExist(err) {
			failed = errors.Join(failed, err)
		}
		for _, e := range entries {
			if seg, ok := asideSegment(e.Name()); ok && e.Type().IsRegular() {
				add(filepath.Join(folder, e.Name()), seg)
			}
		}
	}
	a.list, a.looked = list, time.Now()
	return failed
}

// find returns the batch that contains number n and for which fits says yes, of the
// newest file that has one; else the first such batch above n, and false if there is
// none either.
func (a *asides) find(n wire.Seq, fits func(*aside, extent) (block, bool)) (best block, ok bool) {
	list := slices.SortedFunc(slices.Values(a.list), func(x, y aside) int { return y.compare(x.segment) })
	for i := range list {
		k, _ := slices.BinarySearchFunc(list[i].found, n, func(e extent, n wire.Seq) int {
			if e.last < n {
				return -1
			}
			return 1
		})
		for ; k < len(list[i].found); k++ {
			e := list[i].found[k]
			if ok && e.first >= best.first {
				break
			}
			b, fit := fits(&list[i], e)
			if !fit {
				continue
			}
			if best, ok = b, true; b.first <= n {
				return best, true
			}
			break
		}
	}
	return best, ok
}

// inAside looks for the batch of number g.from among the files that were put aside.
// Without it the gap ends before the next one that is there. A file answers only
// for what no newer one of the folder has taken over: what lies behind that in its
// bytes may be a commit that was answered with an error.
func (fs *files) inAside(s *state, g *gap) ([]block, error) {
	if time.Since(fs.asides.looked) > straightFor {
		err := fs.asides.look(fs, s.history, max(s.oldest, s.acked()+1))
		if err == nil {
			fs.asides.tries = 0
		} else if fs.asides.tries++; fs.look || fs.asides.tries < 2*salvageTries {
			if !fs.look { // what was not seen yet is no loss: the next read looks again
				fs.asides.looked = time.Time{}
			}
			return nil, err
		}
	}
	var moved error
	b, ok := fs.asides.find(g.from, func(f *aside, e extent) (block, bool) {
		if e.first > g.to || slices.ContainsFunc(fs.segs, func(o segment) bool { return o.ordinal > f.ordinal && o.first <= max(e.first, g.from) }) {
			return block{}, false
		}
		data, err := e.load(f.path)
		if isNotExist(err) { // another stream has just put it aside
			moved = err
		}
		if err != nil {
			return block{}, false
		}
		b, err := verify(s, fs.lane, data)
		return b, err == nil
	})
	if ok && b.first <= g.from {
		return []block{b}, nil
	}
	if moved != nil {
		fs.asides.looked = time.Time{}
		return nil, moved
	}
	if ok {
		g.to = min(g.to, b.first-1)
	}
	return nil, nil
}
