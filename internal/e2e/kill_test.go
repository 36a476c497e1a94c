//go:build unix

package e2e

import (
	"context"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fieldpost/fieldpost/collector"
	"github.com/fieldpost/fieldpost/collector/journal"
	"github.com/fieldpost/fieldpost/wire"
)

// kills counts rounds by what the kill fell into. A round may be in several.
type kills struct {
	rounds, idle         int
	commit, sending, ack int
}

func (k kills) String() string {
	return fmt.Sprintf("%d kills with unacked work in flight (%d idle ones not counted): %d within commit, %d within send, %d within ack",
		k.rounds, k.idle, k.commit, k.sending, k.ack)
}

func (k *kills) count(commit, sending, ack bool) {
	for _, c := range []struct {
		in bool
		n  *int
	}{{commit, &k.commit}, {sending, &k.sending}, {ack, &k.ack}} {
		if c.in {
			*c.n++
		}
	}
	if commit || sending || ack {
		k.rounds++
	} else {
		k.idle++
	}
}

// storedUpTo follows how far the store has the agent's one stream, from the
// journal's files.
type storedUpTo struct {
	dir    string
	cursor collector.Cursor
	w      wire.Seq
}

func (u *storedUpTo) read(t *testing.T) wire.Seq {
	t.Helper()
	r, err := journal.OpenReader(u.dir)
	if err != nil {
		t.Fatal(err)
	}
	u.cursor, err = r.Read(context.Background(), u.cursor, func(s collector.Stored) error {
		u.w = max(u.w, s.Entry.To)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return u.w
}

// killAgent kills the agent at random moments, n times with work in flight, and
// starts it again on its folder. commit: a Send had not been answered. send: the
// disk had messages that the store had not. ack: the store had messages that the
// disk did not know to be acked.
func killAgent(s *site, n int) (k kills) {
	s.t.Helper()
	s.startCollector()
	stored := storedUpTo{dir: s.collectorDir}
	for k.rounds < n {
		s.link.Delay(time.Duration(s.r.Int64N(int64(4 * time.Millisecond))))
		s.startAgent()
		unanswered := s.unknown()
		stop := s.produce(4, 0)
		time.Sleep(time.Duration(s.r.Int64N(int64(120 * time.Millisecond))))
		s.agent.kill()
		stop()
		st := s.restingStatus()
		w := stored.read(s.t)
		if len(st.Lanes) == 0 {
			continue // killed before it had a lane
		}
		k.count(s.unknown() > unanswered, st.Lanes[0].Accepted > uint64(w), uint64(w) > st.Lanes[0].Acked)
	}
	s.startAgent()
	s.drain()
	return k
}

// killCollector does the same to the collector. commit: the journal had bytes
// that were not yet synced. send and ack as for the agent.
func killCollector(s *site, n int) (k kills) {
	s.t.Helper()
	s.large = 12000 // so that the agent's segments come and go
	s.startAgent()
	stored := storedUpTo{dir: s.collectorDir}
	for k.rounds < n {
		// Acks are on their way for a while, so that some of them are when it dies.
		s.link.Delay(time.Duration(s.r.Int64N(int64(20 * time.Millisecond))))
		s.startCollector()
		stop := s.produce(4, 0)
		s.eventually("the agent is connected", func() bool {
			st, err := s.liveStatus()
			return err == nil && st.Link.State == "connected"
		})
		time.Sleep(time.Duration(s.r.Int64N(int64(40 * time.Millisecond))))
		s.collector.kill()
		st, err := s.liveStatus()
		time.Sleep(time.Duration(s.r.Int64N(int64(100 * time.Millisecond)))) // it goes on accepting
		stop()
		if err != nil {
			s.t.Fatal(err)
		}
		w := stored.read(s.t)
		k.count(unsynced(s.t, s.collectorDir), st.Lanes[0].Accepted > uint64(w), uint64(w) > st.Lanes[0].Acked)
	}
	s.startCollector()
	s.drain()
	return k
}

// unsynced reports whether the journal of a killed collector has bytes beyond its
// mark of what is synced: package journal's file "synced" has the newest segment's
// ordinal at offset 24 and its synced length at 32.
func unsynced(t *testing.T, dir string) bool {
	t.Helper()
	mark, err := os.ReadFile(filepath.Join(dir, "synced"))
	if err != nil || len(mark) < 40 {
		return true // nothing is marked yet
	}
	path := newestSegment(t, dir)
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	ordinal := fmt.Sprintf("%010d", binary.BigEndian.Uint64(mark[24:]))
	return !strings.Contains(path, ordinal) || info.Size() > int64(binary.BigEndian.Uint64(mark[32:]))
}

func TestKillAgent(t *testing.T) {
	t.Parallel()
	s := newSite(t, "")
	k := killAgent(s, *rounds)
	s.mustHold()
	t.Logf("SIGKILL of the agent: %s", k)
}

func TestKillCollector(t *testing.T) {
	t.Parallel()
	s := newSite(t, "")
	k := killCollector(s, *rounds)
	s.mustHold()
	t.Logf("SIGKILL of the collector: %s", k)
}

// newestSegment returns the path of the journal's newest segment.
func newestSegment(t *testing.T, dir string) string {
	t.Helper()
	list, err := filepath.Glob(filepath.Join(dir, "*.journal"))
	if err != nil || len(list) == 0 {
		t.Fatalf("no segments in %s: %v", dir, err)
	}
	return slices.Max(list)
}

// TestJournalWithATornTail leaves behind what a power cut in the middle of a
// write leaves: garbage, half an entry, zeros.
func TestJournalWithATornTail(t *testing.T) {
	t.Parallel()
	s := newSite(t, "")
	s.startAgent()
	for i := range 6 {
		s.startCollector()
		stop := s.produce(2, time.Millisecond)
		time.Sleep(150 * time.Millisecond)
		s.collector.kill()
		stop()
		path := newestSegment(t, s.collectorDir)
		whole, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		tail := make([]byte, 1+s.r.IntN(3000))
		switch i % 3 {
		case 0:
			for i := range tail {
				tail[i] = byte(s.r.Uint32())
			}
		case 1:
			from := s.r.IntN(len(whole))
			tail = whole[from:min(len(whole), from+len(tail))]
		}
		f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.Write(tail); err != nil {
			t.Fatal(err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
	s.startCollector()
	s.drain()
	s.mustHold()
}
