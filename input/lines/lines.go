// Package lines cuts a byte stream into lines, each a message to be.
//
//	"a\n" "b\r\n" "\n" "last" --> "a", "b\r", "", "last"
//
// Only the newline is taken away, so the lines joined by newlines are the input,
// but for the newline at its very end. A line above the limit is passed over and
// named by its number; what follows it is read on. Memory is bounded by the limit
// whatever comes in.
package lines

import (
	"bytes"
	"fmt"
	"io"
)

// TooLong is the error for a line above the limit. The reader goes on after it.
type TooLong struct {
	Line  int64 // its number, from 1
	Limit int   // bytes it may have
}

// Error names the line.
func (e *TooLong) Error() string {
	return fmt.Sprintf("line %d is longer than %d bytes, the limit of a message, and was passed over", e.Line, e.Limit)
}

// Reader reads lines. Its methods are for one goroutine.
type Reader struct {
	src   io.Reader
	limit int

	buf      []byte
	from, to int   // buf[from:to] is read and not yet returned
	scanned  int   // bytes of it that are known to hold no newline
	passed   int   // bytes of a line that is too long and whose end has not come; they are gone
	line     int64 // number of the last line returned or passed over
	err      error // of src
}

// NewReader returns a reader of src's lines of at most limit bytes each.
func NewReader(src io.Reader, limit int) *Reader {
	return &Reader{src: src, limit: limit, buf: make([]byte, min(limit+1, 64<<10))}
}

// Line returns how many lines have been returned or passed over.
func (r *Reader) Line() int64 { return r.line }

// Partial returns how many bytes of a line without its newline have been read,
// 0 between lines.
func (r *Reader) Partial() int {
	if i := bytes.LastIndexByte(r.buf[r.from:r.to], '\n'); i >= 0 {
		return r.to - r.from - i - 1
	}
	return r.passed + r.to - r.from
}

// Next returns the next line without its newline, good until the next call. At
// the end of the source it returns io.EOF, after the last line even if that has
// no newline; for a line above the limit a [*TooLong]; else the source's error,
// after which Next may be called again and reads on: nothing is lost by it.
func (r *Reader) Next() ([]byte, error) {
	for {
		if i := bytes.IndexByte(r.buf[r.from+r.scanned:r.to], '\n'); i >= 0 {
			line := r.buf[r.from : r.from+r.scanned+i]
			r.from, r.scanned = r.from+len(line)+1, 0
			r.line++
			if r.passed > 0 || len(line) > r.limit {
				r.passed = 0
				return nil, &TooLong{r.line, r.limit}
			}
			return line, nil
		}
		r.scanned = r.to - r.from
		if r.passed > 0 || r.scanned > r.limit {
			r.passed += r.scanned
			r.from, r.to, r.scanned = 0, 0, 0
		}
		if r.err == io.EOF {
			return r.last()
		}
		if err := r.err; err != nil {
			r.err = nil
			return nil, err
		}
		r.fill()
	}
}

// last returns what stands behind the last newline.
func (r *Reader) last() ([]byte, error) {
	line, tooLong := r.buf[r.from:r.to], r.passed > 0
	if len(line) == 0 && !tooLong {
		return nil, io.EOF
	}
	r.from, r.scanned, r.passed = r.to, 0, 0
	r.line++
	if tooLong {
		return nil, &TooLong{r.line, r.limit}
	}
	return line, nil
}

// fill reads once from the source.
func (r *Reader) fill() {
	if r.from > 0 {
		copy(r.buf, r.buf[r.from:r.to])
		r.from, r.to = 0, r.to-r.from
	}
	if r.to == len(r.buf) {
		r.buf = append(make([]byte, 0, min(2*len(r.buf), r.limit+1)), r.buf...)
		r.buf = r.buf[:cap(r.buf)]
	}
	n, err := r.src.Read(r.buf[r.to:])
	r.to += n
	r.err = err
}
