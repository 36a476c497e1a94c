package agent

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// A lane that cannot be opened is a state: the others work, status says why, and it
// is open again by itself once the cause is gone.
func TestALaneThatCannotBeOpenedIsAState(t *testing.T) {
	was := reopenPause
	reopenPause = 20 * time.Millisecond
	defer func() { reopenPause = was }()
	ctx := context.Background()
	cfg := Config{ID: "a", Dir: filepath.Join(t.TempDir(), "dir"), Lanes: map[string]LaneConfig{"alarms": {}}}
	a, err := Open(ctx, cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Send(ctx, Message{Lane: "alarms", Body: []byte("1")}); err != nil {
		t.Fatal(err)
	}
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	lane, aside := filepath.Join(cfg.Dir, "lane-alarms"), filepath.Join(cfg.Dir, "aside")
	if err := errors.Join(os.Rename(lane, aside), os.WriteFile(lane, nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	if a, err = Open(ctx, cfg); err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	if err := a.Send(ctx, Message{Body: []byte("the default lane works")}); err != nil {
		t.Error(err)
	}
	if err := a.Send(ctx, Message{Lane: "alarms"}); !errors.Is(err, ErrFull) || !errors.Is(err, ErrNotAQueue) {
		t.Errorf("send: %v", err)
	}
	if _, err := a.Repair(ctx, "alarms"); !errors.Is(err, ErrFull) {
		t.Errorf("repair: %v", err)
	}
	if st := a.Status().Lanes; len(st) != 2 || st[0].Trouble != "" || !strings.Contains(st[1].Trouble, "cannot be opened") {
		t.Errorf("status: %+v", st)
	}
	short, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
	defer cancel()
	if err := a.Ready(short); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("ready: %v", err)
	}
	if err := errors.Join(os.Remove(lane), os.Rename(aside, lane)); err != nil {
		t.Fatal(err)
	}
	if err := a.Ready(ctx); err != nil {
		t.Fatal(err)
	}
	if err := a.Send(ctx, Message{Lane: "alarms", Body: []byte("2")}); err != nil {
		t.Error(err)
	}
	if st := a.Status().Lanes; st[1].Trouble != "" || st[1].Backlog != 2 {
		t.Errorf("status: %+v", st)
	}
}

// At the first start of a folder it is a slip of whoever set it up.
func TestALaneThatCannotBeOpenedAtFirst(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "lane-default"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if a, err := Open(context.Background(), Config{ID: "a", Dir: dir}); !errors.Is(err, ErrNotAQueue) {
		if a != nil {
			a.Close()
		}
		t.Errorf("open: %v", err)
	}
}

// The lanes know whose they are: a lost or damaged agent.json is written again, never
// under another name.
func TestIdentityIsRestoredFromTheLanes(t *testing.T) {
	ctx := context.Background()
	cfg := Config{ID: "pump-7", Dir: filepath.Join(t.TempDir(), "dir")}
	a, err := Open(ctx, cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(a.Send(ctx, Message{Body: []byte("1")}), a.Close()); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(cfg.Dir, identityFile)
	for _, damage := range []func() error{func() error { return os.Remove(path) }, func() error { return os.WriteFile(path, []byte(`{"fo`), 0o600) }} {
		if err := damage(); err != nil {
			t.Fatal(err)
		}
		if a, err := Open(ctx, Config{ID: "pump-8", Dir: cfg.Dir}); err == nil {
			a.Close()
			t.Fatal("the folder was taken by another agent")
		}
		a, err := Open(ctx, Config{Dir: cfg.Dir})
		if err != nil || a.ID() != "pump-7" || a.Status().Lanes[0].Backlog != 1 {
			t.Fatalf("open: %v", err)
		}
		if err := a.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
