package injuries

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/fieldpost/fieldpost/collector/storetest"
	"github.com/fieldpost/fieldpost/queue"
	"github.com/fieldpost/fieldpost/wire"
)

// place is where a message was put.
type place struct {
	inc wire.Incarnation
	n   wire.Seq
}

// life is one lane from its first opening to the verdict.
type life struct {
	seed        uint64
	r           *rand.Rand
	root        string // holds the lane's folder, and copies of it
	dir         string
	cfg         queue.Config
	failed      bool // a disk failed for a while: what was uncertain then is not counted as it is stored
	injuredOpen bool
	forgetful   bool // a memo was met
	copies      int
	q           *queue.Lane
	link        link
	log         *events

	said       int              // messages ever handed to Put
	accepted   map[place]string // bodies
	at         map[string]place // the reverse
	maybe      map[string]bool  // bodies of which Put could not say
	lastPut    map[place]bool   // of the last commit of a lane that was not closed in order
	clean      bool             // closed in order before the injury
	heard      []string         // what was done, for a failure's report
	touched    map[string]bool  // files that an injury met
	foreigners map[string]bool  // files that another agent or lane wrote
	spare      map[place]bool   // of those that are whole, the ones in no file but a newest
	tails      map[string]bool  // files that were their streams' newest

	mu   sync.Mutex // of a failing disk's counters
	heal []func()   // end what still fails
}

// events keeps what a lane logs.
type events struct {
	mu   sync.Mutex
	list []string // warnings and errors
	all  []string
}

func (e *events) Write(b []byte) (int, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	s := strings.TrimSpace(string(b))
	if !strings.HasPrefix(s, "level=INFO") && !strings.HasPrefix(s, "level=DEBUG") {
		e.list = append(e.list, s)
	}
	e.all = append(e.all, s)
	return len(b), nil
}

// take returns the warnings and errors since the last call.
func (e *events) take() (list []string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	list, e.list = e.list, nil
	return list
}

func newLife(root string, seed uint64) *life {
	l := &life{seed: seed, r: rand.New(rand.NewPCG(seed, 3)), root: root, dir: filepath.Join(root, "0"), log: &events{},
		accepted: map[place]string{}, at: map[string]place{}, maybe: map[string]bool{}, lastPut: map[place]bool{}}
	l.link.store = storetest.NewMemory()
	l.cfg = queue.Config{Dir: l.dir, Agent: agentID, Lane: lane, SegmentSize: []int64{64 << 10, 64 << 10, 128 << 10, 1 << 20}[l.r.IntN(4)],
		Codec: []wire.Codec{wire.CodecNone, wire.CodecNone, wire.CodecS2, wire.CodecZstd}[l.r.IntN(4)], AckDelay: time.Millisecond, FreeSpace: -1,
		Logger: slog.New(slog.NewTextHandler(l.log, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey {
				return slog.Attr{}
			}
			return a
		}}))}
	switch l.r.IntN(5) {
	case 0:
		l.cfg.MaxMessages, l.cfg.Overflow = uint64(40+l.r.IntN(100)), queue.DropOldest
	case 1:
		l.cfg.MaxMessages, l.cfg.Overflow = uint64(40+l.r.IntN(100)), queue.DropNewest
	case 2:
		l.cfg.LiveFirst = 1
	}
	return l
}

func (l *life) note(format string, a ...any) { l.heard = append(l.heard, fmt.Sprintf(format, a...)) }

func (l *life) open() error {
	l.cfg.Dir = l.dir
	ctx, cancel := context.WithTimeout(context.Background(), 2*within)
	defer cancel()
	q, err := queue.OpenLane(ctx, l.cfg)
	if err != nil {
		return err
	}
	l.q, l.link.order = q, nil
	return nil
}

// body makes a message's body, which names it.
func (l *life) body() string {
	l.said++
	size := l.r.IntN(200)
	switch l.r.IntN(12) {
	case 0:
		size = l.r.IntN(5000)
	case 1:
		size = l.r.IntN(40_000)
	}
	b := make([]byte, size)
	if l.r.IntN(2) == 0 { // else it compresses well
		for i := range b {
			b[i] = byte(l.r.Uint32())
		}
	}
	return fmt.Sprintf("message %d of %d;%s", l.said, l.seed, b)
}

// put puts some messages, and notes where they are.
func (l *life) put() error {
	count := 1
	if l.r.IntN(4) == 0 {
		count += l.r.IntN(30)
	}
	var list []wire.Message
	for range count {
		m := wire.Message{Topic: "t", Time: time.Unix(1_700_000_000+int64(l.said), 0), Body: []byte(l.body())}
		if l.r.IntN(40) == 0 {
			m.Topic = poison
		}
		list = append(list, m)
	}
	before := map[wire.Epoch]wire.Seq{}
	for _, s := range l.q.Streams() {
		before[s.Epoch] = s.Next
	}
	ctx, cancel := context.WithTimeout(context.Background(), within)
	err := l.q.Put(ctx, list...)
	cancel()
	switch {
	case errors.Is(err, queue.ErrUncertain):
		for i := range list {
			l.maybe[string(list[i].Body)] = true
		}
		return err
	case errors.Is(err, queue.ErrDropped):
		return nil
	case err != nil:
		return err
	}
	var live wire.StreamState
	for _, s := range l.q.Streams() { // the one that took them
		if s.Next >= before[s.Epoch]+wire.Seq(len(list)) {
			live = s
		}
	}
	if live.Next == 0 {
		return &wrong{"a Put was answered with yes, and no stream has gone on"}
	}
	inc := live.Boundaries[len(live.Boundaries)-1].Incarnation
	l.lastPut = map[place]bool{}
	for i := range list {
		p := place{inc, live.Next - wire.Seq(len(list)-i)}
		l.accepted[p] = string(list[i].Body)
		l.at[string(list[i].Body)] = p
		l.lastPut[p] = true
	}
	return nil
}

// kill goes on with a copy of the folder as it is on disk.
func (l *life) kill() error {
	old := l.dir
	l.copies++
	l.dir = filepath.Join(l.root, fmt.Sprint(l.copies))
	for {
		err := os.CopyFS(l.dir, os.DirFS(old))
		if err == nil {
			break
		}
		if !errors.Is(err, os.ErrNotExist) { // a segment went meanwhile
			return err
		}
		if err := os.RemoveAll(l.dir); err != nil {
			return err
		}
	}
	err := l.q.Close()
	l.q = nil
	return errors.Join(err, l.takeMemos(old), os.RemoveAll(old))
}

// takeMemos lets the memos of the copy be in the files in which they were written, as
// in a folder whose process was killed: in a copy they do not count.
func (l *life) takeMemos(old string) error {
	return filepath.WalkDir(l.dir, func(path string, e os.DirEntry, err error) error {
		if err != nil || e.Name() != "memo" {
			return err
		}
		rel, err := filepath.Rel(l.dir, path)
		if err != nil {
			return err
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if err := os.Rename(filepath.Join(old, rel), path); err != nil {
			return err
		}
		return os.WriteFile(path, b, 0o600)
	})
}

// step does one thing of an ordinary life.
func (l *life) step() error {
	switch k := l.r.IntN(20); {
	case k < 13:
		return l.put()
	case k < 16:
		if l.link.order == nil || l.r.IntN(6) == 0 {
			return l.link.connect(l.q)
		}
		return l.link.drain(l.q, 1+l.r.IntN(12))
	case k < 18:
		if err := l.q.Close(); err != nil {
			return err
		}
		l.lastPut = map[place]bool{}
		return l.open()
	case k == 18:
		if err := l.kill(); err != nil {
			return err
		}
		l.lastPut = map[place]bool{}
		return l.open()
	}
	return nil
}

// live lives for a while, and leaves the lane open.
func (l *life) live() error {
	if err := l.open(); err != nil {
		return err
	}
	for range 15 + l.r.IntN(45) {
		if err := l.step(); err != nil {
			return fmt.Errorf("before any injury: %w", err)
		}
	}
	return nil
}
