package queue

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/fieldpost/fieldpost/wire"
)

var sampleState = state{
	epoch: wire.Epoch{ID: wire.ID{0xE1}}, store: wire.StoreID{ID: wire.ID{0x51}},
	history: wire.History{{Incarnation: wire.Incarnation{ID: wire.ID{0x11}}, First: 1}, {Incarnation: wire.Incarnation{ID: wire.ID{0x22}}, First: 5}},
	anchor:  anchor{wire.ID{0xB0}, 1, 2}, confirmed: confirmed{time.Unix(0, 3), 4},
	doubled: []span{{3, 4}}, doubt: 4, forks: 1, rolledBack: 2, relabelled: 3,
	tombs: []tombstone{{span: span{6, 7}, reason: wire.ReasonOverflow, time: time.Unix(0, 9), fingerprint: 0xF, detail: "d", claim: open}},
	dead:  1,
	clean: true, oldest: 3, before: 0xB, next: 9, commit: 8, letter: 1, accepted: 8, bytes: 0x300, age: 5,
	marks: []mark{{wire.StoreID{ID: wire.ID{0x50}}, 1}, {wire.StoreID{ID: wire.ID{0x51}}, 2}},
}

var sampleHead = head{agent: "pump-7", lane: "default", ordinal: 2, first: 5, bytes: 0x100, made: time.Unix(0, 7),
	age: 4, before: proven{1, 6}, epoch: sampleState.epoch, history: sampleState.history}

var sampleLetter = letter{epoch: sampleState.epoch, n: 6, time: time.Unix(0, 5), why: "no", record: wire.Record("rec")}

func init() { sampleState.dropped[wire.ReasonOverflow] = 2 }

// golden is each record as bytes, field by field.
var golden = map[string][]string{
	"head": {"465051 01 68", "0000000000000002", "0000000000000005", "0000000000000100", "0000000000000007", "0000000000000004", "0000000000000001 0000000000000006",
		"e1000000000000000000000000000000", "0006 70756d702d37", "0007 64656661756c74",
		"00000002", "11000000000000000000000000000000 0000000000000001", "22000000000000000000000000000000 0000000000000005"},
	"link": {"465051 01 6c", "e1000000000000000000000000000000", "51000000000000000000000000000000",
		"b0000000000000000000000000000000", "0000000000000001 0000000000000002", "0000000000000003 0000000000000004",
		"0000000000000004", "0000000000000001", "0000000000000002", "0000000000000003",
		"00000001", "0000000000000003 0000000000000004",
		"00000002", "11000000000000000000000000000000 0000000000000001", "22000000000000000000000000000000 0000000000000005"},
	"drops": {"465051 01 64", "0000000000000001", "00000001", "02 0000000000000002",
		"00000001", "0000000000000006 0000000000000007 02 01 0000000000000009 000000000000000f 0001 64"},
	"tip": {"465051 01 74", "0000000000000007", "01", "0000000000000003", "000000000000000b", "0000000000000009", "0000000000000008", "0000000000000001", "0000000000000008", "0000000000000300", "0000000000000005",
		"00000002", "50000000000000000000000000000000 0000000000000001", "51000000000000000000000000000000 0000000000000002"},
	"letter": {"465051 01 78", "e1000000000000000000000000000000", "0000000000000006", "0000000000000005", "0002 6e6f", "00000003 726563"},
}

// sums are their checksums.
var sums = map[string]string{"head": "b7cdb5f9", "link": "2ef2350a", "drops": "68e9cf39", "tip": "849338e1", "letter": "f07968f2"}

func goldenBytes(t testing.TB, name string) []byte {
	b, err := hex.DecodeString(strings.ReplaceAll(strings.Join(golden[name], "")+sums[name], " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func parseTipAlone(s *state, b []byte) error {
	_, err := s.parseTip(b)
	return err
}

func TestGoldenRecords(t *testing.T) {
	for name, got := range map[string][]byte{
		"head": appendHead(nil, &sampleHead), "link": appendLink(nil, &sampleState), "drops": appendDrops(nil, &sampleState),
		"tip": appendTip(nil, &sampleState, 7), "letter": appendLetter(nil, &sampleLetter),
	} {
		if want := goldenBytes(t, name); string(got) != string(want) {
			t.Errorf("%s:\n got %x\nwant %x", name, got, want)
		}
	}
	if h, err := parseHead(goldenBytes(t, "head")); err != nil || !reflect.DeepEqual(h, sampleHead) {
		t.Errorf("head: %+v, %v", h, err)
	}
	if l, err := parseLetter(goldenBytes(t, "letter")); err != nil || !reflect.DeepEqual(l, sampleLetter) {
		t.Errorf("letter: %+v, %v", l, err)
	}
	var s state
	if err := errors.Join(s.parseLink(goldenBytes(t, "link")), s.parseDrops(goldenBytes(t, "drops")), parseTipAlone(&s, goldenBytes(t, "tip"))); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(s, sampleState) {
		t.Errorf("state:\n got %+v\nwant %+v", s, sampleState)
	}
	if err := s.check(); err != nil {
		t.Error(err)
	}
}

// A stream that has had a turn says so behind the rest; others have nothing there.
func TestTheTurnIsBehindTheLink(t *testing.T) {
	with := sampleState
	with.turn = 7
	plain, b := goldenBytes(t, "link"), appendLink(nil, &with)
	if want := string(plain[:len(plain)-4]) + "\x00\x00\x00\x00\x00\x00\x00\x07"; string(b[:len(b)-4]) != want {
		t.Errorf("got %x, want %x", b, want)
	}
	var s state
	if err := s.parseLink(b); err != nil || s.turn != 7 {
		t.Errorf("turn %d, %v", s.turn, err)
	}
	if err := s.parseLink(plain); err != nil || s.turn != 0 {
		t.Errorf("without one: turn %d, %v", s.turn, err)
	}
	none := appendRecord(nil, 'l', func(b []byte) []byte { return append(append(b, plain[5:len(plain)-4]...), make([]byte, 8)...) })
	if err := s.parseLink(none); !isDamage(err) {
		t.Errorf("a turn of 0: %v", err)
	}
}

func TestGoldenNames(t *testing.T) {
	s := segment{3, 1234567}
	const name = "0000000003-00000000000001234567.seg"
	if s.name() != name {
		t.Errorf("name %s", s.name())
	}
	if got, ok := parseSegment(name); !ok || got != s {
		t.Errorf("parsed %+v, %v", got, ok)
	}
	for _, bad := range []string{"", "x.seg", "3-1234567.seg", name + ".seg", "0000000003-00000000000000000000.seg", "0000000003-0000000000000123456x.seg", "new-" + name + ".tmp"} {
		if s, ok := parseSegment(bad); ok {
			t.Errorf("%q is taken for segment %+v", bad, s)
		}
	}
}

func TestRecordsRefuseDamage(t *testing.T) {
	parsers := map[string]func([]byte) error{
		"head": func(b []byte) error { _, err := parseHead(b); return err }, "letter": func(b []byte) error { _, err := parseLetter(b); return err },
		"link": new(state).parseLink, "drops": new(state).parseDrops, "tip": func(b []byte) error { return parseTipAlone(new(state), b) },
	}
	for name, parse := range parsers {
		good := goldenBytes(t, name)
		for i := range good {
			bad := append([]byte(nil), good...)
			bad[i] ^= 1
			if parse(bad) == nil {
				t.Errorf("%s: a flip in byte %d is not seen", name, i)
			}
			if parse(good[:i]) == nil {
				t.Errorf("%s: cut at %d", name, i)
			}
		}
		newer := append([]byte(nil), good[:len(good)-4]...)
		newer[3]++
		newer = binary.BigEndian.AppendUint32(newer, crc32.Checksum(newer, wire.Castagnoli))
		if err := parse(newer); err == nil || isDamage(err) {
			t.Errorf("%s of a newer version counts as damage: %v", name, err)
		}
	}
}

// FuzzRecords feeds the parsers what a hostile or damaged file could hold, with
// a right checksum. What they take comes back as it was.
func FuzzRecords(f *testing.F) {
	for name := range golden {
		b := goldenBytes(f, name)
		f.Add(b[4], b[5:len(b)-4])
	}
	f.Fuzz(func(t *testing.T, kind byte, body []byte) {
		b := appendRecord(nil, kind, func(b []byte) []byte { return append(b, body...) })
		var s state
		var back []byte
		var err error
		switch kind {
		case 'h':
			var h head
			if h, err = parseHead(b); err == nil {
				back = appendHead(nil, &h)
			}
		case 'l':
			if err = s.parseLink(b); err == nil {
				back = appendLink(nil, &s)
			}
		case 'd':
			if err = s.parseDrops(b); err == nil && len(s.tombs) > 0 {
				back = appendDrops(nil, &s)
			}
		case 't':
			var tx int
			if tx, err = s.parseTip(b); err == nil {
				back = appendTip(nil, &s, tx)
			}
		case 'x':
			var l letter
			if l, err = parseLetter(b); err == nil {
				back = appendLetter(nil, &l)
			}
		}
		if back != nil && kind != 'd' && string(back) != string(b) { // drops may count a reason twice
			t.Fatalf("%c: %x came back as %x", kind, b, back)
		}
	})
}

// FuzzFolder opens a folder whose one segment was changed at a place.
func FuzzFolder(f *testing.F) {
	cfg := Config{Dir: filepath.Join(f.TempDir(), "lane"), Agent: "pump-7", Lane: "default"}
	q, err := Open(context.Background(), cfg)
	if err != nil {
		f.Fatal(err)
	}
	for i := 1; i <= 12; i++ {
		q.Put(context.Background(), wire.Message{Time: base, Body: append(fmt.Append(nil, "m", i), make([]byte, i%4*1500)...)})
	}
	q.Close()
	segs, _, err := list(cfg.Dir)
	if err != nil || len(segs) != 1 {
		f.Fatal(segs, err)
	}
	good, err := os.ReadFile(filepath.Join(cfg.Dir, segs[0].name()))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(uint32(8192), []byte{0xFF}, uint32(0))
	f.Add(uint32(4096*4+10), []byte{1, 2, 3, 4}, uint32(0))
	f.Add(uint32(0), []byte{}, uint32(9000))
	f.Fuzz(func(t *testing.T, at uint32, patch []byte, cut uint32) {
		b := append([]byte(nil), good...)
		if len(b) > 0 {
			copy(b[int(at)%len(b):], patch)
		}
		if cut > 0 {
			b = b[:int(cut)%len(b)]
		}
		damagedFolder(t, "patched", cfg, segs[0].name(), b)
	})
}
