package agent_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/fieldpost/fieldpost/agent"
	"github.com/fieldpost/fieldpost/collector"
	"github.com/fieldpost/fieldpost/collector/storetest"
	"github.com/fieldpost/fieldpost/wire"
)

// carrier is an agent without a link.
type carrier struct {
	*agent.Agent
	t *testing.T
}

func openCarrier(t *testing.T, dir, id string) *carrier {
	t.Helper()
	a, err := agent.Open(t.Context(), agent.Config{ID: id, Dir: dir, Lanes: map[string]agent.LaneConfig{"bulk": {SegmentSize: 64 << 10}}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.Close() })
	return &carrier{a, t}
}

func (c *carrier) send(lane string, n int) {
	c.t.Helper()
	for i := range n {
		if err := c.Send(c.t.Context(), agent.Message{Lane: lane, Body: fmt.Append(nil, lane, i, strings.Repeat("x", 1000))}); err != nil {
			c.t.Fatal(err)
		}
	}
}

func (c *carrier) carry(o agent.CarryOptions) []byte {
	c.t.Helper()
	var b bytes.Buffer
	if _, err := c.Carry(c.t.Context(), &b, o); err != nil {
		c.t.Fatal(err)
	}
	return b.Bytes()
}

func bring(t *testing.T, s collector.Store, file []byte) []byte {
	t.Helper()
	r, err := collector.ImportFile(t.Context(), s, bytes.NewReader(file), collector.ImportOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return r.Receipt
}

func (c *carrier) backlog() (n uint64) {
	for _, l := range c.Status().Lanes {
		n += l.Backlog
	}
	return n
}

func segments(t *testing.T, dir string) int {
	t.Helper()
	list, err := filepath.Glob(filepath.Join(dir, "lane-bulk", "*.seg"))
	if err != nil {
		t.Fatal(err)
	}
	return len(list)
}

func TestRule16OnlyTheReceiptFrees(t *testing.T) {
	dir := t.TempDir()
	c := openCarrier(t, dir, "pump-7")
	if _, err := c.Carry(t.Context(), &bytes.Buffer{}, agent.CarryOptions{}); !errors.Is(err, agent.ErrNothing) {
		t.Errorf("an empty folder: %v", err)
	}
	c.send("bulk", 300)
	c.send("default", 10)
	before := segments(t, dir)
	store := storetest.NewMemory()
	first := bring(t, store, c.carry(agent.CarryOptions{Lane: "bulk"}))
	if before < 3 || segments(t, dir) != before || c.backlog() != 310 {
		t.Errorf("an export has freed something: %d segments of %d, backlog %d", segments(t, dir), before, c.backlog())
	}
	c.send("bulk", 50)
	second := bring(t, store, c.carry(agent.CarryOptions{}))
	settle := func(what string, receipt []byte, backlog uint64) {
		t.Helper()
		if _, err := c.Settle(t.Context(), bytes.NewReader(receipt), agent.SettleOptions{}); err != nil || c.backlog() != backlog {
			t.Errorf("%s: %v, backlog %d, want %d", what, err, c.backlog(), backlog)
		}
	}
	settle("the first receipt", first, 60)
	for end := time.Now().Add(10 * time.Second); segments(t, dir) >= before; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%d segments of %d are left", segments(t, dir), before)
		}
	}
	settle("the second", second, 0)
	settle("the first, late", first, 0)
	c.send("default", 1)
	settle("the second, late", second, 1)
	if _, err := c.Carry(t.Context(), &bytes.Buffer{}, agent.CarryOptions{Lane: "none"}); !errors.Is(err, agent.ErrUnknownLane) {
		t.Errorf("an unknown lane: %v", err)
	}
	if err := c.Agent.Close(); err != nil {
		t.Fatal(err)
	}
	if d := openCarrier(t, dir, "pump-7"); d.backlog() != 1 {
		t.Errorf("after a restart %d wait, want 1", d.backlog())
	}
	if got := len(store.Entries()); got == 0 {
		t.Error("nothing is stored")
	}
}

func TestReceiptsThatAreRefused(t *testing.T) {
	dir := t.TempDir()
	c := openCarrier(t, dir, "pump-7")
	c.send("default", 10)
	older := filepath.Join(t.TempDir(), "older")
	if err := os.CopyFS(older, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	c.send("default", 10)
	store := storetest.NewMemory()
	file := c.carry(agent.CarryOptions{})
	receipt := bring(t, store, file)

	refused := func(what string, c *carrier, receipt []byte, want error) {
		t.Helper()
		before := c.backlog()
		list, err := c.Settle(t.Context(), bytes.NewReader(receipt), agent.SettleOptions{})
		if !errors.Is(err, want) || c.backlog() != before {
			t.Errorf("%s: %v, want %v; backlog %d, was %d", what, err, want, c.backlog(), before)
		}
		for _, s := range list {
			if s.To > 0 || s.Error == "" {
				t.Errorf("%s: %+v", what, s)
			}
		}
	}
	other := openCarrier(t, t.TempDir(), "pump-8")
	other.send("default", 30)
	refused("another agent's", other, receipt, agent.ErrReceipt)
	back := openCarrier(t, older, "pump-7")
	refused("a folder that was put back", back, receipt, agent.ErrReceipt)
	back.send("default", 20)
	refused("and has other numbers there", back, receipt, agent.ErrReceipt)
	refused("a damaged one", c, append(bytes.Clone(receipt[:len(receipt)-3]), "00\n"...), agent.ErrBadFile)
	refused("a carry file", c, file, agent.ErrBadFile)

	// The other line goes on beside, and both are stored.
	bring(t, store, back.carry(agent.CarryOptions{}))
	bodies := 0
	for _, e := range store.Entries() {
		bodies += int(e.Entry.To - e.Entry.From + 1)
	}
	if bodies != 20+20 {
		t.Errorf("%d numbers are stored, want 10 that both lines have, 10 and 20", bodies)
	}

	if _, err := c.Settle(t.Context(), bytes.NewReader(receipt), agent.SettleOptions{}); err != nil || c.backlog() != 0 {
		t.Fatalf("%v, backlog %d", err, c.backlog())
	}
	c.send("default", 5)
	file = c.carry(agent.CarryOptions{})
	// Rule 4: another store takes it only if it takes the first one's place.
	stranger := storetest.NewMemory()
	if _, err := collector.ImportFile(t.Context(), stranger, bytes.NewReader(file), collector.ImportOptions{}); !errors.Is(err, collector.ErrOtherStore) || len(stranger.Entries()) > 0 {
		t.Errorf("a store that replaces nothing: %v", err)
	}
	heir := storetest.NewMemory().Replaces(store.Identity().ID)
	receipt = bring(t, heir, file)
	if list := heir.Entries(); len(list) != 6 || list[0].Entry.Reason != wire.ReasonStoredIn || list[0].Entry.To != 20 || list[0].Entry.Detail != store.Identity().ID.String() {
		t.Errorf("the heir has %d entries: %+v", len(list), list)
	}
	if _, err := c.Settle(t.Context(), bytes.NewReader(receipt), agent.SettleOptions{}); err != nil || c.backlog() != 0 {
		t.Errorf("the heir's receipt: %v, backlog %d", err, c.backlog())
	}
	c.send("default", 1)
	if _, err := collector.ImportFile(t.Context(), store, bytes.NewReader(c.carry(agent.CarryOptions{})), collector.ImportOptions{}); !errors.Is(err, collector.ErrOtherStore) {
		t.Errorf("back to the first store: %v", err)
	}
}

// A store that lacks what is not on the stick says so, and takes it when it is.
func TestAStoreThatWasSetBack(t *testing.T) {
	c := openCarrier(t, t.TempDir(), "pump-7")
	c.send("bulk", 200)
	first := c.carry(agent.CarryOptions{})
	lost := storetest.NewMemory()
	if _, err := c.Settle(t.Context(), bytes.NewReader(bring(t, lost, first)), agent.SettleOptions{}); err != nil {
		t.Fatal(err)
	}
	c.send("bulk", 20)
	second := c.carry(agent.CarryOptions{})
	// The same store, set back: nobody else has the numbers.
	back := collectorOf(lost.Identity())
	_, err := collector.ImportFile(t.Context(), back, bytes.NewReader(second), collector.ImportOptions{})
	if !errors.Is(err, collector.ErrGap) || !strings.Contains(err.Error(), "numbers 1 to 200") || len(back.Entries()) > 0 {
		t.Errorf("a gap: %v", err)
	}
	all := c.carry(agent.CarryOptions{All: true})
	dry, err := collector.ImportFile(t.Context(), back, bytes.NewReader(all), collector.ImportOptions{DryRun: true, DeclareLost: true})
	if err != nil || dry.Streams[0].Stored < 20 || dry.Streams[0].W != 220 || dry.Receipt != nil || len(back.Entries()) > 0 {
		t.Errorf("a dry run: %+v, %v", dry, err)
	}
	bring(t, back, first)
	bring(t, back, second)
	again := collectorOf(lost.Identity())
	report, err := collector.ImportFile(t.Context(), again, bytes.NewReader(all), collector.ImportOptions{DeclareLost: true})
	if err != nil || report.Streams[0].Stored != dry.Streams[0].Stored || report.Streams[0].Stored < 20 || report.Streams[0].Stored+report.Streams[0].Tombstoned != 220 {
		t.Errorf("what is left, and the rest declared: %+v, %v", report, err)
	}
	if e := again.Entries()[0].Entry; e.Reason != wire.ReasonLostAtStore {
		t.Errorf("the first entry is %+v", e)
	}
}

// setBack is an empty store with the id of another.
type setBack struct {
	*storetest.Memory
	id collector.Identity
}

func (s setBack) Identity() collector.Identity { return s.id }

func collectorOf(id collector.Identity) setBack { return setBack{storetest.NewMemory(), id} }

// An export that fails leaves no file that counts as whole.
func TestACarryFileThatIsCutShort(t *testing.T) {
	c := openCarrier(t, t.TempDir(), "pump-7")
	c.send("bulk", 100)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var b bytes.Buffer
	if _, err := c.Carry(ctx, &b, agent.CarryOptions{}); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	if _, err := collector.ImportFile(t.Context(), storetest.NewMemory(), &b, collector.ImportOptions{}); !errors.Is(err, collector.ErrCarryFile) {
		t.Errorf("what was written: %v", err)
	}
}
