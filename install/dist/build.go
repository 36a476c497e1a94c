package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// platforms are the architectures by our names, as Go and as nfpm know them.
var platforms = map[string]struct {
	env  []string
	nfpm string
}{
	"amd64":   {[]string{"GOARCH=amd64", "GOAMD64=v1"}, "amd64"},
	"arm64":   {[]string{"GOARCH=arm64"}, "arm64"},
	"armv7":   {[]string{"GOARCH=arm", "GOARM=7"}, "arm7"},
	"riscv64": {[]string{"GOARCH=riscv64"}, "riscv64"},
}

// Tags are the build tags of every release; the Makefile has the same. HTTP is served
// on loopback and on a local socket: HTTP/2 would be weight.
const releaseTags = "nethttpomithttp2"

// facts are what a program says of itself.
type facts struct {
	program     string // agent
	name        string // fieldpost-agent
	summary     string
	data, state string // its folder, and the file there that has the format
	next        string // what an operator does after the installation

	format     int
	unit       []byte
	completion map[string][]byte // by shell
}

// programs are what is released.
func programs() []*facts {
	return []*facts{
		{
			program: "agent", name: "fieldpost-agent", data: "/var/lib/fieldpost/agent", state: "agent.json",
			summary: "keeps messages on disk until a collector has stored them",
			next:    "fieldpost-agent is installed, and waits for its enrolment: fieldpost-agent enroll --config /etc/fieldpost/agent.yaml --collector HOST:PORT --token-file FILE",
		},
		{
			program: "collector", name: "fieldpost-collector", data: "/var/lib/fieldpost/collector", state: "store.json",
			summary: "stores what Fieldpost's agents deliver and knows which of them are alive",
			next:    "fieldpost-collector is installed, for this machine alone: set listen in /etc/fieldpost/collector.yaml to serve others; fieldpost-collector token create --config /etc/fieldpost/collector.yaml --id NAME prints how an agent enrols",
		},
	}
}

// program is one that is built for an architecture.
type program struct {
	*facts
	arch  string
	stage string // folder of what its package is made of
}

// path of the executable.
func (p *program) path() string { return filepath.Join(p.stage, p.name) }

// identify finds out the version and the time of the commit, as far as they are not
// given.
func (r *release) identify() error {
	seconds := os.Getenv("SOURCE_DATE_EPOCH")
	if seconds == "" {
		var err error
		if seconds, err = r.git("log", "-1", "--format=%ct"); err != nil {
			return err
		}
	}
	n, err := strconv.ParseInt(seconds, 10, 64)
	if err != nil {
		return fmt.Errorf("SOURCE_DATE_EPOCH: %w", err)
	}
	r.time = time.Unix(n, 0).UTC()
	if r.version != "" {
		return nil
	}
	if tag, err := r.git("describe", "--tags", "--exact-match", "--match", "v[0-9]*"); err == nil {
		r.version = strings.TrimPrefix(tag, "v")
	} else {
		r.version = "0.0.0-pre" + r.time.Format("20060102150405")
	}
	return nil
}

func (r *release) git(args ...string) (string, error) {
	out, err := r.command(nil, "git", args...)
	return strings.TrimSpace(string(out)), err
}

// command runs a program in the source's folder and returns its standard output.
func (r *release) command(env []string, name string, args ...string) ([]byte, error) {
	c := exec.Command(name, args...)
	c.Dir, c.Env = r.root, append(os.Environ(), env...)
	var stderr bytes.Buffer
	c.Stderr = &stderr
	out, err := c.Output()
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w\n%s", filepath.Base(name), strings.Join(args, " "), err, stderr.Bytes())
	}
	return out, nil
}

// compile builds a program as path.
func (r *release) compile(f *facts, path string, env ...string) error {
	tags := releaseTags
	if r.tags != "" {
		tags += "," + r.tags
	}
	env = append([]string{"CGO_ENABLED=0", "GOOS=linux", "GOFLAGS=", "GOEXPERIMENT=", "GOWORK=off"}, env...)
	_, err := r.command(env, "go", "build", "-trimpath", "-tags", tags,
		"-ldflags", "-s -w -buildid= -X github.com/fieldpost/fieldpost/internal/daemon.version="+r.version, "-o", path, "./cmd/"+f.program)
	return err
}

// ask builds the programs for this machine and has them say what the packages need
// to know.
func (r *release) ask() ([]*facts, error) {
	list := programs()
	for _, f := range list {
		path := filepath.Join(r.work, f.name)
		if err := r.compile(f, path); err != nil {
			return nil, err
		}
		var version struct {
			Format int `json:"format"`
		}
		out, err := r.command(nil, path, "version", "--json")
		if err == nil {
			err = json.Unmarshal(out, &version)
		}
		if err == nil && version.Format < 1 {
			err = fmt.Errorf("%s does not say which format it writes", f.name)
		}
		if err != nil {
			return nil, err
		}
		f.format = version.Format
		if f.unit, err = r.command(nil, path, "service", "install", "--print-unit", "--program", "/usr/bin/"+f.name); err != nil {
			return nil, err
		}
		f.completion = map[string][]byte{}
		for _, shell := range []string{"bash", "zsh", "fish"} {
			if f.completion[shell], err = r.command(nil, path, "completion", shell); err != nil {
				return nil, err
			}
		}
	}
	return list, nil
}

// build builds a program for an architecture and lays out what its packages hold.
func (r *release) build(f *facts, arch string) (*program, error) {
	platform, ok := platforms[arch]
	if !ok {
		return nil, fmt.Errorf("an unknown architecture")
	}
	p := &program{facts: f, arch: arch, stage: filepath.Join(r.work, arch, f.name)}
	if err := os.MkdirAll(p.stage, 0o755); err != nil {
		return nil, err
	}
	if err := r.compile(f, p.path(), platform.env...); err != nil {
		return nil, err
	}
	bom, licences, err := r.parts(p)
	if err != nil {
		return nil, err
	}
	config, err := os.ReadFile(filepath.Join(r.root, "install/packages", f.program+".yaml"))
	if err != nil {
		return nil, err
	}
	for name, content := range map[string][]byte{
		f.program + ".yaml": config, f.name + ".service": f.unit, f.name + ".cdx.json": bom, "LICENSES-THIRD-PARTY.txt": licences,
		"completion.bash": f.completion["bash"], "completion.zsh": f.completion["zsh"], "completion.fish": f.completion["fish"],
	} {
		if err := os.WriteFile(filepath.Join(p.stage, name), content, 0o644); err != nil {
			return nil, err
		}
	}
	return p, os.WriteFile(filepath.Join(r.out, fmt.Sprintf("%s_%s_linux_%s.cdx.json", f.name, r.version, arch)), bom, 0o644)
}
