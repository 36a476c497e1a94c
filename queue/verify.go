package queue

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/fieldpost/fieldpost/wire"
)

// Finding is something that [Verify] has found.
type Finding struct {
	File string   `json:"file"`           // path below the lane's folder
	From wire.Seq `json:"from,omitempty"` // numbers that are concerned, if any
	To   wire.Seq `json:"to,omitempty"`   //
	What string   `json:"what"`           // what is wrong, with the place in the file
	Note bool     `json:"note,omitempty"` // worth knowing, and no damage

	lost bool // the numbers are neither readable nor dropped
}

// Verified is what [Verify] has looked at.
type Verified struct {
	Lane       wire.Lane `json:"lane"`
	Streams    int       `json:"streams"`
	Segments   int       `json:"segments"`
	Bytes      int64     `json:"bytes"` // of the files
	Pages      int64     `json:"pages"` // of the trees
	Batches    int64     `json:"batches"`
	Messages   int64     `json:"messages"`   // in the batches; also delivered ones whose file is still there
	Tombstones int       `json:"tombstones"` // ranges
	Letters    int       `json:"letters"`    // dead letters
	Findings   []Finding `json:"findings"`
}

// Whole reports whether nothing is damaged.
func (v *Verified) Whole() bool {
	for _, f := range v.Findings {
		if !f.Note {
			return false
		}
	}
	return true
}

// Verify reads all of a lane's folder and checks every checksum and every range:
// each segment's name, head and pages, each batch and its messages, that the
// numbers which no store has acked are all there or have a tombstone, dead letters,
// ballast, lock, owner and mode. It changes nothing, takes no lock, and works beside
// an agent that has the lane open: what that deletes meanwhile counts as gone, what
// it writes meanwhile as not there yet. Its memory does not depend on the backlog.
// progress, which may be nil, is told from time to time how many bytes of all have
// been read. The error is ctx's, or of a folder that cannot be listed.
func Verify(ctx context.Context, dir string, agent wire.AgentID, lane wire.Lane, progress func(done, total int64)) (Verified, error) {
	v := verifier{Verified: Verified{Lane: lane, Findings: []Finding{}}, ctx: ctx, root: dir, agent: agent, progress: progress}
	numbers, err := readStreams(dir)
	if err != nil {
		return v.Verified, err
	}
	dirs := []string{dir}
	for _, n := range numbers {
		dirs = append(dirs, streamDir(dir, n))
	}
	for _, d := range dirs {
		segs, _, err := list(d)
		if err != nil {
			return v.Verified, err
		}
		for _, s := range segs {
			if info, err := os.Stat(filepath.Join(d, s.name())); err == nil {
				v.total += info.Size()
			}
		}
	}
	for i, d := range dirs {
		if err := v.stream(d, i > 0); err != nil {
			return v.Verified, err
		}
	}
	v.settled()
	return v.Verified, nil
}

// settled makes a note of damage that the lane has dealt with: a copy of the file is
// in quarantine, and no number of it is without a tombstone.
func (v *verifier) settled() {
	open := map[string]bool{}
	for _, f := range v.Findings {
		open[f.File] = open[f.File] || f.lost
	}
	for i := range v.Findings {
		f := &v.Findings[i]
		dir, name := filepath.Split(filepath.Join(v.root, filepath.FromSlash(f.File)))
		if _, err := os.Stat(filepath.Join(dir, quarantine, name)); err == nil && !f.Note && !open[f.File] {
			f.Note = true
			f.What += "; known: a copy is in quarantine, and what is lost has a tombstone"
		}
	}
}

// verifier is one run of Verify.
type verifier struct {
	Verified
	ctx         context.Context
	root        string
	agent       wire.AgentID
	progress    func(done, total int64)
	total, done int64
	told        time.Time
}

func (v *verifier) find(path string, format string, a ...any) *Finding {
	name, err := filepath.Rel(v.root, path)
	if err != nil {
		name = path
	}
	what := strings.ReplaceAll(fmt.Sprintf(format, a...), path, name)
	v.Findings = append(v.Findings, Finding{File: filepath.ToSlash(name), What: what})
	return &v.Findings[len(v.Findings)-1]
}

func (v *verifier) note(path string, format string, a ...any) { v.find(path, format, a...).Note = true }

// read counts bytes that were looked at.
func (v *verifier) read(n int64) {
	v.done += n
	if v.progress != nil && time.Since(v.told) > time.Second/5 {
		v.told = time.Now()
		v.progress(min(v.done, v.total), v.total)
	}
}

// stream verifies the folder of one stream.
func (v *verifier) stream(dir string, later bool) error {
	v.Streams++
	noted := readMemo(dir, v.agent, v.Lane) // first: a lane at work goes on meanwhile
	segs, _, err := list(dir)
	if err != nil {
		return err
	}
	if err := v.beside(dir); err != nil {
		return err
	}
	if len(segs) == 0 {
		if noted != nil {
			v.unseen(dir, noted, noted.acked.upto+1)
		} else if !later { // the first opening of another may have been cut short
			v.find(dir, "it has no segment files")
		}
		return nil
	}
	tail := filepath.Join(dir, segs[len(segs)-1].name())
	s, known := v.state(tail)
	if known {
		v.Tombstones += len(s.tombs)
	}
	expect := max(s.oldest, s.acked()+1) // the next number that must be somewhere
	letters := 0
	for i, seg := range segs {
		if err := v.ctx.Err(); err != nil {
			return err
		}
		end := endless
		if i+1 < len(segs) {
			end = segs[i+1].first - 1
		}
		path := filepath.Join(dir, seg.name())
		n := v.segment(path, seg, end, func(b block) {
			if known && b.last >= expect && b.first <= s.next {
				v.missing(path, &s, expect, min(b.first, s.next)-1)
				expect = max(expect, b.last+1)
			}
		})
		if n < 0 { // gone meanwhile: what was in it is acked
			continue
		}
		letters += n
		if known && end != endless && expect <= end {
			v.missing(path, &s, expect, min(end, s.next-1))
			expect = max(expect, end+1)
		}
	}
	if known {
		v.missing(tail, &s, expect, s.next-1)
		v.unseen(dir, noted, s.next)
	}
	for _, seg := range (&files{dir: dir}).shelved() {
		path := filepath.Join(dir, deadFolder, seg.name())
		list, err := lettersIn(path)
		if err != nil && !isNotExist(err) {
			v.find(path, "dead letters cannot be read: %v", err)
		}
		letters += len(list)
	}
	v.Letters += letters
	if known && uint64(letters) < s.letters() {
		v.find(dir, "%d dead letters are to be kept, %d are there", s.letters(), letters)
	}
	return nil
}

// unseen notes numbers from next on that had been accepted, as the memo says.
func (v *verifier) unseen(dir string, noted *memo, next wire.Seq) {
	if noted == nil || noted.next <= next {
		return
	}
	f := v.find(filepath.Join(dir, noted.name()), "it is gone, or older than it was: numbers %d to %d had been accepted, and no file shows them; the next opening declares them", next, noted.next-1)
	f.From, f.To, f.lost = next, noted.next-1, true
}

// missing notes the numbers of a range that have no tombstone.
func (v *verifier) missing(path string, s *state, from, to wire.Seq) {
	if from > to {
		return
	}
	for _, g := range s.gaps(from, to) {
		f := v.find(path, "numbers %d to %d are neither readable nor dropped", g.from, g.to)
		f.From, f.To, f.lost = g.from, g.to, true
	}
}

// retryVerify is how often the newest file is read again that changed meanwhile.
const retryVerify = 50

// state reads the state from the newest file.
func (v *verifier) state(path string) (s state, ok bool) {
	var err error
	for range retryVerify {
		var f *file
		if f, err = openSealed(path); err != nil {
			break
		}
		var h head
		h, s, err = f.load()
		f.close()
		if err == nil {
			if h.agent != v.agent || h.lane != v.Lane {
				v.find(path, "it is of agent %s, lane %s, not of agent %s, lane %s", h.agent, h.lane, v.agent, v.Lane)
			}
			return s, true
		}
		if !changed(path, f.meta.tx) {
			break
		}
	}
	v.find(path, "what the lane knows of itself cannot be read: %v", err)
	return state{oldest: 1, next: 1}, false
}

// changed reports whether a file has another transaction by now.
func changed(path string, tx int) bool {
	f, err := openSealed(path)
	if err != nil {
		return false
	}
	defer f.close()
	return f.meta.tx != tx
}

// segment verifies one segment file, and hands its batches to each, ascending. It
// returns how many dead letters it has, -1 if the file is gone.
func (v *verifier) segment(path string, seg segment, end wire.Seq, each func(block)) int {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return -1
	}
	if err != nil {
		v.find(path, "%v", err)
		return 0
	}
	v.Segments++
	v.Bytes += info.Size()
	v.modes(path, info)
	defer func(done int64) { v.done = done; v.read(info.Size()) }(v.done)
	before := len(v.Findings)
	letters := 0
	for try := range retryVerify {
		v.Findings = v.Findings[:before]
		f, err := openSealed(path)
		if errors.Is(err, fs.ErrNotExist) {
			return -1
		}
		if err != nil {
			v.find(path, "%v", err)
			return 0
		}
		got, batches := v.database(f, seg, end)
		f.close()
		if len(v.Findings) > before && try+1 < retryVerify && changed(path, f.meta.tx) {
			continue
		}
		letters = got.letters
		v.Pages, v.Batches, v.Messages = v.Pages+got.pages, v.Batches+got.batches, v.Messages+got.messages
		for _, b := range batches {
			each(b)
		}
		break
	}
	return letters
}

// content is what a database has.
type content struct {
	pages, batches, messages int64
	letters                  int
}

// database verifies an open segment: every page of the tree and every batch. The
// batches that it returns, ascending, have no data.
func (v *verifier) database(f *file, seg segment, end wire.Seq) (c content, found []block) {
	if info, err := f.os.Stat(); err == nil && info.Size() < f.size {
		v.find(f.path, "it has %d bytes, its pages take %d: it was cut short", info.Size(), f.size)
	}
	if list, err := metaPages(f.os); err == nil && len(list) == 1 && !f.wiped(list[0]) {
		v.find(f.path, "one of its two meta pages is damaged")
	}
	h, err := f.readHead()
	switch {
	case err != nil:
		v.find(f.path, "its head: %v", err)
	case h.agent != v.agent || h.lane != v.Lane:
		v.find(f.path, "it is of agent %s, lane %s, not of agent %s, lane %s", h.agent, h.lane, v.agent, v.Lane)
	case h.ordinal != seg.ordinal || h.first != seg.first:
		v.find(f.path, "its head says that it is %s", segment{h.ordinal, h.first}.name())
	}
	err = f.view(func(t *tree) error {
		owner := map[uint64]bool{} // pages that were met
		t.seen = func(id uint64, b []byte) error {
			n := uint64(len(b)) / uint64(t.page)
			for k := id; k < id+n; k++ {
				if owner[k] {
					v.find(f.path, "page %d is used twice", k)
				}
				owner[k] = true
			}
			c.pages += int64(n)
			v.read(int64(len(b)))
			return v.ctx.Err()
		}
		at, err := t.floor(nil)
		for err == nil {
			key, value, bucket, kerr := at.entry()
			if kerr != nil || key == nil {
				return errors.Join(kerr, f.freelist(t))
			}
			switch n := keySeq(key); {
			case !bucket:
				v.find(f.path, "key %x has no bucket", key)
			case n == 0:
				s, serr := t.sub(value)
				if serr == nil {
					serr = s.all()
				}
				if serr != nil {
					v.find(f.path, "bucket %q: %v", key, serr)
				}
			default:
				b, messages, berr := v.batch(at, n)
				if berr != nil {
					x := v.find(f.path, "batch %d: %v", n, berr)
					x.From, x.To = n, n
					break
				}
				if n <= end {
					found = append(found, block{b.first, b.last, nil})
				}
				c.batches, c.messages = c.batches+1, c.messages+messages
			}
			err = at.next()
		}
		return err
	})
	if err != nil && v.ctx.Err() == nil {
		v.find(f.path, "%v", err)
	}
	list, err := readLetters(f)
	if err != nil {
		v.find(f.path, "dead letters cannot be read: %v", err)
	}
	c.letters = len(list)
	return c, found
}

// wiped reports whether the other meta page is zeros, which is how a commit is
// taken back.
func (f *file) wiped(m metaPage) bool {
	b := make([]byte, metaSector)
	if _, err := f.os.ReadAt(b, m.pageSize-m.offset); err != nil {
		return false
	}
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}

// batch verifies the batch at a place down to its messages.
func (v *verifier) batch(at *cursor, n wire.Seq) (block, int64, error) {
	_, data, err := at.batch()
	if err != nil {
		return block{}, 0, err
	}
	p, err := wire.ParseBatch(data)
	if err == nil {
		err = p.Check()
	}
	switch {
	case err != nil:
		return block{}, 0, err
	case p.First != n:
		return block{}, 0, fmt.Errorf("number %d lies under key %d", p.First, n)
	case p.Lane != v.Lane:
		return block{}, 0, fmt.Errorf("it is of lane %s", p.Lane)
	}
	return block{first: p.First, last: p.Last()}, int64(p.Count), nil
}

// beside looks at what lies beside the segments.
func (v *verifier) beside(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	var lock, ballast bool
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		info, err := e.Info()
		if err != nil {
			continue // gone meanwhile
		}
		_, segment := parseSegment(e.Name())
		switch {
		case e.Name() == lockName:
			lock = info.Mode().IsRegular()
		case e.Name() == ballastName:
			ballast = info.Mode().IsRegular() && info.Size() >= ballastSize
		case segment && e.IsDir():
			v.find(path, "it is a folder and has a segment's name")
		case strings.HasPrefix(e.Name(), movedPrefix):
			v.find(path, "it is on the way to its own name: the next opening puts it there")
		}
	}
	if !lock {
		v.note(filepath.Join(dir, lockName), "it is not there; the next opening makes it")
	}
	if !ballast {
		v.note(filepath.Join(dir, ballastName), "it is not there or too small: a full disk may keep the lane from opening; it is filled as there is room")
	}
	if n := countFiles(filepath.Join(dir, quarantine)); n > 0 {
		v.note(filepath.Join(dir, quarantine), "%d damaged files were put aside here", n)
	}
	return nil
}

// modes checks a file's owner and mode.
func (v *verifier) modes(path string, info fs.FileInfo) {
	if !ownModes {
		return
	}
	if info.Mode().Perm()&0o600 != 0o600 {
		v.find(path, "its mode is %s: its owner can not read and write it", info.Mode().Perm())
	}
	if info.Mode().Perm()&0o022 != 0 {
		v.note(path, "its mode is %s: others can write it", info.Mode().Perm())
	}
	if own, err := os.Stat(filepath.Dir(path)); err == nil && ownerOf(own) != ownerOf(info) {
		v.find(path, "it belongs to user %d, its folder to user %d", ownerOf(info), ownerOf(own))
	}
}
