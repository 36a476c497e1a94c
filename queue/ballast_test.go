package queue

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/fieldpost/fieldpost/wire"
)

// again opens a copy of the folder, as after kill -9, with failures in the way.
func (l *lane) again(p point, errs ...error) error {
	l.t.Helper()
	l.cfg.Dir = l.copy()
	l.Queue.Close()
	l.Queue = nil
	l.hook()
	l.faults.fail(p, errs...)
	q, err := Open(context.Background(), l.cfg)
	if err == nil {
		l.Queue = q
	}
	return err
}

func (l *lane) ballasted() int64 {
	info, err := os.Stat(filepath.Join(l.cfg.Dir, ballastName))
	if err != nil {
		return 0
	}
	return info.Size()
}

func TestBallastALaneOpensOnAFullDisk(t *testing.T) {
	l := openLane(t)
	l.put(1, 5)
	if l.ballasted() != ballastSize {
		t.Fatalf("ballast of %d bytes", l.ballasted())
	}
	// No room but for the ballast's.
	if err := l.again(onCreate, errRoom); err != nil {
		t.Fatalf("with ballast: %v", err)
	}
	l.want(1, bodies(1, 5)...)
	l.put(6, 6)
	if l.ballasted() != ballastSize {
		t.Errorf("ballast of %d bytes after there was room again", l.ballasted())
	}
	l.put(7, 7)
	l.want(1, bodies(1, 7)...)
	l.crash()
	l.want(1, bodies(1, 7)...)
	if err := l.again(onCreate, errRoom, errRoom); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("without any room: %v", err)
	}
}

func TestBallastSalvagedMessagesAreNotLeftOut(t *testing.T) {
	l := openLane(t)
	l.put(1, 5)
	wreck(t, filepath.Join(l.cfg.Dir, l.files()[0]))
	if err := l.again(onCreate, errRoom, errRoom, errRoom); !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("without any room: %v", err)
	}
	l.open()
	l.want(1, bodies(1, 5)...)
}

func TestBallastDeliveredMessagesGiveTheirRoomBack(t *testing.T) {
	l := openLane(t)
	big := wire.Message{Time: base, Body: make([]byte, 2*minSegmentSize)}
	if err := l.Put(context.Background(), big); err != nil {
		t.Fatal(err)
	}
	l.welcome(storeA, wire.Match{})
	files := l.files()
	l.faults.fail(beforeCommit, errRoom)
	if err := l.Put(context.Background(), msg("no")); !errors.Is(err, ErrFull) {
		t.Errorf("put while the disk is full of what is not delivered: %v", err)
	}
	l.ack(1)
	if l.Stats().Failing == nil {
		t.Error("room for an ack was taken for room for a message")
	}
	l.put(2, 2)
	if now := l.files(); len(now) != 1 || now[0] == files[0] {
		t.Errorf("files %v, before %v: delivered messages still fill the disk", now, files)
	}
	l.want(2, "m2")
}

func TestBallastPutsWaitForIt(t *testing.T) {
	l := openLane(t)
	l.put(1, 1)
	l.close()
	path := filepath.Join(l.cfg.Dir, ballastName)
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(path, 0o700); err != nil {
		t.Fatal(err)
	}
	l.open() // what is there can go
	l.welcome(storeA, wire.Match{})
	l.want(1, "m1")
	l.ack(1)
	if err := l.Put(context.Background(), msg("no")); !errors.Is(err, ErrFull) {
		t.Errorf("put without a ballast: %v", err)
	}
	if l.Stats().Failing == nil {
		t.Error("the stats do not say that nothing can be stored")
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	l.waitFor("the ballast", func(Stats) bool { return l.Put(context.Background(), msg("m2")) == nil })
	l.want(2, "m2")
}
