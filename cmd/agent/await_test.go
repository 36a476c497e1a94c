package main

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/fieldpost/fieldpost/agent"
	"github.com/fieldpost/fieldpost/internal/daemon"
)

// A service that is enrolled nowhere waits, leaves its folder as it is, and ends in
// order when it is told to.
func TestADaemonWaitsForItsEnrolment(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "agent")
	ctx, cancel := context.WithCancel(t.Context())
	waits, ended := make(chan struct{}), make(chan result, 1)
	stderr := &cue{text: "it waits", then: func() { close(waits) }}
	go func() { ended <- commandCued(ctx, strings.NewReader(""), stderr, "run", "--stay", "--dir", dir) }()
	select {
	case got := <-ended:
		t.Fatalf("it did not wait: %+v", got)
	case <-waits:
	}
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("it has made its folder, and so its id: %v", err)
	}
	cancel()
	if got := <-ended; got.code != daemon.OK || !strings.Contains(got.stderr, "it waits") || !strings.Contains(got.stderr, "agent enroll") {
		t.Errorf("stopped: %+v", got)
	}
	if got := command(t, "", "run", "--dir", dir); got.code != daemon.Usage || !strings.Contains(got.stderr, "no collector") {
		t.Errorf("a copy does not wait: %+v", got)
	}
}

func TestStatusWaitsForAHeartbeat(t *testing.T) {
	dir := t.TempDir()
	if got := command(t, "", "status", "--dir", dir, "--wait", "50ms"); got.code != daemon.Unreachable || !strings.Contains(got.stderr, "no agent's folder") {
		t.Errorf("no agent: %+v", got)
	}
	stop := runDaemon(t, dir, strings.NewReader(""), "--stay")
	waitFor(t, dir, func(st agent.Status) bool { return st.Link.Error != "" })
	got := command(t, "", "status", "--dir", dir, "--wait", "50ms")
	if got.code != daemon.Unreachable || !strings.Contains(got.stderr, "no heartbeat was answered within 50ms") || !strings.Contains(got.stderr, "connection-refused") {
		t.Errorf("no collector: %+v", got)
	}
	stop()
	if got := command(t, "", "status", "--dir", dir, "--wait", "50ms"); got.code != daemon.Unreachable || !strings.Contains(got.stderr, "start it") {
		t.Errorf("stopped: %+v", got)
	}
}
