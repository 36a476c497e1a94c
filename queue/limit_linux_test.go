package queue

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/fieldpost/fieldpost/wire"
)

// TestRule5ARealWriteFailure lets the system refuse writes: a limit on the size
// of files, in a process of its own.
func TestRule5ARealWriteFailure(t *testing.T) {
	const env = "FIELDPOST_QUEUE_LIMIT"
	if os.Getenv(env) == "" {
		exe, err := os.Executable()
		if err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command(exe, "-test.run", "^TestRule5ARealWriteFailure$")
		cmd.Env = append(os.Environ(), env+"=1")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		return
	}
	q, err := Open(context.Background(), Config{Dir: filepath.Join(t.TempDir(), "lane"), Agent: "a", Lane: "l"})
	if err != nil {
		t.Fatal(err)
	}
	defer q.Close()
	var old syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &old); err != nil {
		t.Fatal(err)
	}
	limit := func(n uint64) {
		if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: n, Max: old.Max}); err != nil {
			t.Fatal(err)
		}
	}
	put := func() error {
		return q.Put(context.Background(), wire.Message{Time: base, Body: make([]byte, 10<<10)})
	}
	accepted := 0
	count := func(err error) error {
		if err == nil {
			accepted++
		}
		return err
	}
	limit(200 << 10)
	for err = nil; err == nil; {
		err = count(put())
	}
	limit(8 << 10) // for another file as well
	for range 3 {
		if !errors.Is(err, ErrFull) || errors.Is(err, ErrUncertain) {
			t.Fatalf("at the limit: %v", err)
		}
		err = count(put())
	}
	limit(old.Cur)
	for range 3 {
		if err := count(put()); err != nil {
			t.Fatalf("after the limit: %v", err)
		}
	}
	if st := q.Stats(); st.Accepted != uint64(accepted) || st.Next != wire.Seq(accepted+1) || accepted < 4 {
		t.Errorf("%d accepted: %+v", accepted, st)
	}
}
