package journal

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/fieldpost/fieldpost/collector"
	"github.com/fieldpost/fieldpost/wire"
)

// BenchmarkAppend appends batches of 16 KiB from several agents, each waiting
// for its answer, beside a plain file with the same bytes and group commit.
func BenchmarkAppend(b *testing.B) {
	for _, agents := range []int{1, 64} {
		for _, what := range []string{"journal", "plain"} {
			b.Run(fmt.Sprintf("store=%s/agents=%d/batch=16KiB", what, agents), func(b *testing.B) {
				c := newClient("pump")
				e := benchEntry(c)
				b.SetBytes(int64(len(e.Batch)))
				if what == "plain" {
					benchPlain(b, agents, e.Batch)
					return
				}
				j := openTest(b, Options{Dir: b.TempDir()})
				var left atomic.Int64
				left.Store(int64(b.N))
				var wg sync.WaitGroup
				clients := make([]*client, agents)
				for i := range clients {
					clients[i] = newClient(fmt.Sprintf("pump-%d", i))
					clients[i].next = 1 << 40
					if _, err := clients[i].connect(j); err != nil {
						b.Fatal(err)
					}
				}
				before := j.Stats()
				b.ResetTimer()
				for _, c := range clients {
					wg.Go(func() {
						list := []collector.Append{{Stream: c.stream(), Entry: benchEntry(c), Time: testTime}}
						k := list[0].Entry.To
						for left.Add(-1) >= 0 {
							if got, err := j.Append(context.Background(), c.session, list); err != nil || got[0].W != list[0].Entry.To {
								b.Error(got, err)
								return
							}
							list[0].Entry.From += k // the batch stays: the journal does not look into it
							list[0].Entry.To += k
						}
					})
				}
				wg.Wait()
				b.StopTimer()
				s := j.Stats()
				b.ReportMetric(float64(s.Syncs.Count-before.Syncs.Count)/float64(b.N), "syncs/op")
			})
		}
	}
}

// benchEntry returns 64 messages in 16 KiB.
func benchEntry(c *client) wire.Entry {
	var records []byte
	body := make([]byte, 236)
	for range 64 {
		r, err := wire.AppendRecord(records, &wire.Message{Topic: "bench", Time: testTime, Body: body})
		if err != nil {
			panic(err)
		}
		records = r
	}
	h := wire.BatchHeader{Lane: wire.DefaultLane, Epoch: c.epoch, Incarnation: c.history.At(1), First: 1, Count: 64}
	return wire.Entry{From: 1, To: 64, Incarnation: h.Incarnation, Batch: wire.AppendBatch(nil, h, records)}
}

// benchPlain appends the same bytes to a file, with one write and one fdatasync
// for all that wait.
func benchPlain(b *testing.B, writers int, batch []byte) {
	f, err := os.Create(filepath.Join(b.TempDir(), "plain"))
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	queue := make(chan chan struct{}, writers)
	var done sync.WaitGroup
	done.Go(func() {
		var buf []byte
		var waiting []chan struct{}
		for first := range queue {
			buf, waiting = append(buf[:0], batch...), append(waiting[:0], first)
			for more := true; more; {
				select {
				case w, ok := <-queue:
					if more = ok; ok {
						buf, waiting = append(buf, batch...), append(waiting, w)
					}
				default:
					more = false
				}
			}
			if _, err := f.Write(buf); err != nil {
				b.Error(err)
			}
			if err := dataSync(f); err != nil {
				b.Error(err)
			}
			for _, w := range waiting {
				w <- struct{}{}
			}
		}
	})
	var left atomic.Int64
	left.Store(int64(b.N))
	var wg sync.WaitGroup
	b.ResetTimer()
	for range writers {
		wg.Go(func() {
			answer := make(chan struct{}, 1)
			for left.Add(-1) >= 0 {
				queue <- answer
				<-answer
			}
		})
	}
	wg.Wait()
	close(queue)
	done.Wait()
}
