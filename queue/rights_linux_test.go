package queue

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/fieldpost/fieldpost/wire"
)

const nobody = 65534

// TestRightsThatAreTakenAway plays a lane of an ordinary user whose files and folders
// get another owner, or a mode that keeps the user out: before it is opened and
// while it runs. It says what is wrong and what to do, loses nothing, and goes on by itself.
func TestRightsThatAreTakenAway(t *testing.T) {
	const env = "FIELDPOST_QUEUE_RIGHTS"
	if dir := os.Getenv(env); dir != "" {
		if err := syscall.Setuid(nobody); err != nil {
			t.Fatal(err)
		}
		livesWithRights(t, dir)
		return
	}
	if os.Geteuid() != 0 {
		if os.Getenv("CI") == "true" {
			t.Fatal("CI must run as root, for files of another owner")
		}
		t.Skip("only root can give files to others")
	}
	root, err := os.MkdirTemp("", "fieldpost-rights-") // t.TempDir lets no other user in
	must(t, err)
	defer os.RemoveAll(root)
	must(t, os.Chmod(root, 0o755))
	dir := filepath.Join(root, "lane")
	must(t, os.Mkdir(dir, 0o700))
	must(t, os.Chown(dir, nobody, nobody))
	exe, err := os.Executable()
	must(t, err)
	cmd := exec.Command(exe, "-test.run", "^TestRightsThatAreTakenAway$", "-test.v")
	cmd.Env = append(os.Environ(), env+"="+dir)
	in, err := cmd.StdinPipe()
	must(t, err)
	out, err := cmd.StdoutPipe()
	must(t, err)
	cmd.Stderr = os.Stderr
	must(t, cmd.Start())
	var said strings.Builder
	for s := bufio.NewScanner(out); s.Scan(); { // the child asks for what only root may do
		what, path, ok := strings.Cut(s.Text(), " chown ")
		uid, err := strconv.Atoi(what)
		if !ok || err != nil {
			fmt.Fprintln(&said, s.Text())
			continue
		}
		if err := os.Chown(path, uid, uid); err != nil && !isNotExist(err) {
			t.Error(err)
		}
		fmt.Fprintln(in, "done")
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("%v:\n%s", err, said.String())
	}
}

func livesWithRights(t *testing.T, dir string) {
	answers := bufio.NewScanner(os.Stdin)
	give := func(uid int, path string) {
		fmt.Println(fmt.Sprint(uid, " chown ", path))
		answers.Scan()
	}
	l := &lane{t: t, cfg: Config{Dir: dir, Agent: "a", Lane: "l", AckDelay: time.Millisecond, SegmentSize: minSegmentSize, FreeSpace: -1}, faults: &faults{}, unhook: func() {}}
	l.open()
	l.stock(4)
	want := shown(l.drain(1))
	l.close()
	first := filepath.Join(dir, l.files()[0])
	mode := func(path string, taken, given os.FileMode) func() func() {
		return func() func() {
			must(t, os.Chmod(path, taken))
			return func() {
				if err := os.Chmod(path, given); err != nil && !isNotExist(err) { // the lane did not need it any more
					t.Error(err)
				}
			}
		}
	}
	owner := func(path string) func() func() {
		return func() func() { give(0, path); return func() { give(nobody, path) } }
	}
	for what, take := range map[string]func(newest string) func() func(){
		"the folder's mode":                 func(string) func() func() { return mode(dir, 0o500, 0o700) },
		"a folder that cannot be read":      func(string) func() func() { return mode(dir, 0, 0o700) },
		"the folder's owner":                func(string) func() func() { return owner(dir) },
		"an older file's mode":              func(string) func() func() { return mode(first, 0, 0o600) },
		"an older file's owner":             func(string) func() func() { return owner(first) },
		"the newest file's mode":            func(p string) func() func() { return mode(p, 0, 0o600) },
		"the newest file's owner":           func(p string) func() func() { return owner(p) },
		"the newest file cannot be written": func(p string) func() func() { return mode(p, 0o400, 0o600) },
	} {
		playRights(t, l, what, want, func() (back func()) {
			files := l.files()
			return take(filepath.Join(dir, files[len(files)-1]))()
		})
	}
}

// playRights takes rights away before an opening, and while the lane runs.
func playRights(t *testing.T, l *lane, what, want string, take func() (back func())) {
	advice := func(what string, err error) {
		t.Helper()
		if !errors.Is(err, fs.ErrPermission) || !strings.Contains(err.Error(), fmt.Sprintf("chown -R %d:", nobody)) || !strings.Contains(err.Error(), "chmod -R u+rwX") {
			t.Errorf("%s: %v", what, err)
		}
	}
	back := take()
	if q, err := Open(context.Background(), l.cfg); err != nil {
		advice(what+", at an opening", err)
	} else { // it can do without that file
		l.Queue = q
		if _, err := l.until(1); err != nil {
			advice(what+", read after an opening", err)
		} else if strings.Contains(what, "older file's") {
			t.Errorf("%s: it was read", what)
		}
		l.close()
	}
	back()
	l.open()
	if got, err := l.until(1); err != nil || shown(got) != want {
		t.Errorf("%s, given back: %v, %.300s", what, err, shown(got))
	}
	// While it runs: what is open stays open, and what is not is asked for again.
	back = take()
	l.Queue.files.mu.Lock()
	for _, f := range l.Queue.files.open {
		f.close()
	}
	l.Queue.files.open, l.Queue.files.ahead = nil, nil
	l.Queue.files.mu.Unlock()
	if _, err := l.until(1); err != nil {
		advice(what+", while it runs", err)
	}
	back()
	if got, err := l.until(1); err != nil || shown(got) != want {
		t.Errorf("%s, given back while it runs: %v, %.300s", what, err, shown(got))
	}
	if st := l.Stats(); st.Dropped[wire.ReasonCorrupt]+st.Dropped[wire.ReasonMissing] > 0 || st.Quarantined > 0 {
		t.Errorf("%s: %+v", what, st)
	}
	l.close()
}

// until reads everything from number n on, or up to an error.
func (l *lane) until(n wire.Seq) (out []item, err error) {
	l.t.Helper()
	for {
		e, ok, err := l.Next(l.epoch(), n)
		if err != nil || !ok {
			return out, err
		}
		out = append(out, l.items(e, n)...)
		n = e.To + 1
	}
}
