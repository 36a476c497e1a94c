package queue

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/fieldpost/fieldpost/wire"
)

// twoLanes is two streams of one agent with some files each.
func twoLanes(t *testing.T, lanes ...string) (a, b *lane) {
	t.Helper()
	root := t.TempDir()
	var list []*lane
	for _, name := range lanes {
		l := openLane(t, small, func(c *Config) {
			c.Dir, c.Lane = filepath.Join(root, name), wire.Lane(name[len("lane-"):])
		})
		list = append(list, l)
	}
	return list[0], list[1]
}

func swap(t *testing.T, a, b string) {
	t.Helper()
	must(t, errors.Join(os.Rename(a, a+"-"), os.Rename(b, a), os.Rename(a+"-", b)))
}

// stock puts messages that differ until there are so many files.
func (l *lane) stock(segments int) {
	l.t.Helper()
	for i := 1; l.Stats().Segments < segments; i++ {
		must(l.t.(*testing.T), l.Put(context.Background(), msg(fmt.Sprintf("%s %d %s", filepath.Base(l.cfg.Dir), i, strings.Repeat("-", 8<<10)))))
	}
}

// shown names messages by the beginning of their bodies.
func shown(list []item) string {
	for i := range list {
		list[i].body, _, _ = strings.Cut(list[i].body, " -")
	}
	return fmt.Sprint(list)
}

// all drains a lane, welcomed by a store that has nothing.
func (l *lane) all() string {
	l.t.Helper()
	l.welcome(storeA, wire.Match{})
	return shown(l.drain(1))
}

func TestFilesExchangedBetweenLanes(t *testing.T) {
	for _, open := range []bool{false, true} {
		for _, i := range []int{0, 3} {
			for _, j := range []int{0, 2} {
				t.Run(fmt.Sprint(open, i, j), func(t *testing.T) {
					a, b := twoLanes(t, "lane-default", "lane-alarms")
					a.stock(4)
					b.stock(3)
					wantA, wantB := shown(a.drain(1)), shown(b.drain(1))
					if open { // nothing of it is in memory
						a.reopen()
						b.reopen()
					} else {
						a.close()
						b.close()
					}
					fa, fb := a.files(), b.files()
					swap(t, filepath.Join(a.cfg.Dir, fa[min(i, len(fa)-1)]), filepath.Join(b.cfg.Dir, fb[min(j, len(fb)-1)]))
					if !open {
						a.open()
						b.open()
					}
					if got := a.all(); got != wantA {
						t.Errorf("lane default: %.300s\nwant %.300s", got, wantA)
					}
					if got := b.all(); got != wantB {
						t.Errorf("lane alarms: %.300s\nwant %.300s", got, wantB)
					}
					must(t, a.Put(context.Background(), msg("new")))
					must(t, b.Put(context.Background(), msg("new")))
				})
			}
		}
	}
}

// Both files have the same name: only the lines of history tell them apart.
func TestFilesExchangedBetweenStreamsOfALane(t *testing.T) {
	for _, open := range []bool{false, true} {
		for _, i := range []int{0, 3} {
			for _, j := range []int{0, 2} {
				t.Run(fmt.Sprint(open, i, j), func(t *testing.T) {
					root := filepath.Join(t.TempDir(), "lane-default")
					in := func(dir string) func(c *Config) { return func(c *Config) { c.Dir = dir } }
					a := openLane(t, small, in(root))
					b := openLane(t, small, in(streamDir(root, 1)))
					a.stock(4)
					b.stock(3)
					a.cfg.strand = &strand{lane: &Lane{cfg: a.cfg}}
					b.cfg.strand = &strand{lane: &Lane{cfg: a.cfg}, number: 1}
					for _, s := range []*strand{a.cfg.strand, b.cfg.strand} {
						s.lane.all.Store(&[]*strand{})
					}
					wantA, wantB := shown(a.drain(1)), shown(b.drain(1))
					a.reopen()
					b.reopen()
					if !open {
						a.close()
						b.close()
					}
					fa, fb := a.files(), b.files()
					swap(t, filepath.Join(root, fa[min(i, len(fa)-1)]), filepath.Join(streamDir(root, 1), fb[min(j, len(fb)-1)]))
					if !open {
						a.open()
						b.open()
					}
					if got := a.all(); got != wantA {
						t.Errorf("stream 0: %.300s\nwant %.300s", got, wantA)
					}
					if got := b.all(); got != wantB {
						t.Errorf("stream 1: %.300s\nwant %.300s", got, wantB)
					}
				})
			}
		}
	}
}

// A file of another stream among the older ones would hide what begins below it.
func TestAFileOfAnotherStreamHidesNothing(t *testing.T) {
	l, other := openLane(t, small), openLane(t, small)
	l.stock(4)
	other.stock(4)
	want := shown(l.drain(1))
	l.close()
	other.close()
	segs, _, err := list(other.cfg.Dir)
	must(t, err)
	own, _, err := list(l.cfg.Dir)
	must(t, err)
	k := slices.IndexFunc(segs, func(s segment) bool { return s.first > own[1].first })
	must(t, os.Rename(filepath.Join(other.cfg.Dir, segs[k].name()), filepath.Join(l.cfg.Dir, segment{own[1].ordinal, segs[k].first}.name())))
	l.open()
	if got := l.all(); got != want {
		t.Errorf("%.300s\nwant %.300s", got, want)
	}
}
