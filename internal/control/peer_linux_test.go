package control

import (
	"errors"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
)

func TestOnlyTheOwnerAndRootMayAsk(t *testing.T) {
	for _, c := range []struct {
		user, daemon uint32
		want         bool
	}{{1000, 1000, true}, {0, 1000, true}, {0, 0, true}, {1000, 0, false}, {1001, 1000, false}} {
		if got := mayAsk(c.user, c.daemon); got != c.want {
			t.Errorf("user %d asks the daemon of %d: %v", c.user, c.daemon, got)
		}
	}
}

// Another user gets no answer, even if the modes of folder and socket let him in.
func TestAnotherUserIsNotAnswered(t *testing.T) {
	if dir := os.Getenv("FIELDPOST_TEST_CONTROL"); dir != "" { // the other user
		var got question
		err := Call(t.Context(), dir, http.MethodPost, "/", question{Text: "x"}, &got)
		if !errors.Is(err, ErrNoAnswer) || got.Text != "" {
			t.Errorf("%+v, %v", got, err)
		}
		return
	}
	if os.Geteuid() != 0 {
		if os.Getenv("CI") == "true" {
			t.Fatal("CI must run this as root, to become another user")
		}
		t.Skip("needs root to become another user")
	}
	dir, err := os.MkdirTemp("", "fieldpost-control-") // t.TempDir lies in a closed folder
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	daemon(t, dir, Handle(echo))
	for _, open := range []string{dir, filepath.Join(dir, name)} {
		if err := os.Chmod(open, 0o777); err != nil {
			t.Fatal(err)
		}
	}
	program := filepath.Join(dir, "test")
	self, err := os.ReadFile("/proc/self/exe")
	if err == nil {
		err = os.WriteFile(program, self, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, "-test.run", "^TestAnotherUserIsNotAnswered$", "-test.v")
	cmd.Env = append(os.Environ(), "FIELDPOST_TEST_CONTROL="+dir)
	cmd.Dir = dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
	var got question
	if err := Call(t.Context(), dir, http.MethodPost, "/", question{Text: "x"}, &got); err != nil || got.Text != "x" {
		t.Errorf("root: %+v, %v", got, err)
	}
}
