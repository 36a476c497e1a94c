//go:build !windows

package service

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/user"
	"strconv"
	"strings"
	"syscall"
)

// owner is whose a file is: the user's that is named, root's if none is.
type owner string

func (o owner) String() string {
	if o == "" {
		return "root"
	}
	return string(o)
}

func (o owner) ids() (uid, gid int, err error) {
	if o == "" {
		return 0, 0, nil
	}
	u, err := user.Lookup(string(o))
	if err != nil {
		return 0, 0, err
	}
	uid, err = strconv.Atoi(u.Uid)
	if err == nil {
		gid, err = strconv.Atoi(u.Gid)
	}
	return uid, gid, err
}

// ownerOf returns whose the files of a daemon are.
func ownerOf(d *Daemon) owner { return owner(d.User) }

// rights says who may do what with a folder.
func (o owner) rights(mode fs.FileMode) string { return fmt.Sprintf("mode %#o, owner %s", mode, o) }

// has reports whether a folder is the owner's and has a mode.
func (o owner) has(_ string, info fs.FileInfo, mode fs.FileMode) (bool, error) {
	uid, gid, err := o.ids()
	if unknown := user.UnknownUserError(""); errors.As(err, &unknown) {
		return false, nil // its account is to be made first
	}
	s, ok := info.Sys().(*syscall.Stat_t)
	return ok && int(s.Uid) == uid && int(s.Gid) == gid && info.Mode().Perm() == mode, err
}

// mkdir makes a folder the owner's, and a new one if there is none.
func (o owner) mkdir(path string, mode fs.FileMode) error {
	if err := os.MkdirAll(path, mode); err != nil {
		return err
	}
	if err := os.Chmod(path, mode); err != nil { // whatever the umask is
		return err
	}
	return o.give(path)
}

// give makes a file the owner's. A link is not followed.
func (o owner) give(path string) error {
	uid, gid, err := o.ids()
	if err != nil {
		return err
	}
	return os.Lchown(path, uid, gid)
}

// account is the step that makes a system account which can log in nowhere.
func account(d *Daemon) step {
	name := d.User
	return step{
		what: "make the system account " + name,
		done: func() (bool, error) {
			_, err := user.Lookup(name)
			if unknown := user.UnknownUserError(""); errors.As(err, &unknown) {
				return false, nil
			}
			return err == nil, err
		},
		do: func() error {
			// useradd is everywhere but on Alpine and other BusyBox systems.
			if _, err := exec.LookPath("useradd"); err == nil {
				return command("useradd", "--system", "--user-group", "--no-create-home", "--home-dir", "/var/lib/fieldpost", "--shell", "/usr/sbin/nologin", name)
			}
			if err := command("addgroup", "-S", name); err != nil && !strings.Contains(err.Error(), "in use") {
				return err
			}
			return command("adduser", "-S", "-D", "-H", "-h", "/var/lib/fieldpost", "-s", "/sbin/nologin", "-G", name, name)
		},
	}
}

// command runs a program; its output is in the error.
func command(name string, args ...string) error {
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, strings.TrimSpace(string(out)))
	}
	return nil
}

// privileged returns an error unless this process may install a service.
func privileged() error {
	if os.Geteuid() != 0 {
		return errors.New("only root may do that; run it with sudo")
	}
	return nil
}
