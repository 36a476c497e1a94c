//go:build !windows

package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

const otherUserEnv = "FIELDPOST_AGENT_AS_ANOTHER_USER"

// TestAFolderThatCannotBeUsedIsAwaited takes the rights on its folder from a daemon that
// starts: it stays, says what to do, and works once it has them. Rights mean nothing to
// root, so the test is played by another user then.
func TestAFolderThatCannotBeUsedIsAwaited(t *testing.T) {
	if os.Geteuid() == 0 {
		const nobody = 65534
		dir := filepath.Join(t.TempDir(), "agent")
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Chown(dir, nobody, nobody); err != nil {
			t.Fatal(err)
		}
		program := filepath.Join(filepath.Dir(dir), "test") // where it was built, others may not look
		self, err := os.Executable()
		if err != nil {
			t.Fatal(err)
		}
		if err := exec.Command("cp", self, program).Run(); err != nil {
			t.Fatal(err)
		}
		for d := filepath.Dir(dir); strings.HasPrefix(filepath.Base(filepath.Dir(d)), t.Name()) || strings.HasPrefix(filepath.Base(d), t.Name()); d = filepath.Dir(d) {
			if err := os.Chmod(d, 0o755); err != nil {
				t.Fatal(err)
			}
		}
		cmd := exec.Command(program, "-test.run", "^"+t.Name()+"$", "-test.v")
		cmd.Env = append(os.Environ(), otherUserEnv+"="+dir)
		cmd.Dir = filepath.Dir(dir)
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
		if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "--- PASS") {
			t.Fatalf("%v\n%s", err, out)
		}
		return
	}
	dir := os.Getenv(otherUserEnv)
	if dir == "" {
		dir = t.TempDir()
	}
	if r := command(t, "", "send", "--dir", dir, "--id", "p", "x"); r.code != 0 {
		t.Fatal(r)
	}
	folderEvery = 20 * time.Millisecond
	if err := os.Chmod(dir, 0); err != nil {
		t.Fatal(err)
	}
	defer os.Chmod(dir, 0o700)
	told := &cue{text: "the folder cannot be written", then: func() { os.Chmod(dir, 0o700) }}
	stop := runCued(t, dir, strings.NewReader(""), told, "--stay", "--log-level", "info")
	for !answers(t.Context(), dir) { // its socket is there before it listens
		time.Sleep(5 * time.Millisecond)
	}
	if st := folderStatus(t, dir); st.Lanes[0].Accepted != 1 {
		t.Errorf("status: %+v", st)
	}
	r := stop()
	for _, want := range []string{"the folder cannot be written", "chown -R", "the folder can be written again"} {
		if !strings.Contains(r.stderr, want) {
			t.Errorf("the log does not say %q: %+v", want, r)
		}
	}
	if r.code != 0 {
		t.Errorf("run: %+v", r)
	}

	// A copy of an input has an end: it does not wait.
	if err := os.Chmod(dir, 0); err != nil {
		t.Fatal(err)
	}
	if r := command(t, "line\n", "run", "--dir", dir, "--insecure-plaintext", "--collector", nobody); r.code == 0 || !strings.Contains(r.stderr, "permission denied") {
		t.Errorf("a copy: %+v", r)
	}
}
