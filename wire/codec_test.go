package wire_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/s2"
	"github.com/klauspost/compress/zstd"

	"github.com/fieldpost/fieldpost/wire"
)

var codecs = []wire.Codec{wire.CodecNone, wire.CodecS2, wire.CodecZstd}

func TestGoldenCompressedBatches(t *testing.T) {
	record := append(golden(t, goldenLongRecord), bytes.Repeat([]byte("x"), 100)...)
	records := append(bytes.Clone(record), record...)
	want := wire.Message{Topic: "t", Time: goldenFirst.Time, Body: bytes.Repeat([]byte("x"), 100)}
	for literal, codec := range map[string]wire.Codec{goldenS2Batch: wire.CodecS2, goldenZstdBatch: wire.CodecZstd} {
		encoded := golden(t, literal)
		b, err := wire.ParseBatch(encoded)
		if err != nil {
			t.Fatal(err)
		}
		h := goldenHeader
		h.Codec = codec
		same(t, b.BatchHeader, h)
		same(t, b.Raw, len(records))
		if err := b.Check(); err != nil {
			t.Error(err)
		}
		same(t, b.Fingerprint(8), wire.Record(record[1:]).Fingerprint())
		same(t, b.Fingerprint(9), wire.Fingerprint(0))
		n := 0
		for r, err := range b.Records() {
			if err != nil {
				t.Fatal(err)
			}
			m, err := r.Record.Message()
			if err != nil {
				t.Fatal(err)
			}
			same(t, m, want)
			n++
		}
		same(t, n, 2)
		raw, err := b.AppendRecords([]byte("before"))
		if err != nil {
			t.Fatal(err)
		}
		sameBytes(t, raw, append([]byte("before"), records...))
		for bit := range len(encoded) * 8 { // the checksum covers what is compressed, too
			encoded[bit/8] ^= 1 << (bit % 8)
			if _, err := wire.ParseBatch(encoded); err == nil {
				t.Errorf("%s: byte %d, bit %d flipped: no error", codec, bit/8, bit%8)
			}
			encoded[bit/8] ^= 1 << (bit % 8)
		}
	}
}

// telemetry returns n messages as a sensor sends them, and their records.
func telemetry(t testing.TB, n int) (list []wire.Message, records []byte) {
	t.Helper()
	r := rand.New(rand.NewPCG(1, 2))
	at := time.Unix(1700000000, 0).UTC()
	for i := range n {
		at = at.Add(time.Second + time.Duration(r.IntN(1e6)))
		m := wire.Message{Topic: "plant/pump-7/temp", Time: at,
			Body: fmt.Appendf(nil, `{"sensor":"pump-7/bearing-%d","value":%.3f,"unit":"celsius","quality":"good","sequence":%d}`, i%4, 40+r.Float64(), i)}
		var err error
		if records, err = wire.AppendRecord(records, &m); err != nil {
			t.Fatal(err)
		}
		list = append(list, m)
	}
	return list, records
}

func TestEveryCodecGivesBackWhatItGot(t *testing.T) {
	for _, n := range []int{1, 2, 100, 10_000} {
		list, records := telemetry(t, n)
		h := wire.BatchHeader{Lane: "default", Epoch: goldenEpoch, Incarnation: goldenIncarnation, First: 3, Count: uint32(n)}
		var sizes []int
		for _, codec := range codecs {
			h.Codec = codec
			encoded := wire.AppendBatch([]byte("before"), h, records)
			sameBytes(t, encoded[:6], []byte("before"))
			b, err := wire.ParseBatch(encoded[6:])
			if err != nil {
				t.Fatal(err)
			}
			if err := b.Check(); err != nil {
				t.Error(err)
			}
			i := 0
			for r, err := range b.Records() {
				if err != nil {
					t.Fatal(err)
				}
				m, err := r.Record.Message()
				if err != nil {
					t.Fatal(err)
				}
				same(t, m, list[i])
				i++
			}
			same(t, i, n)
			same(t, b.Fingerprint(h.Last()), wire.Record(records[len(records)-recordTail(t, records):]).Fingerprint())
			sizes = append(sizes, len(encoded))
		}
		t.Logf("%d messages: %d bytes, s2 %d, zstd %d", n, sizes[0], sizes[1], sizes[2])
		if n >= 100 && (sizes[1] > sizes[0]*6/10 || sizes[2] > sizes[1]*8/10) {
			t.Errorf("%d messages: %v bytes by none, s2, zstd", n, sizes)
		}
	}
}

// recordTail returns the size of the last record in records.
func recordTail(t *testing.T, records []byte) (n int) {
	t.Helper()
	for len(records) > 0 {
		r, rest, err := wire.NextRecord(records)
		if err != nil {
			t.Fatal(err)
		}
		n, records = len(r), rest
	}
	return n
}

// "Records that do not get smaller MUST NOT be compressed."
func TestWhatDoesNotShrinkIsNotCompressed(t *testing.T) {
	r := rand.NewChaCha8([32]byte{1})
	for _, size := range []int{0, 1, 10, 1000, 1<<20 - 100} {
		m := wire.Message{Time: goldenFirst.Time, Body: make([]byte, size)}
		_, _ = r.Read(m.Body)
		records, err := wire.AppendRecord(nil, &m)
		if err != nil {
			t.Fatal(err)
		}
		h := goldenHeader
		h.Count = 1
		plain := wire.AppendBatch(nil, h, records)
		for _, h.Codec = range codecs {
			sameBytes(t, wire.AppendBatch(nil, h, records), plain)
		}
	}
}

// What compresses better than 100:1 is filled up to that, so that no receiver
// refuses it.
func TestWhatShrinksTooMuchIsFilledUp(t *testing.T) {
	for _, size := range []int{500, 1000, 5000, 100_000, 1<<20 - 100} {
		m := wire.Message{Time: time.Unix(0, 0), Body: make([]byte, size)}
		one, err := wire.AppendRecord(nil, &m)
		if err != nil {
			t.Fatal(err)
		}
		for count := 1; count*len(one) <= wire.MaxBatch; count *= 16 {
			h := goldenHeader
			h.Count = uint32(count)
			for _, h.Codec = range codecs[1:] {
				encoded := wire.AppendBatch(nil, h, bytes.Repeat(one, count))
				b, err := wire.ParseBatch(encoded)
				if err != nil {
					t.Fatalf("%s, %d times %d bytes: %v", h.Codec, count, size, err)
				}
				if err := b.Check(); err != nil || b.Codec == wire.CodecNone {
					t.Errorf("%s, %d times %d bytes: codec %s, %v", h.Codec, count, size, b.Codec, err)
				}
				if most := b.Raw/20 + 200; len(encoded) > most {
					t.Errorf("%s, %d times %d bytes: %d bytes, want at most %d", h.Codec, count, size, len(encoded), most)
				}
			}
		}
	}
}

// compressedBatch puts stored where the golden batch's records are.
func compressedBatch(t testing.TB, codec wire.Codec, raw uint32, stored []byte) []byte {
	b := golden(t, goldenBatch)[:67:67]
	b[4] = byte(codec)
	put32(52, raw)(b)
	put32(56, uint32(len(stored)))(b)
	return resum(append(append(b, stored...), 0, 0, 0, 0))
}

// Records that do not decompress to what is declared, and streams that ask for
// more memory than they may, are errors of the batch, and cost little.
func TestCompressedRecordsAreNotAsDeclared(t *testing.T) {
	_, records := telemetry(t, 1000)
	raw := uint32(len(records))
	enc := func(options ...zstd.EOption) []byte {
		e, err := zstd.NewWriter(nil, append(options, zstd.WithEncoderConcurrency(1))...)
		if err != nil {
			t.Fatal(err)
		}
		return e.EncodeAll(records, nil)
	}
	stream := func(window int) []byte { // does not declare its size
		var out bytes.Buffer
		e, err := zstd.NewWriter(&out, zstd.WithWindowSize(window), zstd.WithEncoderConcurrency(1))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := e.Write(records); err != nil {
			t.Fatal(err)
		}
		if err := e.Flush(); err != nil {
			t.Fatal(err)
		}
		if err := e.Close(); err != nil {
			t.Fatal(err)
		}
		return out.Bytes()
	}
	good := enc()
	if stream(8 << 20)[4]&0x20 != 0 {
		t.Fatal("the frame has no window of its own")
	}
	window := func(log byte) []byte { // of 1 KiB << log
		b := stream(8 << 20)
		b[5] = log << 3
		return b
	}
	e, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1))
	if err != nil {
		t.Fatal(err)
	}
	bomb := e.EncodeAll(make([]byte, wire.MaxBatch), nil)
	block := s2.Encode(nil, records)
	for _, c := range []struct {
		name   string
		codec  wire.Codec
		raw    uint32
		stored []byte
		err    string
	}{
		{"good", wire.CodecZstd, raw, good, ""},
		{"in two frames", wire.CodecZstd, raw, append(enc()[:0:0], twoFrames(t, records)...), ""},
		{"of unknown size", wire.CodecZstd, raw, stream(128 << 10), ""},
		{"good", wire.CodecS2, raw, block, ""},
		{"one byte less declared", wire.CodecZstd, raw - 1, good, "zstd"},
		{"one byte more declared", wire.CodecZstd, raw + 1, good, "zstd"},
		{"of unknown size, one byte less declared", wire.CodecZstd, raw - 1, stream(128 << 10), "zstd"},
		{"a window of 8 MiB", wire.CodecZstd, raw, window(13), ""},
		{"a window of 16 MiB", wire.CodecZstd, raw, window(14), "window"},
		{"4 MiB of zeros, 100:1 declared", wire.CodecZstd, uint32(100 * len(bomb)), bomb, "zstd"},
		{"cut off", wire.CodecZstd, raw, good[:len(good)-1], "zstd"},
		{"garbage behind it", wire.CodecZstd, raw, append(bytes.Clone(good), "garbage"...), "zstd"},
		{"not zstd", wire.CodecZstd, raw, block, "zstd"},
		{"one byte less declared", wire.CodecS2, raw - 1, block, "s2"},
		{"one byte more declared", wire.CodecS2, raw + 1, block, "s2"},
		{"cut off", wire.CodecS2, raw, block[:len(block)-1], "s2"},
		{"not s2", wire.CodecS2, raw, good, "s2"},
	} {
		t.Run(c.codec.String()+" "+c.name, func(t *testing.T) {
			b, err := wire.ParseBatch(compressedBatch(t, c.codec, c.raw, c.stored))
			if err != nil {
				t.Fatal(err)
			}
			out, err := b.AppendRecords([]byte("x"))
			if c.err == "" {
				if err != nil || !bytes.Equal(out[1:], records) {
					t.Errorf("%d bytes of %d, %v", len(out)-1, len(records), err)
				}
				return
			}
			wantError(t, err, c.err)
			same(t, string(out), "x")
			wantError(t, b.Check(), c.err)
			same(t, b.Fingerprint(7), wire.Fingerprint(0))
			errs := 0
			for n, err := range b.Records() {
				same(t, n, wire.Numbered{})
				wantError(t, err, c.err)
				errs++
			}
			same(t, errs, 1)
			if n := allocated(func() { _ = b.Check() }); n > uint64(2*c.raw) {
				t.Errorf("%d bytes allocated for what declares %d", n, c.raw)
			}
		})
	}
}

func twoFrames(t *testing.T, records []byte) []byte {
	t.Helper()
	e, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1))
	if err != nil {
		t.Fatal(err)
	}
	half := len(records) / 2
	return e.EncodeAll(records[half:], e.EncodeAll(records[:half], nil))
}

// Many batches at once, good and bad, share a few decoders.
func TestCompressionIsForManyAtOnce(t *testing.T) {
	_, records := telemetry(t, 1000)
	h := wire.BatchHeader{Lane: "default", Epoch: goldenEpoch, Incarnation: goldenIncarnation, First: 1, Count: 1000}
	done := make(chan error)
	const callers = 8
	for i := range callers {
		go func() {
			h := h
			h.Codec = codecs[i%3]
			for range 5 {
				b, err := wire.ParseBatch(wire.AppendBatch(nil, h, records))
				if err == nil {
					err = b.Check()
				}
				if err == nil && b.Fingerprint(1000) == 0 {
					err = fmt.Errorf("no fingerprint")
				}
				bad, perr := wire.ParseBatch(compressedBatch(t, wire.CodecZstd, 100, []byte("nothing of the kind")))
				if perr != nil || bad.Check() == nil {
					err = fmt.Errorf("a bad batch is taken: %v", perr)
				}
				if err != nil {
					done <- err
					return
				}
			}
			done <- nil
		}()
	}
	for range callers {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

func TestCodecText(t *testing.T) {
	for i, name := range []string{"none", "s2", "zstd"} {
		text, err := wire.Codec(i).MarshalText()
		var back wire.Codec
		if err != nil || string(text) != name || back.UnmarshalText(text) != nil || back != wire.Codec(i) {
			t.Errorf("codec %d is %q, %v and back %d", i, text, err, back)
		}
	}
	same(t, wire.Codec(3).String(), "codec-3")
	for _, s := range []string{"", "gzip", "S2", "codec-3", strings.Repeat("x", 100)} {
		var c wire.Codec
		wantError(t, c.UnmarshalText([]byte(s)), "write none, s2 or zstd")
	}
}

func BenchmarkCodec(b *testing.B) {
	for _, n := range []int{1, 64, 2000} {
		_, records := telemetry(b, n)
		h := wire.BatchHeader{Lane: "default", Epoch: goldenEpoch, Incarnation: goldenIncarnation, First: 1, Count: uint32(n)}
		for _, h.Codec = range codecs {
			name := fmt.Sprintf("count=%d/codec=%s", n, h.Codec)
			encoded := wire.AppendBatch(nil, h, records)
			b.Run("append/"+name, func(b *testing.B) {
				b.SetBytes(int64(len(records)))
				b.ReportAllocs()
				dst := make([]byte, 0, 2*len(records)+256)
				for b.Loop() {
					dst = wire.AppendBatch(dst[:0], h, records)
				}
				b.ReportMetric(float64(len(records))/float64(len(encoded)), "ratio")
			})
			b.Run("check/"+name, func(b *testing.B) {
				b.SetBytes(int64(len(records)))
				b.ReportAllocs()
				for b.Loop() {
					p, err := wire.ParseBatch(encoded)
					if err == nil {
						err = p.Check()
					}
					if err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
