package wire_test

import (
	"bytes"
	"fmt"
	"time"

	"github.com/fieldpost/fieldpost/wire"
)

// Two messages become a batch, the batch frames, and the way back.
func Example() {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	incarnation := wire.Incarnation{ID: wire.ID{15: 1}}

	// The agent: once, when the messages are accepted.
	var records []byte
	for _, body := range []string{"21.5", "21.7"} {
		var err error
		if records, err = wire.AppendRecord(records, &wire.Message{Topic: "boiler/temp", Time: at, Body: []byte(body)}); err != nil {
			fmt.Println(err)
			return
		}
	}
	batch := wire.AppendBatch(nil, wire.BatchHeader{
		Lane: "default", Epoch: wire.Epoch{ID: wire.ID{15: 9}}, Incarnation: incarnation, First: 41, Count: 2,
	}, records)

	// The link: number 41 is at the collector already.
	entry := wire.Entry{From: 42, To: 42, Incarnation: incarnation, Batch: batch}
	link := bytes.NewReader(wire.AppendData(nil, 1, &entry, wire.DefaultFragment))

	// The collector.
	_, payload, _, err := wire.ReadFrame(link, nil, wire.MaxFrame)
	if err != nil {
		fmt.Println(err)
		return
	}
	stream, got, size, first, err := wire.ParseData(payload)
	if err != nil || len(first) < size { // the rest would follow in more frames
		fmt.Println("not whole:", err)
		return
	}
	got.Batch = first
	b, err := got.Check()
	if err != nil {
		fmt.Println(err)
		return
	}
	for n, err := range b.Records() {
		if err != nil {
			fmt.Println(err)
			return
		}
		if n.Seq < got.From || n.Seq > got.To {
			continue // in the batch, but not in the entry
		}
		m, err := n.Record.Message()
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Printf("stream %d, number %d: %s at %s is %s\n", stream, n.Seq, m.Topic, m.Time.Format(time.TimeOnly), m.Body)
	}
	// Output:
	// stream 1, number 42: boiler/temp at 03:04:05 is 21.7
}

func ExampleAppendRecord() {
	record, err := wire.AppendRecord(nil, &wire.Message{Topic: "t", Time: time.Unix(0, 1), Body: []byte("hi")})
	fmt.Printf("%x %v\n", record, err)
	_, err = wire.AppendRecord(nil, &wire.Message{Topic: "t", Time: time.Unix(0, 1), Body: make([]byte, wire.MaxRecord)})
	fmt.Println(err)
	// Output:
	// 0d00000000000000010174006869 <nil>
	// message too large: 1048587 bytes with topic and headers, the limit is 1048576
}

func ExampleAppendBatch() {
	records, err := wire.AppendRecord(nil, &wire.Message{Time: time.Unix(0, 0), Body: []byte("hi")})
	if err != nil {
		fmt.Println(err)
		return
	}
	batch := wire.AppendBatch(nil, wire.BatchHeader{
		Lane:        wire.DefaultLane,
		Epoch:       wire.Epoch{ID: wire.ID{15: 1}},
		Incarnation: wire.Incarnation{ID: wire.ID{15: 2}},
		First:       1,
		Count:       1,
	}, records)
	fmt.Println(len(batch), "bytes")
	// Output: 84 bytes
}

func ExampleParseBatch() {
	records, err := wire.AppendRecord(nil, &wire.Message{Time: time.Unix(0, 0), Body: []byte("hi")})
	if err != nil {
		fmt.Println(err)
		return
	}
	encoded := wire.AppendBatch(nil, wire.BatchHeader{
		Lane: wire.DefaultLane, Epoch: wire.Epoch{ID: wire.ID{15: 1}}, Incarnation: wire.Incarnation{ID: wire.ID{15: 2}}, First: 7, Count: 1,
	}, records)

	b, err := wire.ParseBatch(encoded)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Printf("lane %s, %d to %d\n", b.Lane, b.First, b.Last())

	encoded[70]++ // one byte is not what it was
	_, err = wire.ParseBatch(encoded)
	fmt.Println(err)
	// Output:
	// lane default, 7 to 7
	// batch: checksum 92fb629a, its content has 59ad193f
}

func ExampleReadFrame() {
	link := bytes.NewReader(wire.AppendAck(wire.AppendPong(nil, 5), 1, 42))
	var buf []byte
	for link.Len() > 0 {
		var typ wire.Type
		var payload []byte
		var err error
		if typ, payload, buf, err = wire.ReadFrame(link, buf, wire.MaxFrame); err != nil {
			fmt.Println(err)
			return
		}
		switch typ {
		case wire.TypePong:
			nonce, err := wire.ParsePong(payload)
			fmt.Println("pong", nonce, err)
		case wire.TypeAck:
			stream, w, err := wire.ParseAck(payload)
			fmt.Println("ack of stream", stream, "up to", w, err)
		}
	}
	// Output:
	// pong 5 <nil>
	// ack of stream 1 up to 42 <nil>
}

func ExampleCommon() {
	a, b, c := wire.Incarnation{ID: wire.ID{0xa}}, wire.Incarnation{ID: wire.ID{0xb}}, wire.Incarnation{ID: wire.ID{0xc}}

	// The agent's folder was restored from a copy made at number 6, and written to
	// again; the store has what it wrote before that.
	agent := wire.History{{Incarnation: a, First: 1}, {Incarnation: b, First: 5}, {Incarnation: c, First: 7}}
	store := wire.History{{Incarnation: a, First: 1}, {Incarnation: b, First: 5}}
	fmt.Println(wire.Common(agent, 9, store, 20))
	// Output: 6
}

func ExampleMessage_Check() {
	m := wire.Message{Topic: "t", Time: time.Date(3000, 1, 1, 0, 0, 0, 0, time.UTC)}
	fmt.Println(m.Check())
	// Output: time 3000-01-01: want 1677 to 2262, the range of Unix nanoseconds
}
