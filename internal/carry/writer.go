package carry

import (
	"bufio"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"hash"
	"io"

	"github.com/fieldpost/fieldpost/wire"
)

// Writer writes a carry file. It is for one goroutine.
type Writer struct {
	w    *bufio.Writer
	sum  hash.Hash
	seed uint32
	buf  []byte
	done Summary
	err  error
}

// NewWriter begins a file with what its streams are. The Boundaries of m's streams
// are written as their histories, whatever their Count.
func NewWriter(w io.Writer, m Manifest) (*Writer, error) {
	id := wire.NewID()
	return newWriter(w, m, id)
}

func newWriter(to io.Writer, m Manifest, id wire.ID) (*Writer, error) {
	w := &Writer{w: bufio.NewWriterSize(to, 256<<10), sum: sha256.New(), seed: seedOf(id), done: Summary{File: id}}
	m.Streams = append([]Stream{}, m.Streams...)
	for i := range m.Streams {
		m.Streams[i].Count = len(m.Streams[i].Boundaries)
	}
	if err := m.check(); err != nil {
		return nil, fmt.Errorf("carry file: %w", err)
	}
	text, err := json.Marshal(m)
	if err != nil {
		return nil, fmt.Errorf("carry file: %w", err)
	}
	if len(text) > maxManifest {
		return nil, fmt.Errorf("carry file: what is to be said of %d streams takes %d bytes, the limit is %d: export one lane at a time", len(m.Streams), len(text), maxManifest)
	}
	w.write(appendHead(nil, id))
	w.block(kindManifest, text)
	for i := range m.Streams {
		for h := m.Streams[i].Boundaries; len(h) > 0; {
			n := min(len(h), pageBounds)
			w.buf = binary.BigEndian.AppendUint32(w.buf[:0], uint32(i))
			for _, b := range h[:n] {
				w.buf = append(w.buf, b.Incarnation.ID[:]...)
				w.buf = binary.BigEndian.AppendUint64(w.buf, uint64(b.First))
			}
			w.block(kindHistory, w.buf)
			h = h[n:]
		}
	}
	return w, w.err
}

// Entry writes an entry of a stream, which the manifest has at that place. The
// entries of a stream are in order, and so are the streams. The batch is not kept.
func (w *Writer) Entry(stream int, e *wire.Entry) error {
	w.buf = binary.BigEndian.AppendUint32(w.buf[:0], uint32(stream))
	w.buf = wire.AppendEntry(w.buf, e)
	w.buf = append(w.buf, e.Batch...)
	w.block(kindEntry, w.buf)
	w.done.Entries++
	w.done.Numbers += uint64(e.To - e.From + 1)
	return w.err
}

// Close writes the end, without which the file counts as cut off. It does not
// close what is written to.
func (w *Writer) Close() (Summary, error) {
	w.buf = binary.BigEndian.AppendUint64(w.buf[:0], w.done.Entries)
	w.buf = binary.BigEndian.AppendUint64(w.buf, w.done.Numbers)
	w.buf = w.sum.Sum(w.buf)
	w.block(kindEnd, w.buf)
	if w.err == nil {
		w.err = w.w.Flush()
	}
	return w.done, w.err
}

func (w *Writer) block(kind byte, payload []byte) {
	var head [blockHead]byte
	head[0] = kind
	binary.BigEndian.PutUint32(head[4:], uint32(len(payload)))
	binary.BigEndian.PutUint32(head[8:], blockCRC(w.seed, head[:], payload))
	w.write(head[:])
	w.write(payload)
}

func (w *Writer) write(b []byte) {
	if w.err != nil {
		return
	}
	w.sum.Write(b)
	w.done.Bytes += int64(len(b))
	_, w.err = w.w.Write(b)
}
