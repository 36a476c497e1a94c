package main

import (
	"context"
	"encoding/json"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/fieldpost/fieldpost/collector"
	"github.com/fieldpost/fieldpost/collector/journal"
	"github.com/fieldpost/fieldpost/wire"
)

// troubled makes a journal in which an agent has announced 20 numbers, dropped
// five, declared three as lost at the store, and come back with an empty folder.
func troubled(t *testing.T, dir string, ids ...wire.AgentID) {
	t.Helper()
	j, err := journal.Open(journal.Options{Dir: dir, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range ids {
		ctx, at := context.Background(), time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
		connect := func(instance byte, next wire.Seq) (s collector.Session, stream collector.Stream, inc wire.Incarnation) {
			stream, inc = collector.Stream{Lane: "default", Epoch: wire.Epoch{ID: wire.NewID()}}, wire.Incarnation{ID: wire.NewID()}
			g, err := j.Hello(ctx, collector.Hello{Hello: wire.Hello{Agent: id, Streams: 1, Instance: wire.Instance{ID: wire.ID{instance}}}, Time: at,
				Streams: []wire.StreamState{{Lane: "default", Epoch: stream.Epoch, Next: next, Boundaries: wire.History{{Incarnation: inc, First: 1}}}}})
			if err != nil {
				t.Fatal(err)
			}
			s = collector.Session{Agent: id, Session: g.Session}
			if _, err := j.Resume(ctx, s, wire.Resume{Lane: "default", Epoch: stream.Epoch, Next: next, Boundaries: wire.History{{Incarnation: inc, First: 1}}}); err != nil {
				t.Fatal(err)
			}
			return s, stream, inc
		}
		s, stream, inc := connect(1, 21)
		drop := func(from, to wire.Seq, reason wire.Reason, at time.Time) collector.Append {
			return collector.Append{Stream: stream, Time: at.Add(time.Hour), Entry: wire.Entry{From: from, To: to, Incarnation: inc, Reason: reason, Time: at}}
		}
		if _, err := j.Append(ctx, s, []collector.Append{drop(1, 3, wire.ReasonOverflow, at), drop(4, 5, wire.ReasonOverflow, at.Add(time.Minute)), drop(6, 8, wire.ReasonLostAtStore, at)}); err != nil {
			t.Fatal(err)
		}
		connect(2, 1)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestAuditExplainsAndIsClosed(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	troubled(t, filepath.Join(dir, "store"), "pump-7", "pump-8")
	audit := func(code int, args ...string) string {
		t.Helper()
		got, out, stderr := call(t, dir, "collector", append([]string{"audit", "--dir", "store"}, args...)...)
		if got != code {
			t.Fatalf("audit %v: exit code %d, want %d\n%s%s", args, got, code, out, stderr)
		}
		return out + stderr
	}
	has := func(out string, want ...string) {
		t.Helper()
		for _, w := range want {
			if !strings.Contains(out, w) {
				t.Errorf("it does not say %q:\n%s", w, out)
			}
		}
	}
	has(audit(1), "overflow", "1-5", "2026-01-02T03:04:05Z to 2026-01-02T03:05:05Z", "9-20", "UNEXPLAINED: agent pump-7", "LOST-AT-STORE: agent pump-8", "what to do:", "max_bytes",
		"HISTORY: agent pump-7", "empty folder")
	one := audit(1, "--agent", "pump-7", "--lane", "default")
	has(one, "every range", "1-5 overflow: 5", "6-8 lost-at-store: 3", "9-20 unexplained: 12")
	if strings.Contains(one, "pump-8") {
		t.Errorf("it speaks of another agent:\n%s", one)
	}
	if out := audit(1, "--agent", "pump-9"); strings.Contains(out, "pump-7") {
		t.Errorf("it speaks of another agent:\n%s", out)
	}

	has(audit(0, "close", "pump-7", "--reason", "the disk burned"), "15 numbers would be accepted", "nothing is changed")
	for args, code := range map[string]int{"pump-9 --reason x": 1, "pump-7/none --reason x": 1, "pump-7": 2, "pump-7/default/zz --reason x": 2, "a/b/c/d --reason x": 2} {
		if got, out, _ := call(t, dir, "collector", append([]string{"audit", "close", "--dir", "store"}, strings.Fields(args)...)...); got != code {
			t.Errorf("close %s: exit code %d, want %d\n%s", args, got, code, out)
		}
	}
	audit(1)
	// On the folder of a stopped collector, and beside a running one.
	has(audit(0, "close", "pump-7/default", "--reason", "the disk burned", "--by", "ann", "--yes"), "accepted 15 numbers in the name of ann")
	if out := audit(1); strings.Contains(out, "UNEXPLAINED: agent pump-7") {
		t.Errorf("pump-7 is still unexplained:\n%s", out)
	}
	p, _, _ := collectorDaemon(t, dir, "--dir", "store")
	has(audit(0, "close", "pump-8", "--reason", "the same fire", "--yes"), "accepted 15 numbers")
	has(audit(0, "close", "pump-8", "--reason", "the same fire", "--yes"), "nothing to accept")
	has(audit(0), "unexplained (closed)", "CLOSED: agent pump-7: 15 numbers accepted by ann", "the same fire")
	has(audit(0, "--all"), "closed by ann at", "the disk burned")

	var r struct {
		OK     bool `json:"ok"`
		Ranges []struct {
			Agent  string          `json:"agent"`
			From   uint64          `json:"from"`
			Why    string          `json:"why"`
			Closed *journal.Closed `json:"closed"`
			Next   string          `json:"next"`
		} `json:"ranges"`
		Streams  []json.RawMessage `json:"streams"`
		Closings []struct {
			Agent  string `json:"agent"`
			By     string `json:"by"`
			Reason string `json:"reason"`
		} `json:"closings"`
		Incidents []struct {
			Kind string `json:"kind"`
		} `json:"incidents"`
	}
	if err := json.Unmarshal([]byte(audit(0, "--json")), &r); err != nil {
		t.Fatal(err)
	}
	closed := 0
	for _, g := range r.Ranges {
		if g.Closed != nil && g.Closed.Reason != "" && g.Next != "" {
			closed++
		}
	}
	if !r.OK || len(r.Ranges) != 6 || closed != 4 || len(r.Streams) != 4 || len(r.Closings) != 2 || r.Closings[0].By != "ann" || len(r.Incidents) != 4 || r.Incidents[1].Kind != "new-folder" {
		t.Errorf("--json says ok %v, %d ranges, %d closed, %d streams, closings %+v, incidents %+v", r.OK, len(r.Ranges), closed, len(r.Streams), r.Closings, r.Incidents)
	}
	code, out, stderr := call(t, dir, "collector", "agents", "pump-7", "--dir", "store")
	if code != 0 {
		t.Errorf("agents pump-7: exit code %d, %s", code, stderr)
	}
	has(out, "began anew with an empty folder", "next, new folder:", "by ann: the disk burned", "9-20, unexplained", "6-8, lost-at-store")
	_, out, _ = call(t, dir, "collector", "agents", "--dir", "store", "--json")
	has(out, `"kind": "new-folder"`)
	if code, _, _ := call(t, dir, "collector", "agents", "pump-9", "--dir", "store"); code != 1 {
		t.Errorf("an agent that nobody knows: exit code %d", code)
	}
	p.stop()
}
