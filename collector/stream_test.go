package collector_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fieldpost/fieldpost/collector"
	"github.com/fieldpost/fieldpost/wire"
)

// TestBadInput has what point by point must end one link, with a clear error to
// its sender, logged once, and harm nothing else.
func TestBadInput(t *testing.T) {
	i, other := newIDs(), newIDs()
	entry := func(change func(*wire.Entry)) []byte {
		e := i.entry(1, 4)
		change(e)
		return data(1, e)
	}
	flip := func(b []byte, at int) []byte { b[at] ^= 1; return b }
	record := append([]byte{12}, "12345678\xff\xff\xff\xff"...) // the length of its topic is none
	badRecords := wire.AppendBatch(nil, wire.BatchHeader{Lane: "default", Epoch: i.epoch, Incarnation: i.inc, First: 1, Count: 1}, record)

	long := i.entryOf("default", 1, 1, 40<<10)
	begin := (&wire.Fragments{Stream: 1, Entry: long}).Append(nil)
	tooLong := (&wire.Fragments{Stream: 1, Entry: long, Size: 30 << 10}).Append(nil)
	more := func(stream uint32, n int) []byte {
		return wire.AppendFrame(nil, wire.TypeMore, append(binary.BigEndian.AppendUint32(nil, stream), make([]byte, n)...))
	}
	paged := wire.Resume{Stream: 2, Lane: "alarms", Epoch: other.epoch, Next: 5, Boundaries: other.history(), More: true}
	nextPage := paged
	nextPage.Next = 6
	wide := paged
	for range wire.MaxPageBounds {
		wide.Boundaries = append(wide.Boundaries, wide.Boundaries[0])
	}

	for _, tt := range []struct {
		name  string
		bytes []byte
		says  string
	}{
		{"a frame too long", []byte{0, 0x10, 0, 1, byte(wire.TypeData), 0, 0, 0, 0}, "limit"},
		{"an unknown type", wire.AppendFrame(nil, 0x55, nil), "unknown type 0x55"},
		{"a wrong checksum", flip(wire.AppendPing(nil, 1, nil), 12), "checksum"},
		{"a ping cut short", wire.AppendFrame(nil, wire.TypePing, make([]byte, 9)), "ping payload of 9 bytes"},
		{"the collector's frame", wire.AppendAck(nil, 1, 1), "ack is not an agent's frame"},
		{"a hello again", helloFrames(wire.Hello{Agent: "a"}), "hello is not an agent's frame"},
		{"data for an unknown stream", data(2, i.entry(1, 4)), "stream 2, which no resume has opened"},
		{"more for an unknown stream", more(2, 5), "stream 2, which no resume has opened"},
		{"more out of order", more(1, 5), "stream 1 without data before it"},
		{"data out of order", append(begin[:len(begin):len(begin)], begin...), "stream 1 while its batch 1 to 1 is incomplete"},
		{"a batch longer than declared", append(begin[:len(begin):len(begin)], repeat(more(1, 16<<10), 2)...), "bytes too many for a batch"},
		{"a fragment too long", tooLong, "fragment of 30720 bytes: the welcome allows 16384"},
		{"an entry outside its batch", entry(func(e *wire.Entry) { e.To = 5 }), "stream 1 (lane default), entry 1 to 5"},
		{"an entry of no numbers", entry(func(e *wire.Entry) { e.From = 3; e.To = 2 }), "no range"},
		{"an entry without incarnation", entry(func(e *wire.Entry) { e.Incarnation = wire.Incarnation{} }), "incarnation"},
		{"a batch with a wrong checksum", entry(func(e *wire.Entry) { e.Batch = flip(e.Batch, 70) }), "stream 1 (lane default), entry 1 to 4: batch: checksum"},
		{"a batch of another lane", data(1, i.entryOf("alarms", 1, 4, 5)), "its batch is of lane alarms"},
		{"records that do not decode", data(1, &wire.Entry{From: 1, To: 1, Incarnation: i.inc, Batch: badRecords}), "number 1"},
		{"a tombstone of unknown reason", data(1, &wire.Entry{From: 1, To: 2, Incarnation: i.inc, Reason: 99, Time: time.Unix(1, 0)}), "reason"},
		{"a resume twice", i.resume(1, "default", 0, 5), "already open as 1"},
		{"a stream under two numbers", i.resume(3, "default", 0, 5), "already open as 1"},
		{"a number for two streams", other.resume(1, "alarms", 0, 5), "already open as 1"},
		{"a resume without epoch", ids{inc: i.inc}.resume(2, "default", 0, 5), "epoch"},
		{"a resume beyond its next", other.resume(2, "default", 5, 5), "base 5"},
		{"a resume in pages of two streams", append(wire.AppendJSON(nil, wire.TypeResume, paged), wire.AppendJSON(nil, wire.TypeResume, nextPage)...), "not of one stream"},
		{"data between the pages of a resume", append(wire.AppendJSON(nil, wire.TypeResume, paged), data(1, i.entry(1, 4))...), "incomplete"},
		{"a resume page too long", wire.AppendJSON(nil, wire.TypeResume, wide), "limit"},
		{"a resume of a lane with a bad name", wire.AppendFrame(nil, wire.TypeResume, []byte(`{"stream":2,"lane":"a/b"}`)), "lane"},
		{"an announcement for an unknown stream", wire.AppendPing(nil, 1, []wire.Announcement{{Stream: 8, Next: 2}}), "stream 8"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			serve(t, collector.Config{}, func(x *fixture) {
				good, j := x.link("good")
				p := x.dial()
				p.hello(wire.Hello{Agent: "bad"}, i.state("default", 5))
				p.send(i.resume(1, "default", 0, 5))
				go p.send(tt.bytes)
				f := p.next()
				for f.t == wire.TypePong {
					f = p.next()
				}
				var r wire.Refuse
				if f.t != wire.TypeRefuse || wire.ParseJSON(f.t, f.p, &r) != nil || r.Code != wire.RefuseProtocol {
					x.Fatalf("got %s %s", f.t, f.p)
				}
				if !strings.Contains(r.Message, tt.says) {
					x.Errorf("refusal %q does not say %q", r.Message, tt.says)
				}
				p.closed()
				p.conn.Close()
				synctest.Wait()
				if n := x.log.count("a link was refused", "agent=bad"); n != 1 {
					x.Errorf("logged %d times: %s", n, x.log)
				}
				if n := x.store.stored(); n != 0 {
					x.Errorf("%d messages stored", n)
				}
				good.send(data(1, j.entry(1, 3)))
				good.ack(1, 3)
			})
		})
	}
}

func TestTruncatedFrame(t *testing.T) {
	serve(t, collector.Config{}, func(x *fixture) {
		p, i := x.link("a")
		synctest.Wait()
		b := data(1, i.entry(1, 4))
		p.send(b[:len(b)-3])
		synctest.Wait()
		p.conn.Close()
		time.Sleep(2 * time.Second)
		if r := x.store.parting(x.T); r.Goodbye || !strings.Contains(r.Reason, "in the middle of a frame") {
			x.Errorf("parting %+v", r)
		}
		if n := x.store.stored(); n != 0 {
			x.Errorf("%d messages stored", n)
		}
	})
}

func TestResumeThatDisagreesWithTheStore(t *testing.T) {
	serve(t, collector.Config{}, func(x *fixture) {
		p, i := x.link("a")
		p.send(data(1, i.entry(1, 4)))
		p.ack(1, 4)
		q := x.dial()
		q.hello(wire.Hello{Agent: "a"}, i.state("default", 9))
		q.send(i.resume(1, "default", 6, 9)) // the store has 4
		q.refused(wire.RefuseProtocol, "does not continue")
	})
}

// An import may come between the welcome and the resume.
func TestResumeBehindAnImport(t *testing.T) {
	serve(t, collector.Config{}, func(x *fixture) {
		p, i := x.link("a")
		p.send(data(1, i.entry(1, 4)))
		p.ack(1, 4)
		q := x.dial()
		q.hello(wire.Hello{Agent: "a"}, i.state("default", 9))
		q.send(i.resume(1, "default", 2, 9)) // the store has 4
		q.refused(wire.RefuseBusy, "connect again")
	})
}

// An agent that goes back forgets what was on its way, so two windows may come.
func TestWindowOverrun(t *testing.T) {
	serve(t, collector.Config{Window: 64 << 10}, func(x *fixture) {
		x.store.onAppend = func(ctx context.Context, _ []collector.Append) ([]collector.Answer, error) {
			<-ctx.Done() // a store that stalls until the end
			return nil, ctx.Err()
		}
		alone := x.dial()
		i := newIDs()
		alone.hello(wire.Hello{Agent: "large"}, i.state("default", 9))
		alone.send(i.resume(1, "default", 0, 9))
		alone.send(data(1, i.entryOf("default", 1, 1, 1<<19))) // larger than any window
		alone.send(wire.AppendPing(nil, 1, nil))
		if f := alone.next(); f.t != wire.TypePong {
			x.Errorf("got %s", f.t)
		}

		p, i := x.link("a")
		for n := range wire.Seq(7) {
			p.send(data(1, i.entryOf("default", n+1, n+1, 16<<10)))
		}
		p.send(wire.AppendPing(nil, 2, nil))
		if f := p.next(); f.t != wire.TypePong {
			x.Fatalf("two windows: got %s %s", f.t, f.p)
		}
		go p.send(data(1, i.entryOf("default", 8, 8, 16<<10)))
		p.refused(wire.RefuseProtocol, "lane default", "window of 65536")
	})
}

func TestRule9(t *testing.T) {
	i := newIDs()
	tomb := &wire.Entry{From: 1, To: 3, Incarnation: i.inc, Reason: wire.ReasonExpired, Time: time.Unix(1, 0)}
	for _, tt := range []struct {
		name   string
		held   bool // the entries come to the store as one group
		sent   []*wire.Entry
		acks   []wire.Seq
		stored int
	}{
		{"one after another", false, []*wire.Entry{i.entry(1, 4), i.entry(5, 5), i.entry(6, 9)}, []wire.Seq{4, 5, 9}, 9},
		{"in one group, one ack", true, []*wire.Entry{i.entry(1, 4), i.entry(5, 5), i.entry(6, 9)}, []wire.Seq{9}, 9},
		{"a gap is answered with W", false, []*wire.Entry{i.entry(3, 4)}, []wire.Seq{0}, 0},
		{"what follows a gap is not answered again", false, []*wire.Entry{i.entry(3, 4), i.entry(5, 6), i.entry(7, 8)}, []wire.Seq{0}, 0},
		{"until the sender has gone back", false, []*wire.Entry{i.entry(3, 4), i.entry(5, 6), i.entry(1, 4), i.entry(9, 9)}, []wire.Seq{0, 4, 4}, 4},
		{"a gap behind progress tells both", true, []*wire.Entry{i.entry(1, 2), i.entry(5, 6)}, []wire.Seq{2, 2}, 2},
		{"a straddle counts from W+1", false, []*wire.Entry{i.entry(1, 4), i.entry(3, 6)}, []wire.Seq{4, 6}, 6},
		{"a duplicate of what was just acked", false, []*wire.Entry{i.entry(1, 4), i.entry(2, 4), i.entry(5, 6)}, []wire.Seq{4, 6}, 6},
		{"a tombstone", false, []*wire.Entry{tomb, i.entry(4, 4)}, []wire.Seq{3, 4}, 1},
		{"a tombstone at or below W is void", false, []*wire.Entry{i.entry(1, 4), tomb, i.entry(5, 5)}, []wire.Seq{4, 5}, 5},
	} {
		t.Run(tt.name, func(t *testing.T) {
			serve(t, collector.Config{}, func(x *fixture) {
				hold := make(chan struct{})
				if tt.held {
					x.store.onResume = func(wire.Resume) error { <-hold; return nil }
				}
				p := x.dial()
				p.hello(wire.Hello{Agent: "a"}, i.state("default", 100))
				p.send(i.resume(1, "default", 0, 100))
				synctest.Wait()
				for _, e := range tt.sent {
					p.send(data(1, e))
					synctest.Wait()
				}
				close(hold)
				for _, w := range tt.acks {
					p.ack(1, w)
				}
				p.quiet()
				if n := x.store.stored(); n != tt.stored {
					x.Errorf("%d messages stored, want %d", n, tt.stored)
				}
			})
		})
	}
}

// A sender that repeats what it was told long ago has not heard it.
func TestRule9DuplicateIsAnswered(t *testing.T) {
	serve(t, collector.Config{}, func(x *fixture) {
		p, i := x.link("a")
		p.send(data(1, i.entry(1, 4)))
		p.ack(1, 4)
		for range 3 {
			time.Sleep(1100 * time.Millisecond)
			p.send(data(1, i.entry(1, 4)))
			p.ack(1, 4)
			p.send(data(1, i.entry(1, 4))) // at once: it has
			p.quiet()
		}
		if st := x.srv.Stats(); st.Duplicates != 6 || st.Messages != 4 {
			x.Errorf("stats %+v", st)
		}
	})
}

func TestRule10RejectInOrderWithAcks(t *testing.T) {
	serve(t, collector.Config{}, func(x *fixture) {
		hold := make(chan struct{})
		x.store.onResume = func(wire.Resume) error { <-hold; return nil }
		x.store.onAppend = func(_ context.Context, list []collector.Append) ([]collector.Answer, error) {
			if len(list) == 3 {
				return []collector.Answer{{W: 4}, {W: 4, Rejected: 6, Why: "no"}, {W: 4}}, nil
			}
			var out []collector.Answer
			for _, e := range list {
				if e.Entry.From > 5 {
					out = append(out, collector.Answer{W: 4}) // still behind the refused number
				} else {
					out = append(out, collector.Answer{W: e.Entry.To})
				}
			}
			return out, nil
		}
		p, i := x.link("a")
		synctest.Wait()
		p.send(data(1, i.entry(1, 4)))
		p.send(data(1, i.entry(5, 7)))
		p.send(data(1, i.entry(8, 9)))
		synctest.Wait()
		close(hold)
		p.ack(1, 4)
		f := p.next()
		if stream, n, why, err := wire.ParseReject(f.p); f.t != wire.TypeReject || err != nil || stream != 1 || n != 6 || why != "no" {
			x.Fatalf("got %s %q", f.t, f.p)
		}
		p.send(data(1, i.entry(10, 11))) // sent before the reject was heard
		p.quiet()
		p.send(data(1, i.entry(5, 5)))
		p.ack(1, 5)
	})
}

func TestAcksAreCoalescedForASlowPeer(t *testing.T) {
	serve(t, collector.Config{}, func(x *fixture) {
		i := newIDs()
		slow := x.slow("slower", i)
		for n := range wire.Seq(100) {
			slow.send(data(1, i.entry(n+1, n+1)))
			synctest.Wait()
		}
		slow.resumeReading()
		var acks []wire.Seq
		for len(acks) == 0 || acks[len(acks)-1] < 100 {
			f := slow.next()
			_, w, err := wire.ParseAck(f.p)
			if f.t != wire.TypeAck || err != nil {
				x.Fatalf("got %s", f.t)
			}
			acks = append(acks, w)
		}
		if len(acks) > 3 {
			x.Errorf("%d acks for 100 entries that nobody read in between: %v", len(acks), acks)
		}
	})
}

// slowPeer is a peer that stops reading after the welcome.
type slowPeer struct {
	*peer
	reading chan struct{}
}

func (p *slowPeer) resumeReading() { close(p.reading) }

func (x *fixture) slow(id wire.AgentID, i ids) *slowPeer {
	x.Helper()
	p := &slowPeer{x.dial(), make(chan struct{})}
	p.hello(wire.Hello{Agent: id}, i.state("default", 101))
	p.hold(p.reading)
	p.send(i.resume(1, "default", 0, 101))
	return p
}

func TestSeveralStreams(t *testing.T) {
	serve(t, collector.Config{}, func(x *fixture) {
		i, j := newIDs(), newIDs()
		p := x.dial()
		p.hello(wire.Hello{Agent: "a"}, i.state("default", 101), j.state("alarms", 101))
		p.send(i.resume(7, "default", 0, 101))
		p.send(j.resume(8, "alarms", 0, 101))
		bulk := wire.Fragments{Stream: 7, Entry: i.entryOf("default", 1, 3, 100<<10)}
		for n := wire.Seq(1); !bulk.Done(); n++ {
			p.send(bulk.Append(nil))
			if !bulk.Done() { // an alarm between two fragments
				p.send(data(8, j.entryOf("alarms", n, n, 10)))
				p.ack(8, n)
			}
		}
		p.ack(7, 3)
		if got := fmt.Sprint(x.srv.Stats().Streams); got != "2" {
			x.Errorf("%s streams", got)
		}
	})
}
