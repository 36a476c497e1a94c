package wire_test

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	"github.com/fieldpost/fieldpost/wire"
)

// benchBatch is an encoded batch of count records with bodies of size bytes.
func benchBatch(b *testing.B, count, size int) []byte {
	m := benchMessage(size)
	var records []byte
	for range count {
		var err error
		if records, err = wire.AppendRecord(records, &m); err != nil {
			b.Fatal(err)
		}
	}
	return wire.AppendBatch(nil, wire.BatchHeader{Lane: "default", Epoch: goldenEpoch, Incarnation: goldenIncarnation, First: 1, Count: uint32(count)}, records)
}

func benchMessage(size int) wire.Message {
	return wire.Message{Topic: "plant/pump-7/temp", Time: time.Unix(1700000000, 0), Body: bytes.Repeat([]byte("x"), size)}
}

func BenchmarkAppendRecord(b *testing.B) {
	for _, size := range []int{16, 256, 4096} {
		for _, headers := range []int{0, 2} {
			b.Run(fmt.Sprintf("body=%d/headers=%d", size, headers), func(b *testing.B) {
				m := benchMessage(size)
				for range headers {
					m.Headers = append(m.Headers, wire.Header{Key: "content-type", Value: "text/plain"})
				}
				b.SetBytes(int64(size))
				b.ReportAllocs()
				var dst []byte
				for b.Loop() {
					var err error
					if dst, err = wire.AppendRecord(dst[:0], &m); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

// BenchmarkParseBatch is what a hop does with a batch: verify it, walk its
// records, check them (what a collector does) or decode them (what a reader does).
func BenchmarkParseBatch(b *testing.B) {
	for _, count := range []int{1, 64, 1000} {
		encoded := benchBatch(b, count, 256)
		walk := func(b *testing.B, each func(wire.Record) error) {
			p, err := wire.ParseBatch(encoded)
			if err != nil {
				b.Fatal(err)
			}
			if each == nil {
				return
			}
			for n, err := range p.Records() {
				if err == nil {
					err = each(n.Record)
				}
				if err != nil {
					b.Fatal(err)
				}
			}
		}
		for _, c := range []struct {
			name string
			each func(wire.Record) error
		}{
			{"none", nil},
			{"split", func(wire.Record) error { return nil }},
			{"check", wire.Record.Check},
			{"message", func(r wire.Record) error { _, err := r.Message(); return err }},
		} {
			b.Run(fmt.Sprintf("body=256/count=%d/records=%s", count, c.name), func(b *testing.B) {
				b.SetBytes(int64(len(encoded)))
				b.ReportAllocs()
				for b.Loop() {
					walk(b, c.each)
				}
				b.ReportMetric(float64(count)*float64(b.N)/b.Elapsed().Seconds(), "msgs/s")
			})
		}
	}
}

func BenchmarkReadFrame(b *testing.B) {
	for _, size := range []int{12, 16 << 10, 1 << 20} {
		b.Run(fmt.Sprintf("payload=%d", size), func(b *testing.B) {
			frame := wire.AppendFrame(nil, wire.TypeMore, make([]byte, size))
			r := bytes.NewReader(nil)
			var buf []byte
			b.SetBytes(int64(len(frame)))
			b.ReportAllocs()
			for b.Loop() {
				r.Reset(frame)
				var err error
				if _, _, buf, err = wire.ReadFrame(r, buf, wire.MaxFrame); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkCommon(b *testing.B) {
	for _, boundaries := range []int{1, 100, wire.MaxHelloBounds} {
		b.Run(fmt.Sprintf("boundaries=%d", boundaries), func(b *testing.B) {
			var h wire.History
			for i := range boundaries {
				h = append(h, bound(i+1, wire.Seq(i+1)))
			}
			other := h.Begin(goldenIncarnation, 1) // nothing in common: the longest way
			for b.Loop() {
				wire.Common(h, 1<<40, other, 1<<40)
			}
		})
	}
}
