package service

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

// steered is a service that starts, or stays, only with the program it likes.
type steered struct {
	later          bool // it starts with another, and stops soon
	program, likes string
	is             string
	calls          []string
}

func (s *steered) state() string { return s.is }
func (s *steered) stop() error   { s.calls, s.is = append(s.calls, "stop"), stopped; return nil }
func (s *steered) start() error {
	s.calls = append(s.calls, "start")
	if b, err := os.ReadFile(s.program); err != nil || string(b) != s.likes {
		if s.later {
			s.is = failed
			return nil
		}
		return errors.Join(errors.New("it stops at once"), err)
	}
	s.is = running
	return nil
}

// A program that a process runs can be renamed and not replaced; a file that is
// open without the right to delete it can be neither.
func TestReplace(t *testing.T) {
	dir := t.TempDir()
	program, fresh := filepath.Join(dir, "agent.exe"), filepath.Join(dir, "agent.exe.new")
	write(t, program, "old")
	write(t, fresh, "new")
	if err := replace(fresh, program); err != nil {
		t.Fatal(err)
	}
	is(t, program, "new")
	write(t, fresh, "newer")
	f, err := os.Open(program)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := replace(fresh, program); err == nil {
		t.Error("a file that is open was replaced")
	}
	is(t, program, "new")
}

func TestUpgradeGoesBack(t *testing.T) {
	self, err := os.Executable() // a program that runs: "version" is no test of its
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("FIELDPOST_ONLY_RUNS", "true")
	for _, later := range []bool{false, true} {
		program := filepath.Join(t.TempDir(), "agent.exe")
		write(t, program, "old")
		s := &steered{program: program, likes: "old", is: running, later: later}
		u := upgrade{w: &bytes.Buffer{}, from: self, to: program, settle: 200 * time.Millisecond, service: s}
		if err := u.run(context.Background()); err == nil {
			t.Fatal("a program with which the service does not run is in place")
		}
		is(t, program, "old")
		if want := []string{"stop", "start", "start"}; !slices.Equal(s.calls, want) || s.is != running {
			t.Errorf("later %t: %q, %s", later, s.calls, s.is)
		}
	}
}

func TestMain(m *testing.M) {
	if os.Getenv("FIELDPOST_ONLY_RUNS") != "" {
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o700); err != nil {
		t.Fatal(err)
	}
}

func is(t *testing.T, path, want string) {
	t.Helper()
	if b, err := os.ReadFile(path); err != nil || string(b) != want {
		t.Errorf("%s holds %q, %v, want %q", path, b, err, want)
	}
}
