package carry

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"hash/crc32"
	"io"
	"unicode/utf8"

	"github.com/fieldpost/fieldpost/wire"
)

// Reader reads a carry file and verifies all of it. It is for one goroutine.
type Reader struct {
	r        *bufio.Reader
	sum      hash.Hash
	seed     uint32
	off      int64 // behind what was read
	buf      []byte
	manifest Manifest
	done     Summary
	at       int // stream of the last entry
	last     wire.Seq
	err      error

	verify Verifier
	signed bool                                  // the file is one that is signed
	check  func(message, signature []byte) error // of its signatures, nil: they are not looked at
	whole  bool                                  // the last signature was read: only the end may follow
	held   []held                                // entries that are signed and not handed out
}

// held is an entry that waits.
type held struct {
	stream int
	entry  wire.Entry
}

type block struct {
	kind    byte
	off     int64
	payload []byte
}

// NewReader reads what a file is of, and the histories of its streams. verify says
// whether it is believed; nil: it is, and its signatures are not looked at. The errors
// are [ErrForeign], [ErrVersion], [ErrDamaged], [ErrSignature], and those of r and
// verify.
func NewReader(r io.Reader, verify Verifier) (*Reader, error) {
	f := &Reader{r: bufio.NewReaderSize(r, 256<<10), sum: sha256.New(), verify: verify}
	if err := f.begin(); err != nil {
		return nil, fmt.Errorf("carry file: %w", err)
	}
	return f, nil
}

// File returns the file's id.
func (f *Reader) File() wire.ID { return f.done.File }

// Manifest returns what the file is of, with the histories. It must not be changed.
func (f *Reader) Manifest() *Manifest { return &f.manifest }

// Summary returns what was read so far; all, once Next has returned io.EOF.
func (f *Reader) Summary() Summary {
	s := f.done
	s.Bytes = f.off
	return s
}

// Next returns the next entry and the place of its stream in the manifest. The
// entry has been checked, its batch's records too; the batch is good until the
// next call. io.EOF: that was all, and the whole file is as it was written. The
// numbers of a stream ascend, and may leave gaps that a store has acked meanwhile.
func (f *Reader) Next() (stream int, e wire.Entry, err error) {
	if f.err == nil {
		if stream, e, f.err = f.believed(); f.err == nil {
			return stream, e, nil
		}
		if f.err != io.EOF {
			f.err = fmt.Errorf("carry file: %w", f.err)
		}
	}
	return 0, wire.Entry{}, f.err
}

// Verify reads a file to its end. The errors are those of NewReader and Next.
func Verify(r io.Reader, verify Verifier) (Manifest, Summary, error) {
	f, err := NewReader(r, verify)
	if err != nil {
		return Manifest{}, Summary{}, err
	}
	for err == nil {
		_, _, err = f.Next()
	}
	if err != io.EOF {
		return Manifest{}, Summary{}, err
	}
	return f.manifest, f.Summary(), nil
}

func damaged(off int64, format string, a ...any) error {
	return fmt.Errorf("%w at byte %d: %s", ErrDamaged, off, fmt.Sprintf(format, a...))
}

// read fills b. A file that ends in it is damaged.
func (f *Reader) read(b []byte) error {
	n, err := io.ReadFull(f.r, b)
	f.off += int64(n)
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return damaged(f.off, "it ends here, and is cut off")
	}
	return err
}

func (f *Reader) begin() error {
	head := make([]byte, headSize)
	n, err := io.ReadFull(f.r, head)
	f.off = int64(n)
	cut := errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
	switch {
	case err != nil && !cut:
		return err
	case n < 4 || string(head[:3]) != magic:
		return fmt.Errorf("%w: it begins with %.16q", ErrForeign, head[:min(n, 8)])
	case head[3] == 0 || head[3] > Version:
		return fmt.Errorf("%w: format version %d, this program knows versions up to %d", ErrVersion, head[3], Version)
	case cut:
		return damaged(f.off, "it ends here, and is cut off")
	case crc32.Checksum(head[:headSize-4], wire.Castagnoli) != binary.BigEndian.Uint32(head[headSize-4:]):
		return damaged(0, "the head has a wrong checksum")
	}
	f.sum.Write(head)
	f.done.File = wire.ID(head[8:24])
	f.seed = seedOf(f.done.File)
	b, _, err := f.block()
	if err != nil {
		return err
	}
	if b.kind != kindManifest {
		return damaged(b.off, "a block of kind %d where the manifest is due", b.kind)
	}
	d := json.NewDecoder(bytes.NewReader(b.payload))
	if err := d.Decode(&f.manifest); err != nil || !utf8.Valid(b.payload) || d.More() {
		return damaged(b.off, "the manifest: %v", err)
	}
	if err := f.manifest.check(); err != nil {
		return damaged(b.off, "the manifest: %v", err)
	}
	if f.signed = head[3] == Version; f.signed != (len(f.manifest.Certificates) > 0) {
		return damaged(b.off, "%d certificates in a file of version %d", len(f.manifest.Certificates), head[3])
	}
	if f.verify != nil {
		if f.check, err = f.verify(&f.manifest); err != nil {
			return err
		}
	}
	if err := f.histories(); err != nil || !f.signed {
		return err
	}
	b, message, err := f.block()
	if err != nil {
		return err
	}
	if b.kind != kindSignature {
		return damaged(b.off, "a block of kind %d where a signature is due", b.kind)
	}
	return f.signature(&b, message)
}

// signature verifies one.
func (f *Reader) signature(b *block, message func(last bool) []byte) error {
	if len(b.payload) < 2 || b.payload[0] > 1 {
		return damaged(b.off, "a signature of %d bytes", len(b.payload))
	}
	f.whole = b.payload[0] == 1
	if f.check == nil {
		return nil
	}
	if err := f.check(message(f.whole), b.payload[1:]); err != nil {
		return fmt.Errorf("%w at byte %d: %w", ErrSignature, b.off, err)
	}
	return nil
}

// believed returns the next entry, of a file that is signed only once its signature
// was verified.
func (f *Reader) believed() (int, wire.Entry, error) {
	if !f.signed {
		return f.next()
	}
	for size := 0; len(f.held) == 0 || size > 0; {
		off := f.off
		i, e, err := f.next()
		switch {
		case errors.Is(err, errSigned):
			size = 0
			continue
		case err == io.EOF && (!f.whole || size > 0):
			return 0, e, damaged(off, "the end without its signature")
		case err != nil:
			return 0, e, err
		case f.whole:
			return 0, e, damaged(off, "an entry behind the last signature")
		}
		if size += 64 + len(e.Detail) + len(e.Batch); size > maxUnsigned {
			return 0, e, damaged(off, "%d bytes of entries without a signature", size)
		}
		e.Batch = bytes.Clone(e.Batch)
		f.held = append(f.held, held{i, e})
	}
	h := f.held[0]
	if f.held = f.held[1:]; len(f.held) == 0 {
		f.held = nil
	}
	return h.stream, h.entry, nil
}

// errSigned says that a signature was read, and is good.
var errSigned = errors.New("a signature")

// histories reads the blocks of all streams' boundaries, and the block behind them.
func (f *Reader) histories() error {
	for i := range f.manifest.Streams {
		s := &f.manifest.Streams[i]
		for len(s.Boundaries) < s.Count {
			b, _, err := f.block()
			if err != nil {
				return err
			}
			n := (len(b.payload) - 4) / boundSize
			if b.kind != kindHistory || len(b.payload) < 4+boundSize || (len(b.payload)-4)%boundSize != 0 ||
				binary.BigEndian.Uint32(b.payload) != uint32(i) || n > s.Count-len(s.Boundaries) {
				return damaged(b.off, "not the boundaries of stream %d that are due", i)
			}
			for p := b.payload[4:]; len(p) > 0; p = p[boundSize:] {
				s.Boundaries = append(s.Boundaries, wire.Boundary{Incarnation: wire.Incarnation{ID: wire.ID(p[:16])}, First: wire.Seq(binary.BigEndian.Uint64(p[16:]))})
			}
		}
		if err := s.Boundaries.Check(); err != nil {
			return damaged(f.off, "lane %s: %v", s.Lane, err)
		}
		if newest := s.Boundaries[len(s.Boundaries)-1].First; newest > s.Next {
			return damaged(f.off, "lane %s: a boundary at %d, but next is %d", s.Lane, newest, s.Next)
		}
	}
	return nil
}

// block reads and verifies a block. Its payload is good until the next call. message
// returns what a signature in it signs.
func (f *Reader) block() (_ block, message func(last bool) []byte, _ error) {
	off := f.off
	var head [blockHead]byte
	if err := f.read(head[:]); err != nil {
		return block{}, nil, err
	}
	size, kind := binary.BigEndian.Uint32(head[4:]), head[0]
	if int64(size) > int64(limit(kind)) || head[1]|head[2]|head[3] != 0 {
		return block{}, nil, damaged(off, "no block begins here: kind %d, %d bytes", kind, size)
	}
	if cap(f.buf) < int(size) {
		f.buf = make([]byte, size)
	}
	b := block{kind, off, f.buf[:size]}
	if err := f.read(b.payload); err != nil {
		return block{}, nil, err
	}
	if got, want := blockCRC(f.seed, head[:], b.payload), binary.BigEndian.Uint32(head[8:]); got != want {
		return block{}, nil, damaged(off, "a block with checksum %08x, its content has %08x", want, got)
	}
	if kind == kindEnd && (len(b.payload) != endSize || !bytes.Equal(b.payload[16:], f.sum.Sum(nil))) {
		return block{}, nil, damaged(off, "the checksum of the whole file is another one")
	}
	if kind == kindSignature {
		more, last := signedMessage(false, f.sum), signedMessage(true, f.sum)
		message = func(whole bool) []byte {
			if whole {
				return last
			}
			return more
		}
	}
	f.sum.Write(head[:])
	f.sum.Write(b.payload)
	return b, message, nil
}

func (f *Reader) next() (int, wire.Entry, error) {
	b, message, err := f.block()
	if err != nil {
		return 0, wire.Entry{}, err
	}
	switch b.kind {
	case kindEnd:
		return 0, wire.Entry{}, f.end(&b)
	case kindEntry:
	case kindSignature:
		if !f.signed {
			return 0, wire.Entry{}, damaged(b.off, "a signature in a file that is not signed")
		}
		if err := f.signature(&b, message); err != nil {
			return 0, wire.Entry{}, err
		}
		return 0, wire.Entry{}, errSigned
	default:
		return 0, wire.Entry{}, damaged(b.off, "a block of kind %d among the entries", b.kind)
	}
	if len(b.payload) < 4 {
		return 0, wire.Entry{}, damaged(b.off, "an entry of %d bytes", len(b.payload))
	}
	i := binary.BigEndian.Uint32(b.payload)
	e, size, rest, err := wire.ParseEntry(b.payload[4:])
	switch {
	case err != nil:
		return 0, wire.Entry{}, damaged(b.off, "%v", err)
	case size != len(rest):
		return 0, wire.Entry{}, damaged(b.off, "an entry with %d bytes of a batch of %d", len(rest), size)
	case i >= uint32(len(f.manifest.Streams)) || int(i) < f.at:
		return 0, wire.Entry{}, damaged(b.off, "an entry of stream %d behind one of stream %d, of %d", i, f.at, len(f.manifest.Streams))
	}
	if size > 0 {
		e.Batch = rest
	}
	s := &f.manifest.Streams[i]
	if int(i) > f.at || f.last == 0 {
		f.at, f.last = int(i), s.Start-1
	}
	if err := f.fits(s, &e); err != nil {
		return 0, wire.Entry{}, damaged(b.off, "%v", err)
	}
	f.last = e.To
	f.done.Entries++
	f.done.Numbers += uint64(e.To - e.From + 1)
	return int(i), e, nil
}

// fits verifies an entry, and that it has its place in the stream.
func (f *Reader) fits(s *Stream, e *wire.Entry) error {
	b, err := e.Check()
	if err == nil && !e.IsTombstone() {
		err = b.Check()
	}
	switch {
	case err != nil:
		return err
	case !e.IsTombstone() && b.Lane != s.Lane:
		return fmt.Errorf("a batch of lane %s in lane %s", b.Lane, s.Lane)
	case e.From <= f.last || e.To >= s.Next:
		return fmt.Errorf("lane %s: numbers %d to %d are not between %d and %d", s.Lane, e.From, e.To, f.last, s.Next)
	case e.Reason >= wire.ReasonStoredIn:
		return fmt.Errorf("lane %s: a declaration of %d to %d as %s, which only a link or an import makes", s.Lane, e.From, e.To, e.Reason)
	}
	inc := s.Boundaries.At(e.From)
	if inc.IsZero() { // older than any boundary that was left
		inc = s.Boundaries[0].Incarnation
	}
	if inc != e.Incarnation || s.Boundaries.End(e.From, e.To) != e.To {
		return fmt.Errorf("lane %s: numbers %d to %d are not all of incarnation %s", s.Lane, e.From, e.To, e.Incarnation)
	}
	return nil
}

// end verifies that the end is one, and that nothing is behind it.
func (f *Reader) end(b *block) error {
	if n, m := binary.BigEndian.Uint64(b.payload), binary.BigEndian.Uint64(b.payload[8:]); n != f.done.Entries || m != f.done.Numbers {
		return damaged(b.off, "%d entries with %d numbers were written, and %d with %d are here", n, m, f.done.Entries, f.done.Numbers)
	}
	switch _, err := f.r.ReadByte(); {
	case err == nil:
		return damaged(f.off, "something stands behind its end")
	case !errors.Is(err, io.EOF):
		return err
	}
	return io.EOF
}
