package queue

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"time"

	"github.com/fieldpost/fieldpost/internal/durable"
)

const (
	ballastSize  = 256 << 10
	ballastPause = time.Second // between tries to fill it
)

// ballast is a file that does nothing but take room. Where a disk is full, it
// makes way for what a lane has to write in order to get rid of what it holds: an
// opening, a welcome, acks, a new file once all in the old one is delivered. Puts
// wait until it is whole again, so that it is there the next time. Without it a
// lane that fills its disk could neither be opened again nor give the room of
// what is delivered back. It belongs to the writer.
type ballast struct {
	path  string
	size  int64     // bytes it is known to take
	again time.Time // not filled before
	err   error     // why it is not whole
}

// look takes over what an earlier process left.
func (b *ballast) look() {
	if info, err := os.Stat(b.path); err == nil && info.Mode().IsRegular() {
		b.size = min(info.Size(), ballastSize)
	}
}

// fill makes the ballast whole, as far as there is room. nil: it is.
func (b *ballast) fill() error {
	now := time.Now()
	if b.size == ballastSize {
		return nil
	}
	if now.Before(b.again) {
		return b.err
	}
	b.again = now.Add(ballastPause)
	if b.err = b.grow(); b.err != nil {
		b.err = fmt.Errorf("the lane's ballast of %d KiB cannot be kept: %w", ballastSize>>10, b.err)
	}
	return b.err
}

func (b *ballast) grow() error {
	if err := durable.Ahead(durable.Create, b.path); err != nil {
		return err
	}
	f, err := os.OpenFile(b.path, os.O_WRONLY|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	page := make([]byte, 4<<10)
	for i := range page {
		page[i] = byte(rand.Uint32()) // a file system that compresses would make nothing of zeros
	}
	size := b.size
	for size < ballastSize && err == nil {
		if err = durable.Ahead(durable.Write, b.path); err != nil {
			break
		}
		var n int
		n, err = f.WriteAt(page, size)
		size += int64(n)
	}
	// Some file systems find out only now that there is no room.
	if serr := durable.SyncFile(f); serr != nil {
		size, err = 0, errors.Join(err, serr)
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	b.size = size
	return err
}

// release gives the room away; false if there was none.
func (b *ballast) release() bool {
	b.size, b.again = 0, time.Time{}
	return durable.RemoveFile(b.path) == nil
}
