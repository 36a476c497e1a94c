package main

import (
	"bytes"
	"encoding/json"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestImage builds the collector's image by its Dockerfile, and runs what it says
// with the image as the root folder and its user, as a container would.
func TestImage(t *testing.T) {
	if _, err := exec.LookPath("buildah"); err != nil || os.Geteuid() != 0 {
		if os.Getenv("CI") == "true" {
			t.Fatalf("CI must build the image, as root: %v", err)
		}
		t.Skip("buildah is not here, or this is not root")
	}
	temp := t.TempDir()
	source, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	// What the Dockerfile takes in, with programs of this tree.
	r := release{root: source, version: "1.2.3"}
	for _, f := range programs() {
		if err := r.compile(f, filepath.Join(temp, "context/bin", f.program)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.CopyFS(filepath.Join(temp, "context/install/docker"), os.DirFS(filepath.Join(source, "install/docker"))); err != nil {
		t.Fatal(err)
	}
	buildah := func(args ...string) string {
		t.Helper()
		c := exec.Command("buildah", append([]string{"--storage-driver", "vfs", "--root", filepath.Join(temp, "storage"), "--runroot", filepath.Join(temp, "run")}, args...)...)
		c.Env = append(os.Environ(), "BUILDAH_ISOLATION=chroot")
		var stderr bytes.Buffer
		c.Stderr = &stderr
		out, err := c.Output()
		if err != nil {
			t.Fatalf("buildah %s: %v\n%s", strings.Join(args, " "), err, &stderr)
		}
		return strings.TrimSpace(string(out))
	}
	buildah("bud", "--format", "docker", "-f", filepath.Join(temp, "context/install/docker/Dockerfile"), "-t", "collector", filepath.Join(temp, "context"))
	container := buildah("from", "collector")
	root := buildah("mount", container)
	t.Cleanup(func() { buildah("rm", container) })

	var image struct {
		Docker struct {
			Config struct {
				User        string
				Entrypoint  []string
				Cmd         []string
				Volumes     map[string]any
				Healthcheck struct{ Test []string }
			} `json:"config"`
		}
	}
	if err := json.Unmarshal([]byte(buildah("inspect", container)), &image); err != nil {
		t.Fatal(err)
	}
	config := image.Docker.Config
	if config.User != "65532:65532" || config.Volumes["/data"] == nil || !slices.Equal(config.Cmd, []string{"run", "--dir", "/data", "--listen", "0.0.0.0:4717"}) {
		t.Fatalf("the image is %+v", config)
	}
	inside := func(args ...string) *exec.Cmd {
		c := exec.Command(args[0], args[1:]...)
		c.SysProcAttr = &syscall.SysProcAttr{Chroot: root, Credential: &syscall.Credential{Uid: 65532, Gid: 65532}}
		c.Dir, c.Env = "/", []string{}
		return c
	}
	run := func(c *exec.Cmd) string {
		t.Helper()
		out, err := c.CombinedOutput()
		if err != nil {
			t.Fatalf("%s: %v\n%s", strings.Join(c.Args, " "), err, out)
		}
		return strings.TrimSpace(string(out))
	}

	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	l.Close()
	collector := inside(append(config.Entrypoint, "run", "--dir", "/data", "--listen", address, "--http", "off")...)
	var log bytes.Buffer
	collector.Stderr = &log
	if err := collector.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { collector.Process.Kill(); collector.Wait() })
	for end := time.Now().Add(20 * time.Second); inside(config.Healthcheck.Test[1:]...).Run() != nil; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("it is not healthy:\n%s", &log)
		}
	}
	token := run(inside("/fieldpost-collector", "token", "create", "--dir", "/data", "--id", "pump-7", "--bare"))
	agent, dir := filepath.Join(temp, "context/bin/agent"), filepath.Join(temp, "pump-7")
	run(exec.Command(agent, "enroll", "--dir", dir, "--id", "pump-7", "--collector", address, "--token", token))
	copying := exec.Command(agent, "run", "--dir", dir)
	copying.Stdin = strings.NewReader("one\ntwo\n")
	run(copying)
	if err := collector.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := collector.Wait(); err != nil {
		t.Errorf("told to stop: %v\n%s", err, &log)
	}
	if out := run(inside("/fieldpost-collector", "export", "--dir", "/data")); strings.Count(out, `"agent":"pump-7"`) != 2 {
		t.Errorf("it has stored\n%s", out)
	}
	run(inside("/fieldpost-collector", "audit", "--dir", "/data"))
}
