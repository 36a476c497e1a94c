package wire_test

import (
	"bytes"
	"encoding/hex"
	"reflect"
	"testing"
	"time"

	"github.com/fieldpost/fieldpost/wire"
)

// The literal bytes of this file were put together by a program of another
// language from docs/PROTOCOL.md. They pin the format: a change that moves one of
// them is another version of the protocol.

var (
	goldenEpoch       = wire.Epoch{ID: wire.ID{0x00, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff}}
	goldenIncarnation = wire.Incarnation{ID: wire.ID{0xa0, 0xa1, 0xa2, 0xa3, 0xa4, 0xa5, 0xa6, 0xa7, 0xa8, 0xa9, 0xaa, 0xab, 0xac, 0xad, 0xae, 0xaf}}

	goldenFirst = wire.Message{
		Topic:   "t/1",
		Time:    time.Unix(0, 1700000000123456789).UTC(),
		Headers: []wire.Header{{Key: "k", Value: "v"}, {Key: "k2"}},
		Body:    []byte("hi"),
	}
	goldenSecond = wire.Message{Time: time.Unix(0, -1).UTC(), Body: []byte{}} // all that may be empty is empty

	goldenHeader = wire.BatchHeader{Lane: "default", Epoch: goldenEpoch, Incarnation: goldenIncarnation, First: 7, Count: 2}
)

const (
	goldenFirstRecord = `
		17                      length
		17979cfe3d85cd15        time
		03 742f31               topic
		02                      headers
		01 6b 01 76             k: v
		02 6b32 00              k2: nothing
		6869                    body`
	goldenSecondRecord = `
		0a                      length
		ffffffffffffffff        time, one nanosecond before 1970
		00                      topic
		00                      headers`
	goldenBatch = `
		46504201                magic and version
		00                      codec
		07                      length of the lane
		0000                    zero
		00112233445566778899aabbccddeeff
		a0a1a2a3a4a5a6a7a8a9aaabacadaeaf
		0000000000000007        first
		00000002                count
		00000023                raw
		00000023                stored
		64656661756c74          lane` + goldenFirstRecord + goldenSecondRecord + `
		507b412a                CRC-32C`
	goldenLongRecord = `
		6f                      length
		17979cfe3d85cd15        time
		01 74                   topic
		00                      headers, then a body of 100 times "x"`
	goldenS2Batch = `
		46504201                magic and version
		01                      codec: s2
		07                      length of the lane
		0000                    zero
		00112233445566778899aabbccddeeff
		a0a1a2a3a4a5a6a7a8a9aaabacadaeaf
		0000000000000007        first
		00000002                count
		000000e0                raw
		0000001c                stored
		64656661756c74          lane
		e001                    S2: 224 bytes
		30 6f17979cfe3d85cd1501740078   the first 13
		fe0100 8a0100           99 from 1 before
		fe7000 be7000           112 from 112 before
		984ce6e7                CRC-32C`
	goldenZstdBatch = `
		46504201                magic and version
		02                      codec: zstd
		07                      length of the lane
		0000                    zero
		00112233445566778899aabbccddeeff
		a0a1a2a3a4a5a6a7a8a9aaabacadaeaf
		0000000000000007        first
		00000002                count
		000000e0                raw
		0000002c                stored
		64656661756c74          lane
		28b52ffd 20 e0          Zstandard: a frame of 224 bytes in a single segment
		600000 6f17979cfe3d85cd15017400   raw block
		220300 78               block of 100 equal bytes
		600000 6f17979cfe3d85cd15017400   raw block
		230300 78               block of 100 equal bytes, the last
		70387b2f                CRC-32C`
	goldenDataHead = `
		01                      data
		01                      may be doubled
		a0a1a2a3a4a5a6a7a8a9aaabacadaeaf
		0000000000000007        from
		0000000000000008        to
		0000006a                size of the batch`
	goldenTombstone = `
		02                      tombstone
		00                      flags
		a0a1a2a3a4a5a6a7a8a9aaabacadaeaf
		0000000000000009        from
		000000000000000c        to
		02                      reason: overflow
		17979cfe362a0000        time
		0123456789abcdef        fingerprint
		0006                    length of the detail
		66756c6c3a20            detail`
	goldenBareTombstone = `
		02                      tombstone
		01                      may be doubled
		a0a1a2a3a4a5a6a7a8a9aaabacadaeaf
		0000000000000001        from
		0000000000000001        to
		11                      reason: lost-at-store
		0000000000000000        time: not known
		0000000000000000        fingerprint: not known
		0000                    no detail`
)

func TestGoldenRecord(t *testing.T) {
	for _, c := range []struct {
		message     wire.Message
		literal     string
		fingerprint string
	}{
		{goldenFirst, goldenFirstRecord, "4e8a4f9f15ac83f4"},
		{goldenSecond, goldenSecondRecord, "63e5558e99879e7d"},
	} {
		want := golden(t, c.literal)
		got, err := wire.AppendRecord([]byte("before"), &c.message)
		if err != nil {
			t.Fatal(err)
		}
		sameBytes(t, got, append([]byte("before"), want...))

		record, rest, err := wire.NextRecord(want)
		if err != nil || len(rest) != 0 {
			t.Fatalf("NextRecord: %d bytes left, %v", len(rest), err)
		}
		m, err := record.Message()
		if err != nil {
			t.Fatal(err)
		}
		same(t, m, c.message)
		same(t, record.Time(), c.message.Time)
		same(t, record.Fingerprint().String(), c.fingerprint)
	}
}

func TestGoldenBatch(t *testing.T) {
	want := golden(t, goldenBatch)
	records := append(golden(t, goldenFirstRecord), golden(t, goldenSecondRecord)...)
	sameBytes(t, wire.AppendBatch([]byte("before"), goldenHeader, records), append([]byte("before"), want...))

	if n, err := wire.BatchSize(want[:60]); n != len(want) || err != nil {
		t.Errorf("BatchSize: %d, %v, want %d", n, err, len(want))
	}
	b, err := wire.ParseBatch(want)
	if err != nil {
		t.Fatal(err)
	}
	same(t, b.BatchHeader, goldenHeader)
	same(t, b.Raw, len(records))
	same(t, b.Last(), wire.Seq(8))
	same(t, b.Fingerprint(7).String(), "4e8a4f9f15ac83f4")
	same(t, b.Fingerprint(8).String(), "63e5558e99879e7d")
	same(t, b.Fingerprint(9), wire.Fingerprint(0))
	if err := b.Check(); err != nil {
		t.Error(err)
	}
	var got []wire.Message
	for n, err := range b.Records() {
		if err != nil {
			t.Fatal(err)
		}
		same(t, n.Seq, wire.Seq(7+len(got)))
		m, err := n.Record.Message()
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, m)
	}
	same(t, got, []wire.Message{goldenFirst, goldenSecond})
}

// goldenEntries are entries with the bytes of their heads; data comes first.
func goldenEntries(t testing.TB) map[string]wire.Entry {
	return map[string]wire.Entry{
		goldenDataHead: {From: 7, To: 8, Incarnation: goldenIncarnation, Doubled: true, Batch: golden(t, goldenBatch)},
		goldenTombstone: {From: 9, To: 12, Incarnation: goldenIncarnation, Reason: wire.ReasonOverflow,
			Time: time.Unix(1700000000, 0).UTC(), Fingerprint: 0x0123456789abcdef, Detail: "full: "},
		goldenBareTombstone: {From: 1, To: 1, Incarnation: goldenIncarnation, Doubled: true, Reason: wire.ReasonLostAtStore},
	}
}

func TestGoldenEntryHead(t *testing.T) {
	for literal, entry := range goldenEntries(t) {
		want := golden(t, literal)
		sameBytes(t, wire.AppendEntry([]byte("before"), &entry), append([]byte("before"), want...))
		got, size, rest, err := wire.ParseEntry(append(want, "behind"...))
		if err != nil {
			t.Fatal(err)
		}
		same(t, size, len(entry.Batch))
		same(t, string(rest), "behind")
		got.Batch = entry.Batch
		same(t, got, entry)
		same(t, got.IsTombstone(), len(entry.Batch) == 0)
		if _, err := got.Check(); err != nil {
			t.Error(err)
		}
	}
}

func TestGoldenReasons(t *testing.T) {
	for number, name := range map[wire.Reason]string{
		1: "expired", 2: "overflow", 3: "purged", 4: "corrupt", 5: "rejected", 6: "missing", 16: "stored-in", 17: "lost-at-store",
	} {
		text, err := number.MarshalText()
		if err != nil || string(text) != name || number.String() != name {
			t.Errorf("reason %d is %q, %v, want %q", uint8(number), text, err, name)
		}
		var back wire.Reason
		if err := back.UnmarshalText([]byte(name)); err != nil || back != number {
			t.Errorf("%q is reason %d, %v, want %d", name, uint8(back), err, uint8(number))
		}
	}
	same(t, wire.Reason(7).String(), "reason-7")
	var r wire.Reason
	wantError(t, r.UnmarshalText([]byte("reason-7")), "unknown reason")
}

// Hot frames: length, type, checksum, payload.
const (
	goldenAck    = `0000000c 20 f1de5c76 00000003 0102030405060708`
	goldenReject = `00000013 21 8212e581 00000003 0000000000000009 746f6f206f6c64`
	goldenPing   = `0000000a 30 deed97b6 fedcba9876543210 0000`
	goldenPong   = `00000008 31 f6b66824 fedcba9876543210`
)

func TestGoldenDataAndMore(t *testing.T) {
	batch := golden(t, goldenBatch)
	entry := goldenEntries(t)[goldenDataHead]
	data := golden(t, `
		0000008e 10 976db1de    header
		00000003                stream`+goldenDataHead+`
		`+hex.EncodeToString(batch[:100]))
	more := golden(t, `
		0000000a 11 acbf7a4f    header
		00000003                stream
		0000507b412a            the rest of the batch`)
	sameBytes(t, wire.AppendData([]byte("before"), 3, &entry, 100), append(append([]byte("before"), data...), more...))

	fragments := wire.Fragments{Stream: 3, Entry: &entry, Size: 100}
	sameBytes(t, fragments.Append(nil), data)
	same(t, fragments.Done(), false)
	sameBytes(t, fragments.Append(nil), more)
	same(t, fragments.Done(), true)
	sameBytes(t, fragments.Append(nil), nil)

	stream, got, size, first, err := wire.ParseData(readOne(t, data, wire.TypeData))
	if err != nil {
		t.Fatal(err)
	}
	same(t, stream, uint32(3))
	same(t, size, len(batch))
	sameBytes(t, first, batch[:100])
	stream, part, err := wire.ParseMore(readOne(t, more, wire.TypeMore))
	if err != nil {
		t.Fatal(err)
	}
	same(t, stream, uint32(3))
	got.Batch = append(bytes.Clone(first), part...)
	same(t, got, entry)
}

func TestGoldenTombstoneFrame(t *testing.T) {
	want := golden(t, `
		0000003f 10 7bec849d    header
		00000003                stream`+goldenTombstone)
	entry := goldenEntries(t)[goldenTombstone]
	sameBytes(t, wire.AppendData(nil, 3, &entry, 0), want)
	stream, got, size, first, err := wire.ParseData(readOne(t, want, wire.TypeData))
	if err != nil || stream != 3 || size != 0 || len(first) != 0 {
		t.Errorf("ParseData: stream %d, size %d, %d bytes, %v", stream, size, len(first), err)
	}
	same(t, got, entry)
}

func TestGoldenAckRejectPong(t *testing.T) {
	ack, reject, pong := golden(t, goldenAck), golden(t, goldenReject), golden(t, goldenPong)
	sameBytes(t, wire.AppendAck(nil, 3, 0x0102030405060708), ack)
	if stream, w, err := wire.ParseAck(readOne(t, ack, wire.TypeAck)); stream != 3 || w != 0x0102030405060708 || err != nil {
		t.Errorf("ParseAck: stream %d, W %d, %v", stream, w, err)
	}
	sameBytes(t, wire.AppendReject(nil, 3, 9, "too old"), reject)
	if stream, n, why, err := wire.ParseReject(readOne(t, reject, wire.TypeReject)); stream != 3 || n != 9 || why != "too old" || err != nil {
		t.Errorf("ParseReject: stream %d, number %d, %q, %v", stream, n, why, err)
	}
	sameBytes(t, wire.AppendPong(nil, 0xfedcba9876543210), pong)
	if nonce, err := wire.ParsePong(readOne(t, pong, wire.TypePong)); nonce != 0xfedcba9876543210 || err != nil {
		t.Errorf("ParsePong: %x, %v", nonce, err)
	}
}

func TestGoldenPing(t *testing.T) {
	for _, c := range []struct {
		nonce   uint64
		list    []wire.Announcement
		literal string
	}{
		{0xfedcba9876543210, nil, goldenPing},
		{1, []wire.Announcement{
			{Stream: 3, Next: 10, BacklogBytes: 4096, OldestAge: 1500 * time.Millisecond},
			{Stream: 4, Next: 1},
		}, `
			00000042 30 bc477817
			0000000000000001    nonce
			0002                count
			00000003            stream
			000000000000000a    next
			0000000000001000    backlog bytes
			0000000059682f00    oldest age
			00000004 0000000000000001 0000000000000000 0000000000000000`},
	} {
		want := golden(t, c.literal)
		sameBytes(t, wire.AppendPing(nil, c.nonce, c.list), want)
		nonce, list, err := wire.ParsePing(readOne(t, want, wire.TypePing))
		if err != nil {
			t.Fatal(err)
		}
		same(t, nonce, c.nonce)
		same(t, list, c.list)
	}
}

// Every control frame is pinned as the text of its payload; the frame around it
// by the literal bytes of the shortest one.
func TestGoldenControlFrames(t *testing.T) {
	const id = "00112233445566778899aabbccddeeff"
	const inc = "a0a1a2a3a4a5a6a7a8a9aaabacadaeaf"
	history := wire.History{{Incarnation: goldenIncarnation, First: 1}, {Incarnation: wire.Incarnation(goldenEpoch), First: 18446744073709551615}}
	for _, c := range []struct {
		typ   wire.Type
		value any // a pointer
		text  string
	}{
		{wire.TypeHello, &wire.Hello{Protocol: 1, Agent: "pump-7", Instance: wire.Instance(goldenEpoch)},
			`{"protocol":1,"agent":"pump-7","instance":"` + id + `","last_session":0,"streams":0,"host":{}}`},
		{wire.TypeHello, &wire.Hello{Protocol: 1, Agent: "pump-7", Instance: wire.Instance(goldenEpoch), LastSession: 41, Streams: 1,
			Software: "fieldpost 0.1", Host: wire.Host{Name: "h", OS: "linux", Arch: "arm"}, Heartbeat: time.Second},
			`{"protocol":1,"agent":"pump-7","instance":"` + id + `","last_session":41,"streams":1,"software":"fieldpost 0.1","host":{"name":"h","os":"linux","arch":"arm"},"heartbeat":1000000000}`},
		{wire.TypeHistory, &wire.StreamState{Lane: "default", Epoch: goldenEpoch, Next: 12, Acked: 11, Boundaries: history, More: true},
			`{"lane":"default","epoch":"` + id + `","next":12,"acked":11,"boundaries":["` + inc + `:1","` + id + `:18446744073709551615"],"more":true}`},
		{wire.TypeWelcome, &wire.Welcome{Session: wire.Session{Number: 42, Nonce: goldenEpoch.ID}, Store: wire.StoreID(goldenEpoch), Heartbeat: 30 * time.Second,
			Window: 4194304, Fragment: 16384, Time: time.Unix(1700000000, 5).UTC(), Matches: []wire.Match{}},
			`{"session":{"number":42,"nonce":"` + id + `"},"store":"` + id + `","heartbeat":30000000000,"window":4194304,"fragment":16384,"time":"2023-11-14T22:13:20.000000005Z","matches":[]}`},
		{wire.TypeWelcome, &wire.Welcome{Session: wire.Session{Number: 1}, Store: wire.StoreID(goldenEpoch), Replaces: []wire.StoreID{wire.StoreID(goldenIncarnation)}, ReplacesAny: true,
			Heartbeat: 1, Window: 1, Fragment: 1, Time: time.Unix(0, 0).UTC(), Matches: []wire.Match{
				{},
				{Found: true, Epoch: goldenEpoch, W: 9, Common: 8, FPCommon: 0xab, FPAcked: 0xffffffffffffffff, Beyond: true}}},
			`{"session":{"number":1,"nonce":""},"store":"` + id + `","replaces":["` + inc + `"],"replaces_any":true,"heartbeat":1,"window":1,"fragment":1,"time":"1970-01-01T00:00:00Z","matches":[` +
				`{"found":false,"epoch":"","w":0,"common":0},` +
				`{"found":true,"epoch":"` + id + `","w":9,"common":8,"fp_common":"00000000000000ab","fp_acked":"ffffffffffffffff","beyond":true}]}`},
		{wire.TypeResume, &wire.Resume{Stream: 3, Lane: "default", Epoch: goldenEpoch, Base: 8, Next: 12, Boundaries: history[:1]},
			`{"stream":3,"lane":"default","epoch":"` + id + `","base":8,"next":12,"boundaries":["` + inc + `:1"]}`},
		{wire.TypeRefuse, &wire.Refuse{Code: wire.RefuseFenced, Message: "by <another> \"é\"", Instance: wire.Instance(goldenEpoch)},
			`{"code":"fenced","message":"by \u003canother\u003e \"é\"","instance":"` + id + `"}`},
		{wire.TypeRefuse, &wire.Refuse{Code: wire.RefuseBusy, RetryAfter: 5 * time.Second},
			`{"code":"busy","message":"","retry_after":5000000000}`},
		{wire.TypeBye, &wire.Bye{Reason: "shutdown"}, `{"reason":"shutdown"}`},
		{wire.TypeEnroll, &wire.Enroll{Protocol: 1, Agent: "pump-7", Token: []byte{0, 1, 2, 255}, Request: []byte{0x30, 0x80}, Software: "s", Host: wire.Host{Name: "h"}},
			`{"protocol":1,"agent":"pump-7","token":"AAEC/w==","request":"MIA=","software":"s","host":{"name":"h"}}`},
		{wire.TypeEnroll, &wire.Enroll{Protocol: 1, Agent: "pump-7", Request: []byte{0x30}}, `{"protocol":1,"agent":"pump-7","request":"MA==","host":{}}`},
		{wire.TypeEnrolled, &wire.Enrolled{Certificate: [][]byte{{0x30, 1}, {0x30, 2}}, Authorities: [][]byte{{0x30, 3}}, Time: time.Unix(1700000000, 0).UTC()},
			`{"certificate":["MAE=","MAI="],"authorities":["MAM="],"time":"2023-11-14T22:13:20Z"}`},
	} {
		frame := wire.AppendJSON(nil, c.typ, c.value)
		sameBytes(t, frame, wire.AppendFrame(nil, c.typ, []byte(c.text)))
		payload := readOne(t, frame, c.typ)
		if string(payload) != c.text {
			t.Errorf("%s:\ngot  %s\nwant %s", c.typ, payload, c.text)
		}
		back := reflect.New(reflect.TypeOf(c.value).Elem())
		if err := wire.ParseJSON(c.typ, []byte(c.text), back.Interface()); err != nil {
			t.Error(err)
		}
		same(t, back.Interface(), c.value)
	}
	sameBytes(t, wire.AppendJSON(nil, wire.TypeBye, wire.Bye{Reason: "shutdown"}), golden(t, "00000015 05 6c3e57d3 "+hex.EncodeToString([]byte(`{"reason":"shutdown"}`))))
}

func TestGoldenTypes(t *testing.T) {
	for typ, want := range map[wire.Type]string{
		0x01: "hello", 0x02: "history", 0x03: "welcome", 0x04: "refuse", 0x05: "bye", 0x06: "resume", 0x07: "enroll", 0x08: "enrolled",
		0x10: "data", 0x11: "more", 0x20: "ack", 0x21: "reject", 0x30: "ping", 0x31: "pong", 0x00: "type-0x00", 0xff: "type-0xff",
	} {
		same(t, typ.String(), want)
	}
	for code, want := range map[wire.RefuseCode]string{
		wire.RefuseVersion: "version", wire.RefuseIdentity: "identity", wire.RefuseProtocol: "protocol",
		wire.RefuseBusy: "busy", wire.RefuseStore: "store", wire.RefuseFenced: "fenced",
		wire.RefuseTLS: "tls", wire.RefuseRevoked: "revoked", wire.RefuseToken: "token", wire.RefuseEnroll: "enroll", wire.RefuseLimit: "limit",
	} {
		same(t, string(code), want)
	}
}
