package agent_test

import (
	"errors"
	"testing"

	"github.com/fieldpost/fieldpost/agent"
)

func TestWhatAnInputHasReadIsStoredWithItsMessages(t *testing.T) {
	cfg := agent.Config{
		ID: "pump-7", Dir: t.TempDir(),
		Lanes:  map[string]agent.LaneConfig{"alarms": {}},
		Routes: []agent.Route{{Topic: "alarm/#", Lane: "alarms"}},
	}
	a, err := agent.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	hot := agent.Message{Topic: "alarm/heat", Body: []byte("hot")}
	if lane, err := a.LaneOf(&hot); lane != "alarms" || err != nil {
		t.Fatalf("lane %q, %v", lane, err)
	}
	if err := a.SendFrom(t.Context(), "alarms", []agent.Message{hot}, agent.Checkpoint{Source: "x.log", At: []byte("4")}); err != nil {
		t.Fatal(err)
	}
	for _, lane := range []string{"", "none"} {
		if err := a.SendFrom(t.Context(), lane, []agent.Message{hot}); !errors.Is(err, agent.ErrUnknownLane) {
			t.Errorf("lane %q: %v", lane, err)
		}
	}
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	delete(cfg.Lanes, "alarms") // it is drained, and still known
	cfg.Routes = nil
	a = mustOpen(t, cfg)
	all := a.Checkpoints()
	if got := all["alarms"]; len(all) != 1 || len(got) != 1 || got[0].Source != "x.log" || string(got[0].At) != "4" {
		t.Errorf("checkpoints %v", all)
	}
}
