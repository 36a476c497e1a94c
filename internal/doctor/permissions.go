package doctor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// Rights are who may do what with a program's files.
type Rights struct {
	Dir    string
	Config string // the configuration file, "" if there is none
	User   string // account of the service whose folder this is, "" if it is none's

}

// Check returns the check of the rights. It needs the check "folder".
func (r *Rights) Check() Check {
	return Check{Group: "disk", Name: "permissions", Needs: []string{"folder"}, Run: r.look}
}

// manyFiles is where looking ends: a folder with more files is judged by the first.
const manyFiles = 20000

func (r *Rights) look(ctx context.Context) (list []Finding) {
	info, err := os.Lstat(r.Dir)
	if err != nil {
		return []Finding{Bad("look at the disk", "%v", err)}
	}
	if info.Mode()&fs.ModeSymlink != 0 {
		target, err := os.Stat(r.Dir)
		if err != nil {
			return []Finding{Bad("look where the link leads", "%v", err)}
		}
		info = target
	}
	list = append(list, r.folder(info)...)
	list = append(list, r.config()...)
	foreign, open, unknown := r.below(ctx, info)
	if len(foreign) > 0 {
		list = append(list, Bad(fmt.Sprintf("chown -R %s %s, while nothing runs on it", ownerText(info), r.Dir),
			"%s: these are not the folder's owner's, and its program may not be able to use them", some(foreign)))
	}
	if len(open) > 0 {
		list = append(list, Bad("chmod -R go= "+r.Dir+"; then see who has read it: enrol again if keys were among it",
			"%s: others may read or change these", some(open)))
	}
	if unknown > 0 {
		list = append(list, Doubt(asRoot, "%d files or folders cannot be looked at by this user", unknown))
	}
	if list == nil {
		list = append(list, Good("%s and all below it are %s's alone", r.Dir, ownerText(info)))
	}
	return list
}

// folder judges the folder itself.
func (r *Rights) folder(info fs.FileInfo) (list []Finding) {
	if mode := info.Mode().Perm(); modesCount && mode&0o077 != 0 {
		f := Doubt("chmod 700 "+r.Dir, "%s: mode %04o lets others look at messages", r.Dir, mode)
		if mode&0o022 != 0 {
			f = Bad("chmod 700 "+r.Dir, "%s: mode %04o lets others change what is in it", r.Dir, mode)
		}
		list = append(list, f)
	}
	if !modesCount {
		list = append(list, r.listed()...)
	}
	if r.User == "" {
		return list
	}
	is, known, err := ownedBy(info, r.User)
	switch {
	case err != nil:
		list = append(list, Bad("run \"service install\" again: it makes the account", "the service's account: %v", err))
	case known && !is:
		list = append(list, Bad(fmt.Sprintf("chown -R %[1]s:%[1]s %[2]s", r.User, r.Dir), "%s belongs to %s, and the service runs as %s", r.Dir, ownerText(info), r.User))
	}
	return list
}

// listed judges the folder by its list of rights.
func (r *Rights) listed() []Finding {
	next := `"service install" again closes the service's folder; for another: icacls ` + r.Dir + " /inheritance:r /grant:r *S-1-3-4:(OI)(CI)F *S-1-5-18:(OI)(CI)F *S-1-5-32-544:(OI)(CI)F"
	switch read, write, err := others(r.Dir); {
	case err != nil:
		return []Finding{Doubt(asRoot, "who may use %s cannot be told: %v", r.Dir, err)}
	case write:
		return []Finding{Bad(next, "%s: any user of this machine may change what is in it", r.Dir)}
	case read:
		return []Finding{Doubt(next, "%s: any user of this machine may look at messages", r.Dir)}
	}
	return nil
}

// config judges the configuration: who may change it says where messages go.
func (r *Rights) config() []Finding {
	if r.Config == "" || !modesCount {
		return nil
	}
	info, err := os.Stat(r.Config)
	if err != nil {
		return nil // the check of the configuration says so
	}
	if info.Mode().Perm()&0o002 != 0 {
		return []Finding{Bad("chmod o-w "+r.Config, "%s: mode %04o lets everybody change where messages go", r.Config, info.Mode().Perm())}
	}
	return nil
}

// below looks at all files in the folder: which are somebody else's, which are open to
// others, how many cannot be looked at.
func (r *Rights) below(ctx context.Context, dir fs.FileInfo) (foreign, open []string, unknown int) {
	n := 0
	root := r.Dir
	if real, err := filepath.EvalSymlinks(r.Dir); err == nil {
		root = real
	}
	// Nothing is lost by what WalkDir returns: errors are counted as they come.
	_ = filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		if n++; n > manyFiles || ctx.Err() != nil {
			return fs.SkipAll
		}
		if path == root {
			return nil
		}
		name, _ := filepath.Rel(root, path) // path is below root
		if strings.HasPrefix(name, ".doctor-") {
			return nil // our own
		}
		if err != nil {
			if !errors.Is(err, fs.ErrNotExist) {
				unknown++
			}
			return nil
		}
		info, err := e.Info()
		if err != nil {
			if !errors.Is(err, fs.ErrNotExist) {
				unknown++
			}
			return nil
		}
		if !sameOwner(info, dir) {
			foreign = append(foreign, name)
		}
		// Behind a closed folder the modes of what holds messages do not matter; keys
		// are refused by whoever reads them.
		if modesCount && info.Mode().Type() != fs.ModeSymlink && info.Mode().Perm()&0o077 != 0 && (secret(name) || dir.Mode().Perm()&0o077 != 0) {
			open = append(open, name)
		}
		return nil
	})
	return foreign, open, unknown
}

// secret reports whether a file below the folder is or has a key, or is the socket.
func secret(name string) bool {
	return name == "control" || name == "tls" || strings.HasPrefix(name, "tls"+string(filepath.Separator)) && !strings.HasSuffix(name, "ca.pem")
}

// some names the first of a list.
func some(list []string) string {
	const most = 4
	if len(list) <= most {
		return strings.Join(list, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(list[:most], ", "), len(list)-most)
}
