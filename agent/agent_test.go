package agent

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fieldpost/fieldpost/internal/leak"
)

func TestMain(m *testing.M) { leak.Main(m) }

func open(t *testing.T, cfg Config) *Agent {
	t.Helper()
	a, err := Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := a.Close(); err != nil {
			t.Error(err)
		}
	})
	return a
}

func send(t *testing.T, a *Agent, m Message) {
	t.Helper()
	if err := a.Send(t.Context(), m); err != nil {
		t.Fatal(err)
	}
}

func TestAcceptsWithoutACollectorAndKeepsItOverARestart(t *testing.T) {
	cfg := Config{ID: "pump-7", Dir: t.TempDir(), Lanes: map[string]LaneConfig{"alarms": {}}}
	a := open(t, cfg)
	send(t, a, Message{Body: []byte("one")})
	send(t, a, Message{Lane: "alarms", Topic: "alarm/fire"})
	if err := a.SendBatch(t.Context(), []Message{{Body: []byte("two")}, {Body: []byte("three")}}); err != nil {
		t.Fatal(err)
	}
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	rest, err := ReadStatus(cfg.Dir)
	if err != nil {
		t.Fatal(err)
	}
	for what, s := range map[string]Status{"at rest": rest, "open again": open(t, cfg).Status()} {
		var names []string
		for _, l := range s.Lanes {
			names = append(names, l.Lane)
		}
		if s.ID != "pump-7" || !slices.Equal(names, []string{"default", "alarms"}) {
			t.Fatalf("%s: id %q, lanes %v", what, s.ID, names)
		}
		if d, al := s.Lanes[0], s.Lanes[1]; d.Accepted != 3 || d.Backlog != 3 || d.Acked != 0 || al.Accepted != 1 || d.Oldest.IsZero() || d.BacklogBytes == 0 {
			t.Errorf("%s: lanes %+v", what, s.Lanes)
		}
		if s.Link.State != "stopped" {
			t.Errorf("%s: link %q", what, s.Link.State)
		}
	}
}

func TestAFolderKeepsItsIdentity(t *testing.T) {
	dir := t.TempDir()
	open(t, Config{ID: "pump-7", Dir: dir}).Close()

	if _, err := Open(t.Context(), Config{ID: "pump-8", Dir: dir}); !errors.Is(err, ErrIdentity) || !strings.Contains(err.Error(), "pump-7") {
		t.Errorf("another id: %v", err)
	}
	if a := open(t, Config{Dir: dir}); a.ID() != "pump-7" {
		t.Errorf("no id: the folder says pump-7, the agent %q", a.ID())
	}
}

func TestALaneOfAnotherAgentIsRefused(t *testing.T) {
	dir := t.TempDir()
	for _, id := range []string{"a", "b"} {
		open(t, Config{ID: id, Dir: filepath.Join(dir, id)}).Close()
	}
	lane := filepath.Join(dir, "b", "lane-default")
	if err := errors.Join(os.RemoveAll(lane), os.Rename(filepath.Join(dir, "a", "lane-default"), lane)); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(t.Context(), Config{Dir: filepath.Join(dir, "b")}); !errors.Is(err, ErrIdentity) {
		t.Errorf("Open: %v", err)
	}
}

func TestTheDefaultIDIsTheHostsName(t *testing.T) {
	want, err := hostID()
	if err != nil {
		t.Logf("this host's name cannot be an agent id: %v", err)
		if _, err := Open(t.Context(), Config{Dir: t.TempDir()}); err == nil {
			t.Error("no error")
		}
		return
	}
	if a := open(t, Config{Dir: t.TempDir()}); a.ID() != string(want) {
		t.Errorf("id %q, want %q", a.ID(), want)
	}
}

func TestAFolderInUseIsRefused(t *testing.T) {
	dir := t.TempDir()
	a := open(t, Config{ID: "a", Dir: dir})
	if _, err := Open(t.Context(), Config{ID: "a", Dir: dir}); !errors.Is(err, ErrInUse) {
		t.Errorf("second Open: %v", err)
	}
	if _, err := ReadStatus(dir); !errors.Is(err, ErrInUse) {
		t.Errorf("ReadStatus: %v", err)
	}
	a.Close()
	open(t, Config{ID: "a", Dir: dir})
}

func TestAFolderThatIsNoQueueIsRefusedAndLeftAlone(t *testing.T) {
	cases := map[string]func(dir string) error{
		"identity is garbage": func(dir string) error { return os.WriteFile(filepath.Join(dir, identityFile), []byte("{{"), 0o600) },
		"identity without a format": func(dir string) error {
			return os.WriteFile(filepath.Join(dir, identityFile), []byte(`{"agent":"a"}`), 0o600)
		},
		"identity with a bad name": func(dir string) error {
			return os.WriteFile(filepath.Join(dir, identityFile), []byte(`{"format":1,"agent":"../a"}`), 0o600)
		},
		"identity names nobody": func(dir string) error {
			return os.WriteFile(filepath.Join(dir, identityFile), []byte(`{"format":1}`), 0o600)
		},
		"lanes without an identity": func(dir string) error { return os.MkdirAll(filepath.Join(dir, "lane-default"), 0o700) },
	}
	for name, make := range cases {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if err := make(dir); err != nil {
				t.Fatal(err)
			}
			before, _ := os.ReadFile(filepath.Join(dir, identityFile))
			if _, err := Open(t.Context(), Config{ID: "a", Dir: dir}); !errors.Is(err, ErrNotAQueue) {
				t.Errorf("Open: %v", err)
			}
			if after, _ := os.ReadFile(filepath.Join(dir, identityFile)); string(before) != string(after) {
				t.Errorf("%s was changed to %q", identityFile, after)
			}
		})
	}
}

func TestReadStatusMakesNothing(t *testing.T) {
	dir := t.TempDir()
	for _, d := range []string{dir, filepath.Join(dir, "missing")} {
		if _, err := ReadStatus(d); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: %v", d, err)
		}
	}
	if list, _ := os.ReadDir(dir); len(list) != 0 {
		t.Errorf("the folder holds %v", list)
	}
}

// A process that ends while it makes a lane leaves a folder without a segment.
func TestStatusOfALaneThatWasNotFinished(t *testing.T) {
	dir := t.TempDir()
	open(t, Config{ID: "a", Dir: dir}).Close()
	if err := os.Mkdir(filepath.Join(dir, "lane-alarms"), 0o700); err != nil {
		t.Fatal(err)
	}
	if st, err := ReadStatus(dir); err != nil || len(st.Lanes) != 2 || st.Lanes[1].Lane != "alarms" || st.Lanes[1].Accepted != 0 {
		t.Errorf("status %+v, %v", st, err)
	}
}

func TestWhatIsWrongWithAMessageIsSaid(t *testing.T) {
	a := open(t, Config{ID: "a", Dir: t.TempDir()})
	ctx := t.Context()
	for name, c := range map[string]struct {
		err  error
		want string
		is   error
	}{
		"unknown lane":  {a.Send(ctx, Message{Lane: "alarms"}), `"alarms"`, ErrUnknownLane},
		"too large":     {a.Send(ctx, Message{Body: make([]byte, 1<<20)}), "1048576", ErrTooLarge},
		"topic":         {a.Send(ctx, Message{Topic: "\xff"}), "UTF-8", nil},
		"mixed batch":   {a.SendBatch(ctx, []Message{{}, {Lane: "b"}}), `"b"`, ErrUnknownLane},
		"part of batch": {a.SendBatch(ctx, []Message{{}, {Body: make([]byte, 1<<20)}}), "message 2 of 2", ErrTooLarge},
	} {
		if c.err == nil || !strings.Contains(c.err.Error(), c.want) || c.is != nil && !errors.Is(c.err, c.is) {
			t.Errorf("%s: %v", name, c.err)
		}
	}
	if n := a.Status().Lanes[0].Accepted; n != 0 {
		t.Errorf("%d messages were accepted", n)
	}
	if err := a.SendBatch(ctx, nil); err != nil {
		t.Errorf("empty batch: %v", err)
	}
}

func TestBadConfigurationIsNamed(t *testing.T) {
	for want, cfg := range map[string]Config{
		`agent id "a b"`:   {ID: "a b"},
		`lane ".."`:        {Lanes: map[string]LaneConfig{"..": {}}},
		`"nowhere"`:        {Collectors: []string{"nowhere"}},
		"is not a folder":  {Dir: "agent_test.go"},
		"segment size of ": {Lanes: map[string]LaneConfig{"default": {SegmentSize: 1}}},
	} {
		if cfg.Dir == "" {
			cfg.Dir = t.TempDir()
		}
		if cfg.ID == "" {
			cfg.ID = "a"
		}
		if _, err := Open(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want an error with %s, have %v", want, err)
		}
	}
}

func TestSendAsyncCallsBackInOrder(t *testing.T) {
	a := open(t, Config{ID: "a", Dir: t.TempDir()})
	const n = 5000
	var got []int // written by the lane's goroutine alone, read after the last one
	var wg sync.WaitGroup
	wg.Add(n)
	for i := range n {
		a.SendAsync(Message{Body: []byte("x")}, func(err error) {
			if err != nil {
				t.Error(err)
			}
			got = append(got, i)
			wg.Done()
		})
	}
	wg.Wait()
	if len(got) != n || !slices.IsSorted(got) {
		t.Errorf("%d callbacks, in order: %v", len(got), slices.IsSorted(got))
	}
	var refused error
	a.SendAsync(Message{Lane: "none"}, func(err error) { refused = err })
	if !errors.Is(refused, ErrUnknownLane) {
		t.Errorf("unknown lane: %v", refused)
	}
}

func TestAContextThatHasEndedMeansNotStored(t *testing.T) {
	a := open(t, Config{ID: "a", Dir: t.TempDir()})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := a.Send(ctx, Message{}); !errors.Is(err, context.Canceled) {
		t.Errorf("Send: %v", err)
	}
	if n := a.Status().Lanes[0].Accepted; n != 0 {
		t.Errorf("%d accepted", n)
	}
}

func TestAClosedAgentRefuses(t *testing.T) {
	a := open(t, Config{ID: "a", Dir: t.TempDir()})
	a.Close()
	if err := a.Send(t.Context(), Message{}); !errors.Is(err, ErrClosed) {
		t.Errorf("Send: %v", err)
	}
	if err := a.SendBatch(t.Context(), []Message{{}}); !errors.Is(err, ErrClosed) {
		t.Errorf("SendBatch: %v", err)
	}
	if err := a.Close(); err != nil {
		t.Errorf("second Close: %v", err)
	}
}

func TestALaneThatLeftTheConfigurationIsDrainedButTakesNothing(t *testing.T) {
	dir := t.TempDir()
	a := open(t, Config{ID: "a", Dir: dir, Lanes: map[string]LaneConfig{"old": {}}})
	send(t, a, Message{Lane: "old"})
	a.Close()
	a = open(t, Config{ID: "a", Dir: dir})
	if s := a.Status(); len(s.Lanes) != 2 || s.Lanes[1].Lane != "old" || s.Lanes[1].Backlog != 1 {
		t.Errorf("lanes %+v", s.Lanes)
	}
	if err := a.Send(t.Context(), Message{Lane: "old"}); !errors.Is(err, ErrUnknownLane) {
		t.Errorf("Send: %v", err)
	}
}

func TestStatusNamesTheLinksTrouble(t *testing.T) {
	failed := make(chan struct{}, 1)
	a := open(t, Config{ID: "a", Dir: t.TempDir(), Collectors: []string{"127.0.0.1:1"}, InsecurePlaintext: true,
		Dial: func(context.Context, string, string) (net.Conn, error) {
			select {
			case failed <- struct{}{}:
			default:
			}
			return nil, errors.New("the cable is out")
		}})
	<-failed
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		if l := a.Status().Link; l.State == "waiting" && strings.Contains(l.Error, "the cable is out") && l.Collector == "127.0.0.1:1" && !l.NextAttempt.IsZero() {
			return
		} else if time.Now().After(deadline) {
			t.Fatalf("link %+v", l)
		}
	}
}

func TestStatusAsJSONRoundTrips(t *testing.T) {
	a := open(t, Config{ID: "a", Dir: t.TempDir()})
	send(t, a, Message{Body: []byte("x"), Time: time.Now().Add(-time.Minute)})
	want := a.Status()
	b, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	var got Status
	if err := json.Unmarshal(b, &got); err != nil {
		t.Fatal(err)
	}
	if got.ID != want.ID || got.Instance != want.Instance || got.Lanes[0].Epoch != want.Lanes[0].Epoch || got.Lanes[0].Backlog != 1 {
		t.Errorf("have %+v, want %+v", got, want)
	}
	if age := time.Duration(got.Lanes[0].OldestAge); age < time.Minute || age > 2*time.Minute {
		t.Errorf("oldest age %s in %s", age, b)
	}
}
