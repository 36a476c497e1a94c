package queue

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fieldpost/fieldpost/wire"
)

func benchLane(b *testing.B, change ...func(*Config)) *Queue {
	b.Helper()
	cfg := Config{Dir: filepath.Join(b.TempDir(), "lane"), Agent: "a", Lane: "l"}
	for _, f := range change {
		f(&cfg)
	}
	q, err := Open(context.Background(), cfg)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { q.Close() })
	return q
}

// BenchmarkPut stores messages of 256 bytes, each with its own durable Put: into a
// lane without a policy; with limits that are never met and an age; with the
// oldest dropped all the time, so that each group comes with tombstones; and
// compressed.
func BenchmarkPut(b *testing.B) {
	policies := []struct {
		name   string
		change func(*Config)
	}{
		{"none", func(*Config) {}},
		{"limits", func(c *Config) { c.MaxBytes, c.MaxMessages, c.MaxAge = 1<<40, 1<<40, time.Hour }},
		{"drop-oldest", func(c *Config) { c.MaxBytes, c.Overflow = 16<<20, DropOldest }},
		{"s2", func(c *Config) { c.Codec = wire.CodecS2 }},
		{"zstd", func(c *Config) { c.Codec = wire.CodecZstd }},
	}
	for i := range 3 * len(policies) {
		producers, policy := []int{1, 64, 256}[i%3], policies[i/3]
		b.Run(fmt.Sprintf("policy=%s/producers=%d", policy.name, producers), func(b *testing.B) {
			q := benchLane(b, policy.change)
			text := strings.Repeat(`{"unit":"pump-7","value":21.45,"state":"steady"} `, 5)[:240]
			m := wire.Message{Topic: "bench", Time: base, Body: []byte(text)}
			var left atomic.Int64
			left.Store(int64(b.N))
			before := q.Stats().Commits
			b.ReportAllocs()
			b.ResetTimer()
			done := make(chan error)
			for range producers {
				go func() {
					for left.Add(-1) >= 0 {
						if err := q.Put(context.Background(), m); err != nil {
							done <- err
							return
						}
					}
					done <- nil
				}()
			}
			for range producers {
				if err := <-done; err != nil {
					b.Fatal(err)
				}
			}
			b.StopTimer()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msgs/s")
			b.ReportMetric(float64(q.Stats().Commits-before)/float64(b.N), "commits/msg")
		})
	}
}

// BenchmarkPutAsync is one goroutine that keeps the group commit full.
func BenchmarkPutAsync(b *testing.B) {
	q := benchLane(b)
	m := []wire.Message{{Topic: "bench", Time: base, Body: make([]byte, 240)}}
	b.ReportAllocs()
	b.ResetTimer()
	for range b.N {
		if err := q.PutAsync(m, func(err error) {
			if err != nil {
				b.Error(err)
			}
		}); err != nil {
			b.Fatal(err)
		}
	}
	if err := q.Close(); err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msgs/s")
}

// BenchmarkNext drains a backlog from disk: batch=1 was put message by message,
// batch=1000 in large batches.
func BenchmarkNext(b *testing.B) {
	for _, size := range []int{1, 1000} {
		b.Run(fmt.Sprint("batch=", size), func(b *testing.B) {
			q := benchLane(b)
			list := make([]wire.Message, size)
			for i := range list {
				list[i] = wire.Message{Topic: "bench", Time: base, Body: make([]byte, 240)}
			}
			total := wire.Seq(2000)
			for q.Streams()[0].Next <= total*wire.Seq(min(size, 100)) {
				if err := q.Put(context.Background(), list...); err != nil {
					b.Fatal(err)
				}
			}
			st := q.Streams()[0]
			b.ReportAllocs()
			b.ResetTimer()
			for n, k := wire.Seq(1), 0; k < b.N; {
				q.mu.Lock()
				q.recent = ring{}
				q.mu.Unlock()
				e, ok, err := q.Next(st.Epoch, n)
				if err != nil || !ok {
					b.Fatal(ok, err)
				}
				k += int(e.To - n + 1)
				if n = e.To + 1; n >= st.Next {
					n = 1
				}
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msgs/s")
		})
	}
}
