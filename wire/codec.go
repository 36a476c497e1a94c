package wire

import (
	"errors"
	"fmt"
	"runtime"
	"slices"

	"github.com/klauspost/compress/s2"
	"github.com/klauspost/compress/zstd"
)

// Codec says how a batch's records are compressed. Its text form is none, s2 or
// zstd.
type Codec uint8

// The codecs.
const (
	CodecNone Codec = 0 // as they are
	CodecS2   Codec = 1 // one S2 block: quick, a half to a quarter of telemetry's size
	CodecZstd Codec = 2 // Zstandard frames (RFC 8878): about twice as small, at a quarter of the speed
)

// ErrCodec is returned for a batch whose codec this version does not know.
var ErrCodec = errors.New("unknown codec")

var codecNames = []string{"none", "s2", "zstd"}

// String returns the codec's name.
func (c Codec) String() string {
	if int(c) < len(codecNames) {
		return codecNames[c]
	}
	return fmt.Sprintf("codec-%d", uint8(c))
}

// MarshalText returns the codec's name.
func (c Codec) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// UnmarshalText is the reverse of MarshalText.
func (c *Codec) UnmarshalText(b []byte) error {
	i := slices.Index(codecNames, string(b))
	if i < 0 {
		return fmt.Errorf("%.40q is no codec; write none, s2 or zstd", b)
	}
	*c = Codec(i)
	return nil
}

// What a receiver takes of compressed records, checked before anything is
// allocated for them: raw bytes up to MaxBatch, and up to so many for each byte
// as stored.
const maxRatio = 100

const (
	zstdWindow    = 128 << 10 // of what is written here: more gains little and costs memory
	maxZstdWindow = 8 << 20   // of what is read
)

// encoder is shared by all who compress: it holds some hundred KiB, and a batch
// takes it for less than a millisecond. It allocates them with its first use.
var encoder = must(zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1),
	zstd.WithWindowSize(zstdWindow), zstd.WithLowerEncoderMem(true), zstd.WithEncoderCRC(false))) // the batch has a checksum

func must[T any](v T, err error) T {
	if err != nil {
		panic(err) // the options are constants
	}
	return v
}

// compress appends records to dst, compressed by c, and returns with them the
// codec that they have now: none where compression does not make them smaller.
// What shrinks to less than a receiver takes is filled up to that.
func compress(dst []byte, c Codec, records []byte) ([]byte, Codec) {
	start := len(dst)
	least := (len(records) + maxRatio - 1) / maxRatio
	if c == CodecS2 {
		dst = slices.Grow(dst, s2.MaxEncodedLen(len(records)))
		n := len(s2.Encode(dst[start:start:cap(dst)], records))
		if dst = dst[:start+n]; n < least { // an S2 block cannot be filled up
			dst, c = dst[:start], CodecZstd
		}
	}
	if c == CodecZstd {
		dst = encoder.EncodeAll(records, dst)
		if missing := least - (len(dst) - start); missing > 0 {
			dst = appendSkippable(dst, missing)
		}
	}
	if c == CodecNone || len(dst)-start >= len(records) {
		return append(dst[:start], records...), CodecNone
	}
	return dst, c
}

// appendSkippable appends a frame that a Zstandard decoder passes over, of n
// bytes or the least that one has.
func appendSkippable(dst []byte, n int) []byte {
	n = max(0, n-8)
	dst = append(dst, 0x50, 0x2a, 0x4d, 0x18, byte(n), byte(n>>8), byte(n>>16), byte(n>>24))
	return append(dst, make([]byte, n)...)
}

// expander is a place to decompress in.
type expander struct {
	zstd *zstd.Decoder // made with the first use
	buf  []byte        // for what is looked at and not kept
}

// keptBuffer is how large a buffer an expander keeps; larger batches are rare.
const keptBuffer = 512 << 10

// expanders has one expander for each processor: whoever decompresses takes one
// and puts it back, so a crowd of links takes no more memory at a time than a few.
var expanders = func() chan *expander {
	n := runtime.GOMAXPROCS(0)
	ch := make(chan *expander, n)
	for range n {
		ch <- new(expander)
	}
	return ch
}()

// expand appends the raw bytes of stored, which c has compressed, to dst.
func (x *expander) expand(dst []byte, c Codec, stored []byte, raw int) ([]byte, error) {
	start := len(dst)
	dst = slices.Grow(dst, raw)
	var out []byte
	var err error
	switch room := dst[start : start : start+raw]; c {
	case CodecS2:
		var n int
		if n, err = s2.DecodedLen(stored); err == nil && n == raw {
			out, err = s2.Decode(room, stored)
		} else if err == nil {
			err = fmt.Errorf("a block of %d bytes", n)
		}
	case CodecZstd:
		if x.zstd == nil {
			x.zstd, err = zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecodeAllCapLimit(true),
				zstd.WithDecoderMaxMemory(maxZstdWindow), zstd.WithDecoderMaxWindow(maxZstdWindow))
		}
		if err == nil {
			out, err = x.zstd.DecodeAll(stored, room)
		}
	default:
		err = ErrCodec
	}
	if err == nil && len(out) != raw {
		err = fmt.Errorf("%d bytes", len(out))
	}
	if err != nil {
		return dst, fmt.Errorf("%s of %d bytes does not give the %d bytes of records that it declares: %w", c, len(stored), raw, err)
	}
	return dst[:start+raw], nil
}
