package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"time"
	"unicode/utf8"
)

// Type is the kind of a frame. Each constant is followed by its payload.
type Type uint8

// The types.
const (
	TypeHello   Type = 0x01 // agent: JSON Hello; the first frame of a link
	TypeHistory Type = 0x02 // agent: JSON StreamState; Hello.Streams of them, and their further pages, follow the hello
	TypeWelcome Type = 0x03 // collector: JSON Welcome
	TypeRefuse  Type = 0x04 // collector: JSON Refuse; the last frame
	TypeBye     Type = 0x05 // either: JSON Bye; the last frame
	TypeResume  Type = 0x06 // agent: JSON Resume; opens a stream for this link

	TypeEnroll   Type = 0x07 // agent: JSON Enroll; the only frame it sends on a connection for enrolment
	TypeEnrolled Type = 0x08 // collector: JSON Enrolled; the answer

	TypeData   Type = 0x10 // agent: stream u32, entry head, then the batch's first bytes (a tombstone has none)
	TypeMore   Type = 0x11 // agent: stream u32, the batch's next bytes
	TypeAck    Type = 0x20 // collector: stream u32, W u64
	TypeReject Type = 0x21 // collector: stream u32, number u64, why (UTF-8, at most 256 bytes)
	TypePing   Type = 0x30 // either: nonce u64, count u16, count times Announcement (stream u32, next u64, backlog bytes u64, oldest age u64 ns)
	TypePong   Type = 0x31 // either: nonce u64
)

var typeNames = map[Type]string{TypeHello: "hello", TypeHistory: "history", TypeWelcome: "welcome", TypeRefuse: "refuse", TypeBye: "bye",
	TypeResume: "resume", TypeEnroll: "enroll", TypeEnrolled: "enrolled", TypeData: "data", TypeMore: "more", TypeAck: "ack", TypeReject: "reject", TypePing: "ping", TypePong: "pong"}

// String returns the type's name as docs/PROTOCOL.md has it.
func (t Type) String() string {
	if s, ok := typeNames[t]; ok {
		return s
	}
	return fmt.Sprintf("type-%#02x", uint8(t))
}

// A frame, numbers big-endian:
//
//	offset  size  field
//	     0     4  length N of the payload
//	     4     1  type
//	     5     4  CRC-32C over the 5 bytes before it and the payload
//	     9     N  payload
const frameHeader = 9

// ErrFrame marks a frame that breaks the protocol: too long, of unknown type,
// with a wrong checksum or a payload that is not what its type says. It is fatal
// for the link.
var ErrFrame = errors.New("bad frame")

// BeginFrame appends a frame's header to dst and returns the longer slice. The
// caller appends the payload and then calls EndFrame with the length that dst
// had before.
func BeginFrame(dst []byte, t Type) []byte {
	return append(dst, 0, 0, 0, 0, byte(t), 0, 0, 0, 0)
}

// EndFrame completes the frame that began at start with its length and checksum.
func EndFrame(dst []byte, start int) []byte {
	f := dst[start:]
	binary.BigEndian.PutUint32(f, uint32(len(f)-frameHeader))
	crc := crc32.Checksum(f[:5], Castagnoli)
	crc = crc32.Update(crc, Castagnoli, f[frameHeader:])
	binary.BigEndian.PutUint32(f[5:], crc)
	return dst
}

// AppendFrame appends a whole frame to dst.
func AppendFrame(dst []byte, t Type, payload []byte) []byte {
	start := len(dst)
	return EndFrame(append(BeginFrame(dst, t), payload...), start)
}

// ReadFrame reads one frame from r. Its payload may have at most limit bytes;
// more is an error before anything is allocated. The payload lies in buf, which
// grows as bytes arrive, not as they are promised, and is returned for the next
// call: the payload is good until then. io.EOF means that r ended between two frames; in the middle of one it is
// io.ErrUnexpectedEOF.
func ReadFrame(r io.Reader, buf []byte, limit int) (t Type, payload, grown []byte, err error) {
	if cap(buf) < frameHeader {
		buf = make([]byte, frameHeader, 512)
	}
	head := buf[:frameHeader]
	if _, err := io.ReadFull(r, head); err != nil {
		return 0, nil, buf, err
	}
	size := int64(binary.BigEndian.Uint32(head))
	t = Type(head[4])
	want := binary.BigEndian.Uint32(head[5:])
	switch {
	case typeNames[t] == "":
		return t, nil, buf, fmt.Errorf("%w: unknown type %#02x", ErrFrame, uint8(t))
	case size > int64(limit):
		return t, nil, buf, fmt.Errorf("%w: %s of %d bytes, the limit here is %d", ErrFrame, t, size, limit)
	}
	n := int(size)
	crc := crc32.Checksum(head[:5], Castagnoli)
	for have := 0; have < n; {
		if cap(buf) == have || have == 0 && cap(buf) < min(n, firstRead) {
			bigger := make([]byte, min(n, max(firstRead, 4*have)))
			copy(bigger, buf[:have])
			buf = bigger
		}
		k, err := io.ReadFull(r, buf[have:min(n, cap(buf))])
		if have += k; err != nil {
			if err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return t, nil, buf, err
		}
	}
	payload = buf[:n]
	if got := crc32.Update(crc, Castagnoli, payload); got != want {
		return t, nil, buf, fmt.Errorf("%w: %s with checksum %08x, its content has %08x", ErrFrame, t, want, got)
	}
	return t, payload, buf, nil
}

// firstRead is how much of a frame ReadFrame makes room for before any of it has
// come: a data frame of the usual size is read at once.
const firstRead = 2 * DefaultFragment

func badPayload(t Type, n int) error {
	return fmt.Errorf("%w: %s payload of %d bytes", ErrFrame, t, n)
}

// AppendData appends the frames that carry e on a stream to dst: one data frame
// and, for a batch longer than fragment bytes, more frames.
func AppendData(dst []byte, stream uint32, e *Entry, fragment int) []byte {
	f := Fragments{Stream: stream, Entry: e, Size: fragment}
	for !f.Done() {
		dst = f.Append(dst)
	}
	return dst
}

// Fragments cuts one entry into frames, so that a sender can put other frames
// between them.
type Fragments struct {
	Stream uint32
	Entry  *Entry
	Size   int // bytes of the batch in one frame; 0: DefaultFragment, at most what a frame can hold

	sent    int
	started bool
}

// Done reports whether all frames have been appended.
func (f *Fragments) Done() bool { return f.started && f.sent == len(f.Entry.Batch) }

// Append appends the next frame to dst, nothing once all frames have been
// appended.
func (f *Fragments) Append(dst []byte) []byte {
	if f.Done() {
		return dst
	}
	start, size := len(dst), min(f.Size, MaxFrame-4-entryDataHead)
	if size <= 0 {
		size = DefaultFragment
	}
	if f.started {
		dst = BeginFrame(dst, TypeMore)
		dst = binary.BigEndian.AppendUint32(dst, f.Stream)
	} else {
		f.started = true
		dst = BeginFrame(dst, TypeData)
		dst = binary.BigEndian.AppendUint32(dst, f.Stream)
		dst = AppendEntry(dst, f.Entry)
	}
	part := f.Entry.Batch[f.sent:min(len(f.Entry.Batch), f.sent+size)]
	f.sent += len(part)
	return EndFrame(append(dst, part...), start)
}

// ParseData reads a data frame: the stream, the entry's head, the size of its
// batch and the first bytes of it, which point into p.
func ParseData(p []byte) (stream uint32, e Entry, size int, first []byte, err error) {
	if len(p) < 4 {
		return 0, e, 0, nil, badPayload(TypeData, len(p))
	}
	stream = binary.BigEndian.Uint32(p)
	e, size, first, err = ParseEntry(p[4:])
	switch {
	case err != nil:
		err = fmt.Errorf("%w: %w", ErrFrame, err)
	case len(first) > size:
		err = fmt.Errorf("%w: data carries %d bytes, %d were declared", ErrFrame, len(first), size)
	case size > 0 && len(first) == 0:
		err = fmt.Errorf("%w: data carries nothing of its batch", ErrFrame)
	}
	if err != nil {
		return 0, Entry{}, 0, nil, err
	}
	return stream, e, size, first, nil
}

// ParseMore reads a more frame; the part points into p.
func ParseMore(p []byte) (stream uint32, part []byte, err error) {
	if len(p) < 5 {
		return 0, nil, badPayload(TypeMore, len(p))
	}
	return binary.BigEndian.Uint32(p), p[4:], nil
}

// AppendAck appends an ack frame: all numbers up to w are stored or tombstoned.
func AppendAck(dst []byte, stream uint32, w Seq) []byte {
	start := len(dst)
	dst = BeginFrame(dst, TypeAck)
	dst = binary.BigEndian.AppendUint32(dst, stream)
	return EndFrame(binary.BigEndian.AppendUint64(dst, uint64(w)), start)
}

// ParseAck reads an ack frame.
func ParseAck(p []byte) (stream uint32, w Seq, err error) {
	if len(p) != 12 {
		return 0, 0, badPayload(TypeAck, len(p))
	}
	if w = Seq(binary.BigEndian.Uint64(p[4:])); w > MaxSeq {
		return 0, 0, fmt.Errorf("%w: ack of %d, the largest number is %d", ErrFrame, w, MaxSeq)
	}
	return binary.BigEndian.Uint32(p), w, nil
}

// AppendReject appends a reject frame: the store refuses number n for good. A
// why that is too long or not UTF-8 is made to fit.
func AppendReject(dst []byte, stream uint32, n Seq, why string) []byte {
	start := len(dst)
	dst = BeginFrame(dst, TypeReject)
	dst = binary.BigEndian.AppendUint32(dst, stream)
	dst = binary.BigEndian.AppendUint64(dst, uint64(n))
	return EndFrame(append(dst, fitText(why, MaxReason)...), start)
}

// ParseReject reads a reject frame.
func ParseReject(p []byte) (stream uint32, n Seq, why string, err error) {
	if len(p) < 12 || len(p) > 12+MaxReason || !utf8.Valid(p[12:]) {
		return 0, 0, "", badPayload(TypeReject, len(p))
	}
	if n = Seq(binary.BigEndian.Uint64(p[4:])); n == 0 || n > MaxSeq {
		return 0, 0, "", fmt.Errorf("%w: reject of %d, numbers are 1 to %d", ErrFrame, n, MaxSeq)
	}
	return binary.BigEndian.Uint32(p), n, string(p[12:]), nil
}

// Announcement tells the collector how far a stream goes: every number below
// Next exists (rule 11).
type Announcement struct {
	Stream       uint32
	Next         Seq
	BacklogBytes uint64
	OldestAge    time.Duration // of the oldest message that is not acked; below 0 (a clock went back) it is sent as 0
}

const announcementSize = 28

// AppendPing appends a ping frame with at most MaxStreams announcements. The
// collector's pings announce nothing.
func AppendPing(dst []byte, nonce uint64, list []Announcement) []byte {
	start := len(dst)
	dst = BeginFrame(dst, TypePing)
	dst = binary.BigEndian.AppendUint64(dst, nonce)
	dst = binary.BigEndian.AppendUint16(dst, uint16(len(list)))
	for _, a := range list {
		dst = binary.BigEndian.AppendUint32(dst, a.Stream)
		dst = binary.BigEndian.AppendUint64(dst, uint64(a.Next))
		dst = binary.BigEndian.AppendUint64(dst, a.BacklogBytes)
		dst = binary.BigEndian.AppendUint64(dst, uint64(max(0, a.OldestAge)))
	}
	return EndFrame(dst, start)
}

// ParsePing reads a ping frame.
func ParsePing(p []byte) (nonce uint64, list []Announcement, err error) {
	if len(p) < 10 {
		return 0, nil, badPayload(TypePing, len(p))
	}
	n := int(binary.BigEndian.Uint16(p[8:]))
	if n > MaxStreams || len(p) != 10+n*announcementSize {
		return 0, nil, badPayload(TypePing, len(p))
	}
	for b := p[10:]; len(b) > 0; b = b[announcementSize:] {
		a := Announcement{
			Stream:       binary.BigEndian.Uint32(b),
			Next:         Seq(binary.BigEndian.Uint64(b[4:])),
			BacklogBytes: binary.BigEndian.Uint64(b[12:]),
			OldestAge:    time.Duration(binary.BigEndian.Uint64(b[20:])),
		}
		if a.Next == 0 || a.Next > MaxSeq+1 || a.OldestAge < 0 {
			return 0, nil, fmt.Errorf("%w: ping announces next %d and an age of %d ns", ErrFrame, a.Next, a.OldestAge)
		}
		list = append(list, a)
	}
	return binary.BigEndian.Uint64(p), list, nil
}

// AppendPong appends the answer to a ping.
func AppendPong(dst []byte, nonce uint64) []byte {
	start := len(dst)
	return EndFrame(binary.BigEndian.AppendUint64(BeginFrame(dst, TypePong), nonce), start)
}

// ParsePong reads a pong frame.
func ParsePong(p []byte) (nonce uint64, err error) {
	if len(p) != 8 {
		return 0, badPayload(TypePong, len(p))
	}
	return binary.BigEndian.Uint64(p), nil
}
