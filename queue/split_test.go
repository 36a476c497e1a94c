package queue

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/fieldpost/fieldpost/internal/durable"
	"github.com/fieldpost/fieldpost/wire"
)

// pictures copies the lane's folder ahead of each step of f.
func (s *site) pictures(f func()) (steps, dirs []string) {
	s.t.Helper()
	below := s.t.TempDir()
	end := durable.Watch(filepath.Dir(s.cfg.Dir), func(step durable.Step, path string) error {
		dir := filepath.Join(below, fmt.Sprint(len(dirs)), "lane")
		if err := os.CopyFS(dir, os.DirFS(s.cfg.Dir)); err != nil {
			return err
		}
		rel, _ := filepath.Rel(s.cfg.Dir, path)
		steps, dirs = append(steps, fmt.Sprint(step, " ", rel)), append(dirs, dir)
		return nil
	})
	defer end()
	f()
	return steps, dirs
}

// A crash at any instant of a split leaves a lane that has every message once,
// each stream in order, and goes on.
func TestASplitAtEveryStep(t *testing.T) {
	s := openSite(t)
	s.put(2)
	s.link()
	s.take(1)
	s.settle()
	s.put(3)
	s.outage()
	steps, dirs := s.pictures(func() { s.link() })
	if len(steps) < 10 || len(s.Streams()) != 2 {
		t.Fatalf("%d steps, %d streams", len(steps), len(s.Streams()))
	}
	old := s.Streams()[0].Epoch
	w := s.w[old]
	for i, dir := range dirs {
		c := openSite(t, func(c *Config) { c.Dir = dir })
		c.w[old], c.next = w, 6
		c.put(2)
		c.link()
		c.put(2)
		c.take(1000)
		var all []string
		for _, st := range c.Streams() {
			all = append(all, c.got[st.Epoch]...)
		}
		if want := names(int(w)+1, 9); !slices.Equal(all, want) {
			t.Errorf("ahead of %s: got %v, want %v", steps[i], all, want)
		}
		c.Lane.Close()
	}
}

// A stream that is drained takes its turn again, and a crash at any instant of
// that leaves a lane that has every message once, each stream in order.
func TestATurnAtEveryStep(t *testing.T) {
	s := openSite(t)
	s.put(2)
	s.outage()
	s.link()
	s.take(100)
	s.settle()
	drained := s.Streams()[0].Epoch
	s.put(3) // into the second
	s.outage()
	steps, dirs := s.pictures(func() {
		if n := s.link(); n != 2 {
			t.Fatalf("%d streams", n)
		}
	})
	if len(steps) < 2 {
		t.Fatalf("steps: %q", steps)
	}
	dirs, steps = append(dirs, s.cfg.Dir), append(steps, "the end")
	s.put(1)
	if st := s.Stats(); st.Epoch != drained || st.Next != 4 || st.Accepted != 6 || st.Streams != 2 {
		t.Errorf("stats: %+v", st)
	}
	s.Lane.Close()
	if st, err := ReadStats(s.cfg.Dir); err != nil || st.Epoch != drained || st.Next != 4 || st.Backlog != 4 {
		t.Errorf("at rest: %+v, %v", st, err)
	}
	for i, dir := range dirs {
		c := openSite(t, func(c *Config) { c.Dir = dir })
		c.next = 7
		for _, st := range c.Streams() {
			c.w[st.Epoch] = st.Acked
		}
		c.put(1)
		if n := c.link(); n != 2 {
			t.Errorf("ahead of %s: %d streams", steps[i], n)
		}
		c.put(1)
		c.take(1000)
		var all []string
		for _, st := range c.Streams() {
			if !slices.IsSorted(c.got[st.Epoch]) {
				t.Errorf("ahead of %s: got %v", steps[i], c.got[st.Epoch])
			}
			all = append(all, c.got[st.Epoch]...)
		}
		slices.Sort(all)
		if i == len(dirs)-1 {
			all = slices.DeleteFunc(all, func(m string) bool { return m == "m6" })
		}
		if want := append(names(3, 5), names(7, 8)...); !slices.Equal(all, want) {
			t.Errorf("ahead of %s: got %v, want %v", steps[i], all, want)
		}
		c.Lane.Close()
	}
}

// A lane that a run of refusals has stopped does not go on in another stream.
func TestAStoppedLaneIsNotSplit(t *testing.T) {
	s := openSite(t)
	s.link()
	s.put(maxRefusals + 1)
	for n := range maxRefusals {
		s.refuse(s.Streams()[0].Epoch, wire.Seq(n+1))
	}
	s.outage()
	if n := s.link(); n != 1 || !s.Stats().Stopped {
		t.Errorf("%d streams: %+v", n, s.Stats())
	}
}

// A split that fails, on a full disk for instance, leaves a folder that does not
// keep the lane from opening.
func TestASplitThatFails(t *testing.T) {
	s := openSite(t)
	s.put(1)
	s.outage()
	end := durable.Watch(s.cfg.Dir, func(step durable.Step, path string) error {
		if step == durable.Rename && strings.Contains(path, streamsFolder) {
			return errors.New("no")
		}
		return nil
	})
	n := s.link()
	end()
	if n != 1 {
		t.Fatalf("%d streams", n)
	}
	s.put(1)
	if err := s.Lane.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(streamDir(s.cfg.Dir, 1)); err != nil {
		t.Fatalf("the folder of the stream that was not begun: %v", err)
	}
	if st, err := ReadStats(s.cfg.Dir); err != nil || st.Next != 3 {
		t.Errorf("at rest: %+v, %v", st, err)
	}
	s.open()
	s.put(1)
	if st := s.Streams(); len(st) != 1 || st[0].Next != 4 {
		t.Errorf("streams: %+v", st)
	}
	s.outage()
	if n := s.link(); n != 2 {
		t.Errorf("%d streams", n)
	}
}
