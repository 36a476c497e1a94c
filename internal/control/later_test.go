//go:build !windows

package control

import (
	"context"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// TestListenSoon makes the folder of a daemon that has been started without one.
func TestListenSoon(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "agent")
	l, err := ListenSoon(dir, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	l.(*later).pause = time.Millisecond
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- Serve(ctx, l, Handle(echo), time.Second) }()
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	var answer question
	for err = ErrNotRunning; err != nil; time.Sleep(time.Millisecond) {
		if err = Call(ctx, dir, "POST", "/echo", question{Text: "hello"}, &answer); t.Context().Err() != nil {
			t.Fatal(err)
		}
	}
	if answer.Text != "hello" {
		t.Errorf("answered %q", answer.Text)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if entries, _ := os.ReadDir(dir); len(entries) > 0 {
		t.Errorf("left behind: %v", entries)
	}
}

// TestListenSoonEnds ends a daemon whose folder never took a socket.
func TestListenSoonEnds(t *testing.T) {
	l, err := ListenSoon(filepath.Join(t.TempDir(), "agent"), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- Serve(ctx, l, Handle(echo), time.Second) }()
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestPasses(t *testing.T) {
	for err, want := range map[error]bool{
		&net.OpError{Op: "listen", Err: os.NewSyscallError("bind", syscall.EDQUOT)}:     true,
		&net.OpError{Op: "listen", Err: os.NewSyscallError("bind", syscall.ENOSPC)}:     true,
		&net.OpError{Op: "listen", Err: os.NewSyscallError("bind", syscall.EROFS)}:      true,
		&net.OpError{Op: "listen", Err: os.NewSyscallError("bind", syscall.EADDRINUSE)}: false,
		&net.OpError{Op: "listen", Err: os.NewSyscallError("bind", syscall.EINVAL)}:     false,
	} {
		if passes(err) != want {
			t.Errorf("%v: %t", err, !want)
		}
	}
}
