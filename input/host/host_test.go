package host

import (
	"context"
	"encoding/json"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fieldpost/fieldpost/agent"
	"github.com/fieldpost/fieldpost/input"
	"github.com/fieldpost/fieldpost/internal/leak"
)

func TestMain(m *testing.M) { leak.Main(m) }

// taker is an agent that answers as it is told.
type taker struct {
	mu   sync.Mutex
	errs []error
	got  []agent.Message
}

func (k *taker) Send(ctx context.Context, m agent.Message) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.errs) > 0 {
		err := k.errs[0]
		k.errs = k.errs[1:]
		return err
	}
	k.got = append(k.got, m)
	return nil
}

func TestASample(t *testing.T) {
	k := &taker{}
	in := New(k, Config{Topic: "host/metrics", Lane: "bulk", Interval: time.Second})
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { in.Run(ctx) })
	for in.Status().Messages == 0 {
		time.Sleep(time.Millisecond)
	}
	if st := in.Status(); st.State != input.Reading {
		t.Errorf("status %+v", st)
	}
	cancel()
	running.Wait()
	if st := in.Status(); st.State != input.Stopped {
		t.Errorf("status %+v", st)
	}
	m := k.got[0]
	var s sample
	if err := json.Unmarshal(m.Body, &s); err != nil || m.Topic != "host/metrics" || m.Lane != "bulk" {
		t.Fatalf("%+v, %v", m, err)
	}
	if s.CPU == nil || s.CPU.Count < 1 || s.Memory == nil || s.Memory.Total == 0 || s.Interval != 1 {
		t.Errorf("sample %s", m.Body)
	}
	var raw map[string]any
	json.Unmarshal(m.Body, &raw)
	for name := range raw {
		if !slices.Contains([]string{"host", "interval_seconds", "cpu", "memory", "disk", "network", "load"}, name) {
			t.Errorf("%s is not documented", name)
		}
	}
}

// A full lane is tried again until the next sample is due; other samples follow.
func TestASampleThatIsNotTaken(t *testing.T) {
	k := &taker{errs: []error{agent.ErrFull, agent.ErrFull, nil, agent.ErrUncertain, agent.ErrDropped}}
	in := New(k, Config{Interval: time.Second, Only: []string{"load"}})
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go in.Run(ctx)
		time.Sleep(3500 * time.Millisecond)
		if st := in.Status(); st.Messages != 2 || st.Missed != 1 || st.Dropped != 1 || st.Trouble != "" {
			t.Errorf("status %+v", st)
		}
		k.mu.Lock()
		for range 100 {
			k.errs = append(k.errs, agent.ErrFull)
		}
		k.mu.Unlock()
		time.Sleep(2 * time.Second)
		if st := in.Status(); st.Missed < 2 || st.State != input.Waiting || st.Trouble == "" {
			t.Errorf("status %+v", st)
		}
		cancel()
		synctest.Wait()
	})
}
