package journal

import (
	"errors"
	"io"
	"os"
	"time"
)

// reading is a segment opened for reading. What the disk does not give is asked
// for again before it counts. A lossy one then gives zeros for the pages that
// cannot be read, so that they cost what lies in them and no more; they are damage
// to whoever reads, and a later reading may find them well. Who decides on
// watermarks must not be lossy.
type reading struct {
	*os.File
	lossy bool
}

func openReading(path string, lossy bool) (*reading, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	return &reading{f, lossy}, nil
}

// readPage is what a disk loses at once.
const readPage = 4096

// ReadAt implements [io.ReaderAt].
func (r *reading) ReadAt(b []byte, off int64) (int, error) { return readAt(r.File, b, off, r.lossy) }

func readAt(f io.ReaderAt, b []byte, off int64, lossy bool) (n int, err error) {
	for _, pause := range []time.Duration{0, 5 * time.Millisecond, 50 * time.Millisecond} {
		time.Sleep(pause)
		if n, err = f.ReadAt(b, off); err == nil || errors.Is(err, io.EOF) {
			return n, err
		}
	}
	if !lossy {
		return n, err
	}
	for n = 0; n < len(b); {
		page := b[n:min(len(b), n+readPage-int((off+int64(n))%readPage))]
		k, err := f.ReadAt(page, off+int64(n))
		if err != nil && !errors.Is(err, io.EOF) {
			clear(page)
			k, err = len(page), nil
		}
		if n += k; err != nil {
			return n, err // the end
		}
	}
	return n, nil
}
