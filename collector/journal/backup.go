package journal

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/fieldpost/fieldpost/internal/durable"
)

// Backup copies the journal in a folder into another one, which must not exist or
// be empty, and returns what [Verify] says of the copy. It may run beside a
// collector: the copy is the journal as it was synced when Backup began, with the
// same store id, and a collector can start from it. Everything in it is durable
// when Backup returns, and until then the folder does not have its name; on an
// error nothing is left. progress is as for Verify, over copying and verifying. with,
// if it is not nil, is called with the copy's folder before that has its name, to put
// something beside the journal.
//
// A collector that starts from the copy is the store, set back: agents send again
// what they still have, and declare the rest lost-at-store. ErrExists: there is
// something at to. ErrNone: there is no journal.
func Backup(ctx context.Context, dir, to string, progress func(done, total int64), with func(dir string) error) (v Verified, err error) {
	r, err := OpenReader(dir)
	if err != nil {
		return v, err
	}
	fail := func(err error) (Verified, error) {
		return Verified{}, fmt.Errorf("back up the journal in %s to %s: %w", dir, to, err)
	}
	if to, err = filepath.Abs(to); err != nil {
		return fail(err)
	}
	if err := vacant(to); err != nil {
		return fail(err)
	}
	if err := durable.MkdirAll(filepath.Dir(to), 0o700); err != nil {
		return fail(err)
	}
	part, err := os.MkdirTemp(filepath.Dir(to), "."+filepath.Base(to)+".partial*")
	if err != nil {
		return fail(err)
	}
	defer func() {
		if err != nil {
			os.RemoveAll(part) // best effort
		}
	}()
	b := backup{ctx: ctx, reader: r, to: part, progress: progress}
	if err := b.copy(); err != nil {
		return fail(err)
	}
	v, err = Verify(ctx, part, func(done, total int64) { b.tell(b.done+done, b.done+total) })
	if err != nil {
		return fail(err)
	}
	if with != nil {
		if err := with(part); err != nil {
			return fail(err)
		}
	}
	if err := os.Remove(to); err != nil && !errors.Is(err, fs.ErrNotExist) { // the empty folder
		return fail(err)
	}
	if err := durable.RenameFile(part, to); err != nil {
		return fail(err)
	}
	if err := durable.SyncDir(filepath.Dir(to)); err != nil {
		err = fmt.Errorf("the copy is complete, and whether its name survives a power cut is not known: %w", err)
		return v, fmt.Errorf("back up the journal in %s to %s: %w", dir, to, err)
	}
	return v, nil
}

// vacant checks that nothing is at a path, or an empty folder.
func vacant(path string) error {
	names, err := os.ReadDir(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return fmt.Errorf("%w: %w", ErrExists, err)
	case len(names) > 0:
		return fmt.Errorf("%w: the folder holds %s", ErrExists, names[0].Name())
	}
	return nil
}

// backup is one Backup.
type backup struct {
	ctx      context.Context
	reader   *Reader
	to       string
	progress func(done, total int64)
	done     int64
}

func (b *backup) tell(done, total int64) {
	if b.progress != nil {
		b.progress(done, total)
	}
}

// copy copies what is synced now.
func (b *backup) copy() error {
	m, merr := readMark(b.reader.dir)
	extents, _, err := b.reader.extentsAt(m, merr)
	if err != nil {
		return err
	}
	total := int64(0)
	for i := range extents {
		total += extents[i].valid
	}
	for i := range extents {
		if err := b.segment(&extents[i], 2*total); err != nil {
			return err
		}
	}
	// Retention may have gone on: what it has removed meanwhile goes here as well, so
	// that the copy is one that the collector has had.
	gone, err := readRemoval(b.reader.dir, b.reader.identity.Store)
	if err == nil && gone.ordinal > 0 {
		err = writeRemoval(osDisk{}, b.to, b.reader.identity.Store, &gone)
	}
	if err != nil {
		return err
	}
	for i := range extents {
		if e := &extents[i]; e.ordinal <= gone.ordinal {
			if err := os.Remove(segmentPath(b.to, e.ordinal)); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
		}
	}
	f := b.reader.identity
	f.Format = FolderFormat
	return writeIdentity(osDisk{}, b.to, &f)
}

// segment copies the part of a segment that counts.
func (b *backup) segment(e *extent, total int64) error {
	from, err := openReading(e.path, true)
	switch {
	case errors.Is(err, fs.ErrNotExist) && (e.missing || b.reader.removed(e)):
		return nil // gone: if not by retention, Verify says so
	case err != nil:
		return err
	}
	defer from.Close()
	to, err := os.OpenFile(segmentPath(b.to, e.ordinal), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	buf := make([]byte, 1<<20)
	for off := int64(0); off < e.valid && err == nil; {
		if err = b.ctx.Err(); err != nil {
			break
		}
		var n int
		n, err = from.ReadAt(buf[:min(int64(len(buf)), e.valid-off)], off)
		if errors.Is(err, io.EOF) { // shorter than was synced: Verify says so
			e.valid, err = off+int64(n), nil
		}
		if err == nil {
			_, err = to.WriteAt(buf[:n], off)
		}
		off += int64(n)
		b.done += int64(n)
		b.tell(b.done, total)
	}
	if err == nil {
		err = durable.SyncFile(to)
	}
	if e := to.Close(); err == nil {
		err = e
	}
	return err
}
