package queue

import (
	"context"
	"crypto/sha256"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/fieldpost/fieldpost/wire"
)

func verify1(t *testing.T, l *lane) Verified {
	t.Helper()
	v, err := Verify(context.Background(), l.cfg.Dir, l.cfg.Agent, l.cfg.Lane, nil)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// hashes returns what lies in a folder.
func hashes(t *testing.T, dir string) (all [32]byte) {
	t.Helper()
	h := sha256.New()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			var b []byte
			b, err = os.ReadFile(path)
			h.Write([]byte(path))
			h.Write(b)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return [32]byte(h.Sum(nil))
}

func TestVerifyOfAWholeLane(t *testing.T) {
	l := openLane(t)
	l.put(1, 200)
	l.welcome(storeA, wire.Match{})
	l.Reject(context.Background(), l.epoch(), 7, "no")
	l.reopen()
	l.put(201, 260)
	v := verify1(t, l) // while it is open
	if !v.Whole() || v.Messages != 260 || v.Letters != 1 {
		t.Errorf("beside the lane: %+v", v)
	}
	l.close()
	before := hashes(t, l.cfg.Dir)
	if v := verify1(t, l); !v.Whole() || len(v.Findings) > 0 {
		t.Errorf("at rest: %+v", v)
	}
	if hashes(t, l.cfg.Dir) != before {
		t.Error("the folder has changed")
	}
	l.open()
}

// Each byte of a file that anything hangs on is looked at: whatever is flipped that a
// reader would miss is found, and where the file, the place and the numbers are.
func TestVerifyFindsDamage(t *testing.T) {
	l := openLane(t)
	l.put(1, 40)
	l.close()
	path := filepath.Join(l.cfg.Dir, l.files()[0])
	good := read(t, path)
	r := rand.New(rand.NewPCG(7, 7))
	found := 0
	for range 60 {
		b := append([]byte(nil), good...)
		b[r.IntN(len(b))] ^= 1 << r.IntN(8)
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		v := verify1(t, l)
		if !v.Whole() {
			found++
			continue
		}
		// What verify calls whole is read as it was put.
		q := *l
		q.cfg.Dir = l.copy()
		q.open()
		q.want(1, bodies(1, 40)...)
		if st := q.Stats(); st.Quarantined > 0 {
			t.Fatal("a lane that was verified has a damaged file")
		}
		q.close()
	}
	if found == 0 {
		t.Error("no flipped bit was found")
	}
	t.Logf("%d of 60 flipped bits were found; the others were in pages that are not in use", found)
	if err := os.WriteFile(path, good, 0o600); err != nil {
		t.Fatal(err)
	}
	flip(t, path, "m17")
	v := verify1(t, l)
	var lost *Finding
	for i := range v.Findings {
		if f := &v.Findings[i]; f.lost {
			lost = f
		}
	}
	if v.Whole() || lost == nil || lost.From != 17 || lost.To != 17 || lost.File != filepath.Base(path) {
		t.Errorf("%+v", v)
	}
	l.open()
}

func TestRepairDoesNowWhatTheLaneDoes(t *testing.T) {
	dir := t.TempDir()
	ln, err := OpenLane(context.Background(), Config{Dir: filepath.Join(dir, "lane"), Agent: "a", Lane: "default", SegmentSize: minSegmentSize})
	if err != nil {
		t.Fatal(err)
	}
	for _, body := range bodies(1, 9) {
		if err := ln.Put(context.Background(), msg(body)); err != nil {
			t.Fatal(err)
		}
	}
	if err := ln.Close(); err != nil {
		t.Fatal(err)
	}
	segs, _, err := list(filepath.Join(dir, "lane"))
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "lane", segs[0].name())
	flip(t, path, "m4")
	if ln, err = OpenLane(context.Background(), Config{Dir: filepath.Join(dir, "lane"), Agent: "a", Lane: "default", SegmentSize: minSegmentSize}); err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	r, err := ln.Repair(context.Background())
	if err != nil || r != (Repaired{Read: 9, Dropped: 1, Kept: 1, Straight: true}) {
		t.Errorf("%+v, %v", r, err)
	}
	if st := ln.Stats(); st.Dropped[wire.ReasonCorrupt] != 1 || st.Quarantined != 1 {
		t.Errorf("%+v", st)
	}
	v, err := Verify(context.Background(), filepath.Join(dir, "lane"), "a", "default", nil)
	if err != nil || !v.Whole() {
		t.Errorf("after the repair: %+v, %v", v, err)
	}
	var again []string
	err = ReadQuarantined(filepath.Join(dir, "lane", quarantine, filepath.Base(path)), "default", func(_ wire.Seq, m wire.Message) error {
		again = append(again, string(m.Body))
		return nil
	})
	if err != nil || len(again) != 8 {
		t.Errorf("%v, %v", again, err)
	}
	if r, err := ln.Repair(context.Background()); err != nil || r.Dropped != 0 || r.Read != 8 {
		t.Errorf("once more: %+v, %v", r, err)
	}
}
