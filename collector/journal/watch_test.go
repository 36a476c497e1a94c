package journal

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/fieldpost/fieldpost/collector"
)

// What is done to an open journal's folder by another hand: the journal notices
// with the next commit, before it answers, and what it says about W stays true.
func TestAFolderThatIsChangedWhileItIsOpen(t *testing.T) {
	for name, c := range map[string]struct {
		hurt  func(t *testing.T, dir string, j *Journal)
		fails bool // commits fail from then on
		whole bool // and nothing is lost
	}{
		"the newest segment is cut short": {hurt: func(t *testing.T, dir string, j *Journal) {
			must(t, os.Truncate(segmentPath(dir, j.tail.ordinal), j.tail.length-40))
		}},
		"the newest segment is emptied": {hurt: func(t *testing.T, dir string, j *Journal) {
			must(t, os.Truncate(segmentPath(dir, j.tail.ordinal), 0))
		}},
		"the newest segment is deleted": {hurt: func(t *testing.T, dir string, j *Journal) {
			must(t, os.Remove(segmentPath(dir, j.tail.ordinal)))
		}},
		"the newest segment is replaced": {hurt: func(t *testing.T, dir string, j *Journal) {
			path := segmentPath(dir, j.tail.ordinal)
			must(t, os.Rename(path, path+".old"))
			must(t, os.WriteFile(path, []byte("something else"), 0o600))
		}},
		"an old segment is deleted": {hurt: func(t *testing.T, dir string, j *Journal) {
			must(t, os.Remove(segmentPath(dir, 1)))
		}},
		"the mark is deleted": {whole: true, hurt: func(t *testing.T, dir string, j *Journal) {
			must(t, os.Remove(filepath.Join(dir, markName)))
		}},
		"the lock is deleted": {whole: true, hurt: func(t *testing.T, dir string, j *Journal) {
			must(t, os.Remove(filepath.Join(dir, lockName)))
		}},
		"the folder is deleted": {fails: true, hurt: func(t *testing.T, dir string, j *Journal) { must(t, os.RemoveAll(dir)) }},
		"the folder is replaced": {fails: true, hurt: func(t *testing.T, dir string, j *Journal) {
			must(t, os.Rename(dir, dir+".old"))
			must(t, os.Mkdir(dir, 0o700))
		}},
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "store")
			j := openTest(t, Options{Dir: dir})
			a := newClient("pump-7")
			must(t, a.sendAgain(j))
			kill(t, j) // so that there are two segments
			j = openTest(t, Options{Dir: dir})
			must(t, a.sendAgain(j))
			must(t, a.send(j, 3))
			c.hurt(t, dir, j)
			w := a.w
			for range 3 {
				err := a.send(j, 1)
				if c.fails != (err != nil) {
					t.Fatalf("append gives %v", err)
				}
				if err != nil && (!errors.Is(err, errChanged) || !strings.Contains(err.Error(), dir)) {
					t.Errorf("the error does not say what happened: %v", err)
				}
			}
			if c.fails {
				if a.w != w {
					t.Error("W moved")
				}
				return
			}
			j.mu.Lock()
			j.opts.SegmentSize = 1 // the next commit begins a segment
			j.mu.Unlock()
			must(t, a.send(j, 1))
			if _, err := lockDir(dir); !errors.Is(err, ErrLocked) {
				t.Errorf("the folder's lock is free: %v", err)
			}
			if r := audit(t, dir); r.OK != c.whole {
				t.Errorf("audit beside it: %s", r.String())
			}
			must(t, j.Close())
			j = openTest(t, Options{Dir: dir})
			if m, err := a.connect(j); err != nil || m.W != a.w {
				t.Errorf("W is %d, want %d: %v", m.W, a.w, err)
			}
			n := 0
			if _, err := j.Read(context.Background(), "", func(collector.Stored) error { n++; return nil }); (err == nil) != c.whole || n == 0 {
				t.Errorf("%d entries are read, %v", n, err)
			}
		})
	}
}

// A folder that is moved away and back is the same folder.
func TestAFolderThatComesBack(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "store")
	j := openTest(t, Options{Dir: dir})
	c := newClient("pump-7")
	must(t, c.sendAgain(j))
	must(t, os.Rename(dir, dir+".away"))
	if err := c.send(j, 1); !errors.Is(err, errChanged) {
		t.Fatalf("append gives %v", err)
	}
	must(t, os.Rename(dir+".away", dir))
	must(t, c.send(j, 2))
	if r := audit(t, dir); !r.OK {
		t.Errorf("audit: %s", r.String())
	}
	must(t, j.Close())
	checkBodies(t, openTest(t, Options{Dir: dir}), c)
}
