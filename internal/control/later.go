package control

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"sync"
	"syscall"
	"time"
)

// retryPause is the time between two tries to make a socket.
const retryPause = 10 * time.Second

// ListenSoon is [Listen] for a daemon that is to work also where its folder takes no
// socket now, because the disk is full, over its quota, failing or read-only: commands
// cannot reach it then, which is logged once, and the listener tries again by itself
// until it is closed. Any other error is returned.
func ListenSoon(dir string, log *slog.Logger) (net.Listener, error) {
	l, err := Listen(dir)
	if err == nil || !passes(err) {
		return l, err
	}
	log.Error("no command can reach this daemon until its folder takes a socket; it is tried again", "every", retryPause, "err", err)
	return &later{dir: dir, log: log, pause: retryPause, done: make(chan struct{})}, nil
}

// passes reports whether an error may go away while the daemon runs.
func passes(err error) bool {
	for _, e := range []error{syscall.ENOSPC, syscall.EDQUOT, syscall.EROFS, syscall.EIO, fs.ErrPermission, fs.ErrNotExist} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// later is a listener that is made with its first Accept.
type later struct {
	dir   string
	log   *slog.Logger
	pause time.Duration
	done  chan struct{} // closed by Close

	mu     sync.Mutex
	real   net.Listener // nil: not yet
	closed bool
}

func (l *later) Accept() (net.Conn, error) {
	for {
		if real := l.listen(); real != nil {
			return real.Accept()
		}
		select {
		case <-l.done:
			return nil, net.ErrClosed
		case <-time.After(l.pause):
		}
	}
}

// listen returns the real listener, nil if there is none now.
func (l *later) listen() net.Listener {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.real != nil || l.closed {
		return l.real
	}
	real, err := Listen(l.dir)
	if err != nil {
		l.log.Debug("still no socket", "err", err)
		return nil
	}
	l.log.Info("commands can reach this daemon again")
	l.real = real
	return real
}

func (l *later) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return net.ErrClosed
	}
	l.closed = true
	close(l.done)
	if l.real != nil {
		return l.real.Close()
	}
	return nil
}

func (l *later) Addr() net.Addr {
	return &net.UnixAddr{Name: fmt.Sprintf("%s (not yet)", l.dir), Net: "unix"}
}
