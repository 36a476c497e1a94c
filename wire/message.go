package wire

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/bits"
	"strconv"
	"time"
	"unicode/utf8"
)

// Message is what a user sends.
type Message struct {
	Topic   string    // UTF-8, at most MaxTopic bytes, may be empty
	Time    time.Time // when it was made, MinTime to MaxTime; kept to the nanosecond, without a zone
	Headers []Header  // at most MaxHeaders, order kept
	Body    []byte    // any bytes, may be empty
}

// Header is one key and value beside a message's body. Both are UTF-8 of at
// most MaxHeader bytes; a key is not empty.
type Header struct {
	Key   string `json:"key"`
	Value string `json:"value"`
}

// The first and the last time that Unix nanoseconds can say: 1677-09-21 and
// 2262-04-11. The zero time.Time lies outside.
var (
	MinTime = time.Unix(0, math.MinInt64).UTC()
	MaxTime = time.Unix(0, math.MaxInt64).UTC()
)

// checkTime refuses what UnixNano would turn into some other time.
func checkTime(t time.Time) error {
	switch {
	case t.IsZero():
		return errors.New("no time is set")
	case t.Before(MinTime) || t.After(MaxTime):
		return fmt.Errorf("time %s: want %d to %d, the range of Unix nanoseconds", t.UTC().Format("2006-01-02"), MinTime.Year(), MaxTime.Year())
	}
	return nil
}

// ErrTooLarge is returned for a message above MaxRecord bytes.
var ErrTooLarge = errors.New("message too large")

// Check reports whether m keeps to the limits. A message that is too large
// gives an error that is [ErrTooLarge].
func (m *Message) Check() error {
	switch {
	case len(m.Topic) > MaxTopic:
		return fmt.Errorf("topic of %d bytes: the limit is %d", len(m.Topic), MaxTopic)
	case !utf8.ValidString(m.Topic):
		return fmt.Errorf("topic %q: not valid UTF-8", m.Topic)
	case len(m.Headers) > MaxHeaders:
		return fmt.Errorf("%d headers: the limit is %d", len(m.Headers), MaxHeaders)
	}
	if err := checkTime(m.Time); err != nil {
		return err
	}
	for _, h := range m.Headers {
		switch {
		case h.Key == "":
			return errors.New("header with an empty key")
		case len(h.Key) > MaxHeader || len(h.Value) > MaxHeader:
			return fmt.Errorf("header %.40q: key or value above %d bytes", h.Key, MaxHeader)
		case !utf8.ValidString(h.Key) || !utf8.ValidString(h.Value):
			return fmt.Errorf("header %.40q: key or value is not valid UTF-8", h.Key)
		}
	}
	// The body alone first: where an int has 32 bits, the sum could overflow.
	n := len(m.Body)
	if n <= MaxRecord {
		n = m.recordSize()
	}
	if n > MaxRecord {
		return fmt.Errorf("%w: %d bytes with topic and headers, the limit is %d", ErrTooLarge, n, MaxRecord)
	}
	return nil
}

// uvarintLen is the number of bytes of v's one canonical varint.
func uvarintLen(v uint64) int { return (bits.Len64(v|1) + 6) / 7 }

func sizeLen(n int) int { return uvarintLen(uint64(n)) }

// recordSize is the size of m's record without its length prefix.
func (m *Message) recordSize() int {
	n := 8 + sizeLen(len(m.Topic)) + len(m.Topic) + sizeLen(len(m.Headers)) + len(m.Body)
	for _, h := range m.Headers {
		n += sizeLen(len(h.Key)) + len(h.Key) + sizeLen(len(h.Value)) + len(h.Value)
	}
	return n
}

// AppendRecord appends m's encoded record to dst and returns the longer slice.
// On an error dst is returned as it was. m is not kept.
func AppendRecord(dst []byte, m *Message) ([]byte, error) {
	if err := m.Check(); err != nil {
		return dst, err
	}
	dst = binary.AppendUvarint(dst, uint64(m.recordSize()))
	dst = binary.BigEndian.AppendUint64(dst, uint64(m.Time.UnixNano()))
	dst = binary.AppendUvarint(dst, uint64(len(m.Topic)))
	dst = append(dst, m.Topic...)
	dst = binary.AppendUvarint(dst, uint64(len(m.Headers)))
	for _, h := range m.Headers {
		dst = binary.AppendUvarint(dst, uint64(len(h.Key)))
		dst = append(dst, h.Key...)
		dst = binary.AppendUvarint(dst, uint64(len(h.Value)))
		dst = append(dst, h.Value...)
	}
	return append(dst, m.Body...), nil
}

// Record is one encoded message, without its length prefix:
//
//	time     8 bytes, Unix nanoseconds, signed, big-endian
//	topic    varint length, then UTF-8
//	headers  varint count, then for each: varint length and key, varint length and value
//	body     the rest
//
// A varint is an unsigned LEB128 number in its shortest form. In a batch each
// record has its length, a varint, in front.
type Record []byte

// minRecord is the size of the smallest record, its length prefix included.
const minRecord = 1 + 8 + 1 + 1

// NextRecord splits the first record off b, the records of a batch one after
// another. Both results point into b; appending to r copies it.
func NextRecord(b []byte) (r Record, rest []byte, err error) {
	n, k := binary.Uvarint(b)
	switch {
	case k <= 0 || k != uvarintLen(n):
		return nil, nil, errors.New("record: bad length")
	case n > MaxRecord:
		return nil, nil, fmt.Errorf("record: %d bytes, the limit is %d", n, MaxRecord)
	case n > uint64(len(b)-k):
		return nil, nil, fmt.Errorf("record: %d bytes declared, %d left", n, len(b)-k)
	}
	end := k + int(n)
	return Record(b[k:end:end]), b[end:], nil
}

// Time returns the record's time without decoding the rest; zero if the record
// is too short to have one.
func (r Record) Time() time.Time {
	if len(r) < 8 {
		return time.Time{}
	}
	return time.Unix(0, int64(binary.BigEndian.Uint64(r))).UTC()
}

// Message decodes r. The body of the result points into r; appending to it
// copies it.
func (r Record) Message() (Message, error) {
	var m Message
	err := r.decode(&m)
	return m, err
}

// Check reports whether r decodes, without the cost of a message.
func (r Record) Check() error { return r.decode(nil) }

// decode reads r into m, or only checks it if m is nil.
func (r Record) decode(m *Message) error {
	if len(r) < 8 {
		return fmt.Errorf("record: %d bytes, its time has 8", len(r))
	}
	d := decoder{b: r[8:]}
	topic := d.text("topic", MaxTopic)
	n := d.uvarint("header count", MaxHeaders)
	var headers []Header
	if m != nil && n > 0 && n <= len(d.b)/3 { // a header has at least 3 bytes
		headers = make([]Header, 0, n)
	}
	for range n {
		key, value := d.text("header key", MaxHeader), d.text("header value", MaxHeader)
		if d.err == nil && len(key) == 0 {
			d.err = errors.New("record: header with an empty key")
		}
		if d.err != nil {
			break
		}
		if m != nil {
			headers = append(headers, Header{string(key), string(value)})
		}
	}
	if d.err == nil && m != nil {
		*m = Message{Topic: string(topic), Time: r.Time(), Headers: headers, Body: d.b}
	}
	return d.err
}

// decoder reads the parts of a record; the first error stays.
type decoder struct {
	b   []byte
	err error
}

func (d *decoder) uvarint(what string, limit uint64) int {
	if d.err != nil {
		return 0
	}
	n, k := binary.Uvarint(d.b)
	switch {
	case k <= 0 || k != uvarintLen(n):
		d.err = fmt.Errorf("record: bad %s", what)
	case n > limit:
		d.err = fmt.Errorf("record: %s %d, the limit is %d", what, n, limit)
	default:
		d.b = d.b[k:]
		return int(n)
	}
	return 0
}

// text returns the next text, which points into the record.
func (d *decoder) text(what string, limit uint64) []byte {
	if d.err != nil {
		return nil
	}
	n, k := binary.Uvarint(d.b)
	switch {
	case k <= 0 || k != uvarintLen(n):
		d.err = fmt.Errorf("record: bad length of %s", what)
	case n > limit:
		d.err = fmt.Errorf("record: %s of %d bytes, the limit is %d", what, n, limit)
	case n > uint64(len(d.b)-k):
		d.err = fmt.Errorf("record: %s of %d bytes declared, %d left", what, n, len(d.b)-k)
	case !utf8.Valid(d.b[k : k+int(n)]):
		d.err = fmt.Errorf("record: %s is not valid UTF-8", what)
	default:
		s := d.b[k : k+int(n)]
		d.b = d.b[k+int(n):]
		return s
	}
	return nil
}

// Fingerprint tells records apart: the first 8 bytes of the SHA-256 of a record
// (its time included), read as a big-endian number. 0 stands for "not known"; a
// record that hashes to 0 has fingerprint 1. Its text form is hex digits.
type Fingerprint uint64

// Fingerprint returns r's fingerprint.
func (r Record) Fingerprint() Fingerprint {
	sum := sha256.Sum256(r)
	return max(1, Fingerprint(binary.BigEndian.Uint64(sum[:])))
}

// String returns 16 hex digits.
func (f Fingerprint) String() string { return fmt.Sprintf("%016x", uint64(f)) }

// MarshalText returns the text form, "" for an unknown fingerprint.
func (f Fingerprint) MarshalText() ([]byte, error) {
	if f == 0 {
		return nil, nil
	}
	return []byte(f.String()), nil
}

// UnmarshalText is the reverse of MarshalText.
func (f *Fingerprint) UnmarshalText(b []byte) error {
	if len(b) == 0 {
		*f = 0
		return nil
	}
	n, err := strconv.ParseUint(string(b), 16, 64)
	if err != nil || n == 0 || Fingerprint(n).String() != string(b) {
		return fmt.Errorf("fingerprint %.40q: want 16 lower-case hex digits, not all 0", b)
	}
	*f = Fingerprint(n)
	return nil
}
