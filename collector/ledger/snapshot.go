package ledger

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/fieldpost/fieldpost/wire"
)

// A snapshot is all that an Agent knows, in a fixed order, so that equal states
// have equal bytes. Integers are unsigned varints unless a size is given, strings
// have their length in front, times are 8 bytes of Unix nanoseconds, 0 for none,
// fingerprints 8 bytes; all big-endian.
//
//	session number, nonce 16, instance 16, told, resumed, complete
//	software, host name, host OS, host architecture, address, seen
//	parting: 0, or 1, time, goodbye 1 byte, reason
//	count of streams, each:
//	  lane, epoch 16, base, W-base, next-W, opened, stored, doubled
//	  count of reasons, each: reason 1 byte, numbers
//	  fingerprint of W, fingerprint of base
//	  count of boundaries, each: incarnation 16, first; all but the last: fingerprint of its end
//	  count of boundaries ahead, each: incarnation 16, first
//	count of open announcements, each: lane, incarnation 16, first, last
//	count of closings, each: time, by, reason,
//	  count of ranges, each: claim 1 byte, lane, epoch 16, incarnation 16, first, last
//	count of fenced instances, each 16
//	incidents in all
//	count of incidents, each: kind 1 byte, first, last, count, lane, epoch 16, origin 16, from, to, detail
//
//	forgotten: 0, or 1, time, by, reason, given up, record
//
// and of each stream, behind opened: born. Version 2 has nothing of forgotten.
// Version 1 ends behind the open announcements and has no born.

// AppendSnapshot appends the snapshot of a to dst and returns the longer slice.
// It has no checksum of its own.
func (a *Agent) AppendSnapshot(dst []byte) []byte {
	return a.appendSnapshot(dst, SnapshotVersion)
}

// Equal reports whether a and b have equal snapshots, as far as a version of the
// snapshot tells.
func (a *Agent) Equal(b *Agent, version int) bool {
	return bytes.Equal(a.appendSnapshot(nil, version), b.appendSnapshot(nil, version))
}

func (a *Agent) appendSnapshot(dst []byte, version int) []byte {
	u := func(n uint64) { dst = binary.AppendUvarint(dst, n) }
	str := func(s string) { u(uint64(len(s))); dst = append(dst, s...) }
	at := func(t time.Time) { dst = appendTime(dst, t) }
	fp := func(f wire.Fingerprint) { dst = binary.BigEndian.AppendUint64(dst, uint64(f)) }

	u(a.live.Number)
	dst = append(dst, a.live.Nonce[:]...)
	dst = append(dst, a.instance.ID[:]...)
	u(uint64(a.told))
	u(uint64(a.resumed))
	u(a.complete)
	str(a.software)
	str(a.host.Name)
	str(a.host.OS)
	str(a.host.Arch)
	str(a.address)
	at(a.seen)
	if p := a.parting; p == nil {
		dst = append(dst, 0)
	} else {
		dst = append(dst, 1)
		at(p.Time)
		dst = append(dst, bit(p.Goodbye))
		str(p.Reason)
	}
	u(uint64(len(a.streams)))
	for _, s := range a.streams {
		str(string(s.Lane))
		dst = append(dst, s.Epoch.ID[:]...)
		u(uint64(s.Base))
		u(uint64(s.W - s.Base))
		u(uint64(s.Next - s.W))
		u(s.Opened)
		if version > 1 {
			u(s.Born)
		}
		u(s.Stored)
		u(s.Doubled)
		u(uint64(len(s.Tombstoned)))
		for _, r := range slices.Sorted(maps.Keys(s.Tombstoned)) {
			dst = append(dst, byte(r))
			u(s.Tombstoned[r])
		}
		fp(s.fpW)
		fp(s.fpBase)
		u(uint64(len(s.History)))
		for i, b := range s.History {
			dst = append(dst, b.Incarnation.ID[:]...)
			u(uint64(b.First))
			if i < len(s.ends) {
				fp(s.ends[i])
			}
		}
		u(uint64(len(s.Ahead)))
		for _, b := range s.Ahead {
			dst = append(dst, b.Incarnation.ID[:]...)
			u(uint64(b.First))
		}
	}
	u(uint64(len(a.open)))
	for _, l := range a.openLines() {
		str(string(l.lane))
		dst = append(dst, l.inc.ID[:]...)
		u(uint64(a.open[l].first))
		u(uint64(a.open[l].last))
	}
	if version > 1 {
		dst = a.appendPast(dst)
	}
	if version > 2 {
		dst = a.appendForgotten(dst)
	}
	return dst
}

func bit(b bool) byte {
	if b {
		return 1
	}
	return 0
}

func appendTime(dst []byte, t time.Time) []byte {
	var n int64
	if !t.IsZero() {
		n = t.UnixNano()
	}
	return binary.BigEndian.AppendUint64(dst, uint64(n))
}

// SnapshotVersion is the version of what AppendSnapshot writes.
const SnapshotVersion = 3

// ParseSnapshot reads one snapshot, of any version so far, from the beginning of b and
// returns what follows it. An error says which part of b is not what AppendSnapshot writes.
// Nothing larger than b is allocated. The result does not point into b.
func ParseSnapshot(b []byte, version int) (a *Agent, rest []byte, err error) {
	d := decoder{b: b, version: version}
	a = &Agent{}
	a.live = wire.Session{Number: d.uint("session"), Nonce: d.id()}
	a.instance = wire.Instance{ID: d.id()}
	a.told, a.resumed = d.int("streams told"), d.int("streams resumed")
	a.complete = d.uint("complete session")
	a.software = d.string("software")
	a.host = wire.Host{Name: d.string("host name"), OS: d.string("host OS"), Arch: d.string("host architecture")}
	a.address = d.string("address")
	a.seen = d.time()
	if d.flag("parting") {
		a.parting = &Parting{Time: d.time(), Goodbye: d.flag("goodbye"), Reason: d.string("reason")}
	}
	for range d.count("streams", 16) {
		a.streams = append(a.streams, d.stream())
		if d.err != nil {
			return nil, b, d.err
		}
	}
	n := d.count("announcements", 16)
	if n > 0 {
		a.open = make(map[line]span, n)
	}
	for range n {
		l := line{wire.Lane(d.string("lane")), wire.Incarnation{ID: d.id()}}
		o := span{wire.Seq(d.uint("first")), wire.Seq(d.uint("last"))}
		if o.first == 0 || o.last < o.first {
			d.fail("announcement of %d to %d", o.first, o.last)
		}
		if _, twice := a.open[l]; twice {
			d.fail("incarnation %s announced twice", l.inc)
		}
		a.open[l] = o
	}
	if version > 1 {
		d.past(a)
	}
	if version > 2 && d.flag("forgotten") {
		a.forgotten = &Forgetting{Time: d.time(), By: d.string("by"), Reason: d.string("reason"), GivenUp: d.uint("given up"), Record: d.uint("record")}
	}
	if d.err != nil {
		return nil, b, d.err
	}
	return a, d.b, nil
}

func (d *decoder) stream() *Stream {
	s := &Stream{Lane: wire.Lane(d.string("lane")), Epoch: wire.Epoch{ID: d.id()}}
	s.Base = wire.Seq(d.uint("base"))
	s.W = s.Base + wire.Seq(d.uint("W"))
	s.Next = s.W + wire.Seq(d.uint("next"))
	s.Opened = d.uint("opened")
	if d.version > 1 {
		s.Born = d.uint("born")
	}
	s.Stored, s.Doubled = d.uint("stored"), d.uint("doubled")
	if s.W < s.Base || s.Next <= s.W {
		d.fail("stream with base %d, W %d, next %d", s.Base, s.W, s.Next)
	}
	for i := range d.count("reasons", 2) {
		if i == 0 {
			s.Tombstoned = map[wire.Reason]uint64{}
		}
		r := wire.Reason(d.byte())
		s.Tombstoned[r] = d.uint("numbers dropped")
	}
	s.fpW, s.fpBase = d.fingerprint(), d.fingerprint()
	n := d.count("boundaries", 17)
	for i := range n {
		s.History = append(s.History, d.boundary())
		if i+1 < n {
			s.ends = append(s.ends, d.fingerprint())
		}
	}
	for range d.count("boundaries ahead", 17) {
		s.Ahead = append(s.Ahead, d.boundary())
	}
	if d.err == nil {
		d.err = s.check()
	}
	return s
}

// check verifies what the methods rely on: boundaries that ascend, on the right
// side of W.
func (s *Stream) check() error {
	if err := s.History.Check(); err != nil {
		return fmt.Errorf("snapshot: %w", err)
	}
	if err := s.Ahead.Check(); err != nil {
		return fmt.Errorf("snapshot: %w", err)
	}
	if n := len(s.History); n > 0 && s.History[n-1].First > s.W || len(s.Ahead) > 0 && s.Ahead[0].First <= s.W {
		return fmt.Errorf("snapshot: a boundary of epoch %s is on the wrong side of W %d", s.Epoch, s.W)
	}
	return nil
}

// decoder reads a snapshot; the first error stays and all further reads are zero.
type decoder struct {
	b       []byte
	version int
	err     error
}

func (d *decoder) fail(format string, args ...any) {
	if d.err == nil {
		d.err = fmt.Errorf("snapshot: "+format, args...)
	}
	d.b = nil
}

func (d *decoder) take(n int) []byte {
	if d.err != nil || n > len(d.b) {
		if d.err == nil {
			d.err = errors.New("snapshot: ends too early")
		}
		d.b = nil
		return make([]byte, min(n, 16))
	}
	p := d.b[:n]
	d.b = d.b[n:]
	return p
}

func (d *decoder) uint(what string) uint64 {
	n, k := binary.Uvarint(d.b)
	if d.err != nil || k <= 0 || k > 1 && d.b[k-1] == 0 {
		d.fail("bad %s", what)
		return 0
	}
	d.b = d.b[k:]
	return n
}

func (d *decoder) int(what string) int {
	n := d.uint(what)
	if n > 1<<30 {
		d.fail("%s: %d is too many", what, n)
		return 0
	}
	return int(n)
}

// count reads how many items follow, each of at least size bytes.
func (d *decoder) count(what string, size int) int {
	n := d.int(what)
	if n > len(d.b)/size {
		d.fail("%d %s declared, %d bytes left", n, what, len(d.b))
		return 0
	}
	return n
}

func (d *decoder) string(what string) string { return string(d.take(d.count(what, 1))) }
func (d *decoder) id() wire.ID               { return wire.ID(d.take(16)) }
func (d *decoder) byte() byte                { return d.take(1)[0] }
func (d *decoder) fingerprint() wire.Fingerprint {
	return wire.Fingerprint(binary.BigEndian.Uint64(d.take(8)))
}

func (d *decoder) flag(what string) bool {
	b := d.byte()
	if b > 1 {
		d.fail("%s is %d, neither 0 nor 1", what, b)
	}
	return b == 1
}

func (d *decoder) time() time.Time {
	n := int64(binary.BigEndian.Uint64(d.take(8)))
	if n == 0 {
		return time.Time{}
	}
	return time.Unix(0, n).UTC()
}

func (d *decoder) boundary() wire.Boundary {
	return wire.Boundary{Incarnation: wire.Incarnation{ID: d.id()}, First: wire.Seq(d.uint("first"))}
}
