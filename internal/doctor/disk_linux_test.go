package doctor

import (
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// needRoot skips where a test cannot do what it is about, but not in CI.
func needRoot(t *testing.T, err error) {
	t.Helper()
	if err == nil {
		return
	}
	if os.Getenv("CI") == "true" {
		t.Fatal(err)
	}
	t.Skip(err)
}

// A real disk in memory: it is seen as that, filled up, and mounted read-only.
func TestARealSmallDisk(t *testing.T) {
	dir := t.TempDir()
	needRoot(t, unix.Mount("none", dir, "tmpfs", 0, "size=8m"))
	defer unix.Unmount(dir, unix.MNT_DETACH)
	d := Disk{Dir: dir}
	want(t, one(t, d.fileSystem(t.Context())), Warn, "tmpfs is memory")
	want(t, d.space(t.Context())[0], OK, "8.00MiB")
	want(t, one(t, d.speed(t.Context())), Warn, "faster than a disk")
	f, err := os.Create(filepath.Join(dir, "full"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for err == nil {
		_, err = f.Write(make([]byte, 1<<16))
	}
	want(t, d.space(t.Context())[0], Fail, "nothing is accepted")
	want(t, one(t, d.speed(t.Context())), Fail, "no space left")
	f.Close()
	if err := unix.Mount("none", dir, "tmpfs", unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	want(t, one(t, d.fileSystem(t.Context())), Fail, "read-only")
	want(t, one(t, d.speed(t.Context())), Fail, "no file can be made")
}

func TestPermissions(t *testing.T) {
	if os.Geteuid() != 0 {
		needRoot(t, os.ErrPermission)
	}
	nobody, err := user.Lookup("nobody")
	needRoot(t, err)
	uid, _ := strconv.Atoi(nobody.Uid)
	folder := func(t *testing.T) string {
		dir := filepath.Join(t.TempDir(), "agent")
		os.MkdirAll(filepath.Join(dir, "tls"), 0o700)
		os.MkdirAll(filepath.Join(dir, "lane-default"), 0o700)
		os.WriteFile(filepath.Join(dir, "tls", "agent.pem"), nil, 0o600)
		os.WriteFile(filepath.Join(dir, "lane-default", "x.seg"), nil, 0o644) // behind a closed folder
		return dir
	}
	for _, c := range []struct {
		name   string
		do     func(dir string) Rights
		status []Status
		parts  []string
	}{
		{"closed", func(dir string) Rights { return Rights{Dir: dir} }, []Status{OK}, []string{"root's alone"}},
		{"through a link", func(dir string) Rights {
			os.Symlink(dir, dir+".link")
			return Rights{Dir: dir + ".link"}
		}, []Status{OK}, []string{"root's alone"}},
		{"others may look", func(dir string) Rights { os.Chmod(dir, 0o755); return Rights{Dir: dir} }, []Status{Warn, Fail}, []string{"mode 0755 lets others look", "x.seg"}},
		{"others may write", func(dir string) Rights { os.Chmod(dir, 0o777); return Rights{Dir: dir} }, []Status{Fail, Fail}, []string{"lets others change"}},
		{"a key that others may read", func(dir string) Rights {
			os.Chmod(filepath.Join(dir, "tls", "agent.pem"), 0o644)
			return Rights{Dir: dir}
		}, []Status{Fail}, []string{"tls/agent.pem: others may read", "chmod"}},
		{"a file of somebody else", func(dir string) Rights {
			os.Chown(filepath.Join(dir, "lane-default", "x.seg"), uid, uid)
			return Rights{Dir: dir}
		}, []Status{Fail}, []string{"lane-default/x.seg", "chown -R root"}},
		{"the service's is another account", func(dir string) Rights { return Rights{Dir: dir, User: "nobody"} }, []Status{Fail}, []string{"the service runs as nobody"}},
		{"the service has no account", func(dir string) Rights { return Rights{Dir: dir, User: "no-such-account"} }, []Status{Fail}, []string{"service install"}},
		{"everybody may change the configuration", func(dir string) Rights {
			file := dir + ".yaml"
			os.WriteFile(file, nil, 0o600)
			os.Chmod(file, 0o666)
			return Rights{Dir: dir, Config: file}
		}, []Status{Fail}, []string{"where messages go"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := c.do(folder(t))
			list := r.look(t.Context())
			if len(list) != len(c.status) {
				t.Fatalf("%+v", list)
			}
			var all strings.Builder
			for i, f := range list {
				want(t, f, c.status[i])
				all.WriteString(f.Text + "\n" + f.Next + "\n")
			}
			for _, p := range c.parts {
				if !strings.Contains(all.String(), p) {
					t.Errorf("%s does not say %q", all.String(), p)
				}
			}
		})
	}
	t.Run("who may not look is told so", func(t *testing.T) {
		dir := folder(t)
		os.Chmod(filepath.Dir(filepath.Dir(dir)), 0o755)
		os.Chmod(filepath.Dir(dir), 0o755)
		closed := filepath.Join(filepath.Dir(dir), "closed")
		os.Mkdir(closed, 0)
		os.Chown(closed, uid, uid)
		asUser(t, uid, func() {
			c := Folder(dir, Bad("x", "missing"))
			want(t, one(t, c.Run(t.Context())), Warn, "may not look into it", "as root")
			c = Folder(closed, Bad("x", "missing"))
			want(t, one(t, c.Run(t.Context())), Fail, "keeps it out", "chmod 700")
		})
		os.Chmod(dir, 0o755)
		asUser(t, uid, func() {
			list := (&Rights{Dir: dir}).look(t.Context())
			want(t, list[len(list)-1], Warn, "cannot be looked at by this user")
		})
	})
}

// asUser does something with the rights of a user.
func asUser(t *testing.T, uid int, do func()) {
	t.Helper()
	if err := syscall.Setresuid(-1, uid, 0); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := syscall.Setresuid(-1, 0, 0); err != nil {
			panic(err)
		}
	}()
	do()
}
