package queue

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/fieldpost/fieldpost/internal/durable"
	"github.com/fieldpost/fieldpost/wire"
)

// checkpoints returns those of the lane as text.
func (l *lane) checkpoints() string {
	var b strings.Builder
	for _, source := range []string{"a.log", "b.log"} {
		if p, ok := l.snapshot().inputs[source]; ok {
			fmt.Fprintf(&b, "%s:%s ", source, p.at)
		}
	}
	return strings.TrimSpace(b.String())
}

func (l *lane) putFrom(source string, at int) {
	l.t.Helper()
	err := l.PutFrom(context.Background(), []wire.Message{msg(fmt.Sprint("m", at))}, Checkpoint{source, fmt.Append(nil, at)})
	if err != nil {
		l.t.Fatal(err)
	}
}

// At whatever step on disk the process ends, the checkpoint is that of the last
// message that is there.
func TestACheckpointIsStoredWithItsMessages(t *testing.T) {
	l := openLane(t, small)
	l.welcome(storeA, wire.Match{})
	var mu sync.Mutex
	var images []string
	from := l.cfg.Dir
	l.unhook()
	l.unhook = durable.Watch(filepath.Dir(from), func(durable.Step, string) error {
		mu.Lock() // files are deleted beside the writer
		defer mu.Unlock()
		dir := filepath.Join(t.TempDir(), "lane")
		if err := os.CopyFS(dir, os.DirFS(from)); err == nil { // else a file was deleted meanwhile
			images = append(images, dir)
		}
		return nil
	})
	const n = 12
	for i := 1; i <= n; i++ {
		at := Checkpoint{"a.log", fmt.Append(nil, i)}
		if err := l.PutFrom(context.Background(), []wire.Message{{Time: base, Body: make([]byte, 20_000)}}, at); err != nil {
			t.Fatal(err)
		}
		if i%4 == 0 {
			l.ack(wire.Seq(i - 1))
		}
	}
	l.close()
	l.unhook()
	l.unhook = func() {}
	seen := map[string]bool{}
	for _, dir := range images {
		l.cfg.Dir = dir
		l.open()
		want := ""
		if last := l.Stats().Next - 1; last > 0 {
			want = fmt.Sprint("a.log:", last)
		}
		if got := l.checkpoints(); got != want {
			t.Fatalf("%s: %d messages, checkpoint %q", dir, l.Stats().Next-1, got)
		}
		seen[want] = true
		l.close()
	}
	if len(seen) != n+1 || len(images) < 4*n {
		t.Errorf("%d images with %d states", len(images), len(seen))
	}
	l.open()
}

func TestCheckpoints(t *testing.T) {
	l := openLane(t, small)
	l.putFrom("a.log", 1)
	l.putFrom("b.log", 2)
	l.putFrom("a.log", 3)
	want := func(want string) {
		t.Helper()
		if got := l.checkpoints(); got != want {
			t.Fatalf("checkpoints %q, want %q", got, want)
		}
	}
	want("a.log:3 b.log:2")
	l.crash()
	want("a.log:3 b.log:2")
	l.fill(3) // other segments
	l.reopen()
	want("a.log:3 b.log:2")
	if err := l.PutFrom(context.Background(), nil, Checkpoint{"b.log", []byte("7")}, Checkpoint{Source: "a.log"}); err != nil {
		t.Fatal(err)
	}
	want("b.log:7")
	l.crash()
	want("b.log:7")
	for _, bad := range []Checkpoint{{}, {Source: strings.Repeat("x", 1025)}, {"x", make([]byte, 1025)}} {
		if err := l.PutFrom(context.Background(), nil, bad); err == nil {
			t.Errorf("%.10q with %d bytes was taken", bad.Source, len(bad.At))
		}
	}
	var many []Checkpoint
	for i := range MaxCheckpoints - 1 {
		many = append(many, Checkpoint{fmt.Sprint(i), []byte("x")})
	}
	if err := l.PutFrom(context.Background(), nil, many...); err != nil {
		t.Fatal(err)
	}
	if err := l.PutFrom(context.Background(), nil, Checkpoint{"one more", []byte("x")}); err == nil {
		t.Error("more checkpoints than a lane may have were taken")
	}
	l.reopen()
	if n := len(l.snapshot().inputs); n != MaxCheckpoints {
		t.Errorf("%d checkpoints", n)
	}
}

// What the policy drops is read all the same; what was refused is not.
func TestACheckpointOfWhatIsDropped(t *testing.T) {
	l := openLane(t, func(c *Config) { c.MaxMessages, c.Overflow = 1, DropNewest })
	l.putFrom("a.log", 1)
	err := l.PutFrom(context.Background(), []wire.Message{msg("m2")}, Checkpoint{"a.log", []byte("2")})
	if !errors.Is(err, ErrDropped) || l.checkpoints() != "a.log:2" {
		t.Errorf("%v, %s", err, l.checkpoints())
	}
	l = openLane(t, func(c *Config) { c.MaxMessages = 1 })
	l.putFrom("a.log", 1)
	err = l.PutFrom(context.Background(), []wire.Message{msg("m2")}, Checkpoint{"a.log", []byte("2")})
	if !errors.Is(err, ErrFull) || l.checkpoints() != "a.log:1" {
		t.Errorf("%v, %s", err, l.checkpoints())
	}
	l = openLane(t)
	l.putFrom("a.log", 1)
	l.faults.fail(beforeCommit, errDisk)
	l.faults.fail(onCreate, errDisk)
	err = l.PutFrom(context.Background(), []wire.Message{msg("m2")}, Checkpoint{"a.log", []byte("2")})
	if !errors.Is(err, ErrFull) || l.checkpoints() != "a.log:1" {
		t.Errorf("%v, %s", err, l.checkpoints())
	}
	l.crash()
	if got := l.checkpoints(); got != "a.log:1" {
		t.Error(got)
	}
}

// A source's newest checkpoint counts, in whichever of the lane's streams it is.
func TestCheckpointsOfALaneWithStreams(t *testing.T) {
	s := openSite(t)
	at := 0
	read := func() {
		t.Helper()
		at++
		if err := s.PutFrom(context.Background(), []wire.Message{msg(fmt.Sprint("m", at))}, Checkpoint{"a.log", fmt.Append(nil, at)}); err != nil {
			t.Fatal(err)
		}
		if list := s.Checkpoints(); len(list) != 1 || string(list[0].At) != fmt.Sprint(at) {
			t.Fatalf("checkpoints %q, want %d", list, at)
		}
	}
	for turn := range 3 { // the third is the first stream's again
		read()
		s.reopen()
		read()
		s.outage()
		if n := s.link(); turn < 1 && n != 2 {
			t.Fatalf("%d streams", n)
		}
		read()
		s.reopen()
		s.settle()
	}
	if err := s.PutFrom(context.Background(), nil, Checkpoint{Source: "a.log"}); err != nil {
		t.Fatal(err)
	}
	s.reopen()
	if list := s.Checkpoints(); len(list) > 0 {
		t.Errorf("checkpoints %q after the source was forgotten", list)
	}
}
