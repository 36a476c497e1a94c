//go:build !windows

package control

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
)

type broken struct{ after io.Reader }

var errBroken = errors.New("the stick is broken")

func (b broken) Read(p []byte) (int, error) {
	n, err := b.after.Read(p)
	if err == io.EOF {
		err = errBroken
	}
	return n, err
}

func TestDownload(t *testing.T) {
	dir := t.TempDir()
	mux := http.NewServeMux()
	mux.Handle("POST /get", HandleDownload(func(_ context.Context, q question, w io.Writer) (question, error) {
		if q.Text == "no" {
			return q, &Refusal{"full", "the lane is full"}
		}
		if _, err := w.Write(bytes.Repeat([]byte("x"), len(q.Body))); err != nil {
			return q, err
		}
		if q.Text == "late" {
			return q, &Refusal{"late", "it broke at byte größer"}
		}
		return question{Text: "done\n" + q.Text}, nil
	}))
	stop := daemon(t, dir, mux)
	var got question
	for _, size := range []int{0, 1, 1 << 20} {
		var b bytes.Buffer
		if err := Download(t.Context(), dir, "/get", question{Text: "ü", Body: make([]byte, size)}, &b, &got); err != nil || b.Len() != size || got.Text != "done\nü" {
			t.Errorf("%d bytes: got %d, %+v, %v", size, b.Len(), got, err)
		}
	}
	var no *Refusal
	for _, text := range []string{"no", "late"} {
		if err := Download(t.Context(), dir, "/get", question{Text: text, Body: make([]byte, 1<<20)}, io.Discard, &got); !errors.As(err, &no) || no.Code == CodeFailed {
			t.Errorf("%s: %v", text, err)
		}
	}
	if err := Download(t.Context(), dir, "/other", question{}, io.Discard, &got); !errors.As(err, &no) || no.Code != CodeBadRequest {
		t.Errorf("an unknown request: %v", err)
	}
	stop()
	if err := Download(t.Context(), dir, "/get", question{}, io.Discard, &got); !errors.Is(err, ErrNotRunning) {
		t.Errorf("nobody there: %v", err)
	}
}

// A daemon that is killed in the middle of a download leaves no end.
func TestDownloadCutOff(t *testing.T) {
	dir := t.TempDir()
	half, release := make(chan struct{}), make(chan struct{})
	stop := daemon(t, dir, HandleDownload(func(_ context.Context, _ question, w io.Writer) (question, error) {
		if _, err := w.Write(make([]byte, 100<<10)); err != nil {
			return question{}, err
		}
		close(half)
		<-release
		return question{}, nil
	}))
	ended := make(chan error)
	go func() { ended <- Download(context.Background(), dir, "/", question{}, io.Discard, &question{}) }()
	<-half
	stop()
	if err := <-ended; !errors.Is(err, ErrNoAnswer) {
		t.Errorf("cut off: %v", err)
	}
	close(release)
}

func TestUpload(t *testing.T) {
	dir := t.TempDir()
	daemon(t, dir, HandleUpload(func(_ context.Context, v url.Values, r io.Reader) (int64, error) {
		if v.Get("what") == "early" {
			return 0, &Refusal{"early", "not that"}
		}
		return io.Copy(io.Discard, r)
	}))
	for _, size := range []int64{0, 1, 8 << 20} {
		var got int64
		if err := Upload(t.Context(), dir, "/", nil, bytes.NewReader(make([]byte, size)), &got); err != nil || got != size {
			t.Errorf("%d bytes: got %d, %v", size, got, err)
		}
	}
	var no *Refusal
	if err := Upload(t.Context(), dir, "/", url.Values{"what": {"early"}}, bytes.NewReader(make([]byte, 32<<20)), new(int64)); !errors.As(err, &no) || no.Code != "early" {
		t.Errorf("refused before all was read: %v", err)
	}
	if err := Upload(t.Context(), dir, "/", nil, broken{strings.NewReader("half")}, new(int64)); !errors.Is(err, errBroken) {
		t.Errorf("a source that breaks: %v", err)
	}
	if err := Upload(t.Context(), t.TempDir(), "/", nil, strings.NewReader(""), new(int64)); !errors.Is(err, ErrNotRunning) {
		t.Errorf("nobody there: %v", err)
	}
}
