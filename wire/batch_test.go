package wire_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"math"
	"strings"
	"testing"

	"github.com/fieldpost/fieldpost/wire"
)

// resum puts the right checksum behind a batch that a test has changed.
func resum(b []byte) []byte {
	body := b[:len(b)-4]
	binary.BigEndian.PutUint32(b[len(body):], crc32.Checksum(body, wire.Castagnoli))
	return b
}

func put32(offset int, n uint32) func([]byte) []byte {
	return func(b []byte) []byte { binary.BigEndian.PutUint32(b[offset:], n); return b }
}

func put64(offset int, n uint64) func([]byte) []byte {
	return func(b []byte) []byte { binary.BigEndian.PutUint64(b[offset:], n); return b }
}

func fill(offset, size int, c byte) func([]byte) []byte {
	return func(b []byte) []byte { copy(b[offset:offset+size], bytes.Repeat([]byte{c}, size)); return b }
}

// TestBatchIsRefused changes one field of a good batch at a time and sets the
// checksum right again: what is seen is the field.
func TestBatchIsRefused(t *testing.T) {
	const raw = 35 // bytes of the golden batch's records
	for _, c := range []struct {
		name   string
		change func([]byte) []byte
		err    string
	}{
		{"magic", fill(0, 1, 'f'), "begins with"},
		{"format version 0", fill(3, 1, 0), "begins with"},
		{"format version 2", fill(3, 1, 2), "begins with"},
		{"codec: others are errors in this version", fill(4, 1, 3), "unknown codec 3"},
		{"codec 255", fill(4, 1, 255), "unknown codec 255"},
		{"lane of 0 bytes", func(b []byte) []byte { return append(fill(5, 1, 0)(b)[:60], b[67:]...) }, "want 1 to 64 characters"},
		{"lane of 65 bytes", func(b []byte) []byte {
			return append(append(fill(5, 1, 65)(b)[:60:60], bytes.Repeat([]byte{'x'}, 65)...), b[67:]...)
		}, "declares a lane of 65"},
		{"lane of 255 bytes", fill(5, 1, 255), "declares a lane of 255"},
		{"lane with a slash", fill(60, 1, '/'), "character 1 is not one of"},
		{"lane not UTF-8", fill(66, 1, 0xff), "character 7 is not one of"},
		{"lane ..", func(b []byte) []byte { return append(append(fill(5, 1, 2)(b)[:60:60], ".."...), b[67:]...) }, "reserved"},
		{"first reserved byte", fill(6, 1, 1), "reserved bytes are not zero"},
		{"second reserved byte", fill(7, 1, 1), "reserved bytes are not zero"},
		{"epoch zero", fill(8, 16, 0), "epoch or incarnation is zero"},
		{"incarnation zero", fill(24, 16, 0), "epoch or incarnation is zero"},
		{"first 0", put64(40, 0), "first 0 and count 2 are no range"},
		{"first above the largest number", put64(40, 1<<63), "no range"},
		{"last above the largest number", put64(40, 1<<63-1), "no range"},
		{"last overflows", put64(40, math.MaxUint64), "no range"},
		{"count 0", put32(48, 0), "first 7 and count 0 are no range"},
		{"count of more records than the bytes can hold", put32(48, 4), "4 records cannot be 35 bytes"},
		{"count 2^32-1", put32(48, math.MaxUint32), "4294967295 records cannot be 35 bytes"},
		{"raw one less than stored", put32(52, raw-1), "declares 34 bytes of records, has 35"},
		{"raw one more than stored", put32(52, raw+1), "declares 36 bytes of records, has 35"},
		{"raw above the limit", put32(52, wire.MaxBatch+1), "4194305 bytes of records, the limit is 4194304"},
		{"raw 2^32-1", put32(52, math.MaxUint32), "4294967295 bytes of records, the limit is 4194304"},
		{"stored one less than there is", put32(56, raw-1), "106 bytes, its header declares 105"},
		{"stored one more than there is", put32(56, raw+1), "106 bytes, its header declares 107"},
		{"stored above the limit", put32(56, wire.MaxBatch+wire.MaxBatch/8+1), "declares a lane of 7 and records of 4718593 bytes"},
		{"stored 2^32-1", put32(56, math.MaxUint32), "records of 4294967295 bytes"},
		{"s2 that made nothing smaller", fill(4, 1, 1), "s2 has made 35 bytes of records into 35, want less"},
		{"zstd that made nothing smaller", fill(4, 1, 2), "zstd has made 35 bytes of records into 35, want less"},
		{"more than 100:1", func(b []byte) []byte { return put32(52, 100*raw+1)(fill(4, 1, 2)(b)) }, "zstd has made 3501 bytes of records into 35, want less than before and at least a part in 100"},
		{"one byte behind it", func(b []byte) []byte { return append(b, 0) }, "107 bytes, its header declares 106"},
	} {
		t.Run(c.name, func(t *testing.T) {
			b, err := wire.ParseBatch(resum(c.change(golden(t, goldenBatch))))
			wantError(t, err, c.err)
			same(t, b, wire.Batch{})
			same(t, errors.Is(err, wire.ErrCodec), strings.HasPrefix(c.name, "codec"))
		})
	}
}

func TestBatchCutAtEveryOffset(t *testing.T) {
	whole := golden(t, goldenBatch)
	for n := range len(whole) {
		if _, err := wire.ParseBatch(whole[:n:n]); err == nil {
			t.Errorf("%d of %d bytes are taken for a batch", n, len(whole))
		}
		if size, err := wire.BatchSize(whole[:n:n]); n < 60 && err == nil || n >= 60 && size != len(whole) {
			t.Errorf("BatchSize of %d bytes: %d, %v", n, size, err)
		}
	}
}

// The checksum covers all bytes before it.
func TestBatchWithAnyBitFlipped(t *testing.T) {
	b := golden(t, goldenBatch)
	for bit := range len(b) * 8 {
		b[bit/8] ^= 1 << (bit % 8)
		if _, err := wire.ParseBatch(b); err == nil {
			t.Errorf("byte %d, bit %d flipped: no error", bit/8, bit%8)
		}
		b[bit/8] ^= 1 << (bit % 8)
	}
	if _, err := wire.ParseBatch(b); err != nil {
		t.Error(err)
	}
}

// "There are exactly count records which all decode": a wrong count passes the
// checksum, as the sender has made it, and is found by reading the records.
func TestBatchRecordsAreNotAsDeclared(t *testing.T) {
	first, second := golden(t, goldenFirstRecord), golden(t, goldenSecondRecord)
	bad := bytes.Clone(second)
	bad[9] = 1 // a topic of one byte, which is the header count
	for _, c := range []struct {
		name    string
		count   uint32
		records []byte
		good    int // records yielded before the error
		err     string
	}{
		{"one record too many", 1, append(bytes.Clone(first), second...), 1, "batch 7+1: 11 bytes behind the last record"},
		{"one record too few", 3, append(bytes.Clone(first), second...), 2, "batch 7+3: number 9: record: bad length"},
		{"a record cut short", 2, append(bytes.Clone(first), second[:10]...), 1, "batch 7+2: number 8: record: 10 bytes declared, 9 left"},
		{"a byte between", 2, append(append(bytes.Clone(first), 0xff), second...), 1, "batch 7+2: number 8: record: 1407 bytes declared, 10 left"},
		{"a record that does not decode", 2, append(bytes.Clone(first), bad...), 2, "batch 7+2: number 8: record: bad header count"},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := goldenHeader
			h.Count = c.count
			b, err := wire.ParseBatch(wire.AppendBatch(nil, h, c.records))
			if err != nil {
				t.Fatal(err)
			}
			wantError(t, b.Check(), c.err)
			good, errs := 0, 0
			for n, err := range b.Records() {
				if err != nil {
					errs++
					same(t, n, wire.Numbered{})
					continue
				}
				same(t, n.Seq, h.First+wire.Seq(good))
				good++
			}
			if same(t, good, c.good); errs > 1 {
				t.Errorf("%d errors, want at most one", errs)
			}
		})
	}
}

// Records stops when its caller does.
func TestBatchRecordsCanBeLeft(t *testing.T) {
	b, err := wire.ParseBatch(golden(t, goldenBatch))
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for range b.Records() {
		n++
		break
	}
	same(t, n, 1)
}

func TestBatchAtItsLimits(t *testing.T) {
	// Four records of the largest size are above MaxBatch with their lengths: 3 of
	// them and a fourth that fills up.
	var records []byte
	for range 3 {
		records = append(records, append(varint(wire.MaxRecord, 3), make([]byte, wire.MaxRecord)...)...)
	}
	left := wire.MaxBatch - len(records) - 3
	records = append(records, append(varint(uint64(left), 3), make([]byte, left)...)...)
	h := wire.BatchHeader{Lane: "x", Epoch: goldenEpoch, Incarnation: goldenIncarnation, First: wire.MaxSeq - 3, Count: 4}
	b, err := wire.ParseBatch(wire.AppendBatch(nil, h, records))
	if err != nil {
		t.Fatal(err)
	}
	same(t, b.Raw, wire.MaxBatch)
	same(t, b.Last(), wire.MaxSeq)
	if err := b.Check(); err != nil {
		t.Error(err)
	}
	h.First = 1
	_, err = wire.ParseBatch(wire.AppendBatch(nil, h, append(records, 0)))
	wantError(t, err, "the limit is 4194304")
}
