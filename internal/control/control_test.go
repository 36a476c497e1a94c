//go:build !windows

package control

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/fieldpost/fieldpost/internal/leak"
)

func TestMain(m *testing.M) { leak.Main(m) }

type question struct {
	Text string `json:"text"`
	Body []byte `json:"body"`
}

// daemon serves h in dir until the test ends.
func daemon(t *testing.T, dir string, h http.Handler) (stop func()) {
	t.Helper()
	l, err := Listen(dir)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- Serve(ctx, l, h, 50*time.Millisecond) }()
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
	t.Cleanup(stop)
	return stop
}

func echo(_ context.Context, q question) (question, error) {
	switch q.Text {
	case "no":
		return q, &Refusal{"full", "the lane is full"}
	case "fail":
		return q, errors.New("it broke")
	}
	return q, nil
}

func TestCall(t *testing.T) {
	dir := t.TempDir()
	mux := http.NewServeMux()
	mux.Handle("POST /echo", Handle(echo))
	mux.Handle("GET /echo", Handle(func(context.Context, struct{}) (question, error) { return question{Text: "hello"}, nil }))
	stop := daemon(t, dir, mux)
	ctx := t.Context()

	var got question
	if err := Call(ctx, dir, "GET", "/echo", nil, &got); err != nil || got.Text != "hello" {
		t.Errorf("GET: %+v, %v", got, err)
	}
	big := question{Text: "yes", Body: make([]byte, 1<<20)}
	if err := Call(ctx, dir, "POST", "/echo", big, &got); err != nil || got.Text != "yes" || len(got.Body) != 1<<20 {
		t.Errorf("POST: %d bytes, %v", len(got.Body), err)
	}
	var no *Refusal
	for text, code := range map[string]string{"no": "full", "fail": CodeFailed} {
		if err := Call(ctx, dir, "POST", "/echo", question{Text: text}, nil); !errors.As(err, &no) || no.Code != code {
			t.Errorf("%s: %v", text, err)
		}
	}
	for _, path := range []string{"/nothing", "/"} {
		if err := Call(ctx, dir, "GET", path, nil, nil); !errors.As(err, &no) || no.Code != CodeBadRequest {
			t.Errorf("GET %s: %v", path, err)
		}
	}
	if err := Call(ctx, dir, "POST", "/echo", []int{1}, nil); !errors.As(err, &no) || no.Code != CodeBadRequest {
		t.Errorf("a request of another shape: %v", err)
	}
	if err := Call(ctx, dir, "POST", "/echo", question{Body: make([]byte, MaxRequest)}, nil); !errors.As(err, &no) && !errors.Is(err, ErrNoAnswer) {
		t.Errorf("a request beyond the limit: %v", err)
	}
	stop()
	if err := Call(ctx, dir, "GET", "/echo", nil, nil); !errors.Is(err, ErrNotRunning) {
		t.Errorf("after the end: %v", err)
	}
}

// An answer that does not come leaves it open whether the request was obeyed.
func TestLostAnswerIsNoAnswer(t *testing.T) {
	dir := t.TempDir()
	asked, release := make(chan struct{}, 2), make(chan struct{})
	stop := daemon(t, dir, Handle(func(ctx context.Context, _ question) (question, error) {
		asked <- struct{}{}
		<-release
		return question{}, nil
	}))
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-asked; cancel() }()
	if err := Call(ctx, dir, "POST", "/", question{}, nil); !errors.Is(err, ErrNoAnswer) || !errors.Is(err, context.Canceled) {
		t.Errorf("the caller gave up: %v", err)
	} else if strings.Contains(err.Error(), "\n") {
		t.Errorf("one cause, two lines: %q", err)
	}
	ended := make(chan error)
	go func() { ended <- Call(context.Background(), dir, "POST", "/", question{}, nil) }()
	<-asked
	stop() // cuts what is under way after the grace
	if err := <-ended; !errors.Is(err, ErrNoAnswer) {
		t.Errorf("the daemon ended: %v", err)
	}
	close(release)
}

func TestNobodyThere(t *testing.T) {
	dir := t.TempDir()
	for _, d := range []string{dir, filepath.Join(dir, "missing"), filepath.Join(dir, strings.Repeat("long/", 40))} {
		if err := Call(t.Context(), d, "GET", "/", nil, nil); !errors.Is(err, ErrNotRunning) {
			t.Errorf("%s: %v", d, err)
		}
	}
}

// What a killed daemon leaves is replaced; what is no socket is left alone.
func TestStaleSocket(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, name)
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	l.(*net.UnixListener).SetUnlinkOnClose(false)
	l.Close()
	if err := Call(t.Context(), dir, "GET", "/", nil, nil); !errors.Is(err, ErrNotRunning) {
		t.Errorf("a stale socket: %v", err)
	}
	daemon(t, dir, Handle(echo))()
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the socket is still there: %v", err)
	}
	if err := os.WriteFile(path, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Listen(dir); err == nil {
		t.Error("a file was replaced by the socket")
	}
}

func TestSocketIsPrivate(t *testing.T) {
	dir := t.TempDir()
	daemon(t, dir, Handle(echo))
	info, err := os.Stat(filepath.Join(dir, name))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v; want 0600", info.Mode(), err)
	}
}

// A folder whose path is longer than a socket's may be.
func TestLongPath(t *testing.T) {
	dir := filepath.Join(t.TempDir(), strings.Repeat("a-long-name/", 15))
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	daemon(t, dir, Handle(echo))
	var got question
	if err := Call(t.Context(), dir, "POST", "/", question{Text: "far"}, &got); err != nil || got.Text != "far" {
		t.Errorf("%+v, %v", got, err)
	}
}
