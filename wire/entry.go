package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// Reason says why the numbers of a tombstone are not stored.
type Reason uint8

// The reasons. The first group are drops by the agent; the second, declarations
// about numbers that an earlier ack let the agent delete.
const (
	ReasonExpired  Reason = 1 // older than the lane's maximum age
	ReasonOverflow Reason = 2 // the lane was full
	ReasonPurged   Reason = 3 // an operator purged them
	ReasonCorrupt  Reason = 4 // damaged on the agent's disk, nothing left to salvage
	ReasonRejected Reason = 5 // refused by the store for good; kept as a dead letter
	ReasonMissing  Reason = 6 // their segment file is gone

	ReasonStoredIn    Reason = 16 // another store acked them; Detail is its id
	ReasonLostAtStore Reason = 17 // this store acked them and does not have them any more
)

var reasonNames = map[Reason]string{
	ReasonExpired: "expired", ReasonOverflow: "overflow", ReasonPurged: "purged", ReasonCorrupt: "corrupt",
	ReasonRejected: "rejected", ReasonMissing: "missing", ReasonStoredIn: "stored-in", ReasonLostAtStore: "lost-at-store",
}

// Reasons returns all reasons, ascending. The caller owns the result.
func Reasons() []Reason { return slices.Sorted(maps.Keys(reasonNames)) }

// String returns the reason's name as it stands in ledgers.
func (r Reason) String() string {
	if s, ok := reasonNames[r]; ok {
		return s
	}
	return fmt.Sprintf("reason-%d", uint8(r))
}

// MarshalText returns the reason's name.
func (r Reason) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// UnmarshalText is the reverse of MarshalText.
func (r *Reason) UnmarshalText(b []byte) error {
	for k, s := range reasonNames {
		if s == string(b) {
			*r = k
			return nil
		}
	}
	return fmt.Errorf("unknown reason %.40q", b)
}

// Entry is what a stream carries for the numbers From to To: data (Batch is set)
// or a tombstone (Reason is set). All its numbers belong to one incarnation.
//
// A batch may hold more numbers than From to To: a part of a batch is carried as
// the whole batch, because it is encoded once; only From to To count.
type Entry struct {
	From, To    Seq
	Incarnation Incarnation
	Doubled     bool // the numbers may be stored twice: the agent's memory went back (rule 2)

	Batch []byte // data: the encoded batch

	Reason      Reason      // tombstone: why
	Time        time.Time   // tombstone: when the drop was committed, zero if not known
	Fingerprint Fingerprint // tombstone: of number To, 0 if not known
	Detail      string      // tombstone: UTF-8, at most MaxReason bytes
}

// IsTombstone reports whether the entry says that its numbers were dropped.
func (e *Entry) IsTombstone() bool { return e.Batch == nil }

// Check verifies everything about the entry but what its batch's records say.
// For data it parses and returns the batch.
func (e *Entry) Check() (Batch, error) {
	switch {
	case e.From == 0 || e.To < e.From || e.To > MaxSeq:
		return Batch{}, fmt.Errorf("entry: %d to %d is no range", e.From, e.To)
	case e.Incarnation.IsZero():
		return Batch{}, errors.New("entry: incarnation is zero")
	case !e.IsTombstone():
		b, err := ParseBatch(e.Batch)
		if err == nil && (e.From < b.First || e.To > b.Last()) {
			return Batch{}, fmt.Errorf("entry: %d to %d is not within its batch, %d to %d", e.From, e.To, b.First, b.Last())
		}
		return b, err
	case reasonNames[e.Reason] == "":
		return Batch{}, fmt.Errorf("entry: unknown reason %d", e.Reason)
	case len(e.Detail) > MaxReason || !utf8.ValidString(e.Detail):
		return Batch{}, fmt.Errorf("entry: detail %.40q is longer than %d bytes or not UTF-8", e.Detail, MaxReason)
	}
	if !e.Time.IsZero() {
		if err := checkTime(e.Time); err != nil {
			return Batch{}, fmt.Errorf("entry: tombstone: %w", err)
		}
	}
	return Batch{}, nil
}

// AppendEntry appends e's head to dst: everything but the batch. ParseEntry is
// its reverse. A detail that is too long or not UTF-8 is made to fit. The journal
// and the link both carry it:
//
//	offset  size  field
//	     0     1  kind: 1 data, 2 tombstone
//	     1     1  flags: 1 may be doubled
//	     2    16  incarnation
//	    18     8  from
//	    26     8  to
//	data:
//	    34     4  size of the batch, which follows
//	tombstone:
//	    34     1  reason
//	    35     8  time, Unix nanoseconds, signed; 0 not known
//	    43     8  fingerprint of number to, 0 unknown
//	    51     2  length of the detail, which follows in UTF-8
func AppendEntry(dst []byte, e *Entry) []byte {
	kind, flags := byte(1), byte(0)
	if e.IsTombstone() {
		kind = 2
	}
	if e.Doubled {
		flags = 1
	}
	dst = append(dst, kind, flags)
	dst = append(dst, e.Incarnation.ID[:]...)
	dst = binary.BigEndian.AppendUint64(dst, uint64(e.From))
	dst = binary.BigEndian.AppendUint64(dst, uint64(e.To))
	if kind == 1 {
		return binary.BigEndian.AppendUint32(dst, uint32(len(e.Batch)))
	}
	var at int64
	if !e.Time.IsZero() {
		at = e.Time.UnixNano()
	}
	detail := fitText(e.Detail, MaxReason)
	dst = append(dst, byte(e.Reason))
	dst = binary.BigEndian.AppendUint64(dst, uint64(at))
	dst = binary.BigEndian.AppendUint64(dst, uint64(e.Fingerprint))
	dst = binary.BigEndian.AppendUint16(dst, uint16(len(detail)))
	return append(dst, detail...)
}

// fitText returns s as valid UTF-8 of at most limit bytes, cut between two
// characters: what a peer refuses must not be sent to it.
func fitText(s string, limit int) string {
	s = strings.ToValidUTF8(s, "\uFFFD")
	if len(s) <= limit {
		return s
	}
	for limit > 0 && !utf8.RuneStart(s[limit]) {
		limit--
	}
	return s[:limit]
}

const (
	entryHead     = 34
	entryDataHead = entryHead + 4
	entryTombHead = entryHead + 19
)

// ParseEntry reads what AppendEntry wrote. For data it returns the size of the
// batch, of which rest holds the beginning or all; Batch is left nil. For a
// tombstone size is 0. The entry has not been checked beyond its form; see
// [Entry.Check].
func ParseEntry(b []byte) (e Entry, size int, rest []byte, err error) {
	if len(b) < entryDataHead {
		return e, 0, nil, fmt.Errorf("entry: %d bytes, its head has %d", len(b), entryDataHead)
	}
	kind, flags := b[0], b[1]
	if kind != 1 && kind != 2 || flags > 1 {
		return e, 0, nil, fmt.Errorf("entry: unknown kind %d or flags %#x", kind, flags)
	}
	e = Entry{
		Incarnation: Incarnation{ID(b[2:18])},
		From:        Seq(binary.BigEndian.Uint64(b[18:])),
		To:          Seq(binary.BigEndian.Uint64(b[26:])),
		Doubled:     flags == 1,
	}
	if kind == 1 {
		n := binary.BigEndian.Uint32(b[entryHead:])
		if n > MaxBatchSize || n < minBatchSize {
			return Entry{}, 0, nil, fmt.Errorf("entry: batch of %d bytes declared, a batch has %d to %d", n, minBatchSize, MaxBatchSize)
		}
		return e, int(n), b[entryDataHead:], nil
	}
	if len(b) < entryTombHead {
		return Entry{}, 0, nil, fmt.Errorf("entry: tombstone of %d bytes, its head has %d", len(b), entryTombHead)
	}
	e.Reason = Reason(b[34])
	if at := int64(binary.BigEndian.Uint64(b[35:])); at != 0 {
		e.Time = time.Unix(0, at).UTC()
	}
	e.Fingerprint = Fingerprint(binary.BigEndian.Uint64(b[43:]))
	n := int(binary.BigEndian.Uint16(b[51:]))
	if n > MaxReason || n > len(b)-entryTombHead {
		return Entry{}, 0, nil, fmt.Errorf("entry: detail of %d bytes declared, %d left", n, len(b)-entryTombHead)
	}
	e.Detail = string(b[entryTombHead : entryTombHead+n])
	return e, 0, b[entryTombHead+n:], nil
}
