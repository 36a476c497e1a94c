package journal

import (
	"bytes"
	"encoding/hex"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/fieldpost/fieldpost/collector"
	"github.com/fieldpost/fieldpost/collector/ledger"
	"github.com/fieldpost/fieldpost/wire"
)

var update = flag.Bool("update", false, "write the golden files anew; a change of them is a change of the format")

func fixedID(b byte) wire.ID { return wire.ID(bytes.Repeat([]byte{b}, 16)) }

// goldenEvents has one event of each kind, with every field set.
func goldenEvents() []event {
	at := time.Unix(1_700_000_000, 123).UTC()
	record, err := wire.AppendRecord(nil, &wire.Message{Topic: "pump", Time: at, Body: []byte("42")})
	if err != nil {
		panic(err)
	}
	inc := wire.Incarnation{ID: fixedID(0xc1)}
	stream := collector.Stream{Lane: "default", Epoch: wire.Epoch{ID: fixedID(0xe1)}}
	batch := wire.AppendBatch(nil, wire.BatchHeader{Lane: "default", Epoch: stream.Epoch, Incarnation: inc, First: 1, Count: 1}, record)
	return []event{
		&granted{"pump-7", ledger.Granted{Time: at, Session: wire.Session{Number: 3, Nonce: fixedID(0x51)}, Instance: wire.Instance{ID: fixedID(0x11)}, Streams: 1,
			Software: "agent 1.2", Host: wire.Host{Name: "plant", OS: "linux", Arch: "arm"}, Address: "192.0.2.7:4711"}},
		&resumed{"pump-7", ledger.Resumed{Session: 3, Lane: "default", Epoch: stream.Epoch, Created: true, Base: 0, Next: 9,
			Boundaries: wire.History{{Incarnation: inc, First: 1}, {Incarnation: wire.Incarnation{ID: fixedID(0xc2)}, First: 5}}}},
		&announced{"pump-7", 3, []ledger.Announced{{Lane: "default", Epoch: stream.Epoch, Next: 12}}},
		&settled{id: "pump-7", session: 3, received: at, stream: stream, entry: wire.Entry{From: 1, To: 1, Incarnation: inc, Batch: batch}},
		&settled{id: "pump-7", session: 3, received: at, stream: stream, entry: wire.Entry{From: 2, To: 4, Incarnation: inc, Doubled: true, Reason: wire.ReasonExpired, Time: at, Fingerprint: 0xf1f2, Detail: "too old"}},
		&parted{"pump-7", 3, ledger.Parting{Time: at, Goodbye: true, Reason: "shutdown"}},
		clean{},
		&closed{"pump-7", ledger.Closing{Time: at, By: "root", Reason: "scrapped", Ranges: []ledger.Accepted{
			{Claim: ledger.ClaimLost, Lane: "default", Epoch: stream.Epoch, From: 2, To: 4},
			{Claim: ledger.ClaimUnexplained, Lane: "default", Incarnation: inc, From: 7, To: 9}}}},
		&granted{"pump-7", ledger.Granted{Time: at, Session: wire.Session{Number: 4, Nonce: fixedID(0x52)}, Instance: wire.Instance{ID: fixedID(0x12)}, Streams: 1,
			Behind: []ledger.Behind{{Lane: "default", Epoch: stream.Epoch, W: 4, Acked: 6}}}},
		hole{skip: 0, at: at},
		&forgotten{id: "pump-7", Forgotten: ledger.Forgotten{Time: at, By: "root", Reason: "scrapped", Record: 17}},
	}
}

// golden compares bytes with a file of hex digits.
func golden(t *testing.T, name string, got []byte) []byte {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		var b strings.Builder
		for i := 0; i < len(got); i += 32 {
			fmt.Fprintln(&b, hex.EncodeToString(got[i:min(i+32, len(got))]))
		}
		must(t, os.MkdirAll("testdata", 0o755))
		must(t, os.WriteFile(path, []byte(b.String()), 0o644))
	}
	text, err := os.ReadFile(path)
	must(t, err)
	want, err := hex.DecodeString(strings.Join(strings.Fields(string(text)), ""))
	must(t, err)
	if !bytes.Equal(got, want) {
		t.Errorf("%s: encoded as\n%x\nwant\n%x", name, got, want)
	}
	return want
}

// TestGolden pins the formats as literal bytes, in both directions.
func TestGolden(t *testing.T) {
	store := wire.StoreID{ID: fixedID(0x5d)}
	g := &group{seed: seed(store), state: agents{}, staged: agents{}, index: 7, open: -1, before: summary{1, 2, 3}}
	events := goldenEvents()
	for _, e := range events {
		if v, ok := e.(*settled); ok {
			v.complete()
		}
		g.add(e)
	}
	g.seal()
	records := golden(t, "records.hex", g.buf)

	s := newScanner(bytes.NewReader(records), seed(store), 0, int64(len(records)), 0)
	for i := 0; s.next(); i++ {
		if s.bad != nil {
			t.Fatalf("record %d: %v", i, s.bad.why)
		}
		if s.rec.index != uint64(7+i) || s.rec.last != (i == len(events)-1) {
			t.Errorf("record %d has index %d, last %v", i, s.rec.index, s.rec.last)
		}
		got, err := parseEvent(s.rec.kind, s.rec.payload)
		must(t, err)
		if v, ok := got.(*settled); ok {
			v.complete()
		}
		if !reflect.DeepEqual(got, events[i]) {
			t.Errorf("record %d is\n%+v\nwant\n%+v", i, got, events[i])
		}
	}

	snapshot := golden(t, "snapshot.hex", g.staged.appendSnapshot(nil))
	m, err := parseSnapshot(snapshot, ledger.SnapshotVersion)
	must(t, err)
	if !bytes.Equal(m.appendSnapshot(nil), snapshot) || m["pump-7"].Stream("default", wire.Epoch{ID: fixedID(0xe1)}).W != 4 {
		t.Error("the snapshot is read as something else")
	}

	h := head{version: 3, store: store, ordinal: 8, created: time.Unix(1_700_000_000, 5).UTC(), prev: 6, prevLength: 4096, first: 7, before: summary{1, 2, 3}, carried: 99, snapshot: 500, crc: 0xabcdef}
	got, err := parseHead(golden(t, "head.hex", h.append(nil)))
	must(t, err)
	if got != h {
		t.Errorf("head is read as %+v, want %+v", got, h)
	}

	k := mark{boot: fixedID(0xb0), ordinal: 8, length: 4096, index: 13, last: summary{1, 2, 3}}
	mk, err := parseMark(golden(t, "mark.hex", k.append(nil)))
	must(t, err)
	if mk != k {
		t.Errorf("mark is read as %+v, want %+v", mk, k)
	}
}

// TestForeignVersion: a folder of a later format is refused with a clear error
// and not touched.
func TestForeignVersion(t *testing.T) {
	dir := smallJournal(t, true)
	must(t, os.WriteFile(filepath.Join(dir, identityName), []byte(`{"format": 4, "store": "5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d5d"}`), 0o600))
	for what, err := range map[string]error{"open": openErr(dir), "read": readErr(dir)} {
		if err == nil || !strings.Contains(err.Error(), "format 4") {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func openErr(dir string) error {
	j, err := Open(Options{Dir: dir, Logger: quiet})
	if err == nil {
		j.Close()
	}
	return err
}

func readErr(dir string) error { _, err := OpenReader(dir); return err }
