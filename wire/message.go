package wire

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"time"
	"unicode/utf8"
)

// Message is what a user sends.
type Message struct {
	Topic   string    // UTF-8, at most MaxTopic bytes, may be empty
	Time    time.Time // when it was made; kept to the nanosecond, without a zone
	Headers []Header  // at most MaxHeaders, order kept
	Body    []byte    // any bytes, may be empty
}

// Header is one key and value beside a message's body. Both are UTF-8 of at
// most MaxHeader bytes; a key is not empty.
type Header struct {
	Key   string `json:"key"`
	Value string `json:"value"`
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
	if n := m.recordSize(); n > MaxRecord {
		return fmt.Errorf("%w: %d bytes with topic and headers, the limit is %d", ErrTooLarge, n, MaxRecord)
	}
	return nil
}

func uvarintLen(v int) int { return len(binary.AppendUvarint(make([]byte, 0, 10), uint64(v))) }

// recordSize is the size of m's record without its length prefix.
func (m *Message) recordSize() int {
	n := 8 + uvarintLen(len(m.Topic)) + len(m.Topic) + uvarintLen(len(m.Headers)) + len(m.Body)
	for _, h := range m.Headers {
		n += uvarintLen(len(h.Key)) + len(h.Key) + uvarintLen(len(h.Value)) + len(h.Value)
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

// Record is one encoded message, without its length prefix.
type Record []byte

// NextRecord splits the first record off b, the records of a batch one after
// another. Both results point into b.
func NextRecord(b []byte) (r Record, rest []byte, err error) {
	n, k := binary.Uvarint(b)
	switch {
	case k <= 0 || k != uvarintLen(int(n)):
		return nil, nil, errors.New("record: bad length")
	case n > MaxRecord:
		return nil, nil, fmt.Errorf("record: %d bytes, the limit is %d", n, MaxRecord)
	case n > uint64(len(b)-k):
		return nil, nil, fmt.Errorf("record: %d bytes declared, %d left", n, len(b)-k)
	}
	return Record(b[k : k+int(n)]), b[k+int(n):], nil
}

// Time returns the record's time without decoding the rest; zero if the record
// is too short to have one.
func (r Record) Time() time.Time {
	if len(r) < 8 {
		return time.Time{}
	}
	return time.Unix(0, int64(binary.BigEndian.Uint64(r)))
}

// Message decodes r. The body of the result points into r.
func (r Record) Message() (Message, error) {
	if len(r) < 8 {
		return Message{}, errors.New("record: shorter than its time")
	}
	m := Message{Time: r.Time()}
	d := decoder{b: r[8:]}
	m.Topic = d.string("topic", MaxTopic)
	n := d.uvarint("header count", MaxHeaders)
	for range n {
		h := Header{Key: d.string("header key", MaxHeader), Value: d.string("header value", MaxHeader)}
		if d.err == nil && h.Key == "" {
			d.err = errors.New("record: header with an empty key")
		}
		m.Headers = append(m.Headers, h)
	}
	if d.err != nil {
		return Message{}, d.err
	}
	m.Body = d.b
	return m, nil
}

// decoder reads the parts of a record; the first error stays.
type decoder struct {
	b   []byte
	err error
}

func (d *decoder) uvarint(what string, limit uint64) int {
	n, k := binary.Uvarint(d.b)
	switch {
	case d.err != nil:
		return 0
	case k <= 0 || k != uvarintLen(int(n)):
		d.err = fmt.Errorf("record: bad %s", what)
	case n > limit:
		d.err = fmt.Errorf("record: %s %d, the limit is %d", what, n, limit)
	default:
		d.b = d.b[k:]
		return int(n)
	}
	return 0
}

func (d *decoder) string(what string, limit uint64) string {
	n := d.uvarint(what+" length", limit)
	switch {
	case d.err != nil:
		return ""
	case n > len(d.b):
		d.err = fmt.Errorf("record: %s of %d bytes declared, %d left", what, n, len(d.b))
		return ""
	}
	s := string(d.b[:n])
	d.b = d.b[n:]
	if !utf8.ValidString(s) {
		d.err = fmt.Errorf("record: %s is not valid UTF-8", what)
	}
	return s
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
	if err != nil {
		return fmt.Errorf("fingerprint: %w", err)
	}
	*f = Fingerprint(n)
	return nil
}
