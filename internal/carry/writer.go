package carry

import (
	"bufio"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
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
	sign Signer
	open int // bytes of entries behind the last signature
	err  error
}

// NewWriter begins a file with what its streams are. The Boundaries of m's streams
// are written as their histories, whatever their Count. sign signs it with the key of
// m's first certificate; it is nil if m has none.
func NewWriter(w io.Writer, m Manifest, sign Signer) (*Writer, error) {
	id := wire.NewID()
	return newWriter(w, m, sign, id)
}

func newWriter(to io.Writer, m Manifest, sign Signer, id wire.ID) (*Writer, error) {
	if (sign == nil) != (len(m.Certificates) == 0) {
		return nil, errors.New("carry file: a signer without a certificate, or a certificate without a signer")
	}
	w := &Writer{w: bufio.NewWriterSize(to, 256<<10), sum: sha256.New(), seed: seedOf(id), done: Summary{File: id}, sign: sign}
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
	version := byte(1)
	if sign != nil {
		version = Version
	}
	w.write(appendHead(nil, version, id))
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
	w.signature(false)
	return w, w.err
}

// Entry writes an entry of a stream, which the manifest has at that place. The
// entries of a stream are in order, and so are the streams. The batch is not kept.
func (w *Writer) Entry(stream int, e *wire.Entry) error {
	w.buf = binary.BigEndian.AppendUint32(w.buf[:0], uint32(stream))
	w.buf = wire.AppendEntry(w.buf, e)
	w.buf = append(w.buf, e.Batch...)
	w.block(kindEntry, w.buf)
	if w.open += len(w.buf); w.open >= signEvery {
		w.signature(false)
	}
	w.done.Entries++
	w.done.Numbers += uint64(e.To - e.From + 1)
	return w.err
}

// Close writes the end, without which the file counts as cut off. It does not
// close what is written to.
func (w *Writer) Close() (Summary, error) {
	w.signature(true)
	w.buf = binary.BigEndian.AppendUint64(w.buf[:0], w.done.Entries)
	w.buf = binary.BigEndian.AppendUint64(w.buf, w.done.Numbers)
	w.buf = w.sum.Sum(w.buf)
	w.block(kindEnd, w.buf)
	if w.err == nil {
		w.err = w.w.Flush()
	}
	return w.done, w.err
}

// signature signs all that was written so far, if the file is one that is signed.
func (w *Writer) signature(last bool) {
	w.open = 0
	if w.sign == nil || w.err != nil {
		return
	}
	s, err := w.sign(signedMessage(last, w.sum))
	if err != nil {
		w.err = fmt.Errorf("carry file: sign it: %w", err)
		return
	}
	w.block(kindSignature, append([]byte{octet(last)}, s...))
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
