package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/fieldpost/fieldpost/agent"
	"github.com/fieldpost/fieldpost/internal/control"
	"github.com/fieldpost/fieldpost/internal/daemon"
	lanes "github.com/fieldpost/fieldpost/queue"
	"github.com/fieldpost/fieldpost/wire"
)

// refuse makes dead letters of some numbers of a lane that nobody has open.
func refuse(t *testing.T, dir, lane string, numbers ...wire.Seq) {
	t.Helper()
	q, err := lanes.OpenLane(t.Context(), lanes.Config{Dir: filepath.Join(dir, "lane-"+lane), Agent: "pump-7", Lane: wire.Lane(lane)})
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range numbers {
		if _, err := q.Reject(t.Context(), q.Streams()[0].Epoch, n, fmt.Sprintf("bad\nnumber %d", n)); err != nil {
			t.Fatal(err)
		}
	}
	if err := q.Close(); err != nil {
		t.Fatal(err)
	}
}

func deadFolder(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for i, args := range [][]string{{"one"}, {"two \xff"}, {"three", "--topic", "t/3"}, {"four", "--lane", "alarms"}} {
		if r := command(t, "", append([]string{"send", "--dir", dir, "--id", "pump-7"}, args...)...); r.code != 0 {
			t.Fatalf("send %d: %+v", i, r)
		}
	}
	refuse(t, dir, "default", 1, 2, 3)
	refuse(t, dir, "alarms", 1)
	return dir
}

// withDaemon calls f while an agent that answers commands has dir.
func withDaemon(t *testing.T, dir string, f func(a *agent.Agent)) {
	t.Helper()
	a, err := agent.Open(t.Context(), agent.Config{Dir: dir, Lanes: map[string]agent.LaneConfig{"alarms": {}}})
	if err != nil {
		t.Fatal(err)
	}
	l, err := control.Listen(dir)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- control.Serve(ctx, l, handler(a, nil, nil), time.Second) }()
	f(a)
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if err := a.Close(); err != nil {
		t.Error(err)
	}
}

// The commands do the same whether an agent runs on the folder or not.
func TestDeadLetterCommands(t *testing.T) {
	for _, running := range []bool{false, true} {
		t.Run(fmt.Sprintf("running=%v", running), func(t *testing.T) {
			dir := deadFolder(t)
			if running {
				withDaemon(t, dir, func(*agent.Agent) { deadCommands(t, dir) })
			} else {
				deadCommands(t, dir)
			}
		})
	}
}

func deadCommands(t *testing.T, dir string) {
	dead := func(args ...string) result {
		t.Helper()
		return command(t, "", append([]string{"queue", "dead", args[0], "--dir", dir}, args[1:]...)...)
	}
	list := func(args ...string) (ids []string) {
		t.Helper()
		r := dead(append([]string{"ls", "--json"}, args...)...)
		var l []letter
		if err := json.Unmarshal([]byte(r.out), &l); r.code != 0 || err != nil {
			t.Fatalf("ls: %+v, %v", r, err)
		}
		for _, it := range l {
			if it.Why != fmt.Sprintf("bad\nnumber %d", it.Seq) || it.Refused.IsZero() || it.Bytes == 0 || it.Body != nil {
				t.Errorf("letter %+v", it)
			}
			ids = append(ids, it.Lane+" "+it.ID.String())
		}
		return ids
	}
	want := func(want ...string) {
		t.Helper()
		if got := list(); fmt.Sprint(got) != fmt.Sprint(want) {
			t.Fatalf("dead letters %q, want %q", got, want)
		}
	}
	want("default 0", "default 1", "default 2", "alarms 0")
	if got := list("--lane", "alarms"); len(got) != 1 {
		t.Errorf("of one lane: %q", got)
	}
	if r := dead("ls"); r.code != 0 || !strings.Contains(r.out, "t/3") || strings.Count(r.out, "\n") != 5 {
		t.Errorf("for people: %+v", r)
	}
	r := dead("export")
	lines := strings.Split(strings.TrimSpace(r.out), "\n")
	var second letter
	if err := json.Unmarshal([]byte(lines[1]), &second); r.code != 0 || len(lines) != 4 || err != nil || string(second.BodyBase64) != "two \xff" {
		t.Errorf("export: %+v, %v", r, err)
	}

	if r := dead("retry", "1"); r.code != 0 || !strings.HasPrefix(r.out, "1 dead letters of lane default") {
		t.Errorf("retry: %+v", r)
	}
	want("default 0", "default 2", "alarms 0")
	for _, c := range []struct {
		code daemon.Code
		args []string
	}{
		{daemon.No, []string{"retry", "1"}},
		{daemon.No, []string{"discard", "--yes", "0", "9"}},
		{daemon.BadConfig, []string{"retry", "0", "--lane", "nothing"}},
		{daemon.BadConfig, []string{"ls", "--lane", "nothing"}},
		{daemon.Usage, []string{"retry"}},
		{daemon.Usage, []string{"retry", "x"}},
		{daemon.Usage, []string{"retry", "0", "--all"}},
		{daemon.Usage, []string{"discard", "0"}},
		{daemon.Usage, []string{"discard", "--all"}},
	} {
		if r := dead(c.args...); r.code != c.code || r.out != "" || r.stderr == "" {
			t.Errorf("%q: %+v, want code %d", c.args, r, c.code)
		}
	}
	want("default 0", "default 2", "alarms 0")
	if _, err := os.Stat(filepath.Join(dir, "lane-nothing")); err == nil {
		t.Error("a slip of the pen has made a lane")
	}
	if r := dead("discard", "0", "--yes"); r.code != 0 {
		t.Errorf("discard: %+v", r)
	}
	if r := dead("retry", "--all", "--lane", "alarms"); r.code != 0 {
		t.Errorf("retry --all: %+v", r)
	}
	want("default 2")
	if r := dead("discard", "--all", "--yes"); r.code != 0 {
		t.Errorf("discard --all: %+v", r)
	}
	want()
	if r := dead("ls"); r.code != 0 || r.out != "no dead letters\n" {
		t.Errorf("for people: %+v", r)
	}
	st := folderStatus(t, dir)
	if l := st.Lanes[0]; l.Accepted != 4 || l.Backlog != 1 || l.DeadLetters != 3 || l.LettersKept != 0 {
		t.Errorf("status: %+v", l)
	}
}

// Many letters come in several pages.
func TestDeadLettersInPages(t *testing.T) {
	dir := t.TempDir()
	a, err := agent.Open(t.Context(), agent.Config{ID: "pump-7", Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	const count = 90
	var numbers []wire.Seq
	for i := range count {
		if err := a.Send(t.Context(), agent.Message{Body: make([]byte, 150<<10)}); err != nil {
			t.Fatal(err)
		}
		numbers = append(numbers, wire.Seq(i+1))
	}
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	refuse(t, dir, "default", numbers...)
	withDaemon(t, dir, func(a *agent.Agent) {
		r := command(t, "", "queue", "dead", "export", "--dir", dir)
		if n := strings.Count(r.out, "\n"); r.code != 0 || n != count {
			t.Errorf("%d of %d letters, code %d: %s", n, count, r.code, r.stderr)
		}
	})
}
