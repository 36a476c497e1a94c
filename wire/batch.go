package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"iter"
	"slices"
)

// A batch, all numbers big-endian:
//
//	offset  size  field
//	     0     4  magic "FPB" and the format version, 1
//	     4     1  codec of the records
//	     5     1  length L of the lane's name
//	     6     2  zero
//	     8    16  epoch in which the batch was made (its birth epoch)
//	    24    16  incarnation that made it
//	    40     8  first: number of the first record
//	    48     4  count of records, at least 1
//	    52     4  raw: bytes of the records before compression
//	    56     4  stored: bytes of the records as they stand here
//	    60     L  lane
//	  60+L     S  records, each with its length in front
//	60+L+S     4  CRC-32C over all bytes before it
const (
	batchMagic   = "FPB\x01"
	batchHeader  = 60
	batchTrailer = 4
)

// Castagnoli is the table of CRC-32C, the checksum of batches, frames and files.
var Castagnoli = crc32.MakeTable(crc32.Castagnoli)

// BatchHeader is what a batch says of itself. The epoch is the one in which the
// batch was made: after a fork the same bytes belong to another stream, and the
// link and the journal name that stream beside the batch.
type BatchHeader struct {
	Lane        Lane
	Epoch       Epoch
	Incarnation Incarnation
	First       Seq
	Count       uint32
	Codec       Codec // to AppendBatch: the one wished for
}

// Last returns the number of the last record.
func (h *BatchHeader) Last() Seq { return h.First + Seq(h.Count) - 1 }

// AppendBatch appends an encoded batch to dst and returns the longer slice.
// records holds h.Count records as AppendRecord writes them. records is not
// kept. The caller keeps to MaxBatch and to valid names. Records that h.Codec
// does not make smaller are not compressed; the batch says so itself. While it
// compresses, dst may need somewhat more room than the result: a caller who keeps
// results encodes into a buffer of his own and keeps a copy.
func AppendBatch(dst []byte, h BatchHeader, records []byte) []byte {
	start := len(dst)
	dst = append(dst, batchMagic...)
	dst = append(dst, 0, byte(len(h.Lane)), 0, 0)
	dst = append(dst, h.Epoch.ID[:]...)
	dst = append(dst, h.Incarnation.ID[:]...)
	dst = binary.BigEndian.AppendUint64(dst, uint64(h.First))
	dst = binary.BigEndian.AppendUint32(dst, h.Count)
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(records)))
	dst = append(dst, 0, 0, 0, 0)
	dst = append(dst, h.Lane...)
	before := len(dst)
	dst, codec := compress(dst, h.Codec, records)
	dst[start+4] = byte(codec)
	binary.BigEndian.PutUint32(dst[start+56:], uint32(len(dst)-before))
	return binary.BigEndian.AppendUint32(dst, crc32.Checksum(dst[start:], Castagnoli))
}

// Batch is a verified encoded batch.
type Batch struct {
	BatchHeader
	Raw     int    // bytes of the records before compression
	records []byte // as stored
}

// BatchSize returns the whole size of the batch that begins at b, from its
// header alone, which may be damaged or hostile: the size is at most
// MaxBatchSize. b needs its first 60 bytes.
func BatchSize(b []byte) (int, error) {
	if len(b) < batchHeader {
		return 0, fmt.Errorf("batch: %d bytes, a header has %d", len(b), batchHeader)
	}
	if string(b[:4]) != batchMagic {
		return 0, fmt.Errorf("batch: begins with %q, not %q", b[:4], batchMagic)
	}
	lane, stored := uint32(b[5]), binary.BigEndian.Uint32(b[56:])
	if lane > MaxName || stored > maxStored {
		return 0, fmt.Errorf("batch: declares a lane of %d and records of %d bytes, the limits are %d and %d", lane, stored, MaxName, maxStored)
	}
	return batchHeader + int(lane) + int(stored) + batchTrailer, nil
}

// ParseBatch verifies the batch that is exactly b: its form, limits and
// checksum, but not what its records say; see [Batch.Check]. The result points
// into b.
func ParseBatch(b []byte) (Batch, error) {
	size, err := BatchSize(b)
	if err != nil {
		return Batch{}, err
	}
	if size != len(b) {
		return Batch{}, fmt.Errorf("batch: %d bytes, its header declares %d", len(b), size)
	}
	body := b[:size-batchTrailer]
	if got, want := crc32.Checksum(body, Castagnoli), binary.BigEndian.Uint32(b[size-batchTrailer:]); got != want {
		return Batch{}, fmt.Errorf("batch: checksum %08x, its content has %08x", want, got)
	}
	lane, err := ParseLane(string(b[batchHeader : batchHeader+int(b[5])]))
	if err != nil {
		return Batch{}, fmt.Errorf("batch: %w", err)
	}
	p := Batch{
		BatchHeader: BatchHeader{
			Lane:        lane,
			Epoch:       Epoch{ID(b[8:24])},
			Incarnation: Incarnation{ID(b[24:40])},
			First:       Seq(binary.BigEndian.Uint64(b[40:])),
			Count:       binary.BigEndian.Uint32(b[48:]),
			Codec:       Codec(b[4]),
		},
		records: body[batchHeader+len(lane) : len(body) : len(body)],
	}
	raw := binary.BigEndian.Uint32(b[52:]) // may not fit an int
	switch {
	case b[6] != 0 || b[7] != 0:
		err = errors.New("batch: reserved bytes are not zero")
	case p.Codec > CodecZstd:
		err = fmt.Errorf("batch: %w %d", ErrCodec, p.Codec)
	case raw > MaxBatch:
		err = fmt.Errorf("batch: %d bytes of records, the limit is %d", raw, MaxBatch)
	case p.Codec != CodecNone && (int(raw) <= len(p.records) || int(raw) > maxRatio*len(p.records)):
		err = fmt.Errorf("batch: declares that %s has made %d bytes of records into %d, want less than before and at least a part in %d", p.Codec, raw, len(p.records), maxRatio)
	case p.Codec == CodecNone && int(raw) != len(p.records):
		err = fmt.Errorf("batch: declares %d bytes of records, has %d", raw, len(p.records))
	case p.First == 0 || p.First > MaxSeq || p.Count == 0 || p.Last() > MaxSeq:
		err = fmt.Errorf("batch: first %d and count %d are no range", p.First, p.Count)
	case uint64(p.Count)*minRecord > uint64(raw):
		err = fmt.Errorf("batch: %d records cannot be %d bytes", p.Count, raw)
	case p.Epoch.IsZero() || p.Incarnation.IsZero():
		err = errors.New("batch: epoch or incarnation is zero")
	}
	if err != nil {
		return Batch{}, err
	}
	p.Raw = int(raw)
	return p, nil
}

// Records yields the batch's records with their numbers, in order. It ends with
// an error where the records are not exactly Count well-formed ones; the
// checksum makes that the sender's doing, not the disk's. The records of a batch
// that is not compressed point into it, others into memory of their own.
func (p *Batch) Records() iter.Seq2[Numbered, error] {
	return func(yield func(Numbered, error) bool) {
		b := p.records
		if p.Codec != CodecNone {
			var err error
			if b, err = p.AppendRecords(nil); err != nil {
				yield(Numbered{}, err)
				return
			}
		}
		p.walk(b, yield)
	}
}

// walk yields the records of b, which are p's as they were before compression.
func (p *Batch) walk(b []byte, yield func(Numbered, error) bool) {
	for i := range p.Count {
		r, rest, err := NextRecord(b)
		if err != nil {
			yield(Numbered{}, fmt.Errorf("batch %d+%d: number %d: %w", p.First, p.Count, p.First+Seq(i), err))
			return
		}
		if b = rest; !yield(Numbered{p.First + Seq(i), r}, nil) {
			return
		}
	}
	if len(b) > 0 {
		yield(Numbered{}, fmt.Errorf("batch %d+%d: %d bytes behind the last record", p.First, p.Count, len(b)))
	}
}

// AppendRecords appends the batch's records, one after another as AppendRecord
// writes them, to dst and returns the longer slice; dst as it was if they cannot
// be decompressed. What they say is not checked.
func (p *Batch) AppendRecords(dst []byte) ([]byte, error) {
	if p.Codec == CodecNone {
		return append(dst, p.records...), nil
	}
	x := <-expanders
	defer func() { expanders <- x }()
	return p.expand(x, dst)
}

func (p *Batch) expand(x *expander, dst []byte) ([]byte, error) {
	out, err := x.expand(dst, p.Codec, p.records, p.Raw)
	if err != nil {
		return dst, fmt.Errorf("batch %d+%d: %w", p.First, p.Count, err)
	}
	return out, nil
}

// look is Records for a caller who keeps none of them: what is decompressed is
// gone when look returns.
func (p *Batch) look(yield func(Numbered, error) bool) {
	if p.Codec == CodecNone {
		p.walk(p.records, yield)
		return
	}
	x := <-expanders
	defer func() { expanders <- x }()
	buf := slices.Grow(x.buf[:0], p.Raw)
	if cap(buf) <= keptBuffer {
		x.buf = buf
	}
	b, err := p.expand(x, buf)
	if err != nil {
		yield(Numbered{}, err)
		return
	}
	p.walk(b, yield)
}

// Numbered is a record and its number.
type Numbered struct {
	Seq    Seq
	Record Record
}

// Check verifies what the checksum does not: that every record decodes. A
// collector runs it before it stores a batch, so that a reader never meets one
// that does not.
func (p *Batch) Check() error {
	for n, err := range p.look {
		if err != nil {
			return err
		}
		if err := n.Record.Check(); err != nil {
			return fmt.Errorf("batch %d+%d: number %d: %w", p.First, p.Count, n.Seq, err)
		}
	}
	return nil
}

// Fingerprint returns the fingerprint of record n, 0 if n is not in the batch.
func (p *Batch) Fingerprint(n Seq) Fingerprint {
	if n < p.First || n > p.Last() {
		return 0
	}
	for r, err := range p.look {
		if err == nil && r.Seq == n {
			return r.Record.Fingerprint()
		}
	}
	return 0
}
