package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fieldpost/fieldpost/agent"
	"github.com/fieldpost/fieldpost/internal/leak"
	"github.com/fieldpost/fieldpost/wire"
)

func TestMain(m *testing.M) { leak.Main(m) }

// sink is an agent that keeps what it accepts and fails as it is told to.
type sink struct {
	mu      sync.Mutex
	got     []agent.Message
	batches int
	fail    func(batch int) error // nil: accept
	most    int                   // messages in one call, 0: any
	block   chan struct{}         // if set, a send waits for it
}

func (s *sink) SendBatch(ctx context.Context, list []agent.Message) error {
	if s.block != nil {
		select {
		case <-s.block:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.batches++
	if s.most > 0 && len(list) > s.most {
		return fmt.Errorf("%w: %d messages", agent.ErrTooLarge, len(list))
	}
	if s.fail != nil {
		if err := s.fail(s.batches); err != nil {
			return err
		}
	}
	for _, m := range list {
		w := wire.Message{Topic: m.Topic, Time: m.Time, Body: m.Body}
		if err := w.Check(); err != nil {
			return err
		}
		m.Body = bytes.Clone(m.Body)
		s.got = append(s.got, m)
	}
	return nil
}

func (s *sink) lines() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var b strings.Builder
	for _, m := range s.got {
		b.Write(m.Body)
		b.WriteByte('\n')
	}
	return b.String()
}

func copyAll(t *testing.T, to *sink, in io.Reader, topic string) (*copier, error) {
	t.Helper()
	src := newPipe(in)
	c := newCopier(to, src, "l", topic, slog.New(slog.DiscardHandler))
	err := c.run(t.Context(), t.Context())
	return c, err
}

func TestCopyIsLossless(t *testing.T) {
	var in strings.Builder
	for i := range 20000 {
		fmt.Fprintf(&in, "line %d %s\r\n\n", i, strings.Repeat("x", i%300))
	}
	to := &sink{}
	c, err := copyAll(t, to, strings.NewReader(in.String()), "t")
	if err != nil || to.lines() != in.String() {
		t.Errorf("%v; %d bytes in, %d out", err, in.Len(), len(to.lines()))
	}
	if c.accepted != 40000 || c.lines.Line() != 40000 || to.got[0].Lane != "l" || to.got[0].Topic != "t" {
		t.Errorf("accepted %d of %d; %+v", c.accepted, c.lines.Line(), to.got[0])
	}
}

// A lane that may hold fewer messages than were read at once gets them in parts.
func TestCopyIntoASmallLane(t *testing.T) {
	var in strings.Builder
	for i := range 9000 {
		fmt.Fprintf(&in, "line %d\n", i)
	}
	to := &sink{most: 10}
	c, err := copyAll(t, to, strings.NewReader(in.String()), "t")
	if err != nil || to.lines() != in.String() || c.accepted != 9000 {
		t.Errorf("%v; %d bytes in, %d out, %d accepted", err, in.Len(), len(to.lines()), c.accepted)
	}
}

// The limit is the message's: the longest body that the agent takes is taken.
func TestCopyLineLimit(t *testing.T) {
	for _, topic := range []string{"", "t", strings.Repeat("t", 1000)} {
		longest := wire.MaxRecord
		for ; ; longest-- {
			m := wire.Message{Topic: topic, Time: time.Unix(1, 0), Body: make([]byte, longest)}
			if m.Check() == nil {
				break
			}
		}
		in := strings.Repeat("x", longest) + "\n" + strings.Repeat("y", longest+1) + "\nz"
		to := &sink{}
		c, err := copyAll(t, to, strings.NewReader(in), topic)
		if err != nil || c.tooLong != 1 || c.accepted != 2 || c.lines.Line() != 3 || len(to.got[0].Body) != longest {
			t.Errorf("topic of %d: %v, %d too long, %d accepted", len(topic), err, c.tooLong, c.accepted)
		}
	}
}

// A full lane is waited for; nothing is lost, doubled or out of order.
func TestCopyWaitsWhileFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		to := &sink{fail: func(n int) error {
			if n%5 != 0 {
				return fmt.Errorf("disk: %w", agent.ErrFull)
			}
			return nil
		}}
		in := strings.Repeat(strings.Repeat("x", 1000)+"\n", 5000)
		c, err := copyAll(t, to, strings.NewReader(in), "")
		if err != nil || to.lines() != in || c.accepted != 5000 {
			t.Errorf("%v; accepted %d", err, c.accepted)
		}
	})
}

func TestCopyFailures(t *testing.T) {
	for _, c := range []struct {
		name                         string
		fail                         error
		accepted, uncertain, dropped int64
		err                          error
	}{
		{"uncertain goes on", agent.ErrUncertain, 0, 1, 0, nil},
		{"dropped goes on", agent.ErrDropped, 0, 0, 1, nil},
		{"closed ends", agent.ErrClosed, 0, 0, 0, agent.ErrClosed},
		{"unknown ends", errors.New("odd"), 0, 0, 0, errors.New("odd")},
	} {
		t.Run(c.name, func(t *testing.T) {
			to := &sink{fail: func(n int) error {
				if n == 1 {
					return fmt.Errorf("x: %w", c.fail)
				}
				return nil
			}}
			r, w := io.Pipe()
			go func() {
				io.WriteString(w, "a\n")
				for to.count() == 0 {
					time.Sleep(time.Millisecond)
				}
				io.WriteString(w, "b\n")
				w.Close()
			}()
			got, err := copyAll(t, to, r, "")
			r.Close()
			if (err == nil) != (c.err == nil) || err != nil && !errors.Is(err, c.fail) {
				t.Errorf("error %v, want %v", err, c.err)
			}
			if want := c.accepted + b2i(c.err == nil); got.accepted != want || got.uncertain != c.uncertain || got.dropped != c.dropped {
				t.Errorf("accepted %d, uncertain %d, dropped %d", got.accepted, got.uncertain, got.dropped)
			}
		})
	}
}

func b2i(b bool) int64 {
	if b {
		return 1
	}
	return 0
}

func (s *sink) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.batches
}

// An interruption ends the copy at a line's end: what has been read is handed in.
func TestCopyInterrupted(t *testing.T) {
	for _, c := range []struct {
		name, before, after string // written before and after the interruption
		want                string
		fragment            int
	}{
		{"between lines", "a\nb\n", "", "a\nb\n", 0},
		{"within a line that ends", "a\nb", "c\n", "a\nbc\n", 0},
		{"within a line that does not", "a\nbcd", "", "a\n", 3},
		{"nothing read", "", "", "", 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r, w := io.Pipe()
				to := &sink{}
				ctx, interrupt := context.WithCancel(t.Context())
				cp := newCopier(to, newPipe(r), "", "", slog.New(slog.DiscardHandler))
				ended := make(chan error)
				go func() { ended <- cp.run(ctx, t.Context()) }()
				io.WriteString(w, c.before)
				synctest.Wait()
				interrupt()
				synctest.Wait()
				go io.WriteString(w, c.after)
				if err := <-ended; !errors.Is(err, errInterrupted) {
					t.Errorf("ended with %v", err)
				}
				if to.lines() != c.want || cp.fragment != c.fragment {
					t.Errorf("handed in %q, fragment %d; want %q, %d", to.lines(), cp.fragment, c.want, c.fragment)
				}
				w.Close() // ends the read that nobody could interrupt
				r.Close()
			})
		})
	}
}

// A lane that stays full does not hold up a shutdown.
func TestCopyInterruptedWhileFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		to := &sink{fail: func(int) error { return agent.ErrFull }}
		ctx, interrupt := context.WithTimeout(t.Context(), time.Hour)
		defer interrupt()
		c := newCopier(to, newPipe(strings.NewReader(strings.Repeat("line\n", 100000))), "", "", slog.New(slog.DiscardHandler))
		start := time.Now()
		if err := c.run(ctx, t.Context()); !errors.Is(err, agent.ErrFull) {
			t.Errorf("ended with %v", err)
		}
		if d := time.Since(start); d < time.Hour || d > time.Hour+time.Second {
			t.Errorf("ended after %s", d)
		}
	})
}
