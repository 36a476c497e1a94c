package journal

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fieldpost/fieldpost/collector"
	"github.com/fieldpost/fieldpost/internal/durable"
	"github.com/fieldpost/fieldpost/wire"
)

// kept checks what retention has left: the newest numbers of each client, one after
// another, an audit that is content, and a memory that nothing is missing from. It
// returns how many numbers are stored still.
func kept(t *testing.T, dir string, clients ...*client) (stored uint64) {
	t.Helper()
	rep := audit(t, dir)
	if !rep.OK {
		t.Errorf("audit: %s", rep.String())
	}
	r, err := OpenReader(dir)
	must(t, err)
	got := bodies(t, r.Read)
	for _, c := range clients {
		list := got[c.id]
		for i, b := range list {
			if want := c.body(c.w - wire.Seq(len(list)-1-i)); b != want {
				t.Fatalf("%s: %q stands where %q should", c.id, b, want)
			}
		}
		for _, s := range rep.Streams {
			if s.Agent != c.id {
				continue
			}
			stored += s.Stored
			if s.W != c.w || s.Stored != uint64(len(list)) || s.Stored+s.Removed != uint64(c.w) || s.Unexplained+s.Doubled > 0 {
				t.Errorf("%s: W %d, %d stored of which %d can be read, %d removed, %d unexplained; %d were sent", c.id, s.W, s.Stored, len(list), s.Removed, s.Unexplained, c.w)
			}
		}
	}
	return stored
}

func TestRetentionByBytes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		o := Options{Dir: dir, SegmentSize: 2 << 10, MaxBytes: 10 << 10}
		j := openTest(t, o)
		c, d := newClient("pump-7"), newClient("pump-8")
		must(t, d.sendAgain(j)) // and then never again
		must(t, c.sendAgain(j))
		for range 100 {
			must(t, c.send(j, 3))
		}
		time.Sleep(time.Hour)
		if n := j.Stats().Bytes; n > o.MaxBytes || n < o.MaxBytes/2 {
			t.Errorf("%d bytes kept, want up to %d", n, o.MaxBytes)
		}
		ordinals, err := listSegments(dir)
		must(t, err)
		if len(ordinals) != j.Stats().Segments || ordinals[0] == 1 {
			t.Errorf("files of segments %d, %d count", ordinals, j.Stats().Segments)
		}
		if n := kept(t, dir, c, d); n == 0 || n >= uint64(c.w) {
			t.Errorf("%d of %d numbers are stored", n, c.w)
		}
		// What is removed is not forgotten: nothing is taken again.
		for _, end := range []func(){func() { must(t, j.Close()) }, func() { kill(t, j) }} {
			end()
			j = openTest(t, o)
			for _, c := range []*client{c, d} {
				w := c.w
				if m, err := c.connect(j); err != nil || m.W != w {
					t.Fatalf("%s: %+v, %v; want W %d", c.id, m, err, w)
				}
				a, err := j.Append(t.Context(), c.session, []collector.Append{{Stream: c.stream(), Entry: c.entry(1, 1), Time: testTime}})
				if err != nil || a[0].W != w {
					t.Errorf("%s: number 1 again gives %+v, %v", c.id, a, err)
				}
			}
			kept(t, dir, c, d)
		}
		if _, err := j.Read(t.Context(), position{1, 2000, 3}.cursor(), func(collector.Stored) error { return nil }); !errors.Is(err, ErrCursor) {
			t.Errorf("a cursor into what is gone gives %v", err)
		}
	})
}

func TestRetentionByAge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		const age = 24 * time.Hour
		j := openTest(t, Options{Dir: dir, MaxAge: age})
		c := newClient("pump-7")
		_, err := c.connect(j)
		must(t, err)
		for range 100 {
			must(t, c.send(j, 1))
			time.Sleep(time.Hour)
		}
		// What is younger is there, what is older by a quarter and an hour is not.
		if n := kept(t, dir, c); n < 24 || n > 31 {
			t.Errorf("%d hours are stored, want 24 to 31", n)
		}
		time.Sleep(age * 4 / 3)
		if n := kept(t, dir, c); n != 0 {
			t.Errorf("%d hours are stored by an agent that was silent for longer than %s", n, age)
		}
		w := c.w
		if m, err := c.connect(j); err != nil || m.W != w {
			t.Errorf("%+v, %v; want W %d", m, err, w)
		}
		must(t, c.send(j, 1))
		if n := kept(t, dir, c); n != 1 {
			t.Errorf("%d numbers are stored, want 1", n)
		}
	})
}

// TestRetentionIsOffByDefault, however old and large.
func TestRetentionIsOffByDefault(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		j := openTest(t, Options{Dir: dir, SegmentSize: 1})
		c := newClient("pump-7")
		must(t, c.sendAgain(j))
		time.Sleep(100 * 365 * 24 * time.Hour)
		must(t, c.send(j, 9))
		if n := kept(t, dir, c); n != 10 {
			t.Errorf("%d numbers are stored, want 10", n)
		}
		for _, o := range []Options{{MaxAge: -1}, {MaxBytes: -1}} {
			if o.Dir = t.TempDir(); true {
				if _, err := Open(o); err == nil {
					t.Errorf("%+v is taken", o)
				}
			}
		}
	})
}

// TestRule7RetentionAtEveryStep takes a picture of the folder ahead of each step on
// disk while segments are removed: each opens, explains everything, and remembers.
func TestRule7RetentionAtEveryStep(t *testing.T) {
	type picture struct {
		step durable.Step
		path string
		dir  string
		w    wire.Seq
	}
	dir := t.TempDir()
	var (
		mu       sync.Mutex
		pictures []picture
		answered wire.Seq
	)
	c := newClient("pump-7")
	more := func() bool {
		mu.Lock()
		defer mu.Unlock()
		answered = c.w
		return len(pictures) < 40
	}
	func() {
		j := openTest(t, Options{Dir: dir, SegmentSize: 2 << 10, MaxBytes: 6 << 10})
		defer j.Close()
		must(t, c.sendAgain(j))
		for range 12 {
			must(t, c.send(j, 3))
		}
		defer durable.Watch(dir, func(s durable.Step, path string) error {
			mu.Lock()
			defer mu.Unlock()
			pictures = append(pictures, picture{s, filepath.Base(path), copyDir(t, dir), answered})
			return nil
		})()
		for more() {
			must(t, c.send(j, 3))
		}
	}()
	seen := map[string]int{}
	for _, p := range pictures {
		what := fmt.Sprintf("%s %s", p.step, p.path)
		if filepath.Ext(p.path) == suffix {
			what = string(p.step) + " segment"
		}
		seen[what]++
		c := *c
		if rep := audit(t, p.dir); !rep.OK || rep.Streams[0].W < p.w {
			t.Fatalf("ahead of %s: W %d, want at least %d: %s", what, rep.Streams[0].W, p.w, rep.String())
		}
		j := openTest(t, Options{Dir: p.dir, MaxBytes: 6 << 10, disk: fastDisk{}})
		if m, err := c.connect(j); err != nil || m.W < p.w {
			t.Fatalf("ahead of %s: %+v, %v; want W %d", what, m, err, p.w)
		}
		must(t, c.send(j, 3))
		must(t, j.Close())
		kept(t, p.dir, &c)
	}
	for _, what := range []string{"write removed", "sync removed", "remove segment", "rename segment"} {
		if seen[what] == 0 {
			t.Errorf("no picture ahead of %s: %v", what, seen)
		}
	}
}

// TestRetentionExcusesNothingElse: a segment that retention has not removed is
// missing, and so is the note of what it has.
func TestRetentionExcusesNothingElse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		j := openTest(t, Options{Dir: dir, SegmentSize: 2 << 10, MaxBytes: 10 << 10})
		c := newClient("pump-7")
		must(t, c.sendAgain(j))
		for range 60 {
			must(t, c.send(j, 3))
		}
		time.Sleep(time.Hour)
		must(t, j.Close())
		kept(t, dir, c)
		ordinals, err := listSegments(dir)
		must(t, err)
		for what, hurt := range map[string]func(dir string) error{
			"the oldest segment is lost": func(dir string) error { return os.Remove(segmentPath(dir, ordinals[0])) },
			"one in the middle is lost":  func(dir string) error { return os.Remove(segmentPath(dir, ordinals[2])) },
			"the note is lost":           func(dir string) error { return os.Remove(filepath.Join(dir, removedName)) },
			"the note is of another store": func(dir string) error {
				r := removal{times: 99, ordinal: ordinals[0], index: 1000}
				return os.WriteFile(filepath.Join(dir, removedName), r.append(nil, wire.StoreID{ID: wire.NewID()}), 0o600)
			},
		} {
			hurtDir := copyDir(t, dir)
			must(t, hurt(hurtDir))
			if rep := audit(t, hurtDir); rep.OK {
				t.Errorf("%s, and the audit is content", what)
			}
			j := openTest(t, Options{Dir: hurtDir, disk: fastDisk{}})
			c := *c
			w := c.w
			if m, err := c.connect(j); err != nil || m.W != w {
				t.Errorf("%s: %+v, %v; want W %d", what, m, err, w)
			}
			must(t, j.Close())
		}
	})
}

// TestRetentionWaitsWhereItFails: what cannot be noted is not removed, and when the
// disk works again it goes.
func TestRetentionWaitsWhereItFails(t *testing.T) {
	for _, path := range []string{removedName, suffix} {
		for _, step := range []durable.Step{durable.Open, durable.Create, durable.Write, durable.Sync, durable.Remove} {
			synctest.Test(t, func(t *testing.T) {
				dir := t.TempDir()
				j := openTest(t, Options{Dir: dir, SegmentSize: 2 << 10, MaxBytes: 10 << 10})
				c := newClient("pump-7")
				must(t, c.sendAgain(j))
				for range 10 {
					must(t, c.send(j, 3))
				}
				end := durable.Watch(dir, func(s durable.Step, p string) error {
					if s == step && filepath.Base(p) == path || s == durable.Remove && filepath.Ext(p) == path {
						return errFault
					}
					return nil
				})
				for range 60 {
					must(t, c.send(j, 3))
				}
				time.Sleep(time.Hour)
				kept(t, dir, c)
				end()
				time.Sleep(time.Hour)
				if n := kept(t, dir, c); n == uint64(c.w) {
					t.Errorf("%s %s: nothing was removed after the fault", step, path)
				}
				ordinals, err := listSegments(dir)
				must(t, err)
				if n := j.Stats().Segments; len(ordinals) != n {
					t.Errorf("%s %s: files of segments %d, %d count", step, path, ordinals, n)
				}
			})
		}
	}
}

func TestRemovalIsReadFromEitherPlace(t *testing.T) {
	dir, store := t.TempDir(), wire.StoreID{ID: fixedID(7)}
	if r, err := readRemoval(dir, store); err != nil || r != (removal{}) {
		t.Errorf("without a file: %+v, %v", r, err)
	}
	path := filepath.Join(dir, removedName)
	var last removal
	for n := uint64(1); n < 6; n++ {
		r := removal{times: n, ordinal: 10 * n, index: 100 * n, at: testTime}
		must(t, writeRemoval(osDisk{}, dir, store, &r))
		if got, err := readRemoval(dir, store); err != nil || got != r {
			t.Fatalf("%+v, %v; want %+v", got, err, r)
		}
		whole, err := os.ReadFile(path)
		must(t, err)
		if n > 1 {
			torn := bytes.Clone(whole)
			torn[r.times%2*removalPlace+20] ^= 1 // as by a power cut
			must(t, os.WriteFile(path, torn, 0o600))
			if got, err := readRemoval(dir, store); err != nil || got != last {
				t.Errorf("torn: %+v, %v; want the one before, %+v", got, err, last)
			}
			must(t, os.WriteFile(path, whole, 0o600))
		}
		last = r
	}
	want := "46504701" + "ac178da3" + "07070707070707070707070707070707" + "0000000000000005" + "0000000000000032" + "00000000000001f4" + "17ccd493b5ff3a00"
	if got := fmt.Sprintf("%x", last.append(nil, store)); got != want {
		t.Errorf("the note is\n%s, want\n%s", got, want)
	}
	if _, err := OpenReader(dir); !errors.Is(err, ErrNone) {
		t.Errorf("a note alone is a journal: %v", err)
	}
}

func FuzzParseRemoval(f *testing.F) {
	store := wire.StoreID{ID: fixedID(7)}
	r := removal{times: 1, ordinal: 2, index: 3, at: testTime}
	f.Add(r.append(nil, store))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := parseRemoval(b, store)
		if err == nil && !bytes.Equal(r.append(nil, store), b[:removalSize]) {
			t.Errorf("%x is read as %+v", b, r)
		}
	})
}
