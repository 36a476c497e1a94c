package tail

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/fieldpost/fieldpost/internal/glob"
)

// entry is a file that a scan has found.
type entry struct {
	path string
	id   fileID
	size int64
	time time.Time // of its last change
	rule int       // the first rule that it matches; -1: none, it only lies beside those
}

// base returns the entry's name in its folder.
func (e *entry) base() string { return filepath.Base(e.path) }

// found is what a scan has seen.
type found struct {
	list     []entry // by path
	byID     map[fileID]int
	troubles map[string]error // what could not be looked at, by path
	folders  []string
}

// matches reports whether the rule reads the file at path.
func (r *Rule) matches(path string) bool {
	for _, p := range r.Exclude {
		if glob.Match(p, path) || !strings.ContainsRune(p, filepath.Separator) && glob.Match(p, filepath.Base(path)) {
			return false
		}
	}
	return slices.ContainsFunc(r.Paths, func(p string) bool { return glob.Match(p, path) })
}

// rule returns the first rule that reads the file at path, -1 if there is none.
func (t *Tail) rule(path string) int {
	return slices.IndexFunc(t.cfg.Rules, func(r Rule) bool { return r.matches(path) })
}

// scan looks at all folders in which files may be that the rules read.
func (t *Tail) scan() *found {
	f := &found{byID: map[fileID]int{}, troubles: map[string]error{}}
	folders := map[string]bool{}
	for i := range t.cfg.Rules {
		for _, p := range t.cfg.Rules[i].Paths {
			for _, err := range glob.Folders(p, folders) {
				f.troubles[err.Path] = err
			}
		}
	}
	for dir := range folders {
		f.folders = append(f.folders, dir)
	}
	slices.Sort(f.folders)
	for _, dir := range f.folders {
		list, err := os.ReadDir(dir)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			f.troubles[dir] = err
		}
		for _, d := range list {
			t.see(f, filepath.Join(dir, d.Name()), d)
		}
	}
	return f
}

// see adds one name of a folder, if it is a file.
func (t *Tail) see(f *found, path string, d fs.DirEntry) {
	rule := t.rule(path)
	info, err := d.Info()
	if err == nil && info.Mode()&fs.ModeSymlink != 0 {
		if rule < 0 {
			return
		}
		info, err = os.Stat(path)
	}
	if err == nil && !info.Mode().IsRegular() {
		return
	}
	e := entry{path: path, rule: rule}
	if err == nil {
		e.size, e.time = info.Size(), info.ModTime()
		e.id, err = identify(path, info)
	}
	if err != nil {
		if rule >= 0 && !errors.Is(err, fs.ErrNotExist) {
			f.troubles[path] = err
		}
		return
	}
	if i, ok := f.byID[e.id]; ok { // two names of one file: the one that a rule reads counts
		if f.list[i].rule < 0 && rule >= 0 {
			f.list[i] = e
		}
		return
	}
	f.byID[e.id] = len(f.list)
	f.list = append(f.list, e)
}

// siblings returns the files beside path whose names begin with its own: what a
// rotation makes of it.
func (f *found) siblings(path string) (list []entry) {
	dir, base := filepath.Split(path)
	stem := strings.TrimSuffix(base, filepath.Ext(base)) // app.log becomes app-2026.log with some
	for _, e := range f.list {
		d, b := filepath.Split(e.path)
		if d == dir && b != base && (related(b, base) || stem != "" && related(b, stem) && filepath.Ext(b) == filepath.Ext(base)) {
			list = append(list, e)
		}
	}
	return list
}

// related reports whether name is base and something that a rotation puts behind it.
func related(name, base string) bool {
	rest, ok := strings.CutPrefix(name, base)
	return ok && rest != "" && strings.ContainsAny(rest[:1], ".-_~")
}
