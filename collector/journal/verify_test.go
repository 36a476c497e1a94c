package journal

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fieldpost/fieldpost/collector"
)

func verify(t *testing.T, dir string) Verified {
	t.Helper()
	v, err := Verify(t.Context(), dir, nil)
	must(t, err)
	return v
}

// TestVerifyFindsEveryByte changes one byte in each stretch of a journal, and takes
// the end of each file away: none goes unnoticed, and its file is named.
func TestVerifyFindsEveryByte(t *testing.T) {
	dir := smallJournal(t, false)
	if v := verify(t, dir); !v.OK || v.Segments < 2 || v.Records == 0 || v.Messages == 0 || v.Bytes == 0 {
		t.Fatalf("a good journal: %+v", v)
	}
	ordinals, err := listSegments(dir)
	must(t, err)
	r, err := OpenReader(dir)
	must(t, err)
	extents, err := r.extents()
	must(t, err)
	tried := 0
	for i, n := range ordinals {
		content, err := os.ReadFile(segmentPath(dir, n))
		must(t, err)
		found := func(what string, off int64) {
			t.Helper()
			tried++
			v := verify(t, dir)
			if v.OK {
				t.Errorf("%s, %s at %d, is not noticed", segmentName(n), what, off)
			} else if f := v.Findings[0]; f.File != segmentName(n) && f.File != segmentName(n+1) {
				t.Errorf("%s, %s at %d, is found in %s: %s", segmentName(n), what, off, f.File, f.What)
			}
		}
		for off := int64(0); off < extents[i].valid; off += 13 {
			if off >= 4 && off < 8 {
				continue // reserved
			}
			hurt := append([]byte(nil), content...)
			hurt[off] ^= 0x10
			must(t, os.WriteFile(segmentPath(dir, n), hurt, 0o600))
			found("a changed byte", off)
		}
		must(t, os.WriteFile(segmentPath(dir, n), content[:extents[i].valid-1], 0o600))
		found("a missing end", extents[i].valid-1)
		must(t, os.Remove(segmentPath(dir, n)))
		if v := verify(t, dir); v.OK {
			t.Errorf("%s is missing, and nothing is found", segmentName(n))
		}
		must(t, os.WriteFile(segmentPath(dir, n), content, 0o600))
	}
	if v := verify(t, dir); !v.OK || tried < 100 {
		t.Errorf("%d tried; healed again: %+v", tried, v)
	}
}

func TestVerifyTellsHowFarItIs(t *testing.T) {
	dir := smallJournal(t, false)
	var last, whole int64
	v, err := Verify(t.Context(), dir, func(done, total int64) {
		if done < last || done > total || whole != 0 && total != whole {
			t.Errorf("%d of %d after %d of %d", done, total, last, whole)
		}
		last, whole = done, total
	})
	must(t, err)
	if last != whole || v.Bytes != whole {
		t.Errorf("%d of %d at the end, %d read", last, whole, v.Bytes)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Verify(ctx, dir, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("interrupted: %v", err)
	}
	if _, err := Verify(t.Context(), t.TempDir(), nil); !errors.Is(err, ErrNone) {
		t.Errorf("an empty folder: %v", err)
	}
}

// TestBackupBesideACollector: the copy is whole and as it was; a store opened from
// it is the same store, set back.
func TestBackupBesideACollector(t *testing.T) {
	for name, o := range map[string]Options{"kept": {SegmentSize: 2 << 10}, "retention goes on": {SegmentSize: 2 << 10, MaxBytes: 10 << 10}} {
		t.Run(name, func(t *testing.T) {
			o.Dir = t.TempDir()
			j := openTest(t, o)
			c := newClient("pump-7")
			must(t, c.sendAgain(j))
			for range 40 {
				must(t, c.send(j, 3))
			}
			began := c.w
			to := filepath.Join(t.TempDir(), "a", "backup")
			v, err := Backup(t.Context(), o.Dir, to, func(done, total int64) {
				if done > total {
					t.Errorf("%d of %d", done, total)
				}
				must(t, c.send(j, 3)) // meanwhile
			}, nil)
			must(t, err)
			if !v.OK || v.Store != j.Identity().ID || c.w == began {
				t.Fatalf("the copy: %+v; %d sent meanwhile", v, c.w-began)
			}
			must(t, c.send(j, 3))
			must(t, j.Close())
			back := *c
			back.w = began
			kept(t, to, &back)
			j = openTest(t, Options{Dir: to})
			m, err := c.connect(j) // the agent finds out that the store is behind it
			must(t, err)
			if j.Identity().ID != v.Store || m.W != began {
				t.Errorf("store %s with W %d, want %s with %d", j.Identity().ID, m.W, v.Store, began)
			}
			must(t, j.Close())
			if names, err := os.ReadDir(filepath.Dir(to)); err != nil || len(names) != 1 {
				t.Errorf("beside the copy lies %v, %v", names, err)
			}
		})
	}
}

func TestBackupThatCannotBeMade(t *testing.T) {
	dir := smallJournal(t, false)
	parent := t.TempDir()
	full := filepath.Join(parent, "full")
	must(t, os.Mkdir(full, 0o700))
	must(t, os.WriteFile(filepath.Join(full, "something"), nil, 0o600))
	if _, err := Backup(t.Context(), dir, full, nil, nil); !errors.Is(err, ErrExists) {
		t.Errorf("into a folder with something in it: %v", err)
	}
	if _, err := Backup(t.Context(), dir, filepath.Join(full, "something"), nil, nil); !errors.Is(err, ErrExists) {
		t.Errorf("onto a file: %v", err)
	}
	if _, err := Backup(t.Context(), t.TempDir(), filepath.Join(parent, "b"), nil, nil); !errors.Is(err, ErrNone) {
		t.Errorf("of no journal: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	if _, err := Backup(ctx, dir, filepath.Join(parent, "b"), func(_, _ int64) { cancel() }, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("interrupted: %v", err)
	}
	if names, err := os.ReadDir(parent); err != nil || len(names) != 1 {
		t.Errorf("%v, %v are left", names, err)
	}
	empty := filepath.Join(parent, "empty")
	must(t, os.Mkdir(empty, 0o700))
	if v, err := Backup(t.Context(), dir, empty, nil, nil); err != nil || !v.OK {
		t.Errorf("into an empty folder: %+v, %v", v, err)
	}
	// Damage is copied as it is, and named.
	ordinals, err := listSegments(dir)
	must(t, err)
	path := segmentPath(dir, ordinals[0])
	b, err := os.ReadFile(path)
	must(t, err)
	b[len(b)-10] ^= 1
	must(t, os.WriteFile(path, b, 0o600))
	if v, err := Backup(t.Context(), dir, filepath.Join(parent, "hurt"), nil, nil); err != nil || v.OK {
		t.Errorf("of a damaged journal: %+v, %v", v, err)
	}
}

// TestReadingThatRetentionOvertakes: what is removed while it is being read is no
// damage; an audit says that it must begin again.
func TestReadingThatRetentionOvertakes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		j := openTest(t, Options{Dir: dir, SegmentSize: 2 << 10, MaxAge: time.Hour})
		c := newClient("pump-7")
		must(t, c.sendAgain(j))
		for range 40 {
			must(t, c.send(j, 3))
		}
		r, err := OpenReader(dir)
		must(t, err)
		n := 0
		_, err = r.Read(t.Context(), "", func(collector.Stored) error {
			if n++; n == 3 {
				time.Sleep(3 * time.Hour)
			}
			return nil
		})
		if !errors.Is(err, ErrRemoved) || n < 3 || n > 20 {
			t.Errorf("%d entries, %v: a gap in the middle is not told", n, err)
		}
		for range 40 {
			must(t, c.send(j, 3))
		}
		_, err = Verify(t.Context(), dir, func(int64, int64) { time.Sleep(3 * time.Hour) })
		if err != nil && !errors.Is(err, ErrRemoved) {
			t.Errorf("verify: %v", err)
		}
	})
}
