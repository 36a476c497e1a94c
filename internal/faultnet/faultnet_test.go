package faultnet

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fieldpost/fieldpost/internal/leak"
)

func TestMain(m *testing.M) { leak.Main(m) }

// pair returns the two ends of a connection over line.
func pair(t *testing.T, n *Network, line *Line) (dialled, accepted net.Conn) {
	t.Helper()
	l, err := n.Listen("c:1")
	if err != nil {
		t.Fatal(err)
	}
	dialled, err = line.Dial(t.Context(), "tcp", "c:1")
	if err != nil {
		t.Fatal(err)
	}
	accepted, err = l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close(); dialled.Close(); accepted.Close() })
	return dialled, accepted
}

// inBubble runs f with a connection over a line of a fresh network.
func inBubble(t *testing.T, f func(t *testing.T, line *Line, agent, collector net.Conn)) {
	synctest.Test(t, func(t *testing.T) {
		n := new(Network)
		line := n.Line(1)
		a, c := pair(t, n, line)
		f(t, line, a, c)
	})
}

func send(t *testing.T, c net.Conn, s string) {
	t.Helper()
	c.SetWriteDeadline(time.Now().Add(20 * time.Second))
	if _, err := c.Write([]byte(s)); err != nil {
		t.Fatalf("write %q: %v", s, err)
	}
}

func receive(t *testing.T, c net.Conn, want string) {
	t.Helper()
	c.SetReadDeadline(time.Now().Add(20 * time.Second))
	b := make([]byte, len(want))
	if _, err := io.ReadFull(c, b); err != nil || string(b) != want {
		t.Fatalf("read %q, %v; want %q", b, err, want)
	}
}

// receiveErr wants c's next read to fail with an error that is want.
func receiveErr(t *testing.T, c net.Conn, want error) {
	t.Helper()
	c.SetReadDeadline(time.Now().Add(20 * time.Second))
	if n, err := c.Read(make([]byte, 100)); n != 0 || !errors.Is(err, want) {
		t.Fatalf("read %d bytes, %v; want %v", n, err, want)
	}
}

func TestCarriesBothWaysAndEnds(t *testing.T) {
	inBubble(t, func(t *testing.T, _ *Line, a, c net.Conn) {
		send(t, a, "to the collector")
		send(t, c, "to the agent")
		receive(t, c, "to the collector")
		receive(t, a, "to the agent")
		send(t, a, "last words")
		a.Close()
		receive(t, c, "last words")
		receiveErr(t, c, io.EOF)
		if _, err := c.Write([]byte("x")); !errors.Is(err, syscall.ECONNRESET) {
			t.Fatalf("write to a closed peer: %v", err)
		}
		receiveErr(t, a, net.ErrClosed)
	})
}

func TestWriterWaitsWhenNobodyReads(t *testing.T) {
	inBubble(t, func(t *testing.T, _ *Line, a, c net.Conn) {
		a.SetWriteDeadline(time.Now().Add(time.Minute))
		start := time.Now()
		n, err := a.Write(make([]byte, 2*window))
		if n != window || !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(start) != time.Minute {
			t.Fatalf("wrote %d of %d bytes in %s: %v", n, window, time.Since(start), err)
		}
	})
}

func TestCutResetsBothEnds(t *testing.T) {
	inBubble(t, func(t *testing.T, line *Line, a, c net.Conn) {
		send(t, a, "lost")
		line.Cut()
		receiveErr(t, c, syscall.ECONNRESET)
		receiveErr(t, a, syscall.ECONNRESET)
		if line.Open() != 0 {
			t.Fatalf("%d connections open after a cut", line.Open())
		}
	})
}

func TestCutAfterLetsSoManyBytesThrough(t *testing.T) {
	inBubble(t, func(t *testing.T, line *Line, a, c net.Conn) {
		line.CutAfter(Up, 4)
		send(t, a, "fourteen bytes")
		send(t, c, "the other way")
		b := make([]byte, 100)
		if n, err := c.Read(b); err != nil || string(b[:n]) != "four" {
			t.Fatalf("read %q, %v", b[:n], err)
		}
		receiveErr(t, c, syscall.ECONNRESET)
		receiveErr(t, a, syscall.ECONNRESET)
	})
}

func TestStallHoldsAndResumeDelivers(t *testing.T) {
	inBubble(t, func(t *testing.T, line *Line, a, c net.Conn) {
		line.Stall(Up)
		send(t, a, "later")
		receiveErr(t, c, os.ErrDeadlineExceeded)
		send(t, c, "the other way flows")
		receive(t, a, "the other way flows")
		line.Resume(Up)
		receive(t, c, "later")
	})
}

func TestSwallowLosesOneDirectionAndHealResets(t *testing.T) {
	inBubble(t, func(t *testing.T, line *Line, a, c net.Conn) {
		line.Swallow(Down)
		send(t, c, "ack")
		send(t, a, "data")
		receive(t, c, "data")
		receiveErr(t, a, os.ErrDeadlineExceeded)
		line.Heal()
		receiveErr(t, a, syscall.ECONNRESET)
		receiveErr(t, c, syscall.ECONNRESET)
	})
}

func TestALineWithARate(t *testing.T) {
	inBubble(t, func(t *testing.T, line *Line, agent, collector net.Conn) {
		line.Rate(Up, 100_000)
		line.Delay(100 * time.Millisecond)
		line.Buffer(1 << 20)
		began := time.Now()
		at := func(what string, low, high time.Duration) {
			t.Helper()
			if d := time.Since(began); d < low || d > high {
				t.Errorf("%s after %s, want %s to %s", what, d, low, high)
			}
		}
		big := strings.Repeat("x", 20_000)
		send(t, agent, big)
		at("taken by a line that holds it", 0, 0)
		receive(t, collector, big[:5000])
		at("the first 5,000 bytes", 150*time.Millisecond, 162*time.Millisecond)
		send(t, agent, "behind")
		receive(t, collector, big[5000:]+"behind")
		at("the rest", 300*time.Millisecond, 301*time.Millisecond)
		send(t, collector, big)
		receive(t, agent, big)
		at("the other direction", 400*time.Millisecond, 401*time.Millisecond)
		line.Delay(0)
		line.Buffer(5000)
		go io.ReadFull(collector, make([]byte, len(big)))
		send(t, agent, big)
		at("taken by a line that holds 5,000 bytes", 530*time.Millisecond, 570*time.Millisecond)
		line.Heal()
		synctest.Wait()
	})
}

func TestCountsWhatIsLost(t *testing.T) {
	inBubble(t, func(t *testing.T, line *Line, agent, collector net.Conn) {
		send(t, agent, "arrives")
		receive(t, collector, "arrives")
		if n := line.Lost(Up); n != 0 {
			t.Errorf("%d bytes lost of those that arrived", n)
		}
		send(t, agent, "cut")
		line.Swallow(Down)
		send(t, collector, "swallowed")
		if up, down := line.Lost(Up), line.Lost(Down); up != 0 || down != int64(len("swallowed")) {
			t.Errorf("before the cut %d bytes up and %d down are lost", up, down)
		}
		line.Cut()
		if up, down := line.Lost(Up), line.Lost(Down); up != int64(len("cut")) || down != int64(len("swallowed")) {
			t.Errorf("after the cut %d bytes up and %d down are lost", up, down)
		}
	})
}

func TestHealKeepsConnectionsThatLostNothing(t *testing.T) {
	inBubble(t, func(t *testing.T, line *Line, a, c net.Conn) {
		line.Swallow(Down)
		line.Stall(Up)
		send(t, a, "held")
		line.Heal()
		receive(t, c, "held")
		send(t, c, "answer")
		receive(t, a, "answer")
	})
}

func TestHalfOpenHidesTheEnd(t *testing.T) {
	inBubble(t, func(t *testing.T, line *Line, a, c net.Conn) {
		line.Swallow(Up)
		line.Swallow(Down)
		a.Close()
		receiveErr(t, c, os.ErrDeadlineExceeded)
		send(t, c, "into the void")
	})
}

func TestRefuseAndAbsentListener(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := new(Network)
		line := n.Line(1)
		if _, err := line.Dial(t.Context(), "tcp", "c:1"); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Fatalf("nobody listens: %v", err)
		}
		l, err := n.Listen("c:1")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		if _, err := n.Listen("c:1"); !errors.Is(err, syscall.EADDRINUSE) {
			t.Fatalf("second listener: %v", err)
		}
		line.Refuse(true)
		if _, err := line.Dial(t.Context(), "tcp", "c:1"); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Fatalf("refused: %v", err)
		}
		line.Heal()
		line.Swallow(Up)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := line.Dial(ctx, "tcp", "c:1"); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("black hole: %v", err)
		}
	})
}

func TestDelayTakesItsTime(t *testing.T) {
	inBubble(t, func(t *testing.T, line *Line, a, c net.Conn) {
		line.Delay(300 * time.Millisecond)
		start := time.Now()
		send(t, a, "far away")
		receive(t, c, "far away")
		if d := time.Since(start); d != 300*time.Millisecond {
			t.Fatalf("took %s", d)
		}
	})
}

// TestBytesSurviveFragments sends random writes through random reads and delays,
// both ways at once, over memory.
func TestBytesSurviveFragments(t *testing.T) {
	inBubble(t, func(t *testing.T, line *Line, a, c net.Conn) {
		line.Fragment(true)
		line.Delay(time.Millisecond)
		exchange(t, a, c, 300<<10)
	})
}

// exchange sends n random bytes both ways and compares what arrives.
func exchange(t *testing.T, a, c net.Conn, n int) {
	t.Helper()
	r := rand.New(rand.NewPCG(1, 2))
	data := make([]byte, n)
	for i := range data {
		data[i] = byte(r.Uint32())
	}
	errs := make(chan error, 4)
	for _, way := range [][2]net.Conn{{a, c}, {c, a}} {
		go func() {
			_, err := io.Copy(way[0], struct{ io.Reader }{bytes.NewReader(data)})
			errs <- err
		}()
		go func() {
			got := make([]byte, n)
			_, err := io.ReadFull(way[1], got)
			if err == nil && !bytes.Equal(got, data) {
				err = errors.New("other bytes arrived than were sent")
			}
			errs <- err
		}()
	}
	for range 4 {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
}
