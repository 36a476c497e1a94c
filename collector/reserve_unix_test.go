//go:build unix

package collector_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/fieldpost/fieldpost/collector"
	"github.com/fieldpost/fieldpost/collector/storetest"
)

const (
	fewDescriptors = 200
	reserveEnv     = "FIELDPOST_TEST_RESERVE"
)

// TestDescriptorsAreKeptBack: however many connect, a tenth of the descriptors is
// left for the store and the rest of the process, and who was there first is served.
func TestDescriptorsAreKeptBack(t *testing.T) {
	if dir := os.Getenv(reserveEnv); dir != "" {
		crowded(t, dir)
		return
	}
	c := exec.Command(os.Args[0], "-test.run=^TestDescriptorsAreKeptBack$", "-test.v")
	c.Env = append(os.Environ(), reserveEnv+"="+t.TempDir())
	stdin, err := c.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	c.Stderr = os.Stderr
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	defer c.Wait()
	defer c.Process.Kill()
	lines := bufio.NewScanner(stdout)
	said := func(prefix string) string {
		for lines.Scan() {
			if rest, ok := strings.CutPrefix(lines.Text(), prefix); ok {
				return rest
			}
		}
		t.Fatalf("the child has ended without %q", prefix)
		return ""
	}
	addr := said("listens on ")
	var conns []net.Conn
	for range fewDescriptors + 50 {
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		conns = append(conns, conn)
	}
	closed := 0
	for deadline := time.Now().Add(20 * time.Second); closed < 50 && time.Now().Before(deadline); {
		closed = 0
		for _, conn := range conns {
			conn.SetReadDeadline(time.Now().Add(time.Millisecond))
			if _, err := conn.Read(make([]byte, 1)); err == io.EOF {
				closed++
			}
		}
	}
	if closed < 50 {
		t.Errorf("%d of %d connections were closed", closed, len(conns))
	}
	fmt.Fprintln(stdin, "look")
	if got := said("left: "); got != "enough" {
		t.Error(got)
	}
	stdin.Close()
	if err := c.Wait(); err != nil {
		t.Error(err)
	}
}

// crowded is the child: a server with few descriptors.
func crowded(t *testing.T, dir string) {
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: fewDescriptors, Max: fewDescriptors}); err != nil {
		t.Fatal(err)
	}
	srv, err := collector.New(collector.Config{Store: storetest.NewMemory(), InsecurePlaintext: true, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- srv.Serve(ctx, ln) }()
	fmt.Printf("listens on %s\n", ln.Addr())
	in := bufio.NewReader(os.Stdin)
	if _, err := in.ReadString('\n'); err != nil {
		t.Error(err)
	}
	verdict := "enough"
	for n := range fewDescriptors / 20 { // half of the reserve: the other half is the runtime's and this test's
		f, err := os.Create(filepath.Join(dir, fmt.Sprint(n)))
		if err != nil {
			verdict = fmt.Sprintf("file %d: %v", n, err)
			break
		}
		defer f.Close()
	}
	fmt.Printf("left: %s\n", verdict)
	in.ReadString('\n')
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}
