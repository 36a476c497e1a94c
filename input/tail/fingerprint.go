package tail

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"io"
	"os"
)

// sampleSize is how many bytes at a file's beginning, and before a position in it,
// tell it from another one.
const sampleSize = 1 << 10

// mark is what is kept with a position in a file: which file it was, and by what it
// is known again under another name, as a copy, or compressed.
type mark struct {
	id         fileID
	head, tail sample // of the file's first bytes, and of those right before the position
}

// sample is a checksum of n bytes.
type sample struct {
	n   int
	sum [12]byte
}

func sampleOf(b []byte) sample {
	s := sample{n: len(b)}
	sum := sha256.Sum256(b)
	copy(s.sum[:], sum[:])
	return s
}

// The note's layout: device, index (8 bytes each), then head and tail: 2 bytes of
// length and 12 of checksum each.
const noteSize = 8 + 8 + 2*(2+12)

func (m *mark) note() []byte {
	b := binary.BigEndian.AppendUint64(nil, m.id.dev)
	b = binary.BigEndian.AppendUint64(b, m.id.ino)
	for _, s := range []sample{m.head, m.tail} {
		b = binary.BigEndian.AppendUint16(b, uint16(s.n))
		b = append(b, s.sum[:]...)
	}
	return b
}

var errNote = errors.New("the note of a position has another form than this version writes")

func parseNote(b []byte) (m mark, err error) {
	if len(b) != noteSize {
		return m, errNote
	}
	m.id = fileID{binary.BigEndian.Uint64(b), binary.BigEndian.Uint64(b[8:])}
	for i, s := range []*sample{&m.head, &m.tail} {
		p := b[16+14*i:]
		s.n = int(binary.BigEndian.Uint16(p))
		copy(s.sum[:], p[2:14])
		if s.n > sampleSize {
			return m, errNote
		}
	}
	return m, nil
}

// fits reports whether the first bytes of r, and those before at, are the mark's.
// size is how many bytes r has.
func (m *mark) fits(r io.ReaderAt, at, size int64) bool {
	if size < at || at < int64(m.tail.n) {
		return false
	}
	buf := make([]byte, sampleSize)
	for _, x := range []struct {
		from int64
		s    sample
	}{{0, m.head}, {at - int64(m.tail.n), m.tail}} {
		b := buf[:x.s.n]
		if n, err := r.ReadAt(b, x.from); n < len(b) && err != nil {
			return false
		}
		if sampleOf(b) != x.s {
			return false
		}
	}
	return true
}

// unzipped reads a compressed file as if it were not. It reads on where it is, and
// begins anew to go back.
type unzipped struct {
	f  *os.File
	z  *gzip.Reader
	at int64
}

// unzip returns a reader of a compressed file, and how many bytes there are in it.
// It reads it all: an error means that it is not whole, or not yet.
func unzip(f *os.File) (*unzipped, int64, error) {
	u := &unzipped{f: f}
	if err := u.rewind(); err != nil {
		return nil, 0, err
	}
	n, err := io.Copy(io.Discard, u.z)
	u.at = n
	return u, n, err
}

func (u *unzipped) rewind() (err error) {
	if _, err := u.f.Seek(0, io.SeekStart); err != nil {
		return err
	}
	u.z, err = gzip.NewReader(u.f)
	u.at = 0
	return err
}

// ReadAt is for one goroutine.
func (u *unzipped) ReadAt(b []byte, off int64) (int, error) {
	if off < u.at {
		if err := u.rewind(); err != nil {
			return 0, err
		}
	}
	if n, err := io.CopyN(io.Discard, u.z, off-u.at); err != nil {
		u.at += n
		return 0, err
	}
	u.at = off
	n, err := io.ReadFull(u.z, b)
	u.at += int64(n)
	if errors.Is(err, io.ErrUnexpectedEOF) && n > 0 {
		err = io.EOF
	}
	return n, err
}

var gzipMagic = []byte{0x1f, 0x8b}

// compressed reports whether the file begins as a gzip file does.
func compressed(f *os.File) bool {
	b := make([]byte, 2)
	_, err := f.ReadAt(b, 0)
	return err == nil && bytes.Equal(b, gzipMagic)
}
