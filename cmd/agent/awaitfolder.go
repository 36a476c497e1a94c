package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"syscall"
	"time"

	"github.com/fieldpost/fieldpost/agent"
	"github.com/fieldpost/fieldpost/internal/service"
)

// folderEvery is how often a folder that cannot be used is tried again; tests
// shorten it.
var folderEvery = 10 * time.Second

// openFolder opens the agent. A folder that is an agent's and cannot be written now
// (a disk that was mounted read-only after an error, rights that were taken away, no
// room) is a state: a daemon that ended because of it would be started again
// and again, and would need somebody once the disk is well. It stays, says what is
// wrong and what to do, and goes on by itself. Nothing is delivered meanwhile:
// an ack could not be kept, nor that the lane was opened. A copy with an end, and a
// folder that never was an agent's, get the error.
func (r *run) openFolder(ctx context.Context) (*agent.Agent, error) {
	a, err := open(ctx, library(r.cfg, r.log))
	if err == nil || !r.stays() || !unusable(err) || !wasAgents(r.cfg.Dir) {
		return a, err
	}
	waiting, cancel := context.WithCancel(ctx)
	told := make(chan struct{})
	go func() {
		defer close(told)
		service.NotifyWaiting(waiting, r.log, "its folder cannot be written")
	}()
	defer func() { cancel(); <-told }()
	t := time.NewTicker(folderEvery)
	defer t.Stop()
	for said := ""; err != nil && unusable(err); {
		if text := err.Error(); text != said {
			said = text
			r.log.Error("the folder cannot be written: nothing is accepted or delivered, and nothing is lost; it is tried again", "dir", r.cfg.Dir, "every", folderEvery, "err", err, "next", folderNext(r.cfg.Dir, err))
		}
		select {
		case <-t.C:
		case <-ctx.Done():
			return nil, err
		}
		a, err = open(ctx, library(r.cfg, r.log))
	}
	if err == nil {
		r.log.Info("the folder can be written again", "dir", r.cfg.Dir)
	}
	return a, err
}

// unusable reports whether an error is of a folder that the system does not let the
// agent use now.
func unusable(err error) bool {
	for _, e := range []error{fs.ErrPermission, syscall.EROFS, syscall.EIO, errDiskFull, errQuota} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// wasAgents reports whether dir is an agent's, or cannot be looked into.
func wasAgents(dir string) bool {
	_, err := os.Stat(filepath.Join(dir, "agent.json"))
	return !errors.Is(err, fs.ErrNotExist)
}

// folderNext says what to do about a folder that cannot be used.
func folderNext(dir string, err error) string {
	switch {
	case errors.Is(err, syscall.EROFS):
		return "the disk is mounted read-only, perhaps after an error (see dmesg): repair it, then mount -o remount,rw; where that is refused, unmount it and let fsck mend it"
	case errors.Is(err, fs.ErrPermission):
		if runtime.GOOS == "windows" {
			return "give the account of this service full control of the folder"
		}
		return fmt.Sprintf("give it to the user of this service: chown -R %d:%d %s && chmod -R u+rwX %s", os.Getuid(), os.Getgid(), dir, dir)
	case errors.Is(err, syscall.EIO):
		return "the disk fails (see dmesg): replace it, or move the folder to another"
	}
	return "make room on the disk"
}

// stays reports whether the daemon has work without an end.
func (r *run) stays() bool {
	in := r.cfg.Inputs
	return r.stay || len(in.Files)+len(in.Exec) > 0 || in.Host != nil
}
