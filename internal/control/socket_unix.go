//go:build !windows

package control

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"syscall"
)

// name is the socket's name in the folder.
const name = "control"

// maxPath is the longest path of a socket: sun_path of Linux has 108 bytes with
// the final zero, other systems a few less.
const maxPath = 103

// Listen makes the socket in dir, whose lock the caller has, and replaces what a
// killed daemon left. Closing the listener removes it.
func Listen(dir string) (net.Listener, error) {
	path := filepath.Join(dir, name)
	if info, err := os.Lstat(path); err == nil {
		if info.Mode().Type() != fs.ModeSocket {
			return nil, fmt.Errorf("control socket: %s is there and is not a socket; move it away", path)
		}
		if err := os.Remove(path); err != nil {
			return nil, fmt.Errorf("control socket: %w", err)
		}
	}
	addr, release, err := address(dir)
	if err != nil {
		return nil, fmt.Errorf("control socket: %w", err)
	}
	cfg := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		var err error
		// Linux gives the file the mode that the socket has before bind, so that it
		// is never open to others.
		if cerr := c.Control(func(fd uintptr) { err = syscall.Fchmod(int(fd), 0o600) }); cerr != nil {
			return cerr
		}
		if runtime.GOOS == "linux" {
			return err
		}
		return nil // elsewhere the chmod below does it
	}}
	l, err := cfg.Listen(context.Background(), "unix", addr)
	if err != nil {
		release()
		return nil, fmt.Errorf("control socket %s: %w", path, err)
	}
	l.(*net.UnixListener).SetUnlinkOnClose(false) // it would use addr, which may be good for this process only
	s := &socket{Listener: l, path: path, release: release}
	if runtime.GOOS != "linux" {
		if err := os.Chmod(path, 0o600); err != nil {
			return nil, fmt.Errorf("control socket: %w", errors.Join(err, s.Close()))
		}
	}
	return s, nil
}

// socket is a listener that takes its file along.
type socket struct {
	net.Listener
	path    string
	release func()
	once    sync.Once
}

// Accept returns the next connection of somebody who may ask. Others are closed.
func (s *socket) Accept() (net.Conn, error) {
	for {
		conn, err := s.Listener.Accept()
		if err != nil || allowed(conn) {
			return conn, err
		}
		conn.Close()
	}
}

func (s *socket) Close() error {
	err := net.ErrClosed
	s.once.Do(func() {
		err = errors.Join(os.Remove(s.path), s.Listener.Close())
		s.release()
	})
	return err
}

// address returns a name of dir's socket that is short enough for the operating
// system, good until release is called.
func address(dir string) (addr string, release func(), err error) {
	if path := filepath.Join(dir, name); len(path) <= maxPath {
		return path, func() {}, nil
	}
	if runtime.GOOS != "linux" {
		return "", nil, fmt.Errorf("%s: the path of the folder is longer than %d bytes; use a shorter one", dir, maxPath-len(name)-1)
	}
	f, err := os.Open(dir)
	if err != nil {
		return "", nil, err
	}
	return fmt.Sprintf("/proc/self/fd/%d/%s", f.Fd(), name), func() { f.Close() }, nil
}

func dial(ctx context.Context, dir string) (net.Conn, error) {
	addr, release, err := address(dir)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			err = ErrNotRunning
		}
		return nil, err
	}
	defer release()
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unix", addr)
	// A socket without a listener is what a killed daemon leaves.
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, syscall.ENOTSOCK) || errors.Is(err, syscall.ENOTDIR) {
		return nil, ErrNotRunning
	}
	return conn, err
}
