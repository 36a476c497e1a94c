package journal

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/fieldpost/fieldpost/wire"
)

// Verified is what [Verify] found. As JSON its fields are named as tagged here.
type Verified struct {
	OK             bool         `json:"ok"` // every byte that counts is what was written
	Store          wire.StoreID `json:"store"`
	Segments       int          `json:"segments"`                  // files read
	Records        uint64       `json:"records"`                   // verified
	Messages       uint64       `json:"messages"`                  // decoded in them
	Bytes          int64        `json:"bytes"`                     // read
	RemovedRecords uint64       `json:"removed_records,omitempty"` // by retention, the journal's oldest
	LostRecords    uint64       `json:"lost_records,omitempty"`    // that were damaged and which repair has given up
	Findings       []Finding    `json:"findings"`                  // what is damaged; empty if OK
	More           int          `json:"more,omitempty"`            // findings that are left out
}

// Verify reads every entry of every segment of the journal in a folder: each
// checksum must hold, each record must follow the one before it, and each message
// must decode. It does not account for the agents' numbers; [Audit] does. It
// changes nothing and may run beside a collector; then it sees what was synced
// when it began. Its memory does not depend on what the journal holds. progress,
// unless nil, is called now and then with how many bytes of how many are read.
//
// A journal that is not OK is no error; an error says why nothing is known.
// ErrNone: there is no journal. ErrRemoved: retention has overtaken it. Beside an error
// stands what was found until then, of which OK says nothing.
func Verify(ctx context.Context, dir string, progress func(done, total int64)) (Verified, error) {
	r, err := OpenReader(dir)
	if err != nil {
		return Verified{}, err
	}
	m, merr := readMark(dir)
	extents, removed, err := r.extentsAt(m, merr)
	if err != nil {
		return Verified{}, fmt.Errorf("verify the journal in %s: %w", dir, err)
	}
	v := verifier{ctx: ctx, seed: seed(r.identity.Store), reader: r, progress: progress, next: removed.index + 1,
		found: Verified{Store: r.identity.Store, RemovedRecords: removed.index, Findings: []Finding{}}}
	if merr != nil && !errors.Is(merr, errNoMark) {
		v.damaged(markName, 0, merr.Error())
	}
	if _, err := readRemoval(dir, r.identity.Store); err != nil {
		v.damaged(removedName, 0, err.Error())
	}
	for i := range extents {
		v.total += extents[i].valid
	}
	for i := range extents {
		if err := v.extent(&extents[i]); err != nil {
			return v.found, fmt.Errorf("verify the journal in %s: %w", dir, err)
		}
	}
	v.found.OK = len(v.found.Findings) == 0
	return v.found, nil
}

// verifier is one Verify.
type verifier struct {
	ctx      context.Context
	seed     uint32
	reader   *Reader
	progress func(done, total int64)
	found    Verified

	done, told, total int64
	next              uint64 // index of the next record
	before            summary
	sure              bool // before is known
}

// verifyStep is how many bytes are read between two calls of progress.
const verifyStep = 4 << 20

func (v *verifier) damaged(file string, off int64, what string) {
	if len(v.found.Findings) == maxFindings {
		v.found.More++
		return
	}
	v.found.Findings = append(v.found.Findings, Finding{Kind: KindDamaged, File: file, Offset: off, What: what})
}

func (v *verifier) read(n int64) {
	v.done += n
	v.found.Bytes += n
	if v.progress != nil && (v.done-v.told >= verifyStep || v.done == v.total) {
		v.told = v.done
		v.progress(v.done, v.total)
	}
}

func (v *verifier) extent(e *extent) error {
	name := filepath.Base(e.path)
	f, err := openReading(e.path, true)
	switch {
	case errors.Is(err, os.ErrNotExist) && v.reader.removed(e):
		return fmt.Errorf("%w: %s", ErrRemoved, name)
	case errors.Is(err, os.ErrNotExist):
		v.damaged(name, 0, "the segment is missing")
		v.sure = false
		return nil
	case err != nil:
		return err
	}
	defer f.Close()
	v.found.Segments++
	v.head(e, name)
	begin := e.records()
	v.read(begin)
	s := newScanner(f, v.seed, begin, e.valid, 0)
	at := begin
	for s.next() {
		if err := v.ctx.Err(); err != nil {
			return err
		}
		if s.bad != nil {
			if e.headErr == nil || s.bad.off > 0 {
				v.damaged(name, s.bad.off, fmt.Sprintf("%d bytes are no record: %v", s.bad.end-s.bad.off, s.bad.why))
			}
			v.sure = false
			continue
		}
		v.record(&s.rec, name)
		v.read(s.rec.end - at)
		at = s.rec.end
	}
	if s.err == nil {
		v.read(e.valid - at)
	}
	return s.err
}

// head checks a segment's head and its snapshot.
func (v *verifier) head(e *extent, name string) {
	if e.headErr != nil {
		v.damaged(name, 0, fmt.Sprintf("the segment's head cannot be read: %v", e.headErr))
		v.sure = false
		return
	}
	if info, err := os.Stat(e.path); err == nil && info.Size() < e.valid {
		v.damaged(name, info.Size(), fmt.Sprintf("the file ends after %d bytes, %d were synced", info.Size(), e.valid))
	}
	if _, err := readSnapshot(e.path, &e.head); err != nil {
		v.damaged(name, headSize, err.Error())
	}
	v.follows(e.head.first, e.head.before, name, 0)
}

// follows checks that a record is the next one.
func (v *verifier) follows(index uint64, before summary, name string, off int64) {
	switch {
	case index != v.next:
		v.damaged(name, off, fmt.Sprintf("record %d stands where record %d should", index, v.next))
	case v.sure && before != v.before:
		v.damaged(name, off, fmt.Sprintf("record %d follows numbers %d to %d, and is made to follow %d to %d", index, v.before.from, v.before.to, before.from, before.to))
	}
	v.next, v.before, v.sure = index, before, true
}

func (v *verifier) record(r *record, name string) {
	if r.kind == kindHole && r.index+1 >= v.next {
		v.found.Records++
		v.found.LostRecords += r.index + 1 - v.next
		v.next, v.sure = r.index+1, false
		return
	}
	v.follows(r.index, r.before, name, r.off)
	v.next, v.before = r.index+1, summary{}
	ev, err := parseEvent(r.kind, r.payload)
	if err != nil {
		v.damaged(name, r.off, fmt.Sprintf("record %d: %v", r.index, err))
		v.sure = false
		return
	}
	if e, ok := ev.(*settled); ok {
		v.before = e.summary()
		if !e.entry.IsTombstone() {
			b, err := e.entry.Check()
			if err == nil {
				err = b.Check()
			}
			if err != nil {
				v.damaged(name, r.off, fmt.Sprintf("record %d: %v", r.index, err))
				return
			}
			v.found.Messages += uint64(e.entry.To - e.entry.From + 1)
		}
	}
	v.found.Records++
}
