package tail

import (
	"context"
	"errors"
	"io/fs"
	"path/filepath"
	"slices"
	"time"

	"github.com/fieldpost/fieldpost/input"
)

// follow brings the files that are followed up to date with what was seen.
func (t *Tail) follow(ctx context.Context, seen *found) {
	first := !t.scanned
	t.scanned = true
	fresh := map[int]bool{} // rules that have never read a file
	if first {
		for i := range t.cfg.Rules {
			fresh[i] = true
		}
		t.remember(seen, fresh)
	}
	for _, f := range slices.Clone(t.files) {
		if !f.busy.Load() {
			t.look(ctx, f, seen)
		}
	}
	for i := range seen.list {
		e := &seen.list[i]
		if f := t.byID[e.id]; e.rule < 0 || f != nil && !f.busy.Load() && !f.truncated || f != nil && f.busy.Load() {
			continue
		}
		if len(t.files) >= maxFiles {
			break
		}
		t.begin(ctx, e, seen, first && fresh[e.rule] && t.cfg.Rules[e.rule].FromEnd)
	}
	t.closeSome()
}

// remember takes up the files that the lanes have positions of: first those that
// are where they were, then those that are found by their content.
func (t *Tail) remember(seen *found, fresh map[int]bool) {
	var lost []*file
	for _, name := range t.feed.Sources(prefix) {
		src := t.feed.Source(name)
		first := pathOf(src)
		rule := t.rule(first)
		if rule < 0 {
			continue // not read any more; what it was stays known, in case it comes back
		}
		fresh[rule] = false
		at, note := src.Position()
		m, err := parseNote(note)
		if err != nil {
			t.cfg.Logger.Error("a position is not understood; the file is read from its beginning", "path", first, "err", err)
			continue
		}
		e := entry{path: first, id: m.id, size: at}
		i, there := seen.byID[m.id]
		other := t.byID[m.id]
		if there {
			e = seen.list[i]
		}
		f := t.add(src, &e, rule)
		if there {
			err = f.open()
		}
		if !there || errors.Is(err, errTruncated) || errors.Is(err, errOther) || other != nil {
			f.close()
			f.lost, f.time = time.Now(), time.Time{}
			lost = append(lost, f)
			delete(t.byID, m.id)
			if other != nil {
				t.byID[m.id] = other
			}
		}
	}
	where := map[*file]entry{}
	for _, f := range lost {
		f.truncated = true
		if e, ok := t.find(f, seen); ok {
			where[f] = e
		}
	}
	for f, e := range where { // only now it is known which files are not
		t.between(f, &e, seen)
	}
	for _, f := range slices.Clone(t.files) {
		t.chain(f.first, seen)
	}
}

// timeOf returns when a file was last changed. What has the identity of one that was
// truncated is another file.
func (t *Tail) timeOf(f *file, seen *found) time.Time {
	if i, ok := seen.byID[f.id]; ok && (f.busy.Load() || f.lost.IsZero() && !f.truncated) {
		return seen.list[i].time
	}
	return f.time
}

// look brings one file up to date, and decides whether it is left.
func (t *Tail) look(ctx context.Context, f *file, seen *found) {
	if f.after != nil && f.after.done && f.src.Known() {
		f.after = nil
	}
	if f.truncated || !f.lost.IsZero() {
		if t.byID[f.id] == f {
			delete(t.byID, f.id) // whatever has its identity is another file
		}
		t.search(ctx, f, seen)
		return
	}
	if f.unsure {
		t.between(f, &entry{id: f.id, time: t.timeOf(f, seen)}, seen)
	}
	i, there := seen.byID[f.id]
	if there {
		e := &seen.list[i]
		f.path, f.time, f.gone = e.path, e.time, false
		f.renamed = e.path != f.first
		if !f.packed {
			if e.size < f.size && f.off == 0 { // what was there is elsewhere, as a copy perhaps
				t.drop(f)
				return
			}
			f.resized(e.size)
		}
		if f.off < f.size {
			f.done = false
		}
	} else {
		f.gone = len(seen.troubles) == 0
		if f.h != nil && !f.packed { // it may have been written, renamed and deleted since the last look
			if info, err := f.h.Stat(); err == nil {
				f.resized(info.Size())
			}
		}
	}
	read := f.settled && f.off >= f.size && f.trouble == nil && !f.unsure
	switch {
	case f.gone && f.h == nil && !read:
		f.lost = time.Now()
	case f.gone && read && (f.h == nil || f.quiet(t.cfg.quiet)):
		f.done = true
		if !t.awaited(f) {
			t.forget(ctx, f)
		}
	case f.renamed && read && f.quiet(closeAfter):
		f.done = true
		f.close()
	case f.packed && read:
		f.done = true
		f.close()
	}
}

// awaited reports whether a file comes after f of which the lanes know nothing yet:
// until they do, f is what the reading goes on from after a crash.
func (t *Tail) awaited(f *file) bool {
	for _, o := range t.files {
		if o.after == f && !o.src.Known() {
			return true
		}
	}
	return false
}

// forget leaves a file that is gone for good.
func (t *Tail) forget(ctx context.Context, f *file) {
	if err := f.src.Forget(ctx); err != nil {
		f.trouble = err
		return
	}
	f.done = true
	t.drop(f)
}

// search looks for a file that was truncated, or is not where it was: under another
// name, as a copy, compressed.
func (t *Tail) search(ctx context.Context, f *file, seen *found) {
	if f.lost.IsZero() { // what was seen may be older than what has happened: the next look tells
		f.lost = time.Now()
		f.close()
		return
	}
	if slices.ContainsFunc(t.files, func(o *file) bool { return o.first == f.first && o.busy.Load() }) {
		return // what cannot be compared now would be passed over
	}
	if e, ok := t.find(f, seen); ok {
		t.between(f, &e, seen)
		return
	}
	if t.outread(ctx, f, seen) {
		t.giveUp(ctx, f)
		return
	}
	if at, _ := f.src.Position(); at == 0 || time.Since(f.lost) >= t.cfg.search || len(seen.siblings(f.first)) == 0 {
		t.giveUp(ctx, f)
		if f.done {
			t.sinceLast(f.first, seen)
		}
	}
}

// find looks once for a file by its content, and returns where it is found.
func (t *Tail) find(f *file, seen *found) (entry, bool) {
	at, note := f.src.Position()
	m, err := parseNote(note)
	if at == 0 || err != nil { // nothing of it was read, so nothing can tell it
		return entry{}, false
	}
	for _, e := range append(seen.siblings(f.first), seen.at(f.first)...) {
		if t.byID[e.id] == nil && t.adopt(f, &e, &m, at) {
			t.cfg.Logger.Info("a file is read on under another name", "path", f.first, "now", e.path, "at", at)
			return e, true
		}
	}
	return entry{}, false
}

// outread looks for the copy of a file that was truncated which is shorter than what
// was read: lines that were written between the copy and the truncation were read
// before they went. It is the youngest file beside it, and begins as it did. It is noted
// as read to its end, or else it would be taken for one that was rotated away unread.
func (t *Tail) outread(ctx context.Context, f *file, seen *found) bool {
	at, note := f.src.Position()
	m, err := parseNote(note)
	siblings, rule := seen.siblings(f.first), t.rule(f.first)
	if at == 0 || err != nil || len(siblings) == 0 || rule < 0 {
		return false
	}
	e := slices.MaxFunc(siblings, func(a, b entry) int { return a.time.Compare(b.time) })
	if t.byID[e.id] != nil {
		return false
	}
	if left, err := f.src.Settle(ctx); err != nil || left > 0 {
		return false
	}
	h, err := open(e.path)
	if err != nil {
		return false
	}
	id, err := identifyOpen(h)
	n := &file{h: h, size: e.size}
	if err == nil && id == e.id && compressed(h) {
		n.packed = true
		n.zip, n.size, err = unzip(h)
	}
	if m.tail = sampleOf(nil); err == nil && f.off == at && f.head != nil {
		m.head, _ = f.headOf(n.size) // of a small file it may be more than the copy has
	}
	if err != nil || id != e.id || n.size >= at || n.size < int64(m.head.n) || !m.fits(n.reader(), 0, n.size) {
		h.Close()
		return false
	}
	copied := t.add(t.feed.Source(sourceName(newID(), f.first)), &e, rule)
	copied.h, copied.zip, copied.packed, copied.size = h, n.zip, n.packed, n.size
	copied.renamed, copied.copied = true, true
	if err := copied.toEnd(ctx); err != nil {
		t.drop(copied) // the next look begins again
		return false
	}
	t.cfg.Logger.Info("a file was truncated after it was copied; more than the copy has was read", "path", f.first, "copy", e.path, "read", at, "copied", n.size)
	return true
}

// at returns the entry of a path.
func (f *found) at(path string) []entry {
	for i := range f.list {
		if f.list[i].path == path {
			return f.list[i : i+1]
		}
	}
	return nil
}

// adopt makes e the file if it has its content.
func (t *Tail) adopt(f *file, e *entry, m *mark, at int64) bool {
	h, err := open(e.path)
	if err != nil {
		return false
	}
	id, err := identifyOpen(h)
	if err != nil || id != e.id {
		h.Close()
		return false
	}
	var zip *unzipped
	info, err := h.Stat() // it may have grown since the look
	if err != nil {
		h.Close()
		return false
	}
	size := info.Size()
	ok := m.fits(h, at, size)
	if !ok && compressed(h) {
		if zip, size, err = unzip(h); err == nil {
			ok = m.fits(zip, at, size)
		}
	}
	if !ok {
		h.Close()
		return false
	}
	f.h, f.zip, f.packed, f.id, f.path, f.size = h, zip, zip != nil, e.id, e.path, size
	f.off, f.head, f.tail = at, make([]byte, m.head.n), make([]byte, m.tail.n)
	f.reader().ReadAt(f.head, 0)
	f.reader().ReadAt(f.tail, at-int64(len(f.tail)))
	f.lost, f.truncated, f.gone, f.settled, f.moved, f.changed = time.Time{}, false, false, false, true, time.Now()
	f.renamed = e.path != f.first
	f.copied = f.renamed
	t.byID[e.id] = f
	return true
}

// giveUp leaves a file that is not to be found. What was left of it is not read.
func (t *Tail) giveUp(ctx context.Context, f *file) {
	left, err := f.src.Settle(ctx)
	if err != nil {
		f.trouble = err
		return
	}
	if unread := left + max(0, f.size-f.off); unread > 0 {
		t.cfg.Logger.Error("a file is gone before it was read to its end", "path", f.first, "unread_bytes", unread)
		t.mu.Lock()
		t.before.unread += unread
		t.mu.Unlock()
	}
	t.forget(ctx, f)
}

// between takes up the files that had f's name after it, and were rotated away as
// well, before anybody read them: those beside it that are younger, and unknown. As
// long as one of them is on the move, f is unsure, and nothing that came later is read.
func (t *Tail) between(f *file, e *entry, seen *found) {
	f.unsure = false
	rule := t.rule(f.first)
	if rule < 0 {
		return
	}
	for _, s := range seen.siblings(f.first) {
		if s.id == e.id || s.time.Before(e.time) || t.byID[s.id] != nil || s.rule >= 0 && s.rule != rule {
			continue
		}
		h, err := open(s.path)
		if err == nil {
			var id fileID
			if id, err = identifyOpen(h); err == nil && id != s.id {
				err = errOther
			}
			if err != nil {
				h.Close()
			}
		}
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, errOther) {
			f.unsure = true // renamed or compressed since the scan: the next one has its name
			continue
		}
		if err != nil {
			t.trouble(s.path, err)
			continue
		}
		if t.isCopy(&s) {
			h.Close()
			continue
		}
		n := t.add(t.feed.Source(sourceName(newID(), f.first)), &s, rule)
		n.h, n.renamed = h, true
		if compressed(h) {
			n.packed = true
			if n.zip, n.size, err = unzip(h); err != nil {
				n.close()
				n.trouble = err
				continue
			}
		}
		t.cfg.Logger.Info("a file that was rotated away unread is read", "path", s.path)
	}
	t.chain(f.first, seen)
}

// sinceLast takes up the files that had a name after the youngest that is known of
// those which had it before. It reports whether it could look at all of them.
func (t *Tail) sinceLast(path string, seen *found) bool {
	var last *file
	for _, f := range t.files {
		has := slices.ContainsFunc(seen.at(path), func(e entry) bool { return e.id == f.id })
		if f.first != path || has || !f.busy.Load() && (f.truncated || !f.lost.IsZero()) {
			continue
		}
		if last == nil || !t.timeOf(f, seen).Before(t.timeOf(last, seen)) {
			last = f
		}
	}
	if last == nil {
		return true
	}
	t.between(last, &entry{id: last.id, time: t.timeOf(last, seen)}, seen)
	return !last.unsure
}

// chain says of the files that have had one name which is read after which: the
// oldest first, the one that has the name now last.
func (t *Tail) chain(path string, seen *found) {
	var list []*file
	for _, f := range t.files {
		if f.first == path {
			list = append(list, f)
		}
	}
	has := func(f *file) bool { return f.path == path && f.lost.IsZero() && !f.truncated }
	slices.SortStableFunc(list, func(a, b *file) int {
		if has(a) != has(b) {
			if has(a) {
				return 1
			}
			return -1
		}
		return t.timeOf(a, seen).Compare(t.timeOf(b, seen))
	})
	for i, f := range list {
		if f.after = nil; i > 0 {
			f.after = list[i-1]
		}
	}
}

// isCopy reports whether an entry has the content of a file that is followed, up to
// where that is read; or may have it soon, or cannot be compared now.
func (t *Tail) isCopy(e *entry) bool {
	for _, f := range t.files {
		if f.id == e.id || !sameFolder(f.first, e.path) || !related(e.base(), filepath.Base(f.first)) {
			continue
		}
		if f.busy.Load() {
			return true // until the next look
		}
		m, at, known := f.content()
		if !known {
			continue
		}
		h, err := open(e.path)
		if err != nil {
			continue
		}
		read := at
		left := f.truncated || !f.lost.IsZero()                           // its content is elsewhere
		if e.size < at && (left || time.Since(e.time) < 10*time.Second) { // it is being made, perhaps, or shorter than what was read
			if head, known := f.headOf(e.size); known {
				m.head, m.tail, at = head, sampleOf(nil), 0
			}
		}
		ok := m.fits(h, at, e.size)
		if !ok && compressed(h) {
			if zip, size, err := unzip(h); err != nil {
				ok = time.Since(e.time) < 10*time.Second // it is being made, perhaps
			} else {
				if head, known := f.headOf(size); known && left && size < read {
					m.head, m.tail, read = head, sampleOf(nil), 0
				}
				ok = m.fits(zip, read, size)
			}
		}
		h.Close()
		if ok {
			return true
		}
	}
	return false
}

// begin follows a file that is new.
func (t *Tail) begin(ctx context.Context, e *entry, seen *found, fromEnd bool) {
	if t.isCopy(e) {
		return
	}
	h, err := open(e.path)
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			seen.troubles[e.path] = err
		}
		return
	}
	id, err := identifyOpen(h)
	if err != nil || id != e.id || compressed(h) { // compressed ones only as what has become of a file that was read
		h.Close()
		return
	}
	sought := false // one that had the name, and is to be found before it is known which files came after it
	for _, f := range t.files {
		if f.first == e.path && f.busy.Load() {
			h.Close()
			return // it cannot be compared now; the next look will
		}
		sought = sought || f.first == e.path && (f.truncated || !f.lost.IsZero())
	}
	if !sought && !t.sinceLast(e.path, seen) {
		h.Close()
		return // the next look finds those that are on the move, and then this one
	}
	f := t.add(t.feed.Source(sourceName(newID(), e.path)), e, e.rule)
	f.h = h // from now on it may be renamed, compressed and deleted: this still reads it
	t.chain(e.path, seen)
	if fromEnd {
		if err := f.toEnd(ctx); err != nil {
			f.trouble = err
			t.drop(f) // the next look begins again
		}
	}
}

// closeSome closes files that have nothing new, if too many are open.
func (t *Tail) closeSome() {
	var open []*file
	for _, f := range t.files {
		if f.h != nil && !f.busy.Load() {
			open = append(open, f)
		}
	}
	if len(open) <= maxOpen {
		return
	}
	slices.SortFunc(open, func(a, b *file) int { return a.changed.Compare(b.changed) })
	for _, f := range open[:len(open)-maxOpen] {
		if !f.gone {
			f.close()
		}
	}
}

var _ input.Input = (*Tail)(nil)
