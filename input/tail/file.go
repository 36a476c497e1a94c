package tail

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"sync/atomic"
	"time"

	"github.com/fieldpost/fieldpost/agent"
	"github.com/fieldpost/fieldpost/input"
)

// file is one file that is followed. While busy is set it is its worker's, else the
// loop's of Run.
type file struct {
	// Static.
	src   *input.Source
	rule  *Rule
	first string // path where it was first seen
	topic string
	cut   cutter
	after *file // is read before this one; nil: nothing is

	busy    atomic.Bool
	path    string
	id      fileID
	h       *os.File
	zip     *unzipped // h, decompressed; nil if it is not compressed
	packed  bool      // it is compressed
	size    int64
	time    time.Time // of its last change, as the last look saw it
	off     int64     // of the next byte to be read
	head    []byte    // the file's first bytes, up to off; nil if nothing was read, or it was not there
	tail    []byte    // the bytes right before off
	settled bool      // the source knows how its last chunk stands

	renamed   bool      // its name is another's, or nobody's
	copied    bool      // it was found by its content: nobody writes into it
	gone      bool      // it has no name that we know of
	truncated bool      // what was before off is there no more
	done      bool      // all is read, and nothing more is expected
	tried     int64     // its size when it was last read to its end
	turned    time.Time // when a worker was last done with it
	moved     bool      // it is another file by identity than the lanes know
	changed   time.Time // when its size was last seen to be another
	unsure    bool      // files that had its name after it may not be followed yet
	lost      time.Time // since when nothing is found that could be it; zero: it is there
	trouble   error
	long      uint64 // messages that were cut because they were too long
	bytes     uint64 // read
}

var (
	errTruncated = errors.New("it was truncated")
	errOther     = errors.New("another file has taken its place")
)

// mark returns the file's mark at off.
func (f *file) mark() mark {
	return mark{f.id, sampleOf(f.head), sampleOf(f.tail)}
}

// content returns by what the file is known in a copy that is made now: a mark, and
// the position that it is of. Nothing is known of one that is neither read nor open.
func (f *file) content() (m mark, at int64, known bool) {
	if f.off > 0 && f.head == nil { // it was not there to be read: what the lanes know of it
		at, note := f.src.Position()
		m, err := parseNote(note)
		return m, at, err == nil
	}
	if f.off > 0 {
		return f.mark(), f.off, true
	}
	if f.h == nil || f.packed || f.size == 0 {
		return m, 0, false
	}
	head, tail := make([]byte, min(f.size, sampleSize)), make([]byte, min(f.size, sampleSize))
	n, _ := f.h.ReadAt(head, 0)
	k, _ := f.h.ReadAt(tail, f.size-int64(len(tail)))
	return mark{f.id, sampleOf(head), sampleOf(tail)}, f.size, n == len(head) && k == len(tail)
}

// headOf returns the sample of the file's first bytes, of which a copy has size; false
// if only the sample of more of them is known.
func (f *file) headOf(size int64) (head sample, known bool) {
	switch {
	case f.head != nil:
		return sampleOf(f.head[:min(int64(len(f.head)), size)]), true
	case f.off > 0:
		_, note := f.src.Position()
		m, err := parseNote(note)
		return m.head, err == nil && int64(m.head.n) <= size
	case f.h == nil:
		return head, false
	}
	b := make([]byte, min(size, sampleSize))
	n, _ := f.h.ReadAt(b, 0)
	return sampleOf(b[:n]), true
}

// reader returns what the file is read by.
func (f *file) reader() io.ReaderAt {
	if f.zip != nil {
		return f.zip
	}
	return f.h
}

// open opens the file if it is not open, and makes sure that it is the one that was
// read up to off.
func (f *file) open() error {
	if f.h != nil {
		return nil
	}
	h, err := open(f.path)
	if err != nil {
		return err
	}
	id, err := identifyOpen(h)
	if err == nil && id != f.id {
		err = errOther
	}
	if err == nil && f.off > 0 && !f.packed {
		err = f.load(h)
	}
	if errors.Is(err, errTruncated) && compressed(h) || err == nil && f.packed {
		var size int64
		if f.zip, size, err = unzip(h); err == nil {
			if f.off > 0 {
				err = f.load(f.zip)
			}
			if err == nil {
				f.packed, f.size = true, size
			}
		}
	}
	if err != nil {
		h.Close()
		f.zip = nil
		return err
	}
	f.h = h
	return nil
}

// load reads the samples of a position, and checks them against the note. Of a file
// that is another, or has lost them, none are known then.
func (f *file) load(r io.ReaderAt) error {
	f.head, f.tail = nil, nil
	_, note := f.src.Position()
	m, err := parseNote(note)
	if err != nil {
		return err
	}
	head, tail := make([]byte, m.head.n), make([]byte, m.tail.n)
	for _, x := range []struct {
		b    []byte
		from int64
		want sample
	}{{head, 0, m.head}, {tail, f.off - int64(m.tail.n), m.tail}} {
		if n, err := r.ReadAt(x.b, x.from); n < len(x.b) && !errors.Is(err, io.EOF) {
			return err
		} else if n < len(x.b) || sampleOf(x.b) != x.want {
			return errTruncated
		}
	}
	f.head, f.tail = head, tail
	return nil
}

func (f *file) close() {
	if f.h != nil {
		f.h.Close()
		f.h, f.zip = nil, nil
	}
}

// buffer is a worker's memory.
type buffer struct {
	b    []byte
	cuts cuts
	msgs []agent.Message
	ends []int64
}

// turn reads on, up to so many chunks. flush: nothing follows what is there.
func (f *file) turn(ctx context.Context, buf *buffer, flush bool) {
	err := f.open()
	if err == nil && !f.settled {
		err = f.settle(ctx, buf)
	}
	more := err == nil
	for i := 0; more && err == nil && i < turnChunks; i++ {
		if more, err = f.chunk(ctx, buf, flush); err != nil {
			break
		}
	}
	f.trouble, f.turned, f.tried = nil, time.Now(), f.size
	if more {
		f.tried = -1
	}
	switch {
	case err == nil:
	case errors.Is(err, errTruncated), errors.Is(err, errOther):
		f.truncated = true
	case ctx.Err() != nil:
		f.settled = false
	case errors.Is(err, fs.ErrNotExist):
		f.gone = true
	case errors.Is(err, fs.ErrPermission):
		f.trouble = fmt.Errorf("%w; let the agent's user read it, then it goes on by itself", err)
	default:
		f.settled = false
		f.trouble = err
	}
}

// settle finishes the chunk that a crash, or an error, has left.
func (f *file) settle(ctx context.Context, buf *buffer) error {
	left, err := f.src.Settle(ctx)
	if err != nil {
		return err
	}
	if left > 0 {
		err = f.src.Resume(ctx, func(from, to int64) ([]agent.Message, []int64, error) { return f.again(from, to) })
		if err != nil {
			return err
		}
	}
	at, _ := f.src.Position()
	if at != f.off { // a chunk that was in doubt is there
		f.off = at
		if err := f.load(f.reader()); err != nil {
			return err
		}
	}
	if f.moved { // under its new identity it is found at once after a restart
		m := f.mark()
		if err := f.src.Send(ctx, &input.Chunk{To: f.off, Note: func(int64) []byte { return m.note() }}); err != nil {
			return err
		}
		f.moved = false
	}
	f.settled = true
	return nil
}

// again returns the messages of bytes that were read before.
func (f *file) again(from, to int64) (msgs []agent.Message, ends []int64, err error) {
	b := make([]byte, to-from)
	if n, err := f.reader().ReadAt(b, from); n < len(b) {
		return nil, nil, fmt.Errorf("bytes %d to %d: %w", from, to, errors.Join(errTruncated, err))
	}
	var c cuts
	f.cut.cut(b, true, len(b)+1, &c)
	for i := range c.ends {
		msgs = append(msgs, f.message(c.bodies[i], time.Now()))
		ends = append(ends, from+int64(c.ends[i]))
	}
	return msgs, ends, nil
}

func (f *file) message(body []byte, now time.Time) agent.Message {
	return agent.Message{Lane: f.rule.Lane, Topic: f.topic, Time: now, Body: body}
}

// chunk reads the next chunk and hands it in. more: there may be another.
func (f *file) chunk(ctx context.Context, buf *buffer, flush bool) (more bool, err error) {
	want := chunkBytes
	for {
		b, atEnd, err := f.read(buf, want)
		if err != nil {
			return false, err
		}
		f.cut.cut(b, flush && atEnd, chunkLines, &buf.cuts)
		used := buf.cuts.consumed()
		if used == 0 && !atEnd && want == chunkBytes {
			want = 2*chunkBytes + f.cut.most // a message longer than a chunk
			continue
		}
		if used == 0 {
			return false, nil
		}
		if err := f.send(ctx, buf, b); err != nil {
			return false, err
		}
		return !atEnd || len(buf.cuts.ends) == chunkLines, nil
	}
}

// read fills the buffer from off on. What stands right before off is read with it:
// if that is not what it was, what follows is not either.
func (f *file) read(buf *buffer, want int) (b []byte, atEnd bool, err error) {
	back := len(f.tail)
	if f.packed {
		back = 0 // it does not change, and going back is dear
	} else if info, err := f.h.Stat(); err == nil {
		f.resized(info.Size())
		if f.size < f.off {
			return nil, false, errTruncated
		}
		if left := f.size - f.off; left < int64(want) { // a small buffer will do
			want = int(left) + 1
		}
	}
	if cap(buf.b) < back+want {
		buf.b = make([]byte, back+want)
	}
	b = buf.b[:back+want]
	n, err := f.reader().ReadAt(b, f.off-int64(back))
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, false, err
	}
	if n < back || back > 0 && !bytes.Equal(b[:back], f.tail) {
		return nil, false, errTruncated
	}
	return b[back:n], n < len(b), nil
}

// resized notes the file's size.
func (f *file) resized(size int64) {
	if size != f.size {
		f.size, f.changed = size, time.Now()
	}
}

// quiet reports whether the size has been the same for so long.
func (f *file) quiet(d time.Duration) bool { return time.Since(f.changed) >= d }

// send hands in what was cut from b, which begins at off.
func (f *file) send(ctx context.Context, buf *buffer, b []byte) error {
	now := time.Now()
	buf.msgs, buf.ends = buf.msgs[:0], buf.ends[:0]
	for i, body := range buf.cuts.bodies {
		buf.msgs = append(buf.msgs, f.message(body, now))
		buf.ends = append(buf.ends, f.off+int64(buf.cuts.ends[i]))
	}
	used := buf.cuts.consumed()
	note := func(to int64) []byte {
		head, tail := f.advance(b[:to-f.off])
		m := mark{f.id, sampleOf(head), sampleOf(tail)}
		return m.note()
	}
	if err := f.src.Send(ctx, &input.Chunk{Messages: buf.msgs, Ends: buf.ends, To: f.off + int64(used), Note: note}); err != nil {
		f.settled = false
		return err
	}
	f.head, f.tail = f.advance(b[:used])
	f.off += int64(used)
	f.bytes += uint64(used)
	f.long += uint64(buf.cuts.long)
	return nil
}

// advance returns the samples' bytes after b has been read.
func (f *file) advance(b []byte) (head, tail []byte) {
	head = f.head
	if n := min(sampleSize-len(head), len(b)); n > 0 && f.off == int64(len(head)) {
		head = append(bytes.Clone(head), b[:n]...)
	}
	if len(b) >= sampleSize {
		return head, bytes.Clone(b[len(b)-sampleSize:])
	}
	tail = append(bytes.Clone(f.tail), b...)
	return head, tail[max(0, len(tail)-sampleSize):]
}

// toEnd makes the file's end the position, of a file that is new.
func (f *file) toEnd(ctx context.Context) error {
	if err := f.open(); err != nil {
		return err
	}
	info, err := f.h.Stat()
	if err != nil {
		return err
	}
	to := info.Size()
	if f.zip != nil {
		to = f.size
	}
	head, tail := make([]byte, min(to, sampleSize)), make([]byte, min(to, sampleSize))
	for _, x := range []struct {
		b    []byte
		from int64
	}{{head, 0}, {tail, to - int64(len(tail))}} {
		if n, err := f.reader().ReadAt(x.b, x.from); n < len(x.b) {
			return err
		}
	}
	m := mark{f.id, sampleOf(head), sampleOf(tail)}
	if err := f.src.Send(ctx, &input.Chunk{To: to, Note: func(int64) []byte { return m.note() }}); err != nil {
		return err
	}
	f.off, f.head, f.tail, f.size = to, head, tail, to
	return nil
}
