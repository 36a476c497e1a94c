package wire_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"testing"
	"testing/iotest"
	"time"

	"github.com/fieldpost/fieldpost/wire"
)

var hotFrames = []struct{ name, literal string }{{"ack", goldenAck}, {"reject", goldenReject}, {"ping", goldenPing}, {"pong", goldenPong}}

// "Frame longer than its type or phase allows, of unknown type: fatal", before
// the payload is read.
func TestFrameHeaderIsRefused(t *testing.T) {
	for _, c := range []struct {
		name  string
		head  []byte
		limit int
		err   string
	}{
		{"one byte above the limit", []byte{0, 0, 0x10, 1, 0x01, 0, 0, 0, 0}, wire.MaxHello, "bad frame: hello of 4097 bytes, the limit here is 4096"},
		{"above the largest frame", []byte{0, 0x10, 0, 1, 0x10, 0, 0, 0, 0}, wire.MaxFrame, "bad frame: data of 1048577 bytes, the limit here is 1048576"},
		{"2^31", []byte{0x80, 0, 0, 0, 0x10, 0, 0, 0, 0}, wire.MaxFrame, "data of 2147483648 bytes"},
		{"2^32-1", []byte{0xff, 0xff, 0xff, 0xff, 0x10, 0, 0, 0, 0}, wire.MaxFrame, "data of 4294967295 bytes"},
		{"anything at a limit of 0", []byte{0, 0, 0, 1, 0x31, 0, 0, 0, 0}, 0, "pong of 1 bytes, the limit here is 0"},
		{"an HTTP request", []byte("GET / HTTP/1.1\r\n"), wire.MaxFrame, "bad frame: unknown type 0x2f"},
		{"a TLS hello", []byte{0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3}, wire.MaxFrame, "bad frame: unknown type 0x00"},
	} {
		t.Run(c.name, func(t *testing.T) {
			// Nothing behind the header may be waited for.
			_, payload, _, err := wire.ReadFrame(io.MultiReader(bytes.NewReader(c.head), neverReader{t}), nil, c.limit)
			wantError(t, err, c.err)
			if !errors.Is(err, wire.ErrFrame) || payload != nil {
				t.Errorf("payload %x, error %v, want ErrFrame", payload, err)
			}
		})
	}
	for typ := range 256 {
		_, _, _, err := wire.ReadFrame(bytes.NewReader(wire.AppendFrame(nil, wire.Type(typ), nil)), nil, 0)
		known := wire.Type(typ).String()[0] != 't'
		if known != (err == nil) || !known && !errors.Is(err, wire.ErrFrame) {
			t.Errorf("%s: %v", wire.Type(typ), err)
		}
	}
}

// neverReader fails its test when it is read.
type neverReader struct{ t *testing.T }

func (r neverReader) Read([]byte) (int, error) {
	r.t.Error("the reader goes on behind what it should have refused")
	return 0, io.ErrClosedPipe
}

// "Cut off": io.EOF between two frames, io.ErrUnexpectedEOF within one.
func TestFrameCutAtEveryOffset(t *testing.T) {
	for _, c := range hotFrames {
		whole := golden(t, c.literal)
		for n := range len(whole) {
			want := io.ErrUnexpectedEOF
			if n == 0 {
				want = io.EOF
			}
			if _, payload, _, err := wire.ReadFrame(bytes.NewReader(whole[:n]), nil, wire.MaxFrame); err != want || payload != nil {
				t.Errorf("%s: %d of %d bytes: payload %x, error %v, want %v", c.name, n, len(whole), payload, err, want)
			}
		}
	}
}

// The reader's own error comes through.
func TestFrameReaderFails(t *testing.T) {
	whole := golden(t, goldenAck)
	for n := range len(whole) {
		failure := errors.New("cable")
		r := io.MultiReader(bytes.NewReader(whole[:n]), iotest.ErrReader(failure))
		if _, _, _, err := wire.ReadFrame(r, nil, wire.MaxFrame); !errors.Is(err, failure) || errors.Is(err, wire.ErrFrame) {
			t.Errorf("after %d bytes: %v", n, err)
		}
	}
}

// "With a wrong checksum: fatal". A flip in the length may also ask for bytes
// that are not there.
func TestFrameWithAnyBitFlipped(t *testing.T) {
	for _, c := range hotFrames {
		b := golden(t, c.literal)
		for bit := range len(b) * 8 {
			b[bit/8] ^= 1 << (bit % 8)
			_, _, _, err := wire.ReadFrame(bytes.NewReader(b), nil, wire.MaxFrame)
			if !errors.Is(err, wire.ErrFrame) && (bit >= 32 || err != io.ErrUnexpectedEOF) {
				t.Errorf("%s: byte %d, bit %d flipped: %v", c.name, bit/8, bit%8, err)
			}
			b[bit/8] ^= 1 << (bit % 8)
		}
	}
}

// Frames of all sizes come whole through a reader that gives them in bits, into
// one buffer.
func TestFramesFollowOneAnother(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	sizes := []int{0, 1, 8, 511, 512, 513, 32767, 32768, 32769, 131072, 200000, wire.MaxFrame}
	for range 20 {
		sizes = append(sizes, r.IntN(100000))
	}
	r.Shuffle(len(sizes), func(i, j int) { sizes[i], sizes[j] = sizes[j], sizes[i] })
	random := rand.NewChaCha8([32]byte{byte(seed)})
	var all []byte
	var payloads [][]byte
	for _, n := range sizes {
		p := make([]byte, n)
		random.Read(p)
		payloads = append(payloads, p)
		all = wire.AppendFrame(all, wire.TypeMore, p)
	}
	for name, reader := range map[string]io.Reader{
		"whole": bytes.NewReader(all), "halves": iotest.HalfReader(bytes.NewReader(all)), "EOF with data": iotest.DataErrReader(bytes.NewReader(all)),
	} {
		var buf []byte
		for i, want := range payloads {
			typ, payload, grown, err := wire.ReadFrame(reader, buf, wire.MaxFrame)
			if err != nil || typ != wire.TypeMore || !bytes.Equal(payload, want) {
				t.Fatalf("%s: frame %d of %d bytes: a %s of %d, %v", name, i, len(want), typ, len(payload), err)
			}
			buf = grown
		}
		if _, _, _, err := wire.ReadFrame(reader, buf, wire.MaxFrame); err != io.EOF {
			t.Errorf("%s: behind the last frame: %v", name, err)
		}
	}
}

// TestHotPayloadIsRefused has, for each hot frame, what is not exactly its
// layout. Every length but the right one is tried besides.
func TestHotPayloadIsRefused(t *testing.T) {
	stream := []byte{0, 0, 0, 3}
	u64 := func(n uint64) []byte { return binary.BigEndian.AppendUint64(nil, n) }
	cat := func(parts ...[]byte) []byte { return bytes.Join(parts, nil) }
	data := func(p []byte) error { _, _, _, _, err := wire.ParseData(p); return err }
	more := func(p []byte) error { _, _, err := wire.ParseMore(p); return err }
	ack := func(p []byte) error { _, _, err := wire.ParseAck(p); return err }
	reject := func(p []byte) error { _, _, _, err := wire.ParseReject(p); return err }
	ping := func(p []byte) error { _, _, err := wire.ParsePing(p); return err }
	pong := func(p []byte) error { _, err := wire.ParsePong(p); return err }
	head, tomb := golden(t, goldenDataHead), golden(t, goldenTombstone)
	announced := func(next, age uint64) []byte { return cat(u64(1), []byte{0, 1}, stream, u64(next), u64(0), u64(age)) }
	batch := golden(t, goldenBatch)
	for _, c := range []struct {
		name  string
		parse func([]byte) error
		p     []byte
		err   string
	}{
		{"data: no stream", data, nil, "data payload of 0 bytes"},
		{"data: half a stream", data, stream[:3], "data payload of 3 bytes"},
		{"data: no entry", data, stream, "entry: 0 bytes, its head has 38"},
		{"data: unknown kind", data, cat(stream, []byte{9}, head[1:], batch), "unknown kind 9"},
		{"data: nothing of its batch", data, cat(stream, head), "data carries nothing of its batch"},
		{"data: more than its batch", data, cat(stream, head, batch, []byte{0}), "data carries 107 bytes, 106 were declared"},
		{"data: a byte behind a tombstone", data, cat(stream, tomb, []byte{0}), "data carries 1 bytes, 0 were declared"},
		{"more: no stream", more, nil, "more payload of 0 bytes"},
		{"more: nothing", more, stream, "more payload of 4 bytes"},
		{"ack: no number", ack, stream, "ack payload of 4 bytes"},
		{"ack: above the largest number", ack, cat(stream, u64(1<<63)), "ack of 9223372036854775808"},
		{"reject: no number", reject, stream, "reject payload of 4 bytes"},
		{"reject: number 0", reject, cat(stream, u64(0)), "reject of 0, numbers are 1 to 9223372036854775807"},
		{"reject: above the largest number", reject, cat(stream, u64(1<<63)), "reject of 9223372036854775808"},
		{"reject: why above the limit", reject, cat(stream, u64(1), make([]byte, 257)), "reject payload of 269 bytes"},
		{"reject: why not UTF-8", reject, cat(stream, u64(1), []byte{0xff}), "reject payload of 13 bytes"},
		{"ping: no count", ping, u64(1), "ping payload of 8 bytes"},
		{"ping: one announced, none there", ping, cat(u64(1), []byte{0, 1}), "ping payload of 10 bytes"},
		{"ping: none announced, one there", ping, cat(u64(1), []byte{0, 0}, make([]byte, 28)), "ping payload of 38 bytes"},
		{"ping: count 65535", ping, cat(u64(1), []byte{0xff, 0xff}), "ping payload of 10 bytes"},
		{"ping: count above the limit", ping, cat(u64(1), []byte{4, 1}, make([]byte, 1025*28)), "ping payload of 28710 bytes"},
		{"ping: next 0", ping, announced(0, 0), "ping announces next 0"},
		{"ping: next above the largest number's", ping, announced(1<<63+1, 0), "ping announces next 9223372036854775809"},
		{"ping: an age of 2^63 ns", ping, announced(1, 1<<63), "an age of -9223372036854775808 ns"},
		{"pong: nothing", pong, nil, "pong payload of 0 bytes"},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := c.parse(c.p)
			wantError(t, err, c.err)
			same(t, errors.Is(err, wire.ErrFrame), true)
		})
	}
	for _, c := range []struct {
		name  string
		parse func([]byte) error
		good  func(int) bool
	}{
		{"ack", ack, func(n int) bool { return n == 12 }},
		{"pong", pong, func(n int) bool { return n == 8 }},
		{"ping", ping, func(n int) bool { return n == 10 }},
		{"more", more, func(n int) bool { return n > 4 }},
		{"reject", reject, func(n int) bool { return n >= 12 && n <= 268 }},
	} {
		for n := range 300 {
			p := make([]byte, n)
			if c.name == "reject" && n >= 12 {
				p[11] = 1
			}
			if err := c.parse(p); (err == nil) != c.good(n) {
				t.Errorf("%s of %d bytes: %v", c.name, n, err)
			}
		}
	}
	for name, c := range map[string]struct {
		parse func([]byte) error
		p     []byte
	}{
		"ack 0: nothing is stored yet":  {ack, cat(stream, u64(0))},
		"ack of the largest number":     {ack, cat(stream, u64(1<<63-1))},
		"reject of the largest number":  {reject, cat(stream, u64(1<<63-1))},
		"next behind the largest":       {ping, announced(1<<63, 1<<63-1)},
		"as many announcements as fit":  {ping, wire.AppendPing(nil, 1, make1024())[9:]},
		"the first byte of a batch":     {data, cat(stream, head, batch[:1])},
		"a whole batch":                 {data, cat(stream, head, batch)},
		"a tombstone without a detail":  {data, cat(stream, golden(t, goldenBareTombstone))},
		"one byte of a batch in a more": {more, cat(stream, []byte{0})},
	} {
		if err := c.parse(c.p); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func make1024() []wire.Announcement {
	list := make([]wire.Announcement, wire.MaxStreams)
	for i := range list {
		list[i].Next = 1
	}
	return list
}

// A clock that went back makes the oldest message younger than nothing: that is
// not the link's fault.
func TestPingWithAnAgeBelowZero(t *testing.T) {
	p := readOne(t, wire.AppendPing(nil, 1, []wire.Announcement{{Stream: 1, Next: 2, OldestAge: -time.Hour}}), wire.TypePing)
	_, list, err := wire.ParsePing(p)
	if err != nil {
		t.Fatal(err)
	}
	same(t, list, []wire.Announcement{{Stream: 1, Next: 2}})
}

// However a batch is cut, its frames put together are the batch, none is above
// the largest frame and each has something of it.
func TestFragmentsOfEverySize(t *testing.T) {
	small := goldenEntries(t)[goldenDataHead]
	large := wire.Entry{From: 1, To: 4, Incarnation: goldenIncarnation, Batch: make([]byte, wire.MaxBatchSize)}
	for i := range large.Batch {
		large.Batch[i] = byte(i * i)
	}
	for _, c := range []struct {
		entry  *wire.Entry
		size   int
		frames int
	}{
		{&small, 1, 106}, {&small, 105, 2}, {&small, 106, 1}, {&small, 107, 1}, {&small, 0, 1}, {&small, -1, 1},
		{&large, 0, 289}, {&large, wire.DefaultFragment, 289}, {&large, 1 << 30, 5}, {&large, wire.MaxFrame, 5},
	} {
		r := bytes.NewReader(wire.AppendData(nil, 3, c.entry, c.size))
		var got, buf []byte
		frames := 0
		for ; r.Len() > 0; frames++ {
			typ, payload, grown, err := wire.ReadFrame(r, buf, wire.MaxFrame)
			if err != nil {
				t.Fatal(err)
			}
			buf = grown
			var part []byte
			if frames == 0 {
				same(t, typ, wire.TypeData)
				_, _, _, part, err = wire.ParseData(payload)
			} else {
				same(t, typ, wire.TypeMore)
				_, part, err = wire.ParseMore(payload)
			}
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, part...)
		}
		if frames != c.frames || !bytes.Equal(got, c.entry.Batch) {
			t.Errorf("%d bytes in fragments of %d: %d frames, want %d; whole: %t", len(c.entry.Batch), c.size, frames, c.frames, bytes.Equal(got, c.entry.Batch))
		}
	}
}

func TestChecksumIsCRC32C(t *testing.T) {
	same(t, crc32.Checksum([]byte("123456789"), wire.Castagnoli), uint32(0xe3069283))
}
