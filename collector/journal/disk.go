package journal

import (
	"io"
	"os"

	"github.com/fieldpost/fieldpost/internal/durable"
	"github.com/fieldpost/fieldpost/internal/sabotage"
)

// disk is what a journal does to its folder, so that tests can make single steps
// fail. Reading does not go through it.
type disk interface {
	// create makes a file for writing; it must not exist.
	create(path string) (file, error)
	// open opens a file for reading and writing; it must exist.
	open(path string) (file, error)
	rename(from, to string) error
	remove(path string) error
	// syncDir makes the names in a folder durable.
	syncDir(dir string) error
}

// file is an open file. sync makes what was written durable, its length
// included; after an error nothing is known of it.
type file interface {
	io.ReaderAt
	io.WriterAt
	io.Closer
	stat() (os.FileInfo, error)
	sync() error
}

type osDisk struct{}

type osFile struct{ *os.File }

func (f osFile) WriteAt(b []byte, at int64) (int, error) {
	if err := durable.Ahead(durable.Write, f.Name()); err != nil {
		return 0, err
	}
	return f.File.WriteAt(b, at)
}

func (f osFile) stat() (os.FileInfo, error) { return f.Stat() }

func (f osFile) sync() error {
	if err := durable.Ahead(durable.Sync, f.Name()); err != nil {
		return err
	}
	if err := dataSync(f.File); err != nil && !sabotage.DeafSync {
		return err
	}
	return nil
}

func (osDisk) create(path string) (file, error) {
	if err := durable.Ahead(durable.Create, path); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	return osFile{f}, nil
}

func (osDisk) open(path string) (file, error) {
	if err := durable.Ahead(durable.Open, path); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	return osFile{f}, nil
}

func (osDisk) rename(from, to string) error { return durable.RenameFile(from, to) }
func (osDisk) remove(path string) error     { return durable.RemoveFile(path) }
func (osDisk) syncDir(dir string) error     { return durable.SyncDir(dir) }

// replaceFile writes a small file so that after a crash it has the old content
// or the new one, never a part.
func replaceFile(d disk, dir, path string, content []byte) error {
	temp := path + tempSuffix
	if err := d.remove(temp); err != nil && !os.IsNotExist(err) {
		return err
	}
	f, err := d.create(temp)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(content, 0)
	if err == nil {
		err = f.sync()
	}
	if e := f.Close(); err == nil {
		err = e
	}
	if err == nil {
		err = d.rename(temp, path)
	}
	if err == nil {
		err = d.syncDir(dir)
	}
	return err
}
