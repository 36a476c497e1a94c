package journal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"hash/fnv"
	"path/filepath"
	"time"

	"github.com/fieldpost/fieldpost/collector"
	"github.com/fieldpost/fieldpost/wire"
)

// The folder of a journal.
const (
	identityName = "store.json"
	lockName     = "lock"
	markName     = "synced"
	removedName  = "removed"
	suffix       = ".journal"
	tempSuffix   = ".tmp"
)

func segmentName(ordinal uint64) string { return fmt.Sprintf("%010d%s", ordinal, suffix) }

func segmentPath(dir string, ordinal uint64) string {
	return filepath.Join(dir, segmentName(ordinal))
}

// A segment begins with a head; numbers are big-endian:
//
//	offset  size  field
//	     0     4  magic "FPJ" and the format version, 3
//	     4     4  zero
//	     8    16  store id
//	    24     8  ordinal of this segment
//	    32     8  created, Unix nanoseconds
//	    40     8  ordinal of the segment before it, 0 for none
//	    48     8  valid length of the segment before it: what lies beyond is void
//	    56     8  index of the first record
//	    64    24  summary of the record before that one
//	    88     8  carried: bytes of records that were synced before the file got its name
//	    96     4  size S of the snapshot
//	   100     4  CRC-32C of the snapshot
//	   104     4  CRC-32C of the bytes before
//	   108     S  snapshot: all that is known before the first record
//	 108+S        records
//
// Version 1 has no records of the kinds 7 to 9, version 2 none of kind 9, and their
// snapshots end earlier (see package ledger); they are read, and not written any
// more.
const (
	headMagic = "FPJ\x03"
	headSize  = 108
)

// head is the fixed part of a segment's head.
type head struct {
	version    int // of the snapshot
	store      wire.StoreID
	ordinal    uint64
	created    time.Time
	prev       uint64
	prevLength int64
	first      uint64
	before     summary
	carried    int64
	snapshot   uint32 // size
	crc        uint32 // of the snapshot
}

// records is the offset of the first record.
func (h *head) records() int64 { return headSize + int64(h.snapshot) }

func (h *head) append(dst []byte) []byte {
	start := len(dst)
	dst = append(dst, headMagic[:3]...)
	dst = append(dst, byte(h.version), 0, 0, 0, 0)
	dst = append(dst, h.store.ID[:]...)
	dst = binary.BigEndian.AppendUint64(dst, h.ordinal)
	dst = appendTime(dst, h.created)
	dst = binary.BigEndian.AppendUint64(dst, h.prev)
	dst = binary.BigEndian.AppendUint64(dst, uint64(h.prevLength))
	dst = binary.BigEndian.AppendUint64(dst, h.first)
	dst = h.before.append(dst)
	dst = binary.BigEndian.AppendUint64(dst, uint64(h.carried))
	dst = binary.BigEndian.AppendUint32(dst, h.snapshot)
	dst = binary.BigEndian.AppendUint32(dst, h.crc)
	return binary.BigEndian.AppendUint32(dst, crc32.Checksum(dst[start:], wire.Castagnoli))
}

// parseHead reads a head from the first bytes of a file.
func parseHead(b []byte) (head, error) {
	if len(b) < headSize {
		return head{}, fmt.Errorf("%d bytes, a segment's head has %d", len(b), headSize)
	}
	b = b[:headSize]
	if string(b[:3]) != headMagic[:3] {
		return head{}, fmt.Errorf("begins with %q: not a segment of a journal", b[:4])
	}
	if b[3] == 0 || b[3] > headMagic[3] {
		return head{}, fmt.Errorf("segment of format version %d, this program knows versions up to %d", b[3], headMagic[3])
	}
	if got, want := crc32.Checksum(b[:headSize-4], wire.Castagnoli), binary.BigEndian.Uint32(b[headSize-4:]); got != want {
		return head{}, fmt.Errorf("head with checksum %08x, its content has %08x", want, got)
	}
	u := func(at int) uint64 { return binary.BigEndian.Uint64(b[at:]) }
	h := head{
		version:    int(b[3]),
		store:      wire.StoreID{ID: wire.ID(b[8:24])},
		ordinal:    u(24),
		created:    parseTime(b[32:]),
		prev:       u(40),
		prevLength: int64(u(48)),
		first:      u(56),
		before:     parseSummary(b[64:]),
		carried:    int64(u(88)),
		snapshot:   binary.BigEndian.Uint32(b[96:]),
		crc:        binary.BigEndian.Uint32(b[100:]),
	}
	if h.ordinal == 0 || h.prev >= h.ordinal || h.prevLength < 0 || h.first == 0 || h.carried < 0 {
		return head{}, errors.New("head that no journal writes")
	}
	return h, nil
}

// A record; its checksum begins with the store id, so that no record of another
// store is ever taken for one of this:
//
//	offset  size  field
//	     0     4  magic "FPJR"
//	     4     4  size N of the payload
//	     8     4  CRC-32C of the store id, the 8 bytes before and all bytes behind
//	    12     8  index: 1 for the journal's first record, one more for each
//	    20     1  kind, which says what the payload is
//	    21     1  flags: 1 last record of its commit
//	    22     2  zero
//	    24    24  summary of the record before it
//	    48     N  payload
const (
	recordMagic = "FPJR"
	recordHead  = 48
	maxPayload  = wire.MaxBatchSize + 4096

	flagLast = 1

	holePayload = 16
)

// The kinds. Strings have a length of 2 bytes in front, times are Unix
// nanoseconds, 0 for none. Session 0 is an import: no session has that number.
const (
	kindHello    = 1 // agent, time 8, session 8, nonce 16, instance 16, streams 4, software, host name, OS, architecture, address; then nothing, or: count 2, count times: lane, epoch 16, W 8, acked 8
	kindResume   = 2 // agent, session 8, lane, epoch 16, created 1, base 8, fingerprint of base 8, next 8, count 4, count times: incarnation 16, first 8
	kindAnnounce = 3 // agent, session 8, count 2, count times: lane, epoch 16, next 8
	kindEntry    = 4 // agent, session 8, received 8, lane, epoch 16, then an entry as the link has it: its head and its batch
	kindParting  = 5 // agent, session 8, time 8, goodbye 1, reason
	kindClean    = 6 // nothing: the journal was closed, and all before it is synced
	kindClose    = 7 // agent, time 8, by, reason, count 2, count times: claim 1, lane, epoch 16, incarnation 16, first 8, last 8
	kindHole     = 8 // nothing, or: skip 8, time 8. Repair has put it where records were damaged: those behind the last record up to this one's index. The next record begins skip bytes behind it
	kindForget   = 9 // agent, time 8, by, reason, record 8, gone 1. 0: an operator has given the agent up, with this record; 1: nothing is kept that is as old as that record, and nothing known of the agent

	kindMax = kindForget
)

// summary says what numbers a record settled, so that the record behind it can
// name them if it is lost: a hash of agent, lane and epoch, and the range; zero
// for a record that settled none.
type summary struct {
	tag      uint64
	from, to wire.Seq
}

func tagOf(agent wire.AgentID, s collector.Stream) uint64 {
	h := fnv.New64a()
	h.Write([]byte(agent))
	h.Write([]byte{0})
	h.Write([]byte(s.Lane))
	h.Write([]byte{0})
	h.Write(s.Epoch.ID[:])
	return h.Sum64()
}

func (s summary) append(dst []byte) []byte {
	dst = binary.BigEndian.AppendUint64(dst, s.tag)
	dst = binary.BigEndian.AppendUint64(dst, uint64(s.from))
	return binary.BigEndian.AppendUint64(dst, uint64(s.to))
}

func parseSummary(b []byte) summary {
	return summary{binary.BigEndian.Uint64(b), wire.Seq(binary.BigEndian.Uint64(b[8:])), wire.Seq(binary.BigEndian.Uint64(b[16:]))}
}

// record is one record of a segment.
type record struct {
	off, end int64 // where it lies in its file
	index    uint64
	kind     byte
	last     bool // of its commit
	before   summary
	payload  []byte
	skip     int64 // of a hole: bytes behind its payload that belong to it; they are before end
}

// seed is the checksum of a store id, with which those of its records begin.
func seed(id wire.StoreID) uint32 { return crc32.Checksum(id.ID[:], wire.Castagnoli) }

func recordCRC(seed uint32, b []byte) uint32 {
	return crc32.Update(crc32.Update(seed, wire.Castagnoli, b[:8]), wire.Castagnoli, b[12:])
}

// beginRecord appends the head of a record to dst; endRecord completes it.
func beginRecord(dst []byte, index uint64, kind byte, before summary) []byte {
	dst = append(dst, recordMagic...)
	dst = append(dst, 0, 0, 0, 0, 0, 0, 0, 0)
	dst = binary.BigEndian.AppendUint64(dst, index)
	dst = append(dst, kind, 0, 0, 0)
	return before.append(dst)
}

// endRecord fills in size, flags and checksum of the record that is b.
func endRecord(b []byte, seed uint32, last bool) {
	binary.BigEndian.PutUint32(b[4:], uint32(len(b)-recordHead))
	if last {
		b[21] = flagLast
	}
	binary.BigEndian.PutUint32(b[8:], recordCRC(seed, b))
}

// recordSize returns the whole size of the record that begins at b, which needs
// its first 48 bytes.
func recordSize(b []byte) (int, error) {
	if string(b[:4]) != recordMagic {
		return 0, errors.New("no record begins here")
	}
	n := binary.BigEndian.Uint32(b[4:])
	if n > maxPayload {
		return 0, fmt.Errorf("a record declares %d bytes, the limit is %d", n, maxPayload)
	}
	return recordHead + int(n), nil
}

// parseRecord verifies the record that is exactly b. The payload points into b.
func parseRecord(b []byte, seed uint32) (record, error) {
	if got, want := recordCRC(seed, b), binary.BigEndian.Uint32(b[8:]); got != want {
		return record{}, fmt.Errorf("a record with checksum %08x, its content has %08x", want, got)
	}
	r := record{
		index:   binary.BigEndian.Uint64(b[12:]),
		kind:    b[20],
		last:    b[21] == flagLast,
		before:  parseSummary(b[24:]),
		payload: b[recordHead:],
	}
	if b[21] > flagLast || b[22] != 0 || b[23] != 0 || r.kind == 0 || r.kind > kindMax || r.index == 0 {
		return record{}, fmt.Errorf("a record of kind %d, flags %d: not of this version", r.kind, b[21])
	}
	if r.kind == kindHole && len(r.payload) > 0 {
		if len(r.payload) != holePayload || binary.BigEndian.Uint64(r.payload) > 1<<40 {
			return record{}, fmt.Errorf("a hole with %d bytes of payload", len(r.payload))
		}
		r.skip = int64(binary.BigEndian.Uint64(r.payload))
	}
	return r, nil
}

func appendTime(dst []byte, t time.Time) []byte {
	var n int64
	if !t.IsZero() {
		n = t.UnixNano()
	}
	return binary.BigEndian.AppendUint64(dst, uint64(n))
}

func parseTime(b []byte) time.Time {
	n := int64(binary.BigEndian.Uint64(b))
	if n == 0 {
		return time.Time{}
	}
	return time.Unix(0, n).UTC()
}

// wallClock strips what a record does not hold, so that memory is what a replay
// would make it.
func wallClock(t time.Time) time.Time {
	if t.IsZero() {
		return time.Time{}
	}
	return time.Unix(0, t.UnixNano()).UTC()
}
