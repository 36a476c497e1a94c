package main

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fieldpost/fieldpost/agent"
	"github.com/fieldpost/fieldpost/internal/control"
	"github.com/fieldpost/fieldpost/internal/daemon"
	"github.com/fieldpost/fieldpost/wire"
)

// queueFolder is a folder with 6 messages in the lane default, of which the first two
// are two days old, and one in alarms.
func queueFolder(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	a, err := agent.Open(t.Context(), agent.Config{ID: "pump-7", Dir: dir, Lanes: map[string]agent.LaneConfig{"alarms": {}}})
	if err != nil {
		t.Fatal(err)
	}
	for i, m := range []agent.Message{
		{Topic: "t/1", Time: time.Now().Add(-48 * time.Hour), Body: []byte("one")},
		{Topic: "t/2", Time: time.Now().Add(-47 * time.Hour), Body: []byte("two\x1b[31m"), Headers: []agent.Header{{Key: "unit", Value: "b\nar"}}},
		{Body: []byte("x\xff")}, {Body: []byte(strings.Repeat("long ", 100))}, {Body: []byte("five")}, {},
		{Lane: "alarms", Body: []byte("alarm")},
	} {
		if err := a.Send(t.Context(), m); err != nil {
			t.Fatal(i, err)
		}
	}
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	return dir
}

// filesOf is what a folder is on disk.
func filesOf(t *testing.T, dir string) (all []string) {
	t.Helper()
	err := fs.WalkDir(os.DirFS(dir), ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || d.Type()&fs.ModeSocket != 0 {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		b, err := os.ReadFile(filepath.Join(dir, name))
		all = append(all, fmt.Sprintf("%s %s %x", name, info.ModTime(), sha256.Sum256(b)))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// onQueue runs a command of "agent queue", which must end with a code.
func onQueue(t *testing.T, dir string, code daemon.Code, args ...string) result {
	t.Helper()
	r := command(t, "", append([]string{"queue", args[0], "--dir", dir}, args[1:]...)...)
	if r.code != code || (code == 0) != (r.stderr == "") {
		t.Fatalf("%q: %+v, want code %d", args, r, code)
	}
	return r
}

func as[T any](t *testing.T, text string) (v T) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	return v
}

// The commands that look show the same whether an agent runs on the folder or not, and
// leave a folder at rest as it is.
func TestQueueCommandsThatLook(t *testing.T) {
	for _, running := range []bool{false, true} {
		t.Run(fmt.Sprintf("running=%v", running), func(t *testing.T) {
			dir := queueFolder(t)
			if running {
				withDaemon(t, dir, func(*agent.Agent) { lookCommands(t, dir, true) })
				return
			}
			before := filesOf(t, dir)
			lookCommands(t, dir, false)
			if after := filesOf(t, dir); !slices.Equal(before, after) {
				t.Errorf("the folder was\n%q\nand is\n%q", before, after)
			}
		})
	}
}

func lookCommands(t *testing.T, dir string, running bool) {
	state := "at-rest"
	if running {
		state = "accepting"
	}
	r := onQueue(t, dir, 0, "ls")
	if !strings.Contains(r.out, "agent  pump-7") || !strings.Contains(r.out, "default  "+state) || !strings.Contains(r.out, "alarms  "+state) {
		t.Errorf("ls: %s", r.out)
	}
	for _, line := range strings.Split(onQueue(t, dir, 0, "ls", "-v").out, "\n") {
		if len(line) > 80 && !strings.HasPrefix(line, "folder") {
			t.Errorf("a line of %d characters: %s", len(line), line)
		}
	}
	list := as[laneList](t, onQueue(t, dir, 0, "ls", "--json").out)
	if list.Agent != "pump-7" || list.Running != running || len(list.Lanes) != 2 || list.Lanes[0].State != state || list.Lanes[0].Status.Backlog != 6 {
		t.Fatalf("ls --json: %+v", list)
	}
	s := list.Lanes[0].Streams[0]
	if s.Next != 7 || s.Backlog != 6 || s.OldestAge < agent.Seconds(47*time.Hour) || len(s.Segments) == 0 || s.Segments[0].First != 1 || s.Segments[0].Bytes == 0 {
		t.Errorf("ls --json: %+v", s)
	}
	if list := as[laneList](t, onQueue(t, dir, 0, "ls", "--json", "--lane", "alarms").out); len(list.Lanes) != 1 || list.Lanes[0].Lane != "alarms" {
		t.Errorf("ls of a lane: %+v", list)
	}

	r = onQueue(t, dir, 0, "peek")
	for _, want := range []string{"1  ", "t/1", "one", `two\x1b[31m`, `unit: b\nar`, `x\xff`, "... and 300B more", "6  "} {
		if !strings.Contains(r.out, want) {
			t.Errorf("peek lacks %q: %s", want, r.out)
		}
	}
	items := as[[]held](t, onQueue(t, dir, 0, "peek", "--json", "-n", "2", "--from", "2").out)
	if len(items) != 2 || items[0].Seq != 2 || *items[0].Body != "two\x1b[31m" || string(items[1].BodyBase64) != "x\xff" || items[1].ID.Number != 3 {
		t.Errorf("peek --json: %+v", items)
	}
	if r := onQueue(t, dir, 0, "peek", "--from", "99"); r.out != "nothing is held there\n" {
		t.Errorf("peek behind the end: %+v", r)
	}

	lines := strings.Split(strings.TrimSpace(onQueue(t, dir, 0, "export").out), "\n")
	if len(lines) != 7 {
		t.Fatalf("%d lines", len(lines))
	}
	second := as[map[string]any](t, lines[1])
	for key, want := range map[string]any{"agent": "pump-7", "lane": "default", "epoch": s.Epoch.String(), "seq": 2.0, "topic": "t/2", "body": "two\x1b[31m"} {
		if second[key] != want {
			t.Errorf("export: %s is %v, want %v", key, second[key], want)
		}
	}
	if third := as[exportLine](t, lines[2]); string(third.BodyBase64) != "x\xff" || third.Body != nil {
		t.Errorf("export: %s", lines[2])
	}
	if r := onQueue(t, dir, 0, "export", "--lane", "alarms", "--all"); strings.Count(r.out, "\n") != 1 {
		t.Errorf("export of a lane: %s", r.out)
	}
	for code, calls := range map[daemon.Code][][]string{
		daemon.Usage:     {{"ls", "x"}, {"peek", "-n", "0"}, {"peek", "--from", "x"}, {"peek", "--body", "many"}, {"export", "--lane", "a b"}, {"purge"}, {"purge", "--lane", "alarms", "--before", "soon"}, {"purge", "--lane", "alarms", "--before", "0"}},
		daemon.BadConfig: {{"ls", "--lane", "nothing"}, {"peek", "--lane", "nothing"}, {"export", "--lane", "nothing"}, {"purge", "--lane", "nothing"}, {"purge", "--lane", "nothing", "--yes"}},
	} {
		for _, args := range calls {
			if r := onQueue(t, dir, code, args...); r.out != "" {
				t.Errorf("%q: %+v", args, r)
			}
		}
	}
	if r := onQueue(t, dir, 0, "purge", "--lane", "default", "--before", "24h"); !strings.HasPrefix(r.out, "2 messages of lane default would be dropped: 2 between 1 and 2\n") {
		t.Errorf("purge without --yes: %+v", r)
	}
}

// A purge does the same through an agent and without one, and the ledger gets its
// tombstones.
func TestQueuePurge(t *testing.T) {
	for _, running := range []bool{false, true} {
		t.Run(fmt.Sprintf("running=%v", running), func(t *testing.T) {
			dir := queueFolder(t)
			if running {
				withDaemon(t, dir, func(*agent.Agent) { purgeCommands(t, dir) })
			} else {
				purgeCommands(t, dir)
			}
			list := as[laneList](t, onQueue(t, dir, 0, "ls", "--json").out)
			if s := list.Lanes[0].Streams[0]; s.Backlog != 0 || len(s.Dropped) != 1 || s.Dropped[0].Numbers != 6 || s.Dropped[0].Pending != 6 || s.Dropped[0].Reason.String() != "purged" || len(s.Tombstones) == 0 || s.Tombstones[0].Time.IsZero() {
				t.Errorf("at rest: %+v", s)
			}
			if n := folderStatus(t, dir).Lanes[1].Backlog; n != 1 {
				t.Errorf("%d messages in the other lane", n)
			}
		})
	}
}

func purgeCommands(t *testing.T, dir string) {
	purge := func(want string, args ...string) {
		t.Helper()
		if r := onQueue(t, dir, 0, append([]string{"purge", "--lane", "default", "--yes"}, args...)...); !strings.HasPrefix(r.out, want) {
			t.Errorf("purge %q: %s", args, r.out)
		}
	}
	purge("2 messages of lane default are dropped: 2 between 1 and 2\n", "--before", "24h")
	purge("0 messages", "--before", "24h")
	purge("1 messages of lane default are dropped: 1 between 3 and 3\n", "--before", "4")
	purge("0 messages", "--before", "2020-01-31")
	r := onQueue(t, dir, 0, "peek")
	if !strings.Contains(r.out, ": purged\n") || !strings.Contains(r.out, "\n4  ") {
		t.Errorf("peek: %s", r.out)
	}
	items := as[[]held](t, onQueue(t, dir, 0, "peek", "--json").out)
	if d := items[0].Dropped; items[0].Seq != 1 || d == nil || d.String() != "purged" || items[0].DroppedAt.IsZero() || items[0].Content != nil {
		t.Errorf("peek --json: %+v", items[0])
	}
	if r := onQueue(t, dir, 0, "ls"); !strings.Contains(r.out, "lane default: 3 dropped, purged, between 1 and 3; the store has not heard of 3") {
		t.Errorf("ls: %s", r.out)
	}
	p := as[agent.Purged](t, onQueue(t, dir, 0, "purge", "--lane", "default", "--yes", "--json").out)
	if p.Messages != 3 || len(p.Streams) != 1 || p.Streams[0].From != 4 || p.Streams[0].To != 6 {
		t.Errorf("purge --json: %+v", p)
	}
	if r := onQueue(t, dir, 0, "purge", "--lane", "default", "--yes", "--json"); !strings.Contains(r.out, `"streams": []`) || !strings.Contains(r.out, `"done": true`) {
		t.Errorf("purge of nothing: %s", r.out)
	}
}

// Much comes in pages, through an agent and without one, also while the one becomes
// the other.
func TestQueueExportInPages(t *testing.T) {
	dir := t.TempDir()
	defer func(items, bytes int) { pageItems, pageHeldBytes = items, bytes }(pageItems, pageHeldBytes)
	pageItems, pageHeldBytes = 50, 20<<10
	const count, large, size = 155, 5, 30 << 10
	a, err := agent.Open(t.Context(), agent.Config{ID: "pump-7", Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	list := make([]agent.Message, count)
	for i := range list {
		list[i].Body = fmt.Append(nil, i+1)
	}
	for i := range large {
		list[i].Body = make([]byte, size)
	}
	if err := a.SendBatch(t.Context(), list); err != nil {
		t.Fatal(err)
	}
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	check := func(where string) {
		t.Helper()
		lines := strings.Split(strings.TrimSpace(onQueue(t, dir, 0, "export").out), "\n")
		if len(lines) != count {
			t.Fatalf("%s: %d lines", where, len(lines))
		}
		for i, text := range lines {
			if l := as[exportLine](t, text); int(l.Seq) != i+1 || i >= large && *l.Body != fmt.Sprint(i+1) || i < large && len(*l.Body) != size {
				t.Fatalf("%s: line %d is number %d", where, i+1, l.Seq)
			}
		}
	}
	check("at rest")
	withDaemon(t, dir, func(*agent.Agent) { check("running") })

	n := 0
	next := func(h *held) error {
		if n++; h.Seq != wire.Seq(n) {
			t.Fatalf("number %d comes as the %dth", h.Seq, n)
		}
		return nil
	}
	half := errors.New("half")
	r := heldRequest{Lane: "default", Body: 10}
	err = eachHeld(t.Context(), dir, r, func(h *held) error {
		if h.Seq == count/2 {
			return half
		}
		return next(h)
	})
	if err != half {
		t.Fatal(err)
	}
	r.From.Number = count / 2
	withDaemon(t, dir, func(*agent.Agent) {
		if err := eachHeld(t.Context(), dir, r, next); err != nil || n != count {
			t.Errorf("%d of %d, %v", n, count, err)
		}
	})
}

// What an operator may meet: a folder without its agent.json, damage, a folder of a
// program without a socket, a daemon that does not answer.
func TestQueueCommandsInTrouble(t *testing.T) {
	t.Run("no agent.json", func(t *testing.T) {
		dir := queueFolder(t)
		if err := os.Remove(filepath.Join(dir, "agent.json")); err != nil {
			t.Fatal(err)
		}
		before := filesOf(t, dir)
		if r := onQueue(t, dir, 1, "ls"); !strings.Contains(r.out, "default  at-rest") || !strings.Contains(r.stderr, "agent.json") {
			t.Errorf("ls: %+v", r)
		}
		if r := onQueue(t, dir, 0, "export"); strings.Count(r.out, "\n") != 7 {
			t.Errorf("export: %+v", r)
		}
		if !slices.Equal(before, filesOf(t, dir)) {
			t.Error("the folder has changed")
		}
		onQueue(t, dir, 0, "purge", "--lane", "default", "--yes") // the lane says whose it is
		if id, _, err := agent.ReadLanes(dir); id != "pump-7" || err != nil {
			t.Errorf("agent.json is not back: %q, %v", id, err)
		}
	})
	t.Run("damage", func(t *testing.T) {
		dir := queueFolder(t)
		segs, _ := filepath.Glob(filepath.Join(dir, "lane-default", "*.seg"))
		b, err := os.ReadFile(segs[0])
		if err != nil {
			t.Fatal(err)
		}
		copy(b, make([]byte, 8192))
		if err := os.WriteFile(segs[0], b, 0o600); err != nil {
			t.Fatal(err)
		}
		before := filesOf(t, dir)
		if r := onQueue(t, dir, 1, "ls"); !strings.Contains(r.out, "lane default: damage: ") || !strings.Contains(r.out, "alarms  at-rest") || !strings.Contains(r.stderr, "damaged: lane default") {
			t.Errorf("ls: %+v", r)
		}
		if r := onQueue(t, dir, 1, "export"); strings.Count(r.out, "\n") != 7 || !strings.Contains(r.stderr, "damaged") {
			t.Errorf("export: %+v", r)
		}
		if r := onQueue(t, dir, 1, "peek", "-n", "3"); !strings.Contains(r.out, "one") {
			t.Errorf("peek: %+v", r)
		}
		if !slices.Equal(before, filesOf(t, dir)) {
			t.Error("the folder has changed")
		}
	})
	t.Run("an embedder", func(t *testing.T) {
		dir := queueFolder(t)
		a, err := agent.Open(t.Context(), agent.Config{Dir: dir})
		if err != nil {
			t.Fatal(err)
		}
		defer a.Close()
		for _, args := range [][]string{{"ls"}, {"peek"}, {"export"}, {"purge", "--lane", "default"}, {"purge", "--lane", "default", "--yes"}} {
			if r := onQueue(t, dir, daemon.TryLater, args...); r.out != "" {
				t.Errorf("%q: %+v", args, r)
			}
		}
	})
	t.Run("no folder", func(t *testing.T) {
		dir := filepath.Join(t.TempDir(), "missing")
		for _, args := range [][]string{{"ls"}, {"peek"}, {"export"}, {"purge", "--lane", "default"}, {"purge", "--lane", "default", "--yes"}} {
			if r := onQueue(t, dir, 1, args...); r.out != "" || !strings.Contains(r.stderr, "no such file") {
				t.Errorf("%q: %+v", args, r)
			}
		}
		if _, err := os.Stat(dir); err == nil {
			t.Error("it was made")
		}
	})
	t.Run("no answer", func(t *testing.T) {
		dir := queueFolder(t)
		l, err := control.Listen(dir)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		silent := http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
		go func() { ended <- control.Serve(ctx, l, silent, time.Second) }()
		for _, args := range [][]string{{"ls"}, {"peek"}, {"export"}, {"purge", "--lane", "default"}} {
			onQueue(t, dir, daemon.Unreachable, args...)
		}
		onQueue(t, dir, daemon.Unknown, "purge", "--lane", "default", "--yes")
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}
