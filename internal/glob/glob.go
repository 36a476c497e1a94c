// Package glob has the patterns of paths that the agent's configuration names files
// by: names as in a shell, and ** for any number of folders.
//
//	/var/log/*.log      the logs of one folder
//	/srv/**/app.log     app.log in /srv, and in every folder below it
//
// [Check] says what is wrong with a pattern, [Match] whether it stands for a path,
// [Folders] where to look for what it stands for. The functions keep nothing and may
// be called concurrently.
package glob

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
)

// Check reports what is wrong with a pattern of paths: names as in a shell,
// * for any part of a name, ? for a character, [a-z] for one of some, and ** as a
// whole name for any number of folders.
func Check(pattern string) error {
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

// Match reports whether path is one that the pattern stands for.
// The pattern has been checked, and is clean ([filepath.Clean]), as path is.
func Match(pattern, path string) bool {
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

// Folders adds the folders in which files may be that the pattern stands for. It
// returns what it could not look into, whatever is not there excepted.
func Folders(pattern string, folders map[string]bool) (troubles []*fs.PathError) {
	before, after, deep := strings.Cut(pattern, "**"+string(filepath.Separator))
	if !deep {
		dirs, _ := filepath.Glob(filepath.Dir(pattern))
		for _, dir := range dirs {
			folders[dir] = true
		}
		return nil
	}
	roots, _ := filepath.Glob(filepath.Clean(before + "."))
	for _, root := range roots {
		filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
			switch {
			case err != nil && !errors.Is(err, fs.ErrNotExist):
				troubles = append(troubles, &fs.PathError{Op: "look into", Path: path, Err: err})
			case err == nil && d.IsDir():
				dirs, _ := filepath.Glob(filepath.Dir(filepath.Join(quote(path), after)))
				for _, dir := range dirs {
					folders[dir] = true
				}
			}
			return nil
		})
	}
	return troubles
}

// quote makes a pattern that stands for path alone.
func quote(path string) string {
	if filepath.Separator == '\\' {
		return strings.ReplaceAll(path, "[", "[[]") // there a backslash quotes nothing, and no name has the others
	}
	return strings.NewReplacer(`\`, `\\`, "*", `\*`, "?", `\?`, "[", `\[`).Replace(path)
}
