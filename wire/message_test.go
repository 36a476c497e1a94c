package wire_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/fieldpost/fieldpost/wire"
)

func headers(n int) []wire.Header {
	list := make([]wire.Header, n)
	for i := range list {
		list[i].Key = "k"
	}
	return list
}

// TestMessageLimits takes every limit at its last good value and one above.
func TestMessageLimits(t *testing.T) {
	now := time.Unix(1700000000, 0)
	full := wire.MaxRecord - 8 - 1 - 1 // what a body may have beside a time, no topic, no headers
	x := func(n int) string { return strings.Repeat("x", n) }
	for _, c := range []struct {
		name string
		m    wire.Message
		err  string // "" accepted
	}{
		{"all empty", wire.Message{Time: now}, ""},
		{"topic at the limit", wire.Message{Time: now, Topic: x(1024)}, ""},
		{"topic one above", wire.Message{Time: now, Topic: x(1025)}, "topic of 1025 bytes: the limit is 1024"},
		{"topic counted in bytes", wire.Message{Time: now, Topic: strings.Repeat("é", 513)}, "topic of 1026 bytes"},
		{"topic with every kind of valid character", wire.Message{Time: now, Topic: "a/\x00\u202e\uFFFD\U0010FFFF"}, ""},
		{"topic not UTF-8", wire.Message{Time: now, Topic: "a\xff"}, `topic "a\xff": not valid UTF-8`},
		{"topic that ends within a character", wire.Message{Time: now, Topic: "a\xc3"}, "not valid UTF-8"},
		{"topic with a surrogate", wire.Message{Time: now, Topic: "\xed\xa0\x80"}, "not valid UTF-8"},
		{"headers at the limit", wire.Message{Time: now, Headers: headers(64)}, ""},
		{"headers one above", wire.Message{Time: now, Headers: headers(65)}, "65 headers: the limit is 64"},
		{"header key at the limit", wire.Message{Time: now, Headers: []wire.Header{{Key: x(4096)}}}, ""},
		{"header key one above", wire.Message{Time: now, Headers: []wire.Header{{Key: x(4097)}}}, "above 4096 bytes"},
		{"header key empty", wire.Message{Time: now, Headers: []wire.Header{{Key: "k"}, {Value: "v"}}}, "header with an empty key"},
		{"header key not UTF-8", wire.Message{Time: now, Headers: []wire.Header{{Key: "\x80"}}}, "not valid UTF-8"},
		{"header key twice", wire.Message{Time: now, Headers: []wire.Header{{Key: "k", Value: "1"}, {Key: "k", Value: "2"}}}, ""},
		{"header value at the limit", wire.Message{Time: now, Headers: []wire.Header{{Key: "k", Value: x(4096)}}}, ""},
		{"header value one above", wire.Message{Time: now, Headers: []wire.Header{{Key: "k", Value: x(4097)}}}, "above 4096 bytes"},
		{"header value not UTF-8", wire.Message{Time: now, Headers: []wire.Header{{Key: "k", Value: "\x80"}}}, "not valid UTF-8"},
		{"body not UTF-8", wire.Message{Time: now, Body: []byte("\xff\x00\xfe")}, ""},
		{"body to the limit", wire.Message{Time: now, Body: make([]byte, full)}, ""},
		{"body one above", wire.Message{Time: now, Body: make([]byte, full+1)}, "message too large: 1048577 bytes with topic and headers, the limit is 1048576"},
		{"body above the limit alone", wire.Message{Time: now, Body: make([]byte, wire.MaxRecord+1)}, "message too large"},
		{"topic counts", wire.Message{Time: now, Topic: "t", Body: make([]byte, full)}, "message too large"},
		{"headers count", wire.Message{Time: now, Headers: headers(1), Body: make([]byte, full)}, "message too large"},
		{"headers to the limit", wire.Message{Time: now, Headers: headers(1), Body: make([]byte, full-3)}, ""},
		{"first time", wire.Message{Time: time.Unix(0, math.MinInt64)}, ""},
		{"before the first time", wire.Message{Time: time.Unix(0, math.MinInt64).Add(-1)}, "time 1677-09-21: want 1677 to 2262"},
		{"last time", wire.Message{Time: time.Unix(0, math.MaxInt64)}, ""},
		{"behind the last time", wire.Message{Time: time.Unix(0, math.MaxInt64).Add(1)}, "time 2262-04-11: want 1677 to 2262"},
		{"year 1", wire.Message{Time: time.Date(1, 1, 1, 0, 0, 0, 1, time.UTC)}, "time 0001-01-01: want 1677 to 2262"},
		{"year 3000", wire.Message{Time: time.Date(3000, 1, 1, 0, 0, 0, 0, time.UTC)}, "time 3000-01-01: want 1677 to 2262"},
		{"year far away", wire.Message{Time: time.Unix(math.MaxInt64/2, 0)}, "want 1677 to 2262"},
		{"no time", wire.Message{}, "no time is set"},
		{"1970", wire.Message{Time: time.Unix(0, 0)}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			record, err := wire.AppendRecord([]byte("before"), &c.m)
			if c.err != "" {
				wantError(t, err, c.err)
				wantError(t, c.m.Check(), c.err)
				same(t, errors.Is(err, wire.ErrTooLarge), strings.Contains(c.err, "too large"))
				same(t, string(record), "before")
				return
			}
			if err != nil || c.m.Check() != nil {
				t.Fatal(err, c.m.Check())
			}
			r, rest, err := wire.NextRecord(record[len("before"):])
			if err != nil || len(rest) > 0 {
				t.Fatalf("NextRecord: %d bytes left, %v", len(rest), err)
			}
			m, err := r.Message()
			if err != nil {
				t.Fatal(err)
			}
			if m.Topic != c.m.Topic || !m.Time.Equal(c.m.Time) || !bytes.Equal(m.Body, c.m.Body) || fmt.Sprint(m.Headers) != fmt.Sprint(c.m.Headers) {
				t.Error("the message does not come back as it was")
			}
			if err := r.Check(); err != nil {
				t.Error(err)
			}
		})
	}
}

// Where an int has 32 bits, the size of a message must not overflow into a small
// one.
func TestMessageOf2GiBIsTooLarge(t *testing.T) {
	if strconv.IntSize > 32 {
		return // nothing near an overflow can be allocated
	}
	m := wire.Message{Time: time.Unix(0, 0), Topic: "t", Body: make([]byte, math.MaxInt32)} // never touched
	if err := m.Check(); !errors.Is(err, wire.ErrTooLarge) {
		t.Errorf("error %v, want ErrTooLarge", err)
	}
}

// A zone is not kept, and does not change the bytes.
func TestMessageTimeHasNoZone(t *testing.T) {
	at := time.Date(2024, 2, 29, 12, 0, 0, 7, time.FixedZone("", 3600))
	record, err := wire.AppendRecord(nil, &wire.Message{Time: at})
	if err != nil {
		t.Fatal(err)
	}
	r, _, _ := wire.NextRecord(record)
	same(t, r.Time(), at.UTC())
	same(t, wire.Record("1234567").Time(), time.Time{})
}

// varint encodes n in size bytes, of which only the shortest form is canonical.
func varint(n uint64, size int) []byte {
	b := make([]byte, 0, size)
	for range size - 1 {
		b = append(b, byte(n)|0x80)
		n >>= 7
	}
	return append(b, byte(n))
}

// "uvarint is in its shortest form (a longer form is an error)", "N: at most 1
// MiB", and more bytes than there are.
func TestRecordLengthIsRefused(t *testing.T) {
	for _, c := range []struct {
		name string
		b    []byte
		err  string
	}{
		{"nothing", nil, "bad length"},
		{"ends within the length", []byte{0x80}, "bad length"},
		{"0 in two bytes", varint(0, 2), "bad length"},
		{"10 in two bytes", append(varint(10, 2), make([]byte, 10)...), "bad length"},
		{"10 in ten bytes", append(varint(10, 10), make([]byte, 10)...), "bad length"},
		{"eleven bytes", append(bytes.Repeat([]byte{0x80}, 10), 1), "bad length"},
		{"more than 64 bits", append(bytes.Repeat([]byte{0xff}, 9), 2), "bad length"},
		{"one byte more than there is", append(varint(11, 1), make([]byte, 10)...), "11 bytes declared, 10 left"},
		{"one above the limit", append(varint(wire.MaxRecord+1, 3), make([]byte, wire.MaxRecord+1)...), "1048577 bytes, the limit is 1048576"},
		{"2^31", varint(1<<31, 5), "2147483648 bytes, the limit is 1048576"},
		{"2^32 and 10", append(varint(1<<32+10, 5), make([]byte, 10)...), "4294967306 bytes, the limit is 1048576"},
		{"2^63", varint(1<<63, 10), "9223372036854775808 bytes, the limit is 1048576"},
		{"2^64-1", varint(math.MaxUint64, 10), "18446744073709551615 bytes, the limit is 1048576"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, rest, err := wire.NextRecord(c.b)
			wantError(t, err, c.err)
			if r != nil || rest != nil {
				t.Error("a record beside the error")
			}
		})
	}
	if r, rest, err := wire.NextRecord(append(varint(wire.MaxRecord, 3), make([]byte, wire.MaxRecord+1)...)); len(r) != wire.MaxRecord || len(rest) != 1 || err != nil {
		t.Errorf("at the limit: a record of %d bytes, %d left, %v", len(r), len(rest), err)
	}
}

func TestRecordContentIsRefused(t *testing.T) {
	at := make([]byte, 8)
	cat := func(parts ...any) []byte {
		b := bytes.Clone(at)
		for _, p := range parts {
			switch p := p.(type) {
			case int:
				b = append(b, byte(p))
			case string:
				b = append(b, p...)
			case []byte:
				b = append(b, p...)
			}
		}
		return b
	}
	x := func(n int) []byte { return bytes.Repeat([]byte("x"), n) }
	for _, c := range []struct {
		name string
		r    wire.Record
		err  string
	}{
		{"nothing", nil, "0 bytes, its time has 8"},
		{"half a time", at[:7], "7 bytes, its time has 8"},
		{"no topic", at, "bad length of topic"},
		{"topic: length in two bytes", cat(varint(1, 2), "t", 0), "bad length of topic"},
		{"topic: length of 65 bits", cat(bytes.Repeat([]byte{0xff}, 9), 2), "bad length of topic"},
		{"topic: one byte missing", cat(3, "t/"), "topic of 3 bytes declared, 2 left"},
		{"topic: one above the limit", cat(varint(1025, 2), x(1025), 0), "topic of 1025 bytes, the limit is 1024"},
		{"topic: 2^63", cat(varint(1<<63, 10)), "topic of 9223372036854775808 bytes, the limit is 1024"},
		{"topic: not UTF-8", cat(1, "\xff", 0), "topic is not valid UTF-8"},
		{"no header count", cat(1, "t"), "bad header count"},
		{"header count in two bytes", cat(0, varint(0, 2)), "bad header count"},
		{"header count one above the limit", cat(0, 65, bytes.Repeat([]byte{1, 'k', 0}, 65)), "header count 65, the limit is 64"},
		{"header count 2^32", cat(0, varint(1<<32, 5)), "header count 4294967296, the limit is 64"},
		{"one header declared, none there", cat(0, 1), "bad length of header key"},
		{"two headers declared, one there", cat(0, 2, 1, "k", 0), "bad length of header key"},
		{"key without value", cat(0, 1, 1, "k"), "bad length of header value"},
		{"key: length in two bytes", cat(0, 1, varint(1, 2), "k", 0), "bad length of header key"},
		{"key: empty", cat(0, 1, 0, 1, "v"), "header with an empty key"},
		{"key: one byte missing", cat(0, 1, 2, "k"), "header key of 2 bytes declared, 1 left"},
		{"key: one above the limit", cat(0, 1, varint(4097, 2), x(4097), 0), "header key of 4097 bytes, the limit is 4096"},
		{"key: not UTF-8", cat(0, 1, 1, "\xc3", 0), "header key is not valid UTF-8"},
		{"value: length in two bytes", cat(0, 1, 1, "k", varint(1, 2), "v"), "bad length of header value"},
		{"value: one byte missing", cat(0, 1, 1, "k", 1), "header value of 1 bytes declared, 0 left"},
		{"value: one above the limit", cat(0, 1, 1, "k", varint(4097, 2), x(4097)), "header value of 4097 bytes, the limit is 4096"},
		{"value: not UTF-8", cat(0, 1, 1, "k", 1, "\x80"), "header value is not valid UTF-8"},
	} {
		t.Run(c.name, func(t *testing.T) {
			m, err := c.r.Message()
			wantError(t, err, c.err)
			wantError(t, c.r.Check(), c.err)
			same(t, m, wire.Message{})
		})
	}
}

// A record that ends before its body is refused, wherever it ends; within its
// body it is a shorter body, which the length in front and the batch's checksum
// rule out.
func TestRecordCutAtEveryOffset(t *testing.T) {
	whole := golden(t, goldenFirstRecord)
	for n := range len(whole) {
		if _, _, err := wire.NextRecord(whole[:n]); err == nil {
			t.Errorf("NextRecord takes %d of %d bytes", n, len(whole))
		}
	}
	record := wire.Record(whole[1:])
	body := len(record) - len("hi")
	for n := range len(record) {
		_, err := record[:n].Message()
		if (err == nil) != (n >= body) {
			t.Errorf("%d of %d bytes before the body: %v", n, body, err)
		}
	}
}

// What points into a batch can be appended to without harm to its neighbour.
func TestRecordIsClippedToItsBytes(t *testing.T) {
	both := append(golden(t, goldenFirstRecord), golden(t, goldenSecondRecord)...)
	want := bytes.Clone(both)
	r, _, err := wire.NextRecord(both)
	if err != nil {
		t.Fatal(err)
	}
	m, err := r.Message()
	if err != nil {
		t.Fatal(err)
	}
	_ = append(r, "over"...)
	_ = append(m.Body, "over"...)
	sameBytes(t, both, want)
}

func TestFingerprintIsTheRecordsSHA256(t *testing.T) {
	// The time belongs to it: the same words a nanosecond later are another message.
	a, b := golden(t, goldenSecondRecord)[1:], golden(t, goldenSecondRecord)[1:]
	binary.BigEndian.PutUint64(b, 0)
	if wire.Record(a).Fingerprint() == wire.Record(b).Fingerprint() {
		t.Error("two times, one fingerprint")
	}
	same(t, wire.Record(nil).Fingerprint().String(), "e3b0c44298fc1c14")
}

func TestFingerprintText(t *testing.T) {
	for text, want := range map[string]wire.Fingerprint{"": 0, "0000000000000001": 1, "ffffffffffffffff": math.MaxUint64, "00000000000000ab": 0xab} {
		var f wire.Fingerprint
		if err := f.UnmarshalText([]byte(text)); err != nil || f != want {
			t.Errorf("%q is %d, %v, want %d", text, f, err, want)
		}
		if back, err := f.MarshalText(); string(back) != text || err != nil {
			t.Errorf("%d is %q, %v, want %q", f, back, err, text)
		}
	}
	for _, text := range []string{"0", "ab", "0000000000000000", "00000000000000AB", "+000000000000001", "0x00000000000001", "000000000000000g", "00000000000000001", strings.Repeat("a", 1000)} {
		f := wire.Fingerprint(7)
		wantError(t, f.UnmarshalText([]byte(text)), "want 16 lower-case hex digits")
		same(t, f, wire.Fingerprint(7))
	}
}
