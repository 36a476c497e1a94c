package control

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"

	"github.com/Microsoft/go-winio"
)

// access gives the pipe to its owner, the administrators and the system.
const access = "D:P(A;;GA;;;OW)(A;;GA;;;BA)(A;;GA;;;SY)"

// name is that of the file in the folder which holds the pipe's name.
const name = "control"

// Pipes have one folder for the whole machine, where anybody may make one. So the
// name is random, new with each start, and stands in a file that only those can read
// who may use the folder: nobody else can be there first, or pass for the daemon.
const prefix = `\\.\pipe\fieldpost-`

var pipeName = regexp.MustCompile("^" + regexp.QuoteMeta(prefix) + "[A-Z2-7]{26}\n$")

// Listen makes the pipe for dir, whose lock the caller has, and replaces what a
// killed daemon left. Closing the listener removes its name from the folder.
func Listen(dir string) (net.Listener, error) {
	pipe := prefix + rand.Text()
	l, err := winio.ListenPipe(pipe, &winio.PipeConfig{SecurityDescriptor: access})
	if err != nil {
		return nil, fmt.Errorf("control pipe: %w", err)
	}
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte(pipe+"\n"), 0o600); err != nil {
		return nil, fmt.Errorf("control pipe: its name cannot be left in the folder: %w", errors.Join(err, l.Close()))
	}
	return &listener{Listener: l, path: path}, nil
}

// listener is one that takes its name along.
type listener struct {
	net.Listener
	path string
	once sync.Once
}

func (l *listener) Close() error {
	err := net.ErrClosed
	l.once.Do(func() { err = errors.Join(os.Remove(l.path), l.Listener.Close()) })
	return err
}

func dial(ctx context.Context, dir string) (net.Conn, error) {
	pipe, err := os.ReadFile(filepath.Join(dir, name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, ErrNotRunning
	}
	if err != nil {
		return nil, err
	}
	if !pipeName.Match(pipe) { // a daemon is about to write it
		return nil, ErrNotRunning
	}
	conn, err := winio.DialPipeContext(ctx, strings.TrimSpace(string(pipe)))
	if errors.Is(err, fs.ErrNotExist) { // what a killed daemon leaves
		return nil, ErrNotRunning
	}
	return conn, err
}
