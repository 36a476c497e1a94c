package doctor

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/fieldpost/fieldpost/internal/config"
)

func TestScrub(t *testing.T) {
	for text, want := range map[string]string{
		"enrol with fpt_AbC-123_x now":                                      "enrol with (removed) now",
		"the pages' fph_Zz9":                                                "the pages' (removed)",
		"Authorization: Bearer abc.def-123":                                 "Authorization: (removed) abc.def-123",
		"a bearer abcdef123456 token":                                       "a bearer (removed) token",
		"https://joe:pw@host/x":                                             "https://(removed)@host/x",
		"password=hunter2 user=joe":                                         "password=(removed) user=joe",
		`db_password: "hunter 2", x`:                                        "db_password: (removed), x",
		`msg="it said token=\"abc\" there"`:                                 `msg="it said token=(removed) there"`,
		"eyJhbGciOi.eyJzdWIi.sig_x":                                         "(removed)",
		"-----BEGIN PRIVATE KEY-----\nMII\n-----END PRIVATE KEY-----\nrest": "(removed)\nrest",
		"-----BEGIN EC PRIVATE KEY-----\nMII that is cut off":               "(removed)",
		"AKIAIOSFODNN7EXAMPLE":                                              "(removed)",
		strings.Repeat("Ab1", 20):                                           "(removed)",
		"store 4ad2dbce8e8a279fafe1850c2752396e, centre:4717":               "store 4ad2dbce8e8a279fafe1850c2752396e, centre:4717",
		"collector token create prints the command":                         "collector token create prints the command",
		"github.com/x/y v0.0.0-20191010083416-a7dc8b61c822":                 "github.com/x/y v0.0.0-20191010083416-a7dc8b61c822",
	} {
		got := Scrub(text)
		if strings.HasPrefix(text, "Authorization") { // which of the two shapes takes it does not matter
			if strings.Contains(got, "abc.def-123") {
				t.Errorf("%q: %q", text, got)
			}
			continue
		}
		if got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

const canaryConfig = `# CANARY in a comment
id: pump-7
dir: /var/lib/fieldpost/agent
collectors: ["centre:4717", "CANARY:pw@centre:4717"]
pasword: CANARY
lanes:
  alarms: {priority: 10, max_age: 72h, note: CANARY}
routes:
  - {topic: "CANARY/#", lane: alarms}
inputs:
  - stdin: {topic: CANARY}
  - file: {paths: ["/var/log/*.log"], topic: "CANARY/{file}", multiline: {start: 'CANARY'}}
  - exec: {command: [curl, -H, "X: CANARY"], interval: 30s}
tls: {ca: ca.pem, cert: agent.pem, key: /etc/CANARY.key, server_name: centre}
heartbeat: {interval: "${HEARTBEAT:-10s}"}
log: {level: debug}
`

func TestConfigWithoutSecrets(t *testing.T) {
	got := string(ConfigWithoutSecrets([]byte(canaryConfig)))
	if strings.Contains(got, "CANARY") {
		t.Errorf("a canary:\n%s", got)
	}
	for _, part := range []string{"id: pump-7", "- centre:4717", "- (removed)", "priority: 10", "max_age: 72h", "note: (removed)", "lane: alarms", "/var/log/*.log", "interval: 30s",
		"pasword: (removed)", "command:", "${HEARTBEAT:-10s}", "level: debug", "key: (removed)"} {
		if !strings.Contains(strings.ReplaceAll(got, `"`, ""), part) {
			t.Errorf("no %q in\n%s", part, got)
		}
	}
	for _, bad := range []string{"a: [CANARY", "CANARY", "- CANARY", "a: 1\na: CANARY", "\x00CANARY: x", "!!CANARY x: y", "a: &CANARY x\nb: *CANARY"} {
		if got := string(ConfigWithoutSecrets([]byte(bad))); strings.Contains(got, "CANARY") {
			t.Errorf("%q gives %q", bad, got)
		}
	}
}

func FuzzConfigWithoutSecrets(f *testing.F) {
	f.Add([]byte(canaryConfig))
	f.Add([]byte("a: {b: [c, {d: 1}]}\n? x\n: y\n"))
	f.Fuzz(func(t *testing.T, data []byte) { ConfigWithoutSecrets(data) })
}

const canaryLog = `2026-11-22T10:00:00+0000 CANARYhost fieldpost-agent[7]: level=INFO msg="the agent is open" id=pump-7 topic="CANARY t" dir=/x
2026-11-22T10:00:01+0000 host fieldpost-agent[7]: level=WARN msg="the command says" source=sensors line="CANARY said \"CANARY\" so"
2026-11-22T10:00:02+0000 host fieldpost-agent[7]: level=WARN msg="a command has ended" error="it ended with exit status 1: \"CANARY\""
2026-11-22T10:00:03+0000 host fieldpost-agent[7]: CANARY printed by who knows whom
2026-11-22T10:00:04+0000 host fieldpost-agent[7]: level=ERROR msg="no link" error="refused: fpt_CANARY, Bearer CANARYCANARY, password=CANARY, https://CANARY:x@h"
2026-11-22T10:00:05+0000 host systemd[1]: fieldpost-agent.service: Main process exited, code=killed, status=9/KILL
2026-11-22T10:00:06+0000 host fieldpost-agent[7]: panic: runtime error: index out of range [5] with length 3
2026-11-22T10:00:06+0000 host fieldpost-agent[7]: main.(*run).run(0xc000123456)
-----BEGIN PRIVATE KEY-----
CANARYkey
-----END PRIVATE KEY-----
`

// bundled writes a bundle of what has a canary everywhere, and returns its files.
func bundled(t *testing.T, path string) (names []string, files map[string]string, list []Entry) {
	t.Helper()
	config := filepath.Join(t.TempDir(), "agent.yaml")
	os.WriteFile(config, []byte(canaryConfig), 0o600)
	broken := Configuration("agent.yaml", "", errors.New("it has CANARY in a value"))
	report := Examine(t.Context(), Report{Program: "agent", Version: "v1", Dir: "/d"}, []Check{broken,
		{Group: "g", Name: "n", Run: found(Bad("token: CANARY", "it says fpt_CANARY").more("CANARY"))}})
	report.Time = time.Unix(1e9, 5)
	c := Contents{Report: report, Config: config, Unit: "fieldpost-agent",
		Parts: []Part{
			{"status.json", "the status", func(context.Context) (any, error) {
				return map[string]any{"link": "password: CANARY", "list": []string{"fpt_CANARY"}}, nil
			}},
			{"broken.json", "what cannot be had", func(context.Context) (any, error) { return nil, errors.New("secret=CANARY") }},
			{"large.json", "too much", func(context.Context) (any, error) { return strings.Repeat("abc ", 2<<20), nil }},
		},
		logs: func(_ context.Context, unit string, lines int) ([]byte, error) {
			return []byte(strings.Repeat("2026-11-22T09:00:00+0000 host fieldpost-agent[7]: level=INFO msg=old\n", 2*lines) + canaryLog), nil
		}}
	list, err := WriteBundle(t.Context(), path, c)
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	z, err := gzip.NewReader(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	files = map[string]string{}
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if err == io.EOF {
			return names, files, list
		}
		data, rerr := io.ReadAll(r)
		if err = errors.Join(err, rerr); err != nil {
			t.Fatal(err)
		}
		if h.Mode != 0o600 || h.Uid != 0 || h.Uname != "" || !h.ModTime.Equal(time.Unix(1e9, 0)) {
			t.Errorf("%+v", h)
		}
		name := strings.TrimPrefix(h.Name, "fieldpost-agent-doctor/")
		names = append(names, name)
		files[name] = string(data)
	}
}

func TestBundle(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "x.tar.gz")
	names, files, list := bundled(t, path)
	if s := strings.Join(names, " "); s != "doctor.json doctor.txt version.json system.json config.yaml status.json broken.json large.json log.txt" {
		t.Error(s)
	}
	for name, data := range files {
		if strings.Contains(data, "CANARY") {
			i := strings.Index(data, "CANARY")
			t.Errorf("%s has a canary: %q", name, data[max(0, i-80):min(len(data), i+20)])
		}
	}
	for name, part := range map[string]string{"doctor.json": `"status": "fail"`, "doctor.txt": "fail", "version.json": `"go": "go1.`, "system.json": `"cpus"`, "large.json": "left out: 8388610 bytes", "config.yaml": "id: pump-7",
		"status.json": removed, "broken.json": "error", "log.txt": "code=killed, status=9/KILL"} {
		if !strings.Contains(files[name], part) {
			t.Errorf("%s has no %q:\n%s", name, part, files[name])
		}
	}
	for _, part := range []string{"panic: runtime error", "main.(*run).run(", "id=pump-7", "line=(removed)"} {
		if !strings.Contains(files["log.txt"], part) {
			t.Errorf("the log has no %q", part)
		}
	}
	if n := strings.Count(files["log.txt"], "\n"); n > maxLines {
		t.Errorf("%d lines of the log", n)
	}
	if n := len(files["large.json"]); n > maxPart+20 {
		t.Errorf("a part of %d bytes", n)
	}
	if len(list) != len(names) || list[0].Name != "doctor.json" || list[0].Bytes != len(files["doctor.json"]) {
		t.Errorf("%+v", list)
	}
	if info, err := os.Stat(path); err != nil || modesCount && info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	// What is there is not written over, and a link is not followed.
	already := []string{path}
	if modesCount && os.Symlink(filepath.Join(dir, "target"), filepath.Join(dir, "link")) == nil {
		already = append(already, filepath.Join(dir, "link"))
	}
	for _, taken := range already {
		if _, err := WriteBundle(t.Context(), taken, Contents{}); err == nil || !strings.Contains(err.Error(), "is there already") {
			t.Errorf("%s: %v", taken, err)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "target")); !errors.Is(err, fs.ErrNotExist) {
		t.Error("a link was followed")
	}
	if _, err := WriteBundle(t.Context(), filepath.Join(dir, "no", "x"), Contents{}); err == nil {
		t.Error("a folder that is missing")
	}
}

func TestConfiguration(t *testing.T) {
	good := Configuration("a.yaml", "a.yaml is good", nil)
	want(t, one(t, good.Run(t.Context())), OK, "a.yaml is good")
	bad := Configuration("a.yaml", "", badConfig(t, "id: pump-7\nheartbeat: {interval: s3cret}\nx: 1\n"))
	f := one(t, bad.Run(t.Context()))
	want(t, f, Fail, "a.yaml:2:23: heartbeat.interval is wrong, and 1 more")
	if strings.Contains(f.Text, "s3cret") || !strings.Contains(f.Detail, "s3cret") {
		t.Errorf("%+v", f)
	}
	if dir := FolderIn([]byte("dir: /x\nnonsense: [1\n")); dir != "" {
		t.Error(dir)
	}
	if dir := FolderIn([]byte("dir: /x\nnonsense: 1\n")); dir != "/x" {
		t.Error(dir)
	}
	if dir := FolderIn([]byte("dir: ${X}\nnonsense: 1\n")); dir != "" {
		t.Error(dir)
	}
	if !SamePath("/a/b/", "/a/./b") || SamePath("/a/b", "/a/c") {
		t.Error("paths that are the same, or not")
	}
}

func badConfig(t *testing.T, text string) error {
	t.Helper()
	_, err := config.ParseAgent("a.yaml", []byte(text), func(string) (string, bool) { return "", false })
	if err == nil {
		t.Fatal("it is good")
	}
	return fmt.Errorf("the configuration is wrong:\n%w", err)
}
