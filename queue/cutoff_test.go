package queue

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/fieldpost/fieldpost/internal/durable"
	"github.com/fieldpost/fieldpost/wire"
)

// sectors are what a disk writes whole or not at all.
const sectorSize = 512

// torn is a file of which the newest write came to the disk in part: each sector
// is the new one with a chance of p in 100, else as before, zero where it was not.
func torn(r *rand.Rand, before, after []byte, p int) []byte {
	img := make([]byte, len(after))
	copy(img, before)
	for i := 0; i < len(after); i += sectorSize {
		if r.IntN(100) < p {
			copy(img[i:min(i+sectorSize, len(img))], after[i:])
		}
	}
	return img
}

func read(t testing.TB, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// A power cut in the middle of a commit leaves any part of its pages, the page
// that names them among them. What had been promised before is there, once and in
// order; the commit itself is there as a whole, or, of several batches, in part.
func TestRule5ACommitThatIsCutOff(t *testing.T) {
	images := 60
	if testing.Short() {
		images = 20
	}
	for _, sizes := range [][]int{{40}, {3000}, {300_000, 200_000, 100}} {
		t.Run(fmt.Sprint(sizes), func(t *testing.T) {
			r := rand.New(rand.NewPCG(uint64(sizes[0]), 5))
			l := openLane(t)
			name := l.files()[0]
			for i := range 160 { // the index has two levels, and pages are in use again
				l.put(i+1, i+1)
			}
			before := read(t, filepath.Join(l.copy(), name))
			var list []wire.Message
			for i, size := range sizes {
				list = append(list, wire.Message{Time: base, Body: append(fmt.Appendf(nil, "m%d\n", 161+i), make([]byte, size)...)})
			}
			if err := l.Put(context.Background(), list...); err != nil {
				t.Fatal(err)
			}
			dir := l.copy()
			after := read(t, filepath.Join(dir, name))
			metas, err := os.Open(filepath.Join(dir, name))
			if err != nil {
				t.Fatal(err)
			}
			newest, err := metaPages(metas)
			metas.Close()
			if err != nil || len(newest) != 2 {
				t.Fatal(newest, err)
			}
			l.close()
			whole, gone := 0, 0
			for range images {
				img := torn(r, before, after, []int{10, 50, 90, 99}[r.IntN(4)])
				copy(img[newest[0].offset:], after[newest[0].offset:newest[0].offset+sectorSize])
				l.cfg.Dir = filepath.Join(t.TempDir(), "lane")
				if err := os.CopyFS(l.cfg.Dir, os.DirFS(dir)); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(filepath.Join(l.cfg.Dir, name), img, 0o600); err != nil {
					t.Fatal(err)
				}
				l.open()
				got := l.drain(1)
				if len(got) < 160 {
					t.Fatalf("%d of 160 promised messages are there", len(got))
				}
				for i, it := range got {
					body, _, _ := strings.Cut(it.body, "\n")
					if body != fmt.Sprint("m", i+1) && (i < 160 || it.reason != wire.ReasonCorrupt) {
						t.Fatalf("number %d is %s", i+1, it)
					}
				}
				if st := l.Stats(); st.Quarantined != 0 {
					t.Fatalf("a commit that nobody was promised was taken for damage: %+v", st)
				}
				switch len(got) {
				case 160:
					gone++
				case 160 + len(sizes):
					whole++
				}
				// It is what was proven, or what has been proven by writing it again.
				want := newest[1].tx
				if len(got) == 160+len(sizes) {
					want = newest[0].tx
				}
				if list, err := metasOf(filepath.Join(l.cfg.Dir, name)); err != nil || list[0].tx > want {
					t.Fatalf("the old tail is at %v, %v; was %v", list, err, newest)
				}
				l.put(len(got)+1, len(got)+1)
				l.close()
				os.RemoveAll(l.cfg.Dir)
			}
			t.Logf("%d images: in %d the last commit was whole, in %d it was gone", images, whole, gone)
			if whole == 0 || gone == 0 {
				t.Error("not every outcome occurred")
			}
			l.cfg.Dir = dir
			l.open()
		})
	}
}

func metasOf(path string) ([]metaPage, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return metaPages(f)
}

// All pages that a commit wrote, but for the list of free ones, are among those
// that an opening writes again: also where pages of the index were split, at each
// of its levels. It writes few others.
func TestRule5AllOfTheLastCommitIsWrittenAgain(t *testing.T) {
	for _, c := range []struct{ first, last, size int }{{2, 30, 40}, {500, 1100, 300}, {2, 30, 3000}, {95, 110, 3000}, {2, 4, 300_000}} {
		l := openLane(t)
		name := l.files()[0]
		path := filepath.Join(l.cfg.Dir, name)
		var before []byte
		levels := map[int]bool{}
		for n := 1; n <= c.last; n++ {
			if err := l.Put(context.Background(), wire.Message{Time: base, Body: make([]byte, c.size)}); err != nil {
				t.Fatal(err)
			}
			if n < c.first-1 {
				continue
			}
			after := read(t, path)
			f, err := openSealed(path)
			if err != nil {
				t.Fatal(err)
			}
			again := map[int]bool{}
			page := int(f.meta.pageSize)
			err = f.view(func(tr *tree) error {
				tr.seen = func(id uint64, b []byte) error {
					for i := range len(b) / page {
						again[int(id)+i] = true
					}
					return nil
				}
				if at, err := tr.floor(seqKey(wire.Seq(n))); err == nil {
					levels[len(at.path)] = true
				}
				clear(again)
				return f.wrote(tr, wire.Seq(n))
			})
			if f.close(); err != nil {
				t.Fatal(err)
			}
			for id := 2; id < int(f.meta.high) && n >= c.first; id++ {
				now := after[id*page : (id+1)*page]
				if len(before) >= (id+1)*page && slices.Equal(now, before[id*page:(id+1)*page]) || now[8] == 0x10 { // 0x10: free pages
					continue
				}
				if !again[id] {
					t.Fatalf("size %d: page %d was written by commit %d, and is not written again", c.size, id, n)
				}
			}
			if few := 12 + 2*c.size/page; len(again) > few {
				t.Fatalf("size %d: %d pages are written again after commit %d", c.size, len(again), n)
			}
			before = after
		}
		if l.close(); c.first == 500 && !(levels[2] && levels[3]) {
			t.Errorf("the index had %v levels, want 2 and then 3", levels)
		}
	}
}

// Writing it again leaves the file as it is.
func TestHardenChangesNothing(t *testing.T) {
	l := openLane(t)
	l.put(1, 40)
	path := filepath.Join(l.copy(), l.files()[0])
	before := read(t, path)
	f, err := openSealed(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.close()
	if err := f.harden(40); err != nil || !slices.Equal(read(t, path), before) {
		t.Errorf("the file has changed, %v", err)
	}
}

// A process that ends before it could take a commit back whose sync had failed
// leaves that to the next opening.
func TestRule5AFailedCommitIsTakenBackLater(t *testing.T) {
	l := openLane(t)
	l.put(1, 3)
	name := l.files()[0]
	was, err := metasOf(filepath.Join(l.cfg.Dir, name))
	if err != nil {
		t.Fatal(err)
	}
	l.faults.fail(afterCommit, errDisk)
	l.faults.fail(beforeCommit, nil, errDisk) // the commit's own writing passes
	l.put(4, 4)
	if now, err := metasOf(filepath.Join(l.cfg.Dir, name)); err != nil || now[0].tx != was[0].tx+1 {
		t.Fatalf("meta pages %v, before %v, %v", now, was, err)
	}
	l.crash()
	if now, err := metasOf(filepath.Join(l.cfg.Dir, name)); err != nil || len(now) != 1 || now[0] != was[0] {
		t.Errorf("meta pages %v, before %v, %v", now, was, err)
	}
	l.want(1, bodies(1, 4)...)
}

// A sync that fails leaves the old tail as it was after the last one that did not.
func TestRule5AFailedSyncIsTakenBackAtOnce(t *testing.T) {
	l := openLane(t)
	l.put(1, 3)
	path := filepath.Join(l.cfg.Dir, l.files()[0])
	was, _ := metasOf(path)
	l.faults.fail(afterCommit, errDisk)
	l.put(4, 4)
	if now, err := metasOf(path); err != nil || len(now) != 1 || now[0].tx != was[0].tx {
		t.Errorf("meta pages %v, before %v, %v", now, was, err)
	}
	l.mu.Lock()
	l.recent = ring{}
	l.mu.Unlock()
	l.want(1, bodies(1, 4)...)
}

// The clean mark is believed without a look at what it covers, so all that must
// be on disk before it is.
func TestRule5TheCleanMarkIsSyncedAfterWhatItCovers(t *testing.T) {
	l := openLane(t)
	l.put(1, 3)
	noSync := true
	tail := l.Queue.files.tail
	l.unhook()
	l.unhook = durable.Watch(l.cfg.Dir, func(s durable.Step, path string) error {
		if s == durable.Sync && path == tail.path {
			noSync = tail.db.NoSync
		}
		return nil
	})
	l.close()
	if noSync {
		t.Error("bbolt did not sync the pages before the meta page")
	}
}

// Where neither transaction can be read, the file is damaged, and left as it is
// for whoever looks into it.
func TestCutOffLeavesADamagedFileAlone(t *testing.T) {
	l := openLane(t)
	l.put(1, 3)
	dir, name := l.copy(), l.files()[0]
	path := filepath.Join(dir, name)
	b := read(t, path)
	list, err := metasOf(path)
	if err != nil || len(list) != 2 {
		t.Fatal(list, err)
	}
	for i := int(list[0].offset+list[1].offset) * 2; i < len(b); i += 4096 {
		clear(b[i : i+64]) // the header of every page but the metas
	}
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	l.close()
	l.cfg.Dir = dir
	l.open()
	if l.Stats().Quarantined != 1 {
		t.Fatal("the file is not in quarantine")
	}
	if kept := read(t, filepath.Join(dir, quarantine, name)); !slices.Equal(kept, b) {
		t.Error("the damaged file was changed before it was kept")
	}
}

// A message that was refused must not come back, whatever of it had been written,
// when the next commit is cut off: nothing else goes into that file.
func TestRule5WhatWasRefusedIsNotFoundByASearch(t *testing.T) {
	for _, cause := range []error{errRoom, errDisk} {
		l := openLane(t)
		l.put(1, 3)
		tail := l.Queue.files.tail
		l.faults.fail(beforeCommit, cause)
		l.faults.fail(onCreate, cause)
		if err := l.Put(context.Background(), msg("no")); !errors.Is(err, ErrFull) || errors.Is(err, ErrUncertain) {
			t.Fatal(err)
		}
		l.faults.disarm()
		l.put(4, 4)
		if l.Queue.files.tail == tail {
			t.Errorf("%v: the same numbers go into the same file", cause)
		}
		l.want(1, bodies(1, 4)...)
	}
}

func TestMetaPagesOfAnything(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x")
	for _, b := range [][]byte{nil, make([]byte, 10), make([]byte, 70), make([]byte, 9000)} {
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		if list, err := metasOf(path); len(list) != 0 || err != nil {
			t.Errorf("%d zeros: %v, %v", len(b), list, err)
		}
		if _, err := takeBack(path, 3); !isDamage(err) {
			t.Errorf("%d zeros: %v", len(b), err)
		}
	}
}
