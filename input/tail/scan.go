package tail

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
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

// CheckPattern reports what is wrong with a pattern of paths: names as in a shell,
// * for any part of a name, ? for a character, [a-z] for one of some, and ** as a
// whole name for any number of folders.
func CheckPattern(pattern string) error {
	switch {
	case pattern == "":
		return errors.New("is empty; name files, as in /var/log/*.log")
	case len(pattern) > 900:
		return fmt.Errorf("%.80q... is longer than 900 bytes", pattern)
	case strings.Count(filepath.ToSlash(pattern), "**") > 1:
		return fmt.Errorf("%q has ** more than once", pattern)
	}
	for _, name := range strings.Split(filepath.ToSlash(pattern), "/") {
		if strings.Contains(name, "**") && name != "**" {
			return fmt.Errorf("%q: ** stands for whole folders, as in /var/log/**/*.log", pattern)
		}
	}
	if _, err := filepath.Match(pattern, ""); err != nil {
		return fmt.Errorf("%q is not a pattern: %w; write \\[ for a bracket", pattern, err)
	}
	if strings.HasSuffix(filepath.ToSlash(pattern), "/") || strings.HasSuffix(pattern, "**") {
		return fmt.Errorf("%q names folders; name files, as in %s", pattern, filepath.Join(pattern, "*.log"))
	}
	return nil
}

// match reports whether path is one that the pattern stands for.
func match(pattern, path string) bool {
	before, after, deep := strings.Cut(pattern, "**"+string(filepath.Separator))
	if !deep {
		ok, _ := filepath.Match(pattern, path)
		return ok
	}
	names := strings.Split(path, string(filepath.Separator))
	first, last := strings.Count(before, string(filepath.Separator)), strings.Count(after, string(filepath.Separator))+1
	if len(names) < first+last {
		return false
	}
	sep := string(filepath.Separator)
	ok, _ := filepath.Match(before, strings.Join(names[:first], sep)+sep)
	if first == 0 {
		ok = before == ""
	}
	tail, _ := filepath.Match(after, strings.Join(names[len(names)-last:], sep))
	return ok && tail
}

// matches reports whether the rule reads the file at path.
func (r *Rule) matches(path string) bool {
	for _, p := range r.Exclude {
		if match(p, path) || !strings.ContainsRune(p, filepath.Separator) && match(p, filepath.Base(path)) {
			return false
		}
	}
	return slices.ContainsFunc(r.Paths, func(p string) bool { return match(p, path) })
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
			f.expand(p, folders)
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

// expand adds the folders in which a pattern's files may be.
func (f *found) expand(pattern string, folders map[string]bool) {
	before, after, deep := strings.Cut(pattern, "**"+string(filepath.Separator))
	if !deep {
		dirs, _ := filepath.Glob(filepath.Dir(pattern))
		for _, dir := range dirs {
			folders[dir] = true
		}
		return
	}
	roots, _ := filepath.Glob(filepath.Clean(before + "."))
	for _, root := range roots {
		filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
			if err != nil {
				if !errors.Is(err, fs.ErrNotExist) {
					f.troubles[path] = err
				}
				return nil
			}
			if d.IsDir() {
				dirs, _ := filepath.Glob(filepath.Dir(filepath.Join(quote(path), after)))
				for _, dir := range dirs {
					folders[dir] = true
				}
			}
			return nil
		})
	}
}

// quote makes a pattern that stands for path alone.
func quote(path string) string {
	if filepath.Separator == '\\' {
		return path // there brackets cannot be quoted
	}
	return strings.NewReplacer(`\`, `\\`, "*", `\*`, "?", `\?`, "[", `\[`).Replace(path)
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

// within returns the files beside path whose names begin with its own: what a
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
