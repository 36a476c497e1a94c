package queue

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"time"

	"github.com/fieldpost/fieldpost/wire"
)

// A segment's records, all numbers big-endian. Each begins with the magic "FPQ",
// the format version 1 and its kind, and ends with a CRC-32C over all before it.
// A string is its length in 16 bits and its bytes; a list its count in 32 bits
// and its elements; an id is 16 bytes; a number of a message 8.
//
//	'h' head   ordinal u64, first u64, bytes u64, made i64 ns, age u64 ns, before u64, trust u64, epoch, agent string, lane string, history
//	'l' link   epoch, store id, anchor (boot id, u64 ns, age u64 ns), confirmed (i64 ns, age u64 ns),
//	           doubt u64, forks u64, rolled back u64, relabelled u64, list of doubled (from, to), history;
//	           if it is not 0: turn u64
//	'd' drops  dead letters u64, list of (reason u8, count u64), list of tombstones;
//	           if any letter is forgotten: list of (from u64, to u64), of them for want of room u64
//	't' tip    transaction u64, flags u8 (1 clean), oldest, before u64, next, commit, letter u64, accepted u64, bytes u64, age u64 ns, list of marks (store id, upto)
//	'x' dead letter  epoch, number, time i64 ns, why string, list of bytes: the message's record
//	'i' checkpoint  version u64, list of bytes: what an input needs to go on
//	'm' memo        of a file of its own: memo.go
//
//	history    list of (incarnation, first)
//	tombstone  from, to, reason u8, claim u8, time i64 ns, fingerprint u64, detail string
//
// head is never changed after the file got its name; the others are what
// [state] says. first is the smallest number of a batch that the file may hold,
// bytes the bytes of all batches before it, before the ordinal of the segment
// that was the tail until then (0: none), trust the last transaction of that
// one whose sync is known to have succeeded: a later one is taken back. A tip
// counts only if its transaction is the newest of the file.
const recordMagic = "FPQ\x01"

// head is what a segment file says of itself.
type head struct {
	agent   wire.AgentID
	lane    wire.Lane
	ordinal uint64
	first   wire.Seq
	bytes   uint64
	made    time.Time
	age     time.Duration // the lane's, then
	before  proven
	epoch   wire.Epoch
	history wire.History
}

// proven is the newest transaction of a segment that is known to be on disk.
type proven struct {
	ordinal uint64
	tx      int
}

// letter is a dead letter: a message that a store has refused for good.
type letter struct {
	ordinal uint64 // the lane's first is 0; the record's key
	epoch   wire.Epoch
	n       wire.Seq
	time    time.Time
	why     string
	record  wire.Record
}

func appendRecord(dst []byte, kind byte, body func([]byte) []byte) []byte {
	start := len(dst)
	dst = append(append(dst, recordMagic...), kind)
	dst = body(dst)
	return binary.BigEndian.AppendUint32(dst, crc32.Checksum(dst[start:], wire.Castagnoli))
}

func appendU64(dst []byte, list ...uint64) []byte {
	for _, v := range list {
		dst = binary.BigEndian.AppendUint64(dst, v)
	}
	return dst
}

func appendCount(dst []byte, n int) []byte { return binary.BigEndian.AppendUint32(dst, uint32(n)) }

func appendString(dst []byte, s string) []byte {
	return append(binary.BigEndian.AppendUint16(dst, uint16(len(s))), s...)
}

func appendHistory(dst []byte, h wire.History) []byte {
	dst = appendCount(dst, len(h))
	for _, b := range h {
		dst = appendU64(append(dst, b.Incarnation.ID[:]...), uint64(b.First))
	}
	return dst
}

func appendHead(dst []byte, h *head) []byte {
	return appendRecord(dst, 'h', func(b []byte) []byte {
		b = appendU64(b, h.ordinal, uint64(h.first), h.bytes, uint64(h.made.UnixNano()), uint64(h.age), h.before.ordinal, uint64(h.before.tx))
		b = append(b, h.epoch.ID[:]...)
		b = appendString(b, string(h.agent))
		b = appendString(b, string(h.lane))
		return appendHistory(b, h.history)
	})
}

func appendLink(dst []byte, s *state) []byte {
	return appendRecord(dst, 'l', func(b []byte) []byte {
		b = append(b, s.epoch.ID[:]...)
		b = append(b, s.store.ID[:]...)
		b = append(b, s.anchor.boot[:]...)
		wall := int64(0)
		if !s.confirmed.wall.IsZero() {
			wall = s.confirmed.wall.UnixNano()
		}
		b = appendU64(b, uint64(s.anchor.at), uint64(s.anchor.age), uint64(wall), uint64(s.confirmed.age))
		b = appendU64(b, uint64(s.doubt), s.forks, s.rolledBack, s.relabelled)
		b = appendCount(b, len(s.doubled))
		for _, d := range s.doubled {
			b = appendU64(b, uint64(d.from), uint64(d.to))
		}
		if b = appendHistory(b, s.history); s.turn > 0 {
			b = appendU64(b, s.turn)
		}
		return b
	})
}

func appendDrops(dst []byte, s *state) []byte {
	return appendRecord(dst, 'd', func(b []byte) []byte {
		b = appendU64(b, s.dead)
		kinds := 0
		for _, n := range s.dropped {
			if n > 0 {
				kinds++
			}
		}
		b = appendCount(b, kinds)
		for reason, n := range s.dropped {
			if n > 0 {
				b = appendU64(append(b, byte(reason)), n)
			}
		}
		b = appendCount(b, len(s.tombs))
		for i := range s.tombs {
			t := &s.tombs[i]
			b = appendU64(b, uint64(t.from), uint64(t.to))
			b = appendU64(append(b, byte(t.reason), byte(t.claim)), uint64(t.time.UnixNano()), uint64(t.fingerprint))
			b = appendString(b, t.detail)
		}
		if len(s.forgotten) > 0 {
			b = appendCount(b, len(s.forgotten))
			for _, f := range s.forgotten {
				b = appendU64(b, f.from, f.to)
			}
			b = appendU64(b, s.evicted)
		}
		return b
	})
}

func appendTip(dst []byte, s *state, tx int) []byte {
	return appendRecord(dst, 't', func(b []byte) []byte {
		flags := byte(0)
		if s.clean {
			flags = 1
		}
		b = append(appendU64(b, uint64(tx)), flags)
		b = appendU64(b, uint64(s.oldest), uint64(s.before), uint64(s.next), uint64(s.commit), s.letter, s.accepted, s.bytes, uint64(s.age))
		b = appendCount(b, len(s.marks))
		for _, m := range s.marks {
			b = appendU64(append(b, m.store.ID[:]...), uint64(m.upto))
		}
		return b
	})
}

func appendLetter(dst []byte, l *letter) []byte {
	return appendRecord(dst, 'x', func(b []byte) []byte {
		b = append(b, l.epoch.ID[:]...)
		b = appendU64(b, uint64(l.n), uint64(l.time.UnixNano()))
		b = appendString(b, l.why)
		return append(appendCount(b, len(l.record)), l.record...)
	})
}

// reader takes a record apart; the first error stays, and everything after it
// reads as zero.
type reader struct {
	b   []byte
	err error
}

var (
	errShort   = errors.New("it ends early")
	errVersion = errors.New("format version")
)

// openRecord verifies a record's frame and returns a reader of its body.
func openRecord(b []byte, kind byte) *reader {
	const least = len(recordMagic) + 1 + 4
	switch {
	case len(b) < least:
		return &reader{err: errShort}
	case string(b[:3]) != recordMagic[:3] || b[4] != kind:
		return &reader{err: fmt.Errorf("it begins with %q", b[:5])}
	}
	body := b[:len(b)-4]
	if got, want := crc32.Checksum(body, wire.Castagnoli), binary.BigEndian.Uint32(b[len(body):]); got != want {
		return &reader{err: fmt.Errorf("checksum %08x, its content has %08x", want, got)}
	}
	if b[3] != recordMagic[3] { // and not a flipped bit
		return &reader{err: fmt.Errorf("%w %d, this program knows %d", errVersion, b[3], recordMagic[3])}
	}
	return &reader{b: body[5:]}
}

func (r *reader) take(n int) []byte {
	if r.err == nil && n > len(r.b) {
		r.err = errShort
	}
	if r.err != nil {
		return nil
	}
	v := r.b[:n]
	r.b = r.b[n:]
	return v
}

func (r *reader) u8() byte {
	if v := r.take(1); v != nil {
		return v[0]
	}
	return 0
}

func (r *reader) u64() uint64 {
	if v := r.take(8); v != nil {
		return binary.BigEndian.Uint64(v)
	}
	return 0
}

func (r *reader) seq() wire.Seq    { return wire.Seq(r.u64()) }
func (r *reader) time() time.Time  { return time.Unix(0, int64(r.u64())) }
func (r *reader) id() (id wire.ID) { copy(id[:], r.take(len(id))); return id }
func (r *reader) fail(format string, a ...any) {
	if r.err == nil {
		r.err = fmt.Errorf(format, a...)
	}
}

// count reads how many elements of at least size bytes follow.
func (r *reader) count(size int) int {
	v := r.take(4)
	if v == nil {
		return 0
	}
	n := binary.BigEndian.Uint32(v)
	if uint64(n) > uint64(len(r.b)/size) {
		r.fail("%d elements declared, %d bytes left", n, len(r.b))
		return 0
	}
	return int(n)
}

func (r *reader) string() string {
	v := r.take(2)
	if v == nil {
		return ""
	}
	return string(r.take(int(binary.BigEndian.Uint16(v))))
}

func (r *reader) history() wire.History {
	n := r.count(24)
	h := make(wire.History, 0, n)
	for range n {
		h = append(h, wire.Boundary{Incarnation: wire.Incarnation{ID: r.id()}, First: r.seq()})
	}
	if err := h.Check(); err != nil {
		r.fail("%w", err)
	}
	return h
}

// end returns the first error, which is about the record what.
func (r *reader) end(what string) error {
	if r.err == nil && len(r.b) > 0 {
		r.err = fmt.Errorf("%d bytes are left over", len(r.b))
	}
	if errors.Is(r.err, errVersion) { // not damage: a newer program wrote it and can read it
		return fmt.Errorf("record %s: %w", what, r.err)
	}
	if r.err != nil {
		return &damage{"record " + what, r.err}
	}
	return nil
}

func parseHead(b []byte) (h head, err error) {
	r := openRecord(b, 'h')
	h.ordinal, h.first, h.bytes, h.made = r.u64(), r.seq(), r.u64(), r.time()
	h.age = time.Duration(r.u64())
	h.before = proven{r.u64(), int(r.u64())}
	h.epoch = wire.Epoch{ID: r.id()}
	h.agent, h.lane = wire.AgentID(r.string()), wire.Lane(r.string())
	h.history = r.history()
	if r.err == nil && h.first == 0 {
		r.fail("its first number is 0")
	}
	return h, r.end("head")
}

func (s *state) parseLink(b []byte) error {
	r := openRecord(b, 'l')
	s.epoch, s.store = wire.Epoch{ID: r.id()}, wire.StoreID{ID: r.id()}
	s.anchor = anchor{r.id(), time.Duration(r.u64()), time.Duration(r.u64())}
	s.confirmed = confirmed{}
	if wall := int64(r.u64()); wall != 0 {
		s.confirmed.wall = time.Unix(0, wall)
	}
	s.confirmed.age = time.Duration(r.u64())
	s.doubt, s.forks, s.rolledBack, s.relabelled = r.seq(), r.u64(), r.u64(), r.u64()
	s.doubled = nil
	for range r.count(16) {
		s.doubled = append(s.doubled, span{r.seq(), r.seq()})
	}
	s.history = r.history()
	if s.turn = 0; r.err == nil && len(r.b) > 0 {
		if s.turn = r.u64(); s.turn == 0 {
			r.fail("its turn is 0")
		}
	}
	if r.err == nil && s.epoch.IsZero() {
		r.fail("its epoch is zero")
	}
	last := wire.Seq(0)
	for _, d := range s.doubled {
		if d.from <= last || d.to < d.from {
			r.fail("doubled numbers %d to %d are out of order", d.from, d.to)
		}
		last = d.to
	}
	return r.end("link")
}

func (s *state) parseDrops(b []byte) error {
	r := openRecord(b, 'd')
	s.dead, s.dropped, s.tombs = r.u64(), [256]uint64{}, nil
	for range r.count(9) {
		reason := r.u8()
		s.dropped[reason] = r.u64()
	}
	last := wire.Seq(0)
	for range r.count(36) {
		t := tombstone{span: span{r.seq(), r.seq()}}
		t.reason, t.claim, t.time, t.fingerprint = wire.Reason(r.u8()), claim(r.u8()), r.time(), wire.Fingerprint(r.u64())
		t.detail = r.string()
		if t.claim > void {
			r.fail("tombstone %d to %d has claim %d, which is unknown", t.from, t.to, t.claim)
		}
		if t.from <= last || t.to < t.from {
			r.fail("tombstone %d to %d is out of order", t.from, t.to)
		}
		last = t.to
		s.tombs = append(s.tombs, t)
	}
	s.forgotten, s.evicted = nil, 0
	if r.err == nil && len(r.b) > 0 {
		for range r.count(16) {
			s.forgotten = append(s.forgotten, letters{r.u64(), r.u64()})
		}
		s.evicted = r.u64()
	}
	next := uint64(0)
	for i, f := range s.forgotten {
		if f.to < f.from || i > 0 && f.from <= next || f.to >= s.dead {
			r.fail("forgotten letters %d to %d of %d are out of order", f.from, f.to, s.dead)
		}
		next = f.to
	}
	return r.end("drops")
}

func (s *state) parseTip(b []byte) (tx int, err error) {
	r := openRecord(b, 't')
	tx = int(r.u64())
	flags := r.u8()
	s.clean = flags == 1
	s.oldest, s.before, s.next, s.commit = r.seq(), wire.Fingerprint(r.u64()), r.seq(), r.seq()
	s.letter, s.accepted, s.bytes = r.u64(), r.u64(), r.u64()
	s.age = time.Duration(r.u64())
	s.marks = nil
	last := wire.Seq(0)
	for range r.count(24) {
		m := mark{wire.StoreID{ID: r.id()}, r.seq()}
		if m.upto <= last || m.upto >= s.next {
			r.fail("ack mark %d is out of order", m.upto)
		}
		last = m.upto
		s.marks = append(s.marks, m)
	}
	if r.err == nil && (flags > 1 || s.oldest == 0 || s.next < s.oldest || s.next < s.commit || s.commit == 0) {
		r.fail("flags %d, oldest %d, commit %d and next %d do not go together", flags, s.oldest, s.commit, s.next)
	}
	return tx, r.end("tip")
}

func appendInput(dst []byte, p *checkpoint) []byte {
	return appendRecord(dst, 'i', func(b []byte) []byte {
		b = appendCount(appendU64(b, p.version), len(p.at))
		return append(b, p.at...)
	})
}

func parseInput(b []byte) (p checkpoint, err error) {
	r := openRecord(b, 'i')
	p.version = r.u64()
	p.at = append([]byte{}, r.take(r.count(1))...)
	return p, r.end("checkpoint")
}

func parseLetter(b []byte) (l letter, err error) {
	r := openRecord(b, 'x')
	l.epoch, l.n, l.time, l.why = wire.Epoch{ID: r.id()}, r.seq(), r.time(), r.string()
	l.record = append(wire.Record(nil), r.take(r.count(1))...)
	return l, r.end("dead letter")
}

// check verifies what no record shows alone.
func (s *state) check() error {
	switch {
	case len(s.history) == 0:
		return &damage{"record link", errors.New("it has no boundary")}
	case s.history[len(s.history)-1].First > s.next:
		return &damage{"record link", fmt.Errorf("its last boundary is above next, %d", s.next)}
	case len(s.tombs) > 0 && s.tombs[len(s.tombs)-1].to >= s.next:
		return &damage{"record drops", fmt.Errorf("a tombstone reaches to next, %d", s.next)}
	case len(s.doubled) > 0 && s.doubled[len(s.doubled)-1].to >= s.next:
		return &damage{"record link", fmt.Errorf("doubled numbers reach to next, %d", s.next)}
	}
	return nil
}
