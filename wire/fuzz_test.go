package wire_test

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"io"
	"reflect"
	"testing"

	"github.com/fieldpost/fieldpost/wire"
)

// For the binary forms: nothing panics, and what is accepted is exactly what the
// encoder makes of it. The corpus is in testdata/fuzz.

// FuzzBatch also takes inputs whose checksum it sets right, or a fuzzer would
// never get behind it.
func FuzzBatch(f *testing.F) {
	f.Add(golden(f, goldenBatch), false)
	f.Add(golden(f, goldenBatch), true)
	f.Add(golden(f, goldenS2Batch), true)
	f.Add(golden(f, goldenZstdBatch), true)
	f.Fuzz(func(t *testing.T, b []byte, repair bool) {
		if repair && len(b) >= 4 {
			b = resum(bytes.Clone(b))
		}
		size, sizeErr := wire.BatchSize(b)
		if sizeErr == nil && size > wire.MaxBatchSize {
			t.Fatalf("a size of %d", size)
		}
		p, err := wire.ParseBatch(b)
		if err != nil {
			if !reflect.DeepEqual(p, wire.Batch{}) {
				t.Error("a batch beside the error")
			}
			return
		}
		if sizeErr != nil || size != len(b) || p.First == 0 || p.Last() < p.First || p.Last() > wire.MaxSeq || wire.CheckName("lane", string(p.Lane)) != nil {
			t.Fatalf("size %d, %v, %+v", size, sizeErr, p.BatchHeader)
		}
		var records []byte
		var whole error
		next := p.First
		for n, err := range p.Records() {
			if err != nil {
				whole = err
				break
			}
			if n.Seq != next {
				t.Fatalf("number %d, want %d", n.Seq, next)
			}
			next++
			m, err := n.Record.Message()
			if (err == nil) != (n.Record.Check() == nil) {
				t.Fatalf("Message says %v, Check %v", err, n.Record.Check())
			}
			if p.Fingerprint(n.Seq) != n.Record.Fingerprint() {
				t.Fatal("another fingerprint")
			}
			if err != nil {
				whole = err
				break
			}
			if err := m.Check(); err != nil {
				t.Fatalf("a message that could not have been sent: %v", err)
			}
			if records, err = wire.AppendRecord(records, &m); err != nil {
				t.Fatal(err)
			}
		}
		if (whole == nil) != (p.Check() == nil) {
			t.Fatalf("records %v, Check %v", whole, p.Check())
		}
		if whole != nil {
			return
		}
		if next != p.Last()+1 {
			t.Fatalf("records up to %d of %d", next-1, p.Last())
		}
		again := wire.AppendBatch(nil, p.BatchHeader, records)
		if p.Codec == wire.CodecNone && !bytes.Equal(again, b) {
			t.Errorf("accepted %x\nencoded  %x", b, again)
		}
		// Compressed bytes have many forms, their records one.
		q, err := wire.ParseBatch(again)
		if err != nil || q.Raw != p.Raw || len(records) != p.Raw {
			t.Fatalf("encoded again: %v, %d bytes of records, %d before, %d declared", err, q.Raw, len(records), p.Raw)
		}
		for _, x := range []wire.Batch{p, q} {
			if raw, err := x.AppendRecords(nil); err != nil || !bytes.Equal(raw, records) {
				t.Errorf("records %x, %v, want %x", raw, err, records)
			}
		}
	})
}

func FuzzEntry(f *testing.F) {
	for head, e := range goldenEntries(f) {
		f.Add(append(golden(f, head), e.Batch...))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		e, size, rest, err := wire.ParseEntry(b)
		if err != nil {
			return
		}
		head := b[:len(b)-len(rest)]
		if size > 0 {
			e.Batch = make([]byte, size)
			copy(e.Batch, rest)
		}
		_, checked := e.Check()
		if checked == nil || size > 0 { // a detail that is not UTF-8 is made to fit
			if again := wire.AppendEntry(nil, &e); !bytes.Equal(again, head) {
				t.Errorf("accepted %x\nencoded  %x", head, again)
			}
		}
		if checked == nil && (e.From == 0 || e.To < e.From || e.To > wire.MaxSeq || e.Incarnation.IsZero()) {
			t.Errorf("%+v", e)
		}
	})
}

// FuzzHot gives a payload to the parser of its frame's type; what is accepted
// makes the same frame again.
func FuzzHot(f *testing.F) {
	add := func(frame []byte) { f.Add(frame[4], frame[9:]) }
	for _, c := range hotFrames {
		add(golden(f, c.literal))
	}
	add(wire.AppendPing(nil, 1, []wire.Announcement{{Stream: 3, Next: 10, BacklogBytes: 4096, OldestAge: 5}}))
	for _, e := range goldenEntries(f) {
		add(wire.AppendData(nil, 3, &e, 1<<20))
	}
	f.Fuzz(func(t *testing.T, typ uint8, p []byte) {
		var again []byte
		switch wire.Type(typ) {
		case wire.TypeData:
			stream, e, size, first, err := wire.ParseData(p)
			if err != nil {
				return
			}
			if size > 0 {
				e.Batch = make([]byte, size)
				copy(e.Batch, first)
			} else if _, err := e.Check(); err != nil {
				return // a detail that is not UTF-8 is made to fit
			}
			fragments := wire.Fragments{Stream: stream, Entry: &e, Size: len(first)}
			again = fragments.Append(nil)
		case wire.TypeMore:
			stream, part, err := wire.ParseMore(p)
			if err != nil {
				return
			}
			again = wire.AppendFrame(nil, wire.TypeMore, append([]byte{byte(stream >> 24), byte(stream >> 16), byte(stream >> 8), byte(stream)}, part...))
		case wire.TypeAck:
			stream, w, err := wire.ParseAck(p)
			if err != nil {
				return
			}
			again = wire.AppendAck(nil, stream, w)
		case wire.TypeReject:
			stream, n, why, err := wire.ParseReject(p)
			if err != nil {
				return
			}
			again = wire.AppendReject(nil, stream, n, why)
		case wire.TypePing:
			nonce, list, err := wire.ParsePing(p)
			if err != nil {
				return
			}
			again = wire.AppendPing(nil, nonce, list)
		case wire.TypePong:
			nonce, err := wire.ParsePong(p)
			if err != nil {
				return
			}
			again = wire.AppendPong(nil, nonce)
		default:
			return
		}
		if want := wire.AppendFrame(nil, wire.Type(typ), p); !bytes.Equal(again, want) {
			t.Errorf("accepted %x\nencoded  %x", want, again)
		}
	})
}

// FuzzReadFrame reads frames until the input ends or breaks; one buffer for all.
func FuzzReadFrame(f *testing.F) {
	var all []byte
	for _, c := range hotFrames {
		f.Add(golden(f, c.literal), uint16(wire.MaxHello))
		all = append(all, golden(f, c.literal)...)
	}
	f.Add(all, uint16(19))
	f.Add(wire.AppendFrame(nil, wire.TypeMore, make([]byte, 40000)), uint16(65535))
	f.Fuzz(func(t *testing.T, b []byte, limit uint16) {
		r := bytes.NewReader(b)
		var buf, again []byte
		for {
			left := r.Len()
			typ, payload, grown, err := wire.ReadFrame(r, buf, int(limit))
			if cap(grown) > max(512, int(limit)) {
				t.Fatalf("a buffer of %d at a limit of %d", cap(grown), limit)
			}
			buf = grown
			if err != nil {
				if payload != nil || err == io.EOF && left > 0 {
					t.Fatalf("payload of %d, %v with %d bytes left", len(payload), err, left)
				}
				break
			}
			if len(payload) > int(limit) {
				t.Fatalf("a payload of %d at a limit of %d", len(payload), limit)
			}
			again = wire.AppendFrame(again, typ, payload)
			if !bytes.Equal(again, b[:len(again)]) {
				t.Fatalf("read    %x\nencoded %x", b[:len(again)], again)
			}
		}
	})
}

// FuzzControl decodes each control frame and checks it: neither panics, and what
// is accepted says the same when it is encoded and read again.
func FuzzControl(f *testing.F) {
	for typ, v := range map[wire.Type]any{
		wire.TypeHello: goodHello(), wire.TypeHistory: goodState(), wire.TypeWelcome: goodWelcome(), wire.TypeResume: goodResume(),
		wire.TypeRefuse: wire.Refuse{Code: wire.RefuseFenced, Message: "m", RetryAfter: 1, Instance: wire.Instance(goldenEpoch)}, wire.TypeBye: wire.Bye{Reason: "r"},
		wire.TypeEnroll: goodEnroll(), wire.TypeEnrolled: goodEnrolled(),
	} {
		p, err := json.Marshal(v)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(uint8(typ), p)
	}
	f.Fuzz(func(t *testing.T, typ uint8, p []byte) {
		var v any
		check := func() error { return nil }
		switch wire.Type(typ) {
		case wire.TypeHello:
			h := new(wire.Hello)
			v, check = h, h.Check
		case wire.TypeHistory:
			s := new(wire.StreamState)
			v, check = s, s.Check
		case wire.TypeResume:
			r := new(wire.Resume)
			v, check = r, r.Check
		case wire.TypeWelcome:
			w := new(wire.Welcome)
			v, check = w, func() error {
				w.Replaced(wire.StoreID(goldenEpoch))
				return w.Check([]wire.StreamState{goodState()})
			}
		case wire.TypeRefuse:
			v = new(wire.Refuse)
		case wire.TypeBye:
			v = new(wire.Bye)
		case wire.TypeEnroll:
			e := new(wire.Enroll)
			v, check = e, e.Check
		case wire.TypeEnrolled:
			e := new(wire.Enrolled)
			v, check = e, e.Check
		default:
			return
		}
		if wire.ParseJSON(wire.Type(typ), p, v) != nil || check() != nil {
			return
		}
		if w, ok := v.(*wire.Welcome); ok && (w.Time.Year() < 0 || w.Time.Year() > 9999) {
			return // RFC 3339 reads zones that it does not write
		}
		if e, ok := v.(*wire.Enrolled); ok && (e.Time.Year() < 0 || e.Time.Year() > 9999) {
			return
		}
		if e, ok := v.(*wire.Enroll); ok && (len(e.Software)+len(e.Host.Name)+len(e.Host.OS)+len(e.Host.Arch) > wire.MaxText || len(e.Token) == 0) {
			return // is cut; an empty token is left out
		}
		if h, ok := v.(*wire.Hello); ok && len(h.Software)+len(h.Host.Name)+len(h.Host.OS)+len(h.Host.Arch) > wire.MaxText {
			return // is cut
		}
		frame := wire.AppendJSON(nil, wire.Type(typ), v)
		again := reflect.New(reflect.TypeOf(v).Elem()).Interface()
		if err := wire.ParseJSON(wire.Type(typ), frame[9:], again); err != nil {
			t.Fatalf("%s does not come back from %s: %v", p, frame[9:], err)
		}
		if second := wire.AppendJSON(nil, wire.Type(typ), again); !bytes.Equal(second, frame) {
			t.Errorf("first  %s\nsecond %s", frame[9:], second[9:])
		}
	})
}

// FuzzText takes the text forms of ids, fingerprints, boundaries and names: each
// has one.
func FuzzText(f *testing.F) {
	for _, s := range []string{"", "default", "..", hex.EncodeToString(goldenEpoch.ID[:]), hex.EncodeToString(goldenEpoch.ID[:]) + ":18446744073709551615", "00000000000000ab", "stored-in"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, v := range []interface {
			UnmarshalText([]byte) error
			MarshalText() ([]byte, error)
		}{new(wire.ID), new(wire.Fingerprint), new(wire.Boundary), new(wire.Reason)} {
			if v.UnmarshalText(b) != nil {
				continue
			}
			if again, err := v.MarshalText(); err != nil || !bytes.Equal(again, b) {
				t.Errorf("%T: accepted %q, writes %q, %v", v, b, again, err)
			}
		}
		if id, err := wire.ParseID(string(b)); err == nil && id.String() != string(b) {
			t.Errorf("id: accepted %q, writes %q", b, id)
		}
		if wire.CheckName("name", string(b)) == nil && (len(b) == 0 || len(b) > 64 || bytes.ContainsAny(b, "/\\: \x00") || string(b) == "..") {
			t.Errorf("%q is a name", b)
		}
	})
}
