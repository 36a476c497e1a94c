package injuries

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/fieldpost/fieldpost/internal/durable"
	"github.com/fieldpost/fieldpost/queue"
	"github.com/fieldpost/fieldpost/wire"
)

// wound is one kind of injury. do returns what it did, "" if there was nothing to
// do it to. hurts are those that damage what is stored, so that messages may be
// lost by it.
type wound struct {
	name string
	do   func(l *life) (string, error)
	open bool // also while the lane is open
	rest bool // also at rest
}

var wounds = []wound{
	{"flipped bits", (*life).flip, true, true},
	{"flipped bits", (*life).flip, true, true},
	{"zeroed page", func(l *life) (string, error) { return l.overwrite("zeroed", false, pageSize) }, true, true},
	{"zeroed sector", func(l *life) (string, error) { return l.overwrite("zeroed", false, 512) }, true, true},
	{"page of noise", func(l *life) (string, error) { return l.overwrite("noise in", true, pageSize) }, true, true},
	{"file cut", (*life).cut, true, true},
	{"file cut to nothing", (*life).empty, true, true},
	{"file missing", (*life).remove, true, true},
	{"two files exchanged", (*life).exchange, true, true},
	{"another's file", (*life).foreign, true, true},
	{"half-made file", (*life).halfMade, false, true},
	{"copy under another name", (*life).double, false, true},
	{"a folder for a file", (*life).folderForFile, false, true},
	{"meta pages gone", (*life).metas, true, true},
	{"lock gone", func(l *life) (string, error) { return l.gone("lock") }, true, true},
	{"ballast gone", func(l *life) (string, error) { return l.gone("ballast") }, true, true},
	{"memo", (*life).memo, true, true},
	{"no rights", (*life).mode, true, true},
	{"failing disk", (*life).failing, true, false},
	{"folder gone", (*life).folder, true, false},
}

// file chooses a segment file; "" if there is none.
func (l *life) file() (path string) {
	list := all(l.dir)
	if len(list) == 0 {
		return ""
	}
	defer func() { l.touched[path] = true }()
	if l.r.IntN(3) == 0 { // the newest of a stream is met often
		for range 4 {
			if p := list[l.r.IntN(len(list))]; newest(p) {
				return p
			}
		}
	}
	return list[l.r.IntN(len(list))]
}

func (l *life) flip() (string, error) {
	path := l.file()
	b, err := os.ReadFile(path)
	if err != nil || len(b) < pageSize {
		return "", nil
	}
	var what []string
	for range 1 + l.r.IntN(3) {
		id, kind := pick(l.r, b)
		at := id*pageSize + l.r.IntN(pageSize)
		switch l.r.IntN(3) {
		case 0:
			at = id*pageSize + l.r.IntN(16) // the page's header
		case 1:
			at = id*pageSize + 16 + l.r.IntN(160) // what comes first in it
		}
		bit := byte(1) << l.r.IntN(8)
		if err := writeAt(path, []byte{b[at] ^ bit}, int64(at)); err != nil {
			return "", err
		}
		b[at] ^= bit
		what = append(what, fmt.Sprintf("byte %d of a %s page", at, kind))
	}
	return fmt.Sprintf("%s: %s", l.short(path), strings.Join(what, ", ")), nil
}

func (l *life) overwrite(verb string, noise bool, size int) (string, error) {
	path := l.file()
	b, err := os.ReadFile(path)
	if err != nil || len(b) < pageSize {
		return "", nil
	}
	id, kind := pick(l.r, b)
	at := id*pageSize + l.r.IntN(pageSize/size)*size
	put := make([]byte, size)
	if noise {
		for i := range put {
			put[i] = byte(l.r.Uint32())
		}
	}
	return fmt.Sprintf("%s: %s a %s page, %d bytes at %d", l.short(path), verb, kind, size, at), writeAt(path, put, int64(at))
}

func (l *life) metas() (string, error) {
	path := l.file()
	if path == "" {
		return "", nil
	}
	return l.short(path), writeAt(path, make([]byte, 2*pageSize), 0)
}

func (l *life) cut() (string, error) {
	path := l.file()
	info, err := os.Stat(path)
	if err != nil || info.Size() == 0 {
		return "", nil
	}
	size := l.r.Int64N(info.Size())
	if l.r.IntN(2) == 0 {
		size -= size % pageSize
	}
	return fmt.Sprintf("%s to %d of %d bytes", l.short(path), size, info.Size()), os.Truncate(path, size)
}

func (l *life) empty() (string, error) {
	path := l.file()
	if path == "" {
		return "", nil
	}
	return l.short(path), os.Truncate(path, 0)
}

func (l *life) remove() (string, error) {
	path := l.file()
	if path == "" {
		return "", nil
	}
	return l.short(path), os.Remove(path)
}

func (l *life) exchange() (string, error) {
	a, b := l.file(), l.file()
	if a == b || a == "" {
		return "", nil
	}
	temp := filepath.Join(l.root, "exchange")
	return l.short(a) + " and " + l.short(b), errors.Join(os.Rename(a, temp), os.Rename(b, a), os.Rename(temp, b))
}

// foreign puts a file of another agent, another lane or another folder in the
// place of one.
func (l *life) foreign() (string, error) {
	cfg := l.cfg
	cfg.Dir, cfg.LiveFirst, cfg.Logger = filepath.Join(l.root, "foreign"), 0, nil
	whose := "another folder"
	switch l.r.IntN(3) {
	case 0:
		cfg.Agent, whose = "pump-8", "another agent"
	case 1:
		cfg.Lane, whose = "alarms", "another lane"
	}
	q, err := queue.Open(context.Background(), cfg)
	if err != nil {
		return "", err
	}
	for i := range 5 {
		m := wire.Message{Topic: "t", Time: time.Unix(1, 0), Body: fmt.Appendf(nil, "foreign %d", i)}
		if err := q.Put(context.Background(), m); err != nil {
			return "", err
		}
	}
	if err := q.Close(); err != nil {
		return "", err
	}
	defer os.RemoveAll(cfg.Dir)
	from := all(cfg.Dir)[0]
	path := l.file()
	if list := segments(l.dir)[filepath.Dir(path)]; len(list) < 2 { // nothing would be left that says whose the folder is
		return "", nil
	}
	if path == "" || newest(path) && cfg.Agent == l.cfg.Agent && cfg.Lane == l.cfg.Lane {
		return "", nil // the newest of the same agent and lane is the lane: a folder that was put back
	}
	if l.foreigners == nil {
		l.foreigners = map[string]bool{}
	}
	if l.r.IntN(3) == 0 {
		l.foreigners[filepath.Join(filepath.Dir(path), filepath.Base(from))] = true
		l.touched[filepath.Join(filepath.Dir(path), filepath.Base(from))] = true
		return l.short(path) + " is gone for one of " + whose, errors.Join(os.Remove(path), os.Rename(from, filepath.Join(filepath.Dir(path), filepath.Base(from))))
	}
	l.foreigners[path] = true
	return l.short(path) + " is one of " + whose, os.Rename(from, path)
}

// halfMade leaves the beginning of a segment, as of one that was copied in part,
// under the next name, or what a crash leaves under a temporary one.
func (l *life) halfMade() (string, error) {
	path := l.file()
	b, err := os.ReadFile(path)
	if err != nil {
		return "", nil
	}
	b = b[:l.r.IntN(len(b)+1)]
	var ordinal, first uint64
	if _, err := fmt.Sscanf(filepath.Base(path), "%d-%d.seg", &ordinal, &first); err != nil {
		return "", err
	}
	name := fmt.Sprintf("%010d-%020d.seg", ordinal+1+l.r.Uint64N(2), first+l.r.Uint64N(10))
	if l.r.IntN(3) == 0 {
		name = "new-" + name + ".tmp"
	}
	to := filepath.Join(filepath.Dir(path), name)
	if _, err := os.Stat(to); err == nil {
		return "", nil
	}
	l.touched[to] = true
	return fmt.Sprintf("%d bytes of %s as %s", len(b), l.short(path), name), os.WriteFile(to, b, 0o600)
}

// double copies a segment under the name of another that is not there.
func (l *life) double() (string, error) {
	path := l.file()
	b, err := os.ReadFile(path)
	if err != nil {
		return "", nil
	}
	var ordinal, first uint64
	if _, err := fmt.Sscanf(filepath.Base(path), "%d-%d.seg", &ordinal, &first); err != nil {
		return "", err
	}
	to := filepath.Join(filepath.Dir(path), fmt.Sprintf("%010d-%020d.seg", ordinal+uint64(l.r.IntN(4)), first+uint64(l.r.IntN(3))))
	if _, err := os.Stat(to); err == nil {
		return "", nil
	}
	l.touched[to] = true
	return l.short(path) + " as " + filepath.Base(to), os.WriteFile(to, b, 0o600)
}

func (l *life) folderForFile() (string, error) {
	path := l.file()
	if path == "" {
		return "", nil
	}
	return l.short(path), errors.Join(os.Remove(path), os.Mkdir(path, 0o700))
}

func (l *life) gone(name string) (string, error) {
	path := filepath.Join(l.dir, name)
	if os.Remove(path) != nil {
		return "", nil
	}
	return l.short(path), nil
}

// memo hurts what the folder knows of its newest file, or takes it away.
func (l *life) memo() (string, error) {
	path := filepath.Join(l.dir, "memo")
	if list := all(l.dir); len(list) > 0 {
		path = filepath.Join(filepath.Dir(list[l.r.IntN(len(list))]), "memo")
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return "", nil
	}
	l.forgetful = true
	switch l.r.IntN(3) {
	case 0:
		return l.short(path) + " is gone", os.Remove(path)
	case 1:
		return l.short(path) + " cut", os.Truncate(path, l.r.Int64N(int64(len(b))))
	}
	at := l.r.IntN(len(b))
	return fmt.Sprintf("%s: byte %d", l.short(path), at), writeAt(path, []byte{b[at] ^ 1<<l.r.IntN(8)}, int64(at))
}

func (l *life) mode() (string, error) {
	path := l.file()
	if path == "" {
		return "", nil
	}
	return l.short(path), os.Chmod(path, 0)
}

// failing lets the next steps on the disk fail, of any kind.
func (l *life) failing() (string, error) {
	left, after := 1+l.r.IntN(12), l.r.IntN(6)
	cause := []error{syscall.EIO, syscall.ENOSPC, syscall.EROFS, syscall.EMFILE}[l.r.IntN(4)]
	end := durable.Watch(l.dir, func(durable.Step, string) error {
		l.mu.Lock()
		defer l.mu.Unlock()
		if after--; after >= 0 || left == 0 {
			return nil
		}
		left--
		return cause
	})
	l.heal, l.failed = append(l.heal, end), true
	return fmt.Sprintf("%d steps fail after %d: %v", left, after, cause), nil
}

// folder takes the lane's folder away as a whole.
func (l *life) folder() (string, error) {
	if _, err := os.Stat(l.dir); err != nil {
		return "", nil
	}
	if l.r.IntN(2) == 0 {
		err := os.RemoveAll(l.dir)
		for try := 0; errors.Is(err, syscall.ENOTEMPTY) && try < 20; try++ { // the lane has just made something there
			err = os.RemoveAll(l.dir)
		}
		return l.short(l.dir), err
	}
	return l.short(l.dir) + " is moved", os.Rename(l.dir, filepath.Join(l.root, "moved"))
}

func writeAt(path string, b []byte, at int64) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(b, at)
	return errors.Join(err, f.Close())
}
