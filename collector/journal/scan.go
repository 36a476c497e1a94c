package journal

import (
	"bytes"
	"errors"
	"fmt"
	"io"
)

// scanner reads the records of a region of a segment, one after another, in
// memory that does not depend on the region's size. Where the bytes are no
// record it looks for the next one, so that damage costs only what it hit.
type scanner struct {
	r    io.ReaderAt
	seed uint32
	end  int64 // of the region

	off    int64  // of the next record
	buf    []byte // bytes from base on
	base   int64
	last   uint64 // index of the last record; those found behind damage must be above it
	before uint64 // not 0: records from this one on are void, and end the scan

	rec record // the record, if bad is nil
	bad *gash  // else what was found in its place
	err error  // reading failed; the scan is over
}

// gash is a part of a region that is no record.
type gash struct {
	off, end int64
	why      error
}

func newScanner(r io.ReaderAt, seed uint32, off, end int64, last uint64) *scanner {
	return &scanner{r: r, seed: seed, off: off, end: end, last: last}
}

const scanChunk = 256 << 10

// fill makes n bytes from off on available, less at the region's end.
func (s *scanner) fill(off int64, n int) ([]byte, error) {
	n = int(min(int64(n), s.end-off))
	if at := off - s.base; at >= 0 && at+int64(n) <= int64(len(s.buf)) {
		return s.buf[at:], nil
	}
	want := int(min(int64(max(n, scanChunk)), s.end-off))
	if cap(s.buf) < want {
		s.buf = make([]byte, want)
	}
	s.buf, s.base = s.buf[:want], off
	got, err := s.r.ReadAt(s.buf, off)
	s.buf = s.buf[:got]
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	return s.buf, nil
}

// at reads the record that begins at off. ok is false, with a cause, if none
// does. An error is a disk that cannot be read.
func (s *scanner) at(off int64) (r record, cause, err error) {
	b, err := s.fill(off, recordHead)
	if err != nil {
		return r, nil, err
	}
	if len(b) < recordHead {
		return r, fmt.Errorf("%d bytes, a record has at least %d", len(b), recordHead), nil
	}
	n, cause := recordSize(b)
	if cause != nil {
		return r, cause, nil
	}
	if b, err = s.fill(off, n); err != nil {
		return r, nil, err
	}
	if len(b) < n {
		return r, fmt.Errorf("a record of %d bytes ends after %d", n, len(b)), nil
	}
	r, cause = parseRecord(b[:n], s.seed)
	r.off, r.end = off, off+int64(n)+r.skip
	if cause == nil && r.end > s.end {
		cause = fmt.Errorf("a hole of %d bytes ends behind %d", r.skip, s.end)
	}
	return r, cause, nil
}

// next finds the next record or hole and reports whether there is one. A record
// is good until the next call.
func (s *scanner) next() bool {
	s.bad = nil
	if s.off >= s.end || s.err != nil {
		return false
	}
	r, cause, err := s.at(s.off)
	if err != nil {
		s.err = err
		return false
	}
	if cause == nil && s.before > 0 && r.index >= s.before && r.kind != kindHole {
		s.off = s.end
		return false
	}
	if cause == nil {
		s.rec, s.off, s.last = r, r.end, max(s.last, r.index)
		return true
	}
	s.bad = &gash{off: s.off, why: cause}
	if s.off, s.err = s.resync(s.off + 1); s.err != nil {
		return false
	}
	s.bad.end = s.off
	return true
}

// resync returns the offset of the first record at or behind off, or the end.
func (s *scanner) resync(off int64) (int64, error) {
	for off+recordHead <= s.end {
		b, err := s.fill(off, scanChunk)
		if err != nil || len(b) < len(recordMagic) {
			return s.end, err
		}
		i := bytes.Index(b, []byte(recordMagic))
		if i < 0 {
			off += int64(len(b) - len(recordMagic) + 1)
			continue
		}
		off += int64(i)
		r, cause, err := s.at(off)
		if err != nil {
			return s.end, err
		}
		if cause == nil && r.index > s.last {
			return off, nil
		}
		off++
	}
	return s.end, nil
}

// bytes returns the bytes of the record that next found.
func (s *scanner) bytes() []byte {
	b := s.buf[s.rec.off-s.base:]
	return b[:recordHead+len(s.rec.payload)]
}
