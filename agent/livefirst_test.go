package agent_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fieldpost/fieldpost/agent"
	"github.com/fieldpost/fieldpost/collector/storetest"
	"github.com/fieldpost/fieldpost/internal/faultnet"
	"github.com/fieldpost/fieldpost/wire"
)

// shelf is what a store has of a lane, by epoch.
type shelf struct {
	epochs []wire.Epoch
	bodies map[wire.Epoch][]string // up to the first dot
}

func stored(t *testing.T, store *storetest.Memory) shelf {
	t.Helper()
	s := shelf{bodies: map[wire.Epoch][]string{}}
	for _, e := range store.Entries() {
		b, err := e.Entry.Check()
		if err != nil {
			t.Fatal(err)
		}
		epoch := e.Stream.Epoch
		if !slices.Contains(s.epochs, epoch) {
			s.epochs = append(s.epochs, epoch)
		}
		for r, err := range b.Records() {
			if err != nil {
				t.Fatal(err)
			}
			if r.Seq < e.Entry.From || r.Seq > e.Entry.To {
				continue
			}
			m, err := r.Record.Message()
			if err != nil {
				t.Fatal(err)
			}
			name, _, _ := bytes.Cut(m.Body, []byte("."))
			s.bodies[epoch] = append(s.bodies[epoch], string(name))
		}
	}
	return s
}

// After an outage a new message is stored within a second, although a backlog
// fills the line for a long time; the backlog gets its share, each stream is in
// order, and the ledger explains every number.
func TestLiveFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := storetest.NewMemory()
		line := centre(t, store)
		cfg := agent.Config{
			ID: "pump-7", Dir: t.TempDir(), Collectors: []string{"centre:4717"}, InsecurePlaintext: true, Dial: line.Dial,
			Lanes:     map[string]agent.LaneConfig{"default": {LiveFirst: time.Minute, SegmentSize: 1 << 20}},
			Reconnect: agent.Reconnect{Max: 5 * time.Second},
		}
		a := mustOpen(t, cfg)
		n := 0
		send := func(size int) string {
			t.Helper()
			name := fmt.Sprint("m", n)
			n++
			if err := a.Send(t.Context(), agent.Message{Body: append([]byte(name+"."), make([]byte, size)...)}); err != nil {
				t.Fatal(err)
			}
			return name
		}
		send(10)
		if err := a.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}

		// A short outage changes nothing.
		outage := func(d time.Duration, count, size int) {
			t.Helper()
			line.Refuse(true)
			line.Cut()
			for range count {
				send(size)
			}
			time.Sleep(d)
			line.Refuse(false)
			for a.Status().Link.State != "connected" {
				time.Sleep(10 * time.Millisecond)
			}
		}
		outage(30*time.Second, 3, 10)
		if err := a.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		if s := stored(t, store); len(s.epochs) != 1 {
			t.Fatalf("%d epochs after a short outage", len(s.epochs))
		}

		line.Rate(faultnet.Up, 100<<10) // bytes a second
		line.Buffer(64 << 10)
		outage(10*time.Minute, 200, 20<<10) // 40 s of the line
		before := a.Status().Lanes[0].Backlog
		var live []string
		var worst time.Duration
		for range 20 {
			name, sent := send(100), time.Now()
			live = append(live, name)
			for {
				s := stored(t, store)
				if len(s.epochs) > 1 && slices.Contains(s.bodies[s.epochs[1]], name) {
					break
				}
				if time.Since(sent) > time.Minute {
					t.Fatalf("%s is not stored after a minute: %+v", name, a.Status().Lanes[0])
				}
				time.Sleep(5 * time.Millisecond)
			}
			worst = max(worst, time.Since(sent))
			time.Sleep(250 * time.Millisecond)
		}
		st := a.Status().Lanes[0]
		t.Logf("a live message was stored within %s; the backlog went from %d to %d meanwhile", worst, before, st.Backlog)
		if worst > time.Second {
			t.Errorf("a live message took %s", worst)
		}
		if st.Backlog == 0 || st.Backlog > before-10 {
			t.Errorf("the backlog went from %d to %d", before, st.Backlog)
		}
		if st.Streams != 2 {
			t.Errorf("%d streams while there is a backlog", st.Streams)
		}
		if err := a.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		s := stored(t, store)
		var backlog []string
		for i := range 204 {
			backlog = append(backlog, fmt.Sprint("m", i))
		}
		if len(s.epochs) != 2 || !slices.Equal(s.bodies[s.epochs[0]], backlog) || !slices.Equal(s.bodies[s.epochs[1]], live) {
			t.Errorf("stored: %v", s)
		}
		l := store.Ledger("pump-7")
		for _, stream := range l.Streams() {
			if l.Pending(stream) > 0 || stream.Next != stream.W+1 {
				t.Errorf("epoch %s: W %d, next %d", stream.Epoch, stream.W, stream.Next)
			}
		}
		if len(l.Unexplained()) > 0 || len(l.Streams()) != 2 {
			t.Errorf("%d streams, unexplained %v", len(l.Streams()), l.Unexplained())
		}
	})
}

// A lane whose setting is taken away drains its backlog in order, and one that
// gets it back goes on.
func TestLiveFirstIsSwitchedOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := storetest.NewMemory()
		line := centre(t, store)
		dir, n := t.TempDir(), 0
		var a *agent.Agent
		run := func(liveFirst time.Duration) {
			t.Helper()
			if a != nil {
				if err := a.Close(); err != nil {
					t.Fatal(err)
				}
			}
			a = mustOpen(t, agent.Config{
				ID: "pump-7", Dir: dir, Collectors: []string{"centre:4717"}, InsecurePlaintext: true, Dial: line.Dial,
				Lanes:     map[string]agent.LaneConfig{"default": {LiveFirst: liveFirst, SegmentSize: 1 << 20}},
				Reconnect: agent.Reconnect{Max: time.Second},
			})
		}
		send := func(count int) {
			t.Helper()
			for range count {
				if err := a.Send(t.Context(), agent.Message{Body: append(fmt.Appendf(nil, "m%d.", n), make([]byte, 20<<10)...)}); err != nil {
					t.Fatal(err)
				}
				n++
			}
		}
		streams := func() int { return a.Status().Lanes[0].Streams }
		line.Rate(faultnet.Up, 50<<10)
		line.Refuse(true)
		run(time.Minute)
		send(40)
		time.Sleep(2 * time.Minute)
		line.Refuse(false)
		time.Sleep(3 * time.Second)
		send(40)
		if streams() != 2 {
			t.Fatalf("%d streams", streams())
		}
		line.Refuse(true)
		line.Cut()
		run(0)
		send(5)
		if st, err := agent.ReadStatus(dir); err == nil {
			t.Fatalf("ReadStatus of a running agent: %+v", st)
		}
		line.Refuse(false)
		time.Sleep(2 * time.Minute) // longer than the setting: nothing is split
		if err := a.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		s := stored(t, store)
		var all []string
		for _, e := range s.epochs {
			all = append(all, s.bodies[e]...)
		}
		slices.Sort(all)
		if len(s.epochs) != 2 || len(all) != 85 || len(slices.Compact(all)) != 85 {
			t.Errorf("%d epochs with %d messages", len(s.epochs), len(all))
		}
		run(time.Minute)
		send(1)
		if err := a.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := a.Close(); err != nil {
			t.Fatal(err)
		}
		st, err := agent.ReadStatus(dir)
		if err != nil || st.Lanes[0].Accepted != 86 || st.Lanes[0].Backlog != 0 || st.Lanes[0].Streams != 1 {
			t.Errorf("at rest: %+v, %v", st.Lanes, err)
		}
		if l := store.Ledger("pump-7"); len(l.Unexplained()) > 0 {
			t.Errorf("unexplained: %v", l.Unexplained())
		}
	})
}

// A copy of the folder of a lane with a backlog is put back after the original has
// delivered and gone on: each stream finds its own again, only the one that has
// parted is forked, and nothing is stored twice, lost or unexplained (rules 1, 2).
func TestRule2ARestoredFolderWithABacklog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := storetest.NewMemory()
		line := centre(t, store)
		dir, copied := t.TempDir(), filepath.Join(t.TempDir(), "copy")
		run := func(dir string) *agent.Agent {
			t.Helper()
			return mustOpen(t, agent.Config{
				ID: "pump-7", Dir: dir, Collectors: []string{"centre:4717"}, InsecurePlaintext: true, Dial: line.Dial,
				Lanes:     map[string]agent.LaneConfig{"default": {LiveFirst: time.Minute}},
				Reconnect: agent.Reconnect{Max: time.Second},
			})
		}
		send := func(a *agent.Agent, name string, size int) {
			t.Helper()
			if err := a.Send(t.Context(), agent.Message{Body: append([]byte(name+"."), make([]byte, size)...)}); err != nil {
				t.Fatal(err)
			}
		}
		flush := func(a *agent.Agent) {
			t.Helper()
			if err := a.Flush(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		shut := func(a *agent.Agent) {
			t.Helper()
			if err := a.Close(); err != nil {
				t.Fatal(err)
			}
		}
		outage := func(f func()) {
			line.Refuse(true)
			line.Cut()
			f()
			time.Sleep(2 * time.Minute)
			line.Refuse(false)
			time.Sleep(3 * time.Second)
		}
		a := run(dir)
		outage(func() { send(a, "m0", 10) }) // the second stream takes puts,
		send(a, "m1", 10)
		flush(a)
		line.Rate(faultnet.Up, 1<<10)
		outage(func() { send(a, "m2", 50<<10) }) // and the first again: the second is a backlog
		send(a, "m3", 10)
		shut(a)
		if err := os.CopyFS(copied, os.DirFS(dir)); err != nil {
			t.Fatal(err)
		}
		if s := stored(t, store); slices.Contains(s.bodies[s.epochs[1]], "m2") {
			t.Fatal("the backlog was delivered before the copy was made")
		}
		line.Rate(faultnet.Up, 0)
		a = run(dir)
		flush(a)
		send(a, "m4", 10)
		flush(a)
		shut(a)
		a = run(copied)
		send(a, "x", 10)
		flush(a)
		if st := a.Status().Lanes[0]; st.Forks != 1 || st.RolledBack != 0 {
			t.Errorf("forks %d, rolled back %d", st.Forks, st.RolledBack)
		}
		shut(a)

		var got [][]string
		s := stored(t, store)
		for _, e := range s.epochs {
			got = append(got, s.bodies[e])
		}
		slices.SortFunc(got, slices.Compare[[]string])
		if want := [][]string{{"m0", "m3", "m4"}, {"m1", "m2"}, {"x"}}; !slices.EqualFunc(got, want, slices.Equal[[]string]) {
			t.Errorf("got %v, want %v", got, want)
		}
		l := store.Ledger("pump-7")
		for _, stream := range l.Streams() {
			if l.Pending(stream) > 0 || stream.Next != stream.W+1 {
				t.Errorf("epoch %s: W %d, next %d", stream.Epoch, stream.W, stream.Next)
			}
		}
		if len(l.Unexplained()) > 0 || len(l.Streams()) != 3 {
			t.Errorf("%d streams, unexplained %v", len(l.Streams()), l.Unexplained())
		}
	})
}
