package wire_test

import (
	"encoding/binary"
	"math"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/fieldpost/fieldpost/wire"
)

func TestEntryHeadIsRefused(t *testing.T) {
	const size = 34 // offset of the batch's size
	for _, c := range []struct {
		name    string
		literal string
		change  func([]byte) []byte
		err     string
	}{
		{"kind 0", goldenDataHead, fill(0, 1, 0), "unknown kind 0"},
		{"kind 3", goldenDataHead, fill(0, 1, 3), "unknown kind 3"},
		{"kind 255", goldenTombstone, fill(0, 1, 255), "unknown kind 255"},
		{"other flags of data", goldenDataHead, fill(1, 1, 2), "flags 0x2"},
		{"other flags of a tombstone", goldenTombstone, fill(1, 1, 0x81), "flags 0x81"},
		{"batch of 0 bytes", goldenDataHead, put32(size, 0), "batch of 0 bytes declared, a batch has 76 to 4718720"},
		{"batch smaller than any", goldenDataHead, put32(size, 75), "batch of 75 bytes declared"},
		{"batch larger than any", goldenDataHead, put32(size, wire.MaxBatchSize+1), "batch of 4718721 bytes declared"},
		{"batch of 2^32-1 bytes", goldenDataHead, put32(size, math.MaxUint32), "batch of 4294967295 bytes declared"},
		{"detail one byte short", goldenTombstone, func(b []byte) []byte { return b[:len(b)-1] }, "detail of 6 bytes declared, 5 left"},
		{"detail above the limit", goldenBareTombstone, func(b []byte) []byte {
			binary.BigEndian.PutUint16(b[51:], 257)
			return append(b, make([]byte, 257)...)
		}, "detail of 257 bytes declared"},
		{"detail of 65535 bytes", goldenBareTombstone, fill(51, 2, 0xff), "detail of 65535 bytes declared, 0 left"},
	} {
		t.Run(c.name, func(t *testing.T) {
			e, n, rest, err := wire.ParseEntry(c.change(golden(t, c.literal)))
			wantError(t, err, c.err)
			same(t, e, wire.Entry{})
			if n != 0 || rest != nil {
				t.Errorf("size %d and %d bytes beside the error", n, len(rest))
			}
		})
	}
	for _, n := range []uint32{76, wire.MaxBatchSize} {
		if _, got, _, err := wire.ParseEntry(put32(size, n)(golden(t, goldenDataHead))); got != int(n) || err != nil {
			t.Errorf("batch of %d bytes: %d, %v", n, got, err)
		}
	}
}

func TestEntryHeadCutAtEveryOffset(t *testing.T) {
	for _, literal := range []string{goldenDataHead, goldenTombstone, goldenBareTombstone} {
		whole := golden(t, literal)
		for n := range len(whole) {
			if _, _, _, err := wire.ParseEntry(whole[:n:n]); err == nil {
				t.Errorf("%d of %d bytes are taken for an entry's head", n, len(whole))
			}
		}
	}
}

// TestEntryCheck changes one thing of a good entry at a time.
func TestEntryCheck(t *testing.T) {
	other := wire.Incarnation(goldenEpoch)
	for _, c := range []struct {
		name    string
		literal string
		change  func(*wire.Entry)
		err     string // "" accepted
	}{
		{"data", goldenDataHead, func(*wire.Entry) {}, ""},
		{"part of a batch, its beginning", goldenDataHead, func(e *wire.Entry) { e.To = 7 }, ""},
		{"part of a batch, its end", goldenDataHead, func(e *wire.Entry) { e.From = 8 }, ""},
		{"begins before its batch", goldenDataHead, func(e *wire.Entry) { e.From = 6 }, "6 to 8 is not within its batch, 7 to 8"},
		{"ends behind its batch", goldenDataHead, func(e *wire.Entry) { e.To = 9 }, "7 to 9 is not within its batch, 7 to 8"},
		{"ends before it begins", goldenDataHead, func(e *wire.Entry) { e.From, e.To = 8, 7 }, "8 to 7 is no range"},
		{"from 0", goldenDataHead, func(e *wire.Entry) { e.From = 0 }, "0 to 8 is no range"},
		{"from 0 to 0", goldenTombstone, func(e *wire.Entry) { e.From, e.To = 0, 0 }, "0 to 0 is no range"},
		{"to above the largest number", goldenTombstone, func(e *wire.Entry) { e.To = wire.MaxSeq + 1 }, "is no range"},
		{"to the largest number", goldenTombstone, func(e *wire.Entry) { e.To = wire.MaxSeq }, ""},
		{"no incarnation", goldenDataHead, func(e *wire.Entry) { e.Incarnation = wire.Incarnation{} }, "incarnation is zero"},
		{"relabelled: not the batch's incarnation", goldenDataHead, func(e *wire.Entry) { e.Incarnation = other }, ""},
		{"a damaged batch", goldenDataHead, func(e *wire.Entry) { e.Batch[80]++ }, "batch: checksum"},
		{"an empty batch", goldenDataHead, func(e *wire.Entry) { e.Batch = []byte{} }, "batch: 0 bytes"},
		{"a tombstone", goldenTombstone, func(*wire.Entry) {}, ""},
		{"reason 0", goldenTombstone, func(e *wire.Entry) { e.Reason = 0 }, "unknown reason 0"},
		{"reason 7", goldenTombstone, func(e *wire.Entry) { e.Reason = 7 }, "unknown reason 7"},
		{"reason 255", goldenTombstone, func(e *wire.Entry) { e.Reason = 255 }, "unknown reason 255"},
		{"detail at the limit", goldenTombstone, func(e *wire.Entry) { e.Detail = strings.Repeat("x", 256) }, ""},
		{"detail above the limit", goldenTombstone, func(e *wire.Entry) { e.Detail = strings.Repeat("x", 257) }, "longer than 256 bytes or not UTF-8"},
		{"detail not UTF-8", goldenTombstone, func(e *wire.Entry) { e.Detail = "\xff" }, "or not UTF-8"},
		{"a time that is not known", goldenTombstone, func(e *wire.Entry) { e.Time = time.Time{} }, ""},
		{"a time in year 3000", goldenTombstone, func(e *wire.Entry) { e.Time = time.Date(3000, 1, 1, 0, 0, 0, 0, time.UTC) }, "tombstone: time 3000-01-01: want 1677 to 2262"},
	} {
		t.Run(c.name, func(t *testing.T) {
			e := goldenEntries(t)[c.literal]
			c.change(&e)
			b, err := e.Check()
			if c.err != "" {
				wantError(t, err, c.err)
				same(t, b, wire.Batch{})
			} else if err != nil {
				t.Error(err)
			} else if !e.IsTombstone() {
				same(t, b.BatchHeader, goldenHeader)
			}
		})
	}
}

// A peer that refuses what it is sent ends the link, again and again: what goes
// into a detail or a refusal is made to fit first.
func TestTextsAreMadeToFit(t *testing.T) {
	for name, text := range map[string]string{
		"cut between characters":           strings.Repeat("x", 255) + "é",
		"cut between long characters":      strings.Repeat("\U0001F4A5", 65),
		"not UTF-8":                        "disk \xff\xfe: \xc3",
		"not UTF-8, and longer once it is": strings.Repeat("\xff\x00", 128),
		"far too long":                     strings.Repeat("x", 100000),
	} {
		t.Run(name, func(t *testing.T) {
			e := goldenEntries(t)[goldenTombstone]
			e.Detail = text
			e, _, rest, err := wire.ParseEntry(wire.AppendEntry(nil, &e))
			if err != nil || len(rest) != 0 {
				t.Fatalf("ParseEntry: %d bytes left, %v", len(rest), err)
			}
			if _, err := e.Check(); err != nil {
				t.Error(err)
			}
			_, _, why, err := wire.ParseReject(readOne(t, wire.AppendReject(nil, 3, 9, text), wire.TypeReject))
			if err != nil || why != e.Detail {
				t.Errorf("ParseReject: %q, %v, want %q", why, err, e.Detail)
			}
			if !utf8.ValidString(why) || len(why) > wire.MaxReason || len(text) > wire.MaxReason && len(why) < wire.MaxReason-3 {
				t.Errorf("%q became %q", text, why)
			}
		})
	}
}
