package control

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/windows"
)

// A daemon's pipe is found through its folder alone, and is gone with the daemon.
func TestPipe(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a földer")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	call := func() error {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		return Call(ctx, dir, "POST", "/x", map[string]int{"n": 1}, nil)
	}
	if err := call(); !errors.Is(err, ErrNotRunning) {
		t.Fatalf("nobody is there: %v", err)
	}
	l, err := Listen(dir)
	if err != nil {
		t.Fatal(err)
	}
	first, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil || !pipeName.Match(first) {
		t.Fatalf("%q, %v", first, err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() {
		ended <- Serve(ctx, l, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			var in map[string]int
			json.NewDecoder(r.Body).Decode(&in)
			answer(w, http.StatusOK, in)
		}), time.Second)
	}()
	call() // wine gives the first call to an end of the pipe that Windows keeps closed
	if err := call(); err != nil {
		t.Error(err)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if err := call(); !errors.Is(err, ErrNotRunning) {
		t.Errorf("nobody is there any more: %v", err)
	}
	// A killed daemon leaves the name of a pipe that is gone.
	if err := os.WriteFile(filepath.Join(dir, name), first, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := call(); !errors.Is(err, ErrNotRunning) {
		t.Errorf("of a killed one: %v", err)
	}
	l, err = Listen(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if again, _ := os.ReadFile(filepath.Join(dir, name)); !pipeName.Match(again) || string(again) == string(first) {
		t.Errorf("the second name %q follows %q", again, first)
	}
}

// Whoever can write into the folder's name of a pipe cannot make a command talk to
// something else than one of our pipes.
func TestOnlyOurPipesAreDialled(t *testing.T) {
	dir := t.TempDir()
	for _, text := range []string{"", prefix, `\\elsewhere\pipe\fieldpost-` + "ABCDEFGHIJKLMNOPQRSTUVWXYZ\n", prefix + "ABCDEFGHIJKLMNOPQRSTUVWXY"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := dial(context.Background(), dir); !errors.Is(err, ErrNotRunning) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestThePipeIsForAdministrators(t *testing.T) {
	sd, err := windows.SecurityDescriptorFromString(access)
	if err != nil {
		t.Fatal(err)
	}
	if dacl, _, err := sd.DACL(); err != nil || dacl.AceCount != 3 {
		t.Errorf("%v, %v", dacl, err)
	}
}
