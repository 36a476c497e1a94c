package service

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/windows"
	"golang.org/x/sys/windows/svc"

	"github.com/fieldpost/fieldpost/internal/daemon"
)

// hosted is a daemon under a service manager that the test plays.
type hosted struct {
	t        *testing.T
	book     book
	requests chan svc.ChangeRequest
	status   chan svc.Status
	specific bool
	code     uint32
	ended    chan struct{}
}

func hostFor(t *testing.T, work func(context.Context) daemon.Code) *hosted {
	h := &hosted{t: t, requests: make(chan svc.ChangeRequest), status: make(chan svc.Status), ended: make(chan struct{})}
	go func() {
		defer close(h.ended)
		h.specific, h.code = (&host{log: &events{&h.book}, work: work}).Execute(nil, h.requests, h.status)
	}()
	return h
}

// says returns the next status.
func (h *hosted) says() svc.Status {
	h.t.Helper()
	select {
	case s := <-h.status:
		return s
	case <-time.After(10 * time.Second):
		h.t.Fatal("no status in 10 s")
		return svc.Status{}
	}
}

// end waits for the service to end; what it says until then is thrown away.
func (h *hosted) end() (bool, uint32) {
	h.t.Helper()
	for {
		select {
		case <-h.status:
		case <-h.ended:
			return h.specific, h.code
		case <-time.After(30 * time.Second):
			h.t.Fatal("it does not end")
		}
	}
}

// A daemon that takes long to begin is a running service from the first moment on.
func TestRunningIsSaidBeforeTheWork(t *testing.T) {
	begin := make(chan struct{})
	h := hostFor(t, func(ctx context.Context) daemon.Code {
		<-begin // the queue opens, for as long as that takes
		<-ctx.Done()
		return daemon.OK
	})
	if s := h.says(); s.State != svc.Running || s.Accepts != svc.AcceptStop|svc.AcceptShutdown|svc.AcceptPreShutdown {
		t.Fatalf("said first: %+v", s)
	}
	h.requests <- svc.ChangeRequest{Cmd: svc.Interrogate}
	if s := h.says(); s.State != svc.Running {
		t.Fatalf("asked: %+v", s)
	}
	h.requests <- svc.ChangeRequest{Cmd: svc.Stop}
	if s := h.says(); s.State != svc.StopPending || s.WaitHint == 0 {
		t.Fatalf("told to stop: %+v", s)
	}
	if s := h.says(); s.State != svc.StopPending || s.CheckPoint != 1 { // it says that it is alive
		t.Fatalf("while it stops: %+v", s)
	}
	close(begin)
	if specific, code := h.end(); specific || code != 0 {
		t.Errorf("ended with %t, %d", specific, code)
	}
}

func TestEachWayToStop(t *testing.T) {
	for _, c := range []svc.Cmd{svc.Stop, svc.Shutdown, svc.PreShutdown} {
		h := hostFor(t, func(ctx context.Context) daemon.Code { <-ctx.Done(); return daemon.OK })
		h.says()
		h.requests <- svc.ChangeRequest{Cmd: c}
		if s := h.says(); s.State != svc.StopPending {
			t.Errorf("%d: %+v", c, s)
		}
		if specific, code := h.end(); specific || code != 0 {
			t.Errorf("%d: ended with %t, %d", c, specific, code)
		}
	}
}

// Whoever ends without being asked has failed, so that it is started again.
func TestAnEndThatNobodyAskedForIsAFailure(t *testing.T) {
	for code, want := range map[daemon.Code]uint32{daemon.OK: 1, daemon.BadConfig: 78, daemon.TryLater: 75} {
		h := hostFor(t, func(context.Context) daemon.Code { return code })
		h.says()
		if specific, got := h.end(); !specific || got != want {
			t.Errorf("%d: ended with %t, %d", code, specific, got)
		}
	}
}

func TestADaemonThatDoesNotStopIsLeft(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes 20 s")
	}
	never := make(chan struct{})
	defer close(never)
	h := hostFor(t, func(context.Context) daemon.Code { <-never; return daemon.OK })
	h.says()
	h.requests <- svc.ChangeRequest{Cmd: svc.PreShutdown}
	if specific, code := h.end(); !specific || code == 0 {
		t.Errorf("ended with %t, %d", specific, code)
	}
	if len(h.book.list) != 1 || !strings.Contains(h.book.list[0], "did not stop") {
		t.Errorf("events %q", h.book.list)
	}
}

func TestTheLastCrashIsTold(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "crash.log")
	if err := os.WriteFile(path, []byte("panic: at the disco\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var b book
	catchCrash(dir, &events{&b})()
	if len(b.list) != 1 || !strings.Contains(b.list[0], "panic: at the disco") {
		t.Errorf("events %q", b.list)
	}
	catchCrash(dir, &events{&b})()
	if len(b.list) != 1 {
		t.Errorf("it is told twice: %q", b.list)
	}
	if old, err := os.ReadFile(path + ".old"); err != nil || len(old) == 0 {
		t.Errorf("it is not kept: %v", err)
	}
}

func TestTheImagePathIsQuoted(t *testing.T) {
	got := commandLine(`C:\Program Files\Fältpost\agent.exe`, []string{"service", hostCommand, "run", "--config", `C:\Program Data\ü b\agent.yaml`})
	if want := `"C:\Program Files\Fältpost\agent.exe" service host run --config "C:\Program Data\ü b\agent.yaml"`; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	words, err := windows.DecomposeCommandLine(got)
	if err != nil || len(words) != 6 || words[0] != `C:\Program Files\Fältpost\agent.exe` || words[5] != `C:\Program Data\ü b\agent.yaml` {
		t.Errorf("Windows reads %q, %v", words, err)
	}
}

// Windows understands the lists of rights, and reads out of them what they say.
func TestWindowsReadsTheAccess(t *testing.T) {
	for _, sddl := range []string{homeAccess(services...), dataAccess(services[0]), configAccess(services[1])} {
		sd, err := windows.SecurityDescriptorFromString(sddl)
		if err != nil {
			t.Fatalf("%s: %v", sddl, err)
		}
		control, _, err := sd.Control()
		if err != nil || control&windows.SE_DACL_PROTECTED == 0 {
			t.Errorf("%s: it inherits: %v, %v", sddl, control, err)
		}
		dacl, _, err := sd.DACL()
		if err != nil || int(dacl.AceCount) != strings.Count(sddl, "(") {
			t.Errorf("%s: %d entries, %v", sddl, dacl.AceCount, err)
		}
	}
}
