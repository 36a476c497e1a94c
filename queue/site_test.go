package queue

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"testing"
	"time"

	"github.com/fieldpost/fieldpost/wire"
)

// site is a lane and a store that takes what it gives.
type site struct {
	*Lane
	t    testing.TB
	cfg  Config
	w    map[wire.Epoch]wire.Seq
	got  map[wire.Epoch][]string
	id   wire.StoreID
	next int
}

func openSite(t testing.TB, change ...func(*Config)) *site {
	t.Helper()
	cfg := Config{Dir: filepath.Join(t.TempDir(), "lane"), Agent: "pump-7", Lane: "default", AckDelay: time.Millisecond, LiveFirst: time.Minute}
	if testing.Verbose() {
		cfg.Logger = slog.New(slog.NewTextHandler(t.Output(), nil))
	}
	for _, f := range change {
		f(&cfg)
	}
	s := &site{t: t, cfg: cfg, w: map[wire.Epoch]wire.Seq{}, got: map[wire.Epoch][]string{}, id: storeA, next: 1}
	s.open()
	t.Cleanup(func() { s.Lane.Close() })
	return s
}

func (s *site) open() {
	s.t.Helper()
	l, err := OpenLane(context.Background(), s.cfg)
	if err != nil {
		s.t.Fatalf("open: %v", err)
	}
	s.Lane = l
}

func (s *site) reopen() {
	s.t.Helper()
	if err := s.Lane.Close(); err != nil {
		s.t.Fatal(err)
	}
	s.open()
}

// put stores the next n messages, m1, m2 and so on.
func (s *site) put(n int) {
	s.t.Helper()
	for range n {
		if err := s.Put(context.Background(), msg(fmt.Sprint("m", s.next))); err != nil {
			s.t.Fatalf("put m%d: %v", s.next, err)
		}
		s.next++
	}
}

// link lets the store welcome the lane, and returns how many streams that has now.
func (s *site) link() int {
	s.t.Helper()
	said := s.Streams()
	matches := make([]wire.Match, len(said))
	for i, st := range said {
		if w, ok := s.w[st.Epoch]; ok {
			matches[i] = wire.Match{Found: true, Epoch: st.Epoch, W: w, Common: w}
		}
	}
	resumes, err := s.Welcome(context.Background(), s.id, said, matches)
	if err != nil {
		s.t.Fatalf("welcome: %v", err)
	}
	for _, r := range resumes {
		if w, ok := s.w[r.Epoch]; ok && w != r.Base {
			s.t.Fatalf("epoch %s resumes after %d, the store has %d", r.Epoch, r.Base, w)
		}
		s.w[r.Epoch] = r.Base
	}
	return len(resumes)
}

// take takes up to n entries of all streams, and acks them.
func (s *site) take(n int) (taken int) {
	s.t.Helper()
	for again := true; again && taken < n; {
		again = false
		for _, st := range s.Streams() {
			e, ok, err := s.Next(st.Epoch, s.w[st.Epoch]+1)
			if err != nil {
				s.t.Fatal(err)
			}
			if !ok || taken == n {
				continue
			}
			b, err := e.Check()
			if err != nil || e.From != s.w[st.Epoch]+1 {
				s.t.Fatalf("entry %d to %d: %v", e.From, e.To, err)
			}
			if e.IsTombstone() {
				for range e.To - e.From + 1 {
					s.got[st.Epoch] = append(s.got[st.Epoch], e.Reason.String())
				}
			} else {
				for r, err := range b.Records() {
					if err != nil {
						s.t.Fatal(err)
					}
					m, _ := r.Record.Message()
					s.got[st.Epoch] = append(s.got[st.Epoch], string(m.Body))
				}
			}
			s.w[st.Epoch] = e.To
			s.Ack(st.Epoch, e.To)
			taken++
			again = true
		}
	}
	return taken
}

// settle waits until all acks are on disk.
func (s *site) settle() {
	s.t.Helper()
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		said, done := s.Streams(), true
		for _, st := range said {
			done = done && st.Acked >= s.w[st.Epoch]
		}
		if done {
			return
		}
		if time.Now().After(end) {
			s.t.Fatalf("acks: %+v", said)
		}
	}
}

// outage lets no link be seen for longer than the setting.
func (s *site) outage() { s.Lane.opened = s.Lane.opened.Add(-2 * s.cfg.LiveFirst) }

func names(first, last int) []string { return bodies(first, last) }
