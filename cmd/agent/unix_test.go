//go:build !windows

package main

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/fieldpost/fieldpost/internal/control"
)

// On a real pipe an interruption leaves what stands behind the line for others.
func TestInterruptLeavesTheRestInThePipe(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	src, err := newSource(r)
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	to := &sink{}
	ctx, interrupt := context.WithCancel(t.Context())
	c := newCopier(to, src, "", "", slog.New(slog.DiscardHandler))
	ended := make(chan error)
	go func() { ended <- c.run(ctx, t.Context()) }()
	if _, err := io.WriteString(w, "one\ntw"); err != nil {
		t.Fatal(err)
	}
	for to.lines() != "one\n" {
		time.Sleep(time.Millisecond)
	}
	interrupt()
	if _, err := io.WriteString(w, "o\nthree\nfour\n"); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; !errors.Is(err, errInterrupted) {
		t.Errorf("ended with %v", err)
	}
	// The rest may come before the interruption is seen; it is handed in then.
	w.Close()
	rest, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	if got := to.lines() + string(rest); got != "one\ntwo\nthree\nfour\n" || !strings.HasPrefix(to.lines(), "one\ntwo\n") {
		t.Errorf("handed in %q, left %q", to.lines(), rest)
	}
}

// A read that waits is interrupted at once, whatever the input is.
func TestInterruptAWaitingRead(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	src, err := newSource(r)
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	time.AfterFunc(20*time.Millisecond, src.Interrupt)
	start := time.Now()
	if _, err := src.Read(make([]byte, 10)); err != errInterrupted || time.Since(start) > finishWithin {
		t.Errorf("%v after %s", err, time.Since(start))
	}
	if _, err := src.Read(make([]byte, 10)); err != errInterrupted || time.Since(start) < finishWithin {
		t.Errorf("the second read: %v after %s", err, time.Since(start))
	}
}

func TestReadAFile(t *testing.T) {
	f, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	f.WriteString("a\nb")
	f.Seek(0, io.SeekStart)
	src, err := newSource(f)
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	to := &sink{}
	if err := newCopier(to, src, "", "", slog.New(slog.DiscardHandler)).run(t.Context(), t.Context()); err != nil || to.lines() != "a\nb\n" {
		t.Errorf("%q, %v", to.lines(), err)
	}
}

// A killed daemon's socket does not stop send, status and the next daemon.
func TestAfterAKill(t *testing.T) {
	dir := t.TempDir()
	if r := command(t, "", "send", "--dir", dir, "--id", "p", "x"); r.code != 0 {
		t.Fatal(r)
	}
	l, err := control.Listen(dir)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "control")
	if err := os.Rename(path, path+".kept"); err != nil {
		t.Fatal(err)
	}
	l.Close()
	if err := os.Rename(path+".kept", path); err != nil {
		t.Fatal(err)
	}
	if r := command(t, "", "send", "--dir", dir, "y"); r.code != 0 {
		t.Errorf("send: %+v", r)
	}
	if st := folderStatus(t, dir); st.Lanes[0].Accepted != 2 {
		t.Errorf("status: %+v", st)
	}
	stop := runDaemon(t, dir, strings.NewReader(""), "--stay")
	if r := stop(); r.code != 0 {
		t.Errorf("run: %+v", r)
	}
}
