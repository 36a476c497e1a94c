package journal

import (
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/fieldpost/fieldpost/wire"
)

// listSegments returns the ordinals of a folder's segments, ascending.
func listSegments(dir string) ([]uint64, error) {
	names, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var out []uint64
	for _, e := range names {
		s, ok := strings.CutSuffix(e.Name(), suffix)
		if !ok {
			continue
		}
		if n, err := strconv.ParseUint(s, 10, 64); err == nil && n > 0 && segmentName(n) == e.Name() {
			out = append(out, n)
		}
	}
	slices.Sort(out)
	return out, nil
}

// readHead reads the head of a segment without its snapshot.
func readHead(path string) (head, error) {
	f, err := openReading(path, false)
	if err != nil {
		return head{}, err
	}
	defer f.Close()
	return headOf(f, path)
}

func headOf(f io.ReaderAt, path string) (head, error) {
	b := make([]byte, headSize)
	n, err := f.ReadAt(b, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return head{}, err
	}
	h, err := parseHead(b[:n])
	if err != nil {
		return head{}, fmt.Errorf("%s: %w", path, err)
	}
	return h, nil
}

// unreadable reports whether an error says that the disk did not give the bytes
// now, as opposed to bytes that are wrong: that is no damage, and nothing may be
// concluded from it.
func unreadable(err error) bool {
	var p *fs.PathError
	return errors.As(err, &p) && !errors.Is(err, fs.ErrNotExist)
}

// readSnapshot reads and verifies the snapshot of a segment.
func readSnapshot(path string, h *head) (agents, error) {
	f, err := openReading(path, false)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if info.Size() < h.records() {
		return nil, fmt.Errorf("%s: %d bytes, its head alone has %d", path, info.Size(), h.records())
	}
	b := make([]byte, h.snapshot)
	if _, err := f.ReadAt(b, headSize); err != nil {
		return nil, err
	}
	if got := crc32.Checksum(b, wire.Castagnoli); got != h.crc {
		return nil, fmt.Errorf("%s: snapshot with checksum %08x, its content has %08x", path, h.crc, got)
	}
	m, err := parseSnapshot(b, h.version)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return m, nil
}

// extent is a segment and the part of it that counts.
type extent struct {
	ordinal uint64
	path    string
	head    head   // if headErr is nil
	headErr error  // the head is damaged: nothing is known but the records
	missing bool   // there is no such file
	valid   int64  // bytes from the beginning
	above   uint64 // from this record on the segment behind it has them, and what stands here is void; 0: not known
}

// records returns where the records begin. Behind a damaged head they are found
// by looking for them.
func (e *extent) records() int64 {
	if e.headErr != nil {
		return 0
	}
	return min(e.head.records(), e.valid)
}

// chain returns the segments that count, oldest first, from the newest one and
// its valid length backwards: each head names the segment before it. Files that
// no head names are void: their making failed, and nobody was told of them.
//
// Behind a damaged head the next lower segment follows, with all of its whole
// commits but for what the one above it has. Segments up to removed do not count
// any more. upto is the last record that a mark vouches for, lossy as for a reading.
func chain(dir string, store wire.StoreID, ordinals []uint64, newest uint64, valid int64, removed, upto uint64, readHead func(string) (head, error), lossy bool) ([]extent, error) {
	var out []extent
	var err error
	above := uint64(0)
	for newest > removed {
		e := extent{ordinal: newest, path: segmentPath(dir, newest), valid: valid, above: above}
		e.head, e.headErr = readHead(e.path)
		switch {
		case e.headErr == nil && e.head.store != store:
			e.headErr = fmt.Errorf("%s: belongs to store %s, this is %s", e.path, e.head.store, store)
		case e.headErr == nil && e.head.ordinal != newest:
			e.headErr = fmt.Errorf("%s: calls itself segment %d", e.path, e.head.ordinal)
		}
		e.missing = errors.Is(e.headErr, os.ErrNotExist)
		out = append(out, e)
		if above = 0; e.headErr == nil {
			above = e.head.first // a file that lost bytes is shorter than the length that this head gives it
			newest, valid = e.head.prev, e.head.prevLength
			continue
		}
		i, _ := slices.BinarySearch(ordinals, newest)
		if i == 0 || ordinals[i-1] <= removed {
			break
		}
		if !e.missing {
			if above, err = firstRecord(e.path, store, lossy); err != nil {
				return nil, err
			}
		}
		newest = ordinals[i-1]
		t, err := findTail(segmentPath(dir, newest), store, vouch{index: upto, above: above, lossy: lossy})
		if err != nil {
			return nil, err
		}
		valid = t.end
	}
	slices.Reverse(out)
	return out, nil
}

// tail is where a segment's whole commits end.
type tail struct {
	lastCommit int64   // offset of the last whole commit
	end        int64   // offset behind it
	size       int64   // of the file
	clean      bool    // the last record says that the journal was closed
	index      uint64  // of the last record up to end, 0 if there is none
	last       summary // of that record
}

// vouch is what is known of a segment's end beside what lies in it.
type vouch struct {
	length int64  // up to here it was synced
	index  uint64 // and the journal up to this record
	above  uint64 // from this record on the segment behind it has them; 0: not known
	lossy  bool   // as for a reading
}

// firstRecord returns the index of the first record that can be read in a segment
// whose head cannot, 0 if there is none.
func firstRecord(path string, store wire.StoreID, lossy bool) (uint64, error) {
	f, err := openReading(path, lossy)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	s := newScanner(f, seed(store), 0, info.Size(), 0)
	for s.next() {
		if s.bad == nil {
			return s.rec.index, nil
		}
	}
	return 0, s.err
}

// findTail reads a segment and finds its torn tail: what lies behind the last
// whole commit. Up to where it is vouched for nothing is torn: what cannot be read
// there is damage. So is what whole commits follow.
func findTail(path string, store wire.StoreID, known vouch) (tail, error) {
	f, err := openReading(path, known.lossy)
	if err != nil {
		return tail{}, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return tail{}, err
	}
	var begin int64
	var index uint64
	h, herr := headOf(f, path)
	if unreadable(herr) && !known.lossy {
		return tail{}, herr
	}
	if herr == nil {
		begin, index = min(h.records(), info.Size()), h.first-1
	}
	t := tail{lastCommit: begin, end: begin, size: info.Size(), index: index, last: h.before}
	s := newScanner(f, seed(store), begin, info.Size(), index)
	commit, broken := begin, false
	for s.next() {
		if s.bad != nil {
			broken = broken || herr == nil || s.bad.off > 0 // a damaged head is no part of a commit
			continue
		}
		r := &s.rec
		if known.above > 0 && r.index >= known.above {
			break
		}
		if index != 0 && r.index != index+1 && r.kind != kindHole {
			broken = true
		}
		index = r.index
		sure := r.end <= known.length || r.index <= known.index
		if sure || r.last && !broken {
			t.lastCommit, t.end, t.index, t.clean, t.last = commit, r.end, r.index, r.kind == kindClean, summaryOf(r)
		}
		if r.last {
			commit, broken = r.end, false
		}
	}
	return t, s.err
}
