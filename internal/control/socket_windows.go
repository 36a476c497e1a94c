package control

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"path/filepath"
	"strings"

	"github.com/Microsoft/go-winio"
)

// access gives the pipe to its owner, the administrators and the system.
const access = "D:P(A;;GA;;;OW)(A;;GA;;;BA)(A;;GA;;;SY)"

// Listen makes the pipe for dir, whose lock the caller has.
func Listen(dir string) (net.Listener, error) {
	name, err := pipe(dir)
	if err != nil {
		return nil, fmt.Errorf("control pipe: %w", err)
	}
	l, err := winio.ListenPipe(name, &winio.PipeConfig{SecurityDescriptor: access})
	if err != nil {
		return nil, fmt.Errorf("control pipe %s: %w", name, err)
	}
	return l, nil
}

// pipe returns the name of dir's pipe. Paths differ in case only by accident.
func pipe(dir string) (string, error) {
	path, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	if real, err := filepath.EvalSymlinks(path); err == nil {
		path = real
	}
	sum := sha256.Sum256([]byte(strings.ToLower(path)))
	return fmt.Sprintf(`\\.\pipe\fieldpost-%x`, sum[:16]), nil
}

func dial(ctx context.Context, dir string) (net.Conn, error) {
	name, err := pipe(dir)
	if err != nil {
		return nil, err
	}
	conn, err := winio.DialPipeContext(ctx, name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, ErrNotRunning
	}
	return conn, err
}
