package config

import (
	"errors"
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/fieldpost/fieldpost/internal/lanes"
	"github.com/fieldpost/fieldpost/internal/leak"
	"github.com/fieldpost/fieldpost/wire"
)

func TestMain(m *testing.M) { leak.Main(m) }

var update = flag.Bool("update", false, "write the golden files anew")

func env(vars map[string]string) Lookup {
	return func(name string) (string, bool) { v, ok := vars[name]; return v, ok }
}

func TestAgentEveryKey(t *testing.T) {
	const file = `
# A pump at the edge.
id: ${SITE:-pump}-7
dir: /var/lib/fieldpost
collectors:
  - 127.0.0.1:4717
  - "[::1]:4717"
lanes:
  alarms: {segment_size: 1MiB, priority: 10, share: 25%}
  bulk:
    segment_size: ${SEGMENT}
    max_bytes: 64MiB
    max_messages: 100000
    max_age: 72h
    free_space: 1GiB
    overflow: drop-oldest
    live_first: 10m
    durability: interval 1s
    compression: zstd
  plain: {priority: -100, compression: none, durability: always}
routes:
  - {topic: "+/alarm/#", lane: alarms}
  - topic: camera/#
    lane: bulk
inputs:
  - stdin: {lane: alarms, topic: pump/$$raw}
heartbeat:
  interval: 1m30s
reconnect: {min: 200ms, max: 1m, max_attempts: 12}
tls: {ca: ca.pem, cert: c.pem, key: k.pem, server_name: centre}
log:
  level: warn
  format: json
`
	got, err := ParseAgent("agent.yaml", []byte(file), env(map[string]string{"SEGMENT": "2MiB"}))
	if err != nil {
		t.Fatal(err)
	}
	want := Agent{
		ID: "pump-7", Dir: "/var/lib/fieldpost", Collectors: []string{"127.0.0.1:4717", "[::1]:4717"},
		Lanes: map[string]LaneSettings{"alarms": {SegmentSize: 1 << 20, Priority: 10, Share: 25}, "plain": {Priority: -100},
			"bulk": {SegmentSize: 2 << 20, MaxBytes: 64 << 20, MaxMessages: 100_000, MaxAge: 72 * time.Hour, FreeSpace: 1 << 30,
				Overflow: "drop-oldest", Interval: time.Second, LiveFirst: 10 * time.Minute, Compression: wire.CodecZstd}},
		Routes:    lanes.Routes{{Topic: "+/alarm/#", Lane: "alarms"}, {Topic: "camera/#", Lane: "bulk"}},
		Stdin:     Stdin{Lane: "alarms", Topic: "pump/$raw"},
		Heartbeat: 90 * time.Second,
		Reconnect: Reconnect{Min: 200 * time.Millisecond, Max: time.Minute, MaxAttempts: 12},
		TLS:       TLS{"ca.pem", "c.pem", "k.pem", "centre"},
		Log:       Log{Level: 4, Format: LogJSON},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func TestCollectorEveryKey(t *testing.T) {
	a, b := wire.StoreID{ID: wire.NewID()}, wire.StoreID{ID: wire.NewID()}
	file := "listen: localhost:1\nhttp: off\ndir: d\nreplaces: [" + a.String() + ", '" + b.String() + "']\nheartbeat: {interval: 1s}\ntls: {names: [centre.example, 10.0.0.1], certificate_life: 20s}\nretention: {age: 720h, size: 100GiB}\nlimits: {agents: 50, streams: 7}\nlog: {level: debug}\n"
	got, err := ParseCollector("c.yaml", []byte(file), env(nil))
	if err != nil {
		t.Fatal(err)
	}
	want := Collector{
		Listen: "localhost:1", Dir: "d", Replaces: Replaces{Stores: []wire.StoreID{a, b}},
		Heartbeat: time.Second, Retention: Retention{720 * time.Hour, 100 << 30}, Limits: Limits{50, 7},
		Authority: Authority{[]string{"centre.example", "10.0.0.1"}, 20 * time.Second}, Log: Log{Level: -4, Format: LogAuto},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	if got, err := ParseCollector("c.yaml", []byte("replaces: any"), env(nil)); err != nil || !got.Replaces.Any {
		t.Errorf("replaces: any gave %+v, %v", got.Replaces, err)
	}
}

func TestEmptyFilesAreTheDefaults(t *testing.T) {
	for _, file := range []string{"", "\n", "# nothing\n", "---\n", "log:\nheartbeat:\n"} {
		if got, err := ParseAgent("a", []byte(file), env(nil)); err != nil || !reflect.DeepEqual(got, DefaultAgent()) {
			t.Errorf("agent %q: %+v, %v", file, got, err)
		}
		if got, err := ParseCollector("c", []byte(file), env(nil)); err != nil || !reflect.DeepEqual(got, DefaultCollector()) {
			t.Errorf("collector %q: %+v, %v", file, got, err)
		}
	}
}

// Scalars are text: what YAML would make of them does not matter.
func TestScalarsAreText(t *testing.T) {
	for _, id := range []string{"007", "1e3", "true", "0x1F", `"7"`, "'7'", "1.50", "2026-01-01"} {
		got, err := ParseAgent("a", []byte("id: "+id), env(nil))
		if err != nil || got.ID != strings.Trim(id, `"'`) {
			t.Errorf("id: %s gave %q, %v", id, got.ID, err)
		}
	}
}

// A small max alone is not below a default min.
func TestReconnectMaxAlone(t *testing.T) {
	for text, want := range map[string]time.Duration{"100ms": 100 * time.Millisecond, "5s": 500 * time.Millisecond} {
		got, err := ParseAgent("a", []byte("reconnect: {max: "+text+"}"), env(nil))
		if err != nil || got.Reconnect.Min != want {
			t.Errorf("max %s gives min %s, %v; want %s", text, got.Reconnect.Min, err, want)
		}
	}
}

func TestPlaintextExcludesTLS(t *testing.T) {
	files := "ca: a, cert: b, key: c"
	for text, want := range map[string]string{
		"insecure_plaintext: true":                        "",
		"insecure_plaintext: false\ntls: {" + files + "}": "",
		"insecure_plaintext: true\ntls: {" + files + "}":  "x:2:6: tls: insecure_plaintext is set as well",
		"tls: {" + files + "}\ninsecure_plaintext: true":  "x:1:6: tls: insecure_plaintext is set as well",
		"tls: {ca: a, cert: b}":                           "give all of ca, cert and key",
		"tls: {key: c}":                                   "give all of ca, cert and key",
		"insecure_plaintext: yes":                         "want true or false",
		"tls: {cert: ''}":                                 "is empty",
		"tls: {certs: b}":                                 "did you mean cert?",
		"tls: {" + files + "}\ntls: {" + files + "}":      "given twice",
	} {
		if _, err := ParseAgent("x", []byte(text), env(nil)); (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("agent %q: %v, want %q", text, err, want)
		}
		if _, err := ParseCollector("x", []byte(text), env(nil)); (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("collector %q: %v, want %q", text, err, want)
		}
	}
	for _, text := range []string{"tls: {names: ['a b']}", "tls: {names: ['']}", "tls: {names: ['host:1']}", "tls: {certificate_life: 1s}", "tls: {certificate_life: 400d}"} {
		if _, err := ParseCollector("x", []byte(text), env(nil)); err == nil {
			t.Errorf("collector %q has no error", text)
		}
	}
	for _, text := range []string{"limits: {agents: 0}", "limits: {streams: -1}", "limits: {agents: many}", "limits: {links: 1}"} {
		if _, err := ParseCollector("x", []byte(text), env(nil)); err == nil {
			t.Errorf("collector %q has no error", text)
		}
	}
	c := Collector{HTTP: "0.0.0.0:1", Plaintext: true}
	if c.Check() == nil {
		t.Error("pages for other machines in the clear have no error")
	}
}

// Each testdata/*.yaml is wrong; the .txt beside it has what is said of it.
func TestProblemsGolden(t *testing.T) {
	files, err := filepath.Glob("testdata/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatal("no testdata", err)
	}
	for _, path := range files {
		t.Run(filepath.Base(path), func(t *testing.T) {
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if strings.HasPrefix(filepath.Base(path), "collector") {
				_, err = ParseCollector("collector.yaml", data, env(nil))
			} else {
				_, err = ParseAgent("agent.yaml", data, env(nil))
			}
			var problems Problems
			if !errors.As(err, &problems) {
				t.Fatalf("error %v, want Problems", err)
			}
			golden := strings.TrimSuffix(path, ".yaml") + ".txt"
			got := err.Error() + "\n"
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if got != string(want) {
				t.Errorf("%s says\n%s\nwant\n%s", path, got, want)
			}
		})
	}
}

func TestLoad(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "agent.yaml")
	t.Setenv("FIELDPOST_TEST_ID", "pump-9")
	if err := os.WriteFile(path, []byte("id: ${FIELDPOST_TEST_ID}"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := LoadAgent(path); err != nil || got.ID != "pump-9" {
		t.Errorf("LoadAgent: %+v, %v", got, err)
	}
	if err := os.WriteFile(path, make([]byte, MaxFile+1), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{dir, path, filepath.Join(dir, "missing.yaml")} {
		var problems Problems
		if _, err := LoadAgent(path); !errors.As(err, &problems) || problems[0].File != path {
			t.Errorf("LoadAgent(%s): %v", path, err)
		}
		if _, err := LoadCollector(path); !errors.As(err, &problems) || problems[0].File != path {
			t.Errorf("LoadCollector(%s): %v", path, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	files, err := filepath.Glob("testdata/*.yaml")
	if err != nil {
		f.Fatal(err)
	}
	for _, path := range files {
		data, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	vars := env(map[string]string{"A": "${B}", "B": ": ["})
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, parse := range []func() error{
			func() error { _, err := ParseAgent("f", data, vars); return err },
			func() error { _, err := ParseCollector("f", data, vars); return err },
		} {
			err := parse()
			if err == nil {
				continue
			}
			var problems Problems
			if !errors.As(err, &problems) || len(problems) == 0 {
				t.Fatalf("%T: %v", err, err)
			}
			if s := err.Error(); strings.ContainsAny(s, "\x00\x1b\r\u202e") {
				t.Fatalf("not escaped: %q", s)
			}
		}
	})
}
