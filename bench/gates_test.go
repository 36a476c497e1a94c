package main

import (
	"io"
	"strings"
	"testing"
	"time"
)

// The gates hold what does not depend on how busy a machine is, by bounds well
// above what was measured (docs/BENCHMARKS.md); times are not gated.
const (
	mostSyncs      = 0.04 // a message, 64 producers: measured 0.018
	mostWritten    = 4.0  // bytes a payload byte, 64 producers: measured 2.4
	mostWritten256 = 2.8  // the same with 256: measured 1.5
	mostPutCPU     = 30   // seconds a million messages, 64 producers: measured 7
	mostDrainCPU   = 3    // the agent's, for the drain: measured 0.8
	mostStoreCPU   = 6    // the collector's, for the drain: measured 1.5
	mostMemory     = 100  // MiB of anonymous memory of either side
)

func TestMain(m *testing.M) { playOr(m.Run) }

func testBench(t *testing.T) *bench {
	return &bench{dir: t.TempDir(), rounds: 1, max: 5 * time.Second}
}

func TestSyncsBytesAndCPUOfPut(t *testing.T) {
	for _, c := range []struct {
		producers   int
		mostWritten float64
	}{{64, mostWritten}, {256, mostWritten256}} {
		runs, err := testBench(t).compare([]string{"queue"}, Load{Producers: c.producers, Batch: 1, Messages: 2500, Max: time.Minute})
		if err != nil {
			t.Fatal(err)
		}
		var all LaneDone
		for _, d := range runs["queue"] {
			all.Messages += d.Messages
			all.Syncs += d.Syncs
			all.Used.CPU += d.Used.CPU
			all.Used.Written += d.Used.Written
		}
		n := float64(all.Messages)
		syncs, written, cpu := float64(all.Syncs)/n, float64(all.Used.Written)/n/bodySize, perMillion(all.Used, all.Messages)
		t.Logf("%d producers, %d messages: %.3f syncs a message, %.2f bytes written a payload byte, %.1f s of CPU a million", c.producers, all.Messages, syncs, written, cpu)
		if syncs > mostSyncs {
			t.Errorf("%d producers: %.3f syncs a message, want at most %.2f", c.producers, syncs, mostSyncs)
		}
		if written > c.mostWritten {
			t.Errorf("%d producers: %.2f bytes written a payload byte, want at most %.1f", c.producers, written, c.mostWritten)
		}
		if cpu > mostPutCPU {
			t.Errorf("%d producers: %.1f s of CPU a million messages, want at most %d", c.producers, cpu, mostPutCPU)
		}
	}
}

func TestCPUAndMemoryOfTheWholeWay(t *testing.T) {
	j, err := testBench(t).travel(&way{"batches", Load{Producers: 4, Batch: 1000, Messages: 300_000}, false, false})
	if err != nil {
		t.Fatal(err)
	}
	agent, store := perMillion(j.agentUsed, j.put.Messages), perMillion(j.storeUsed, j.put.Messages)
	t.Logf("%d messages: drain %.2f s of CPU a million for the agent, %.2f for the collector; anonymous memory %s and %s MiB",
		j.put.Messages, agent, store, mebi(float64(j.agentPeak)), mebi(float64(j.storePeak)))
	if agent > mostDrainCPU || store > mostStoreCPU {
		t.Errorf("drain takes %.2f s of CPU a million from the agent and %.2f from the collector, want at most %d and %d", agent, store, mostDrainCPU, mostStoreCPU)
	}
	if most := max(j.agentPeak, j.storePeak); most > mostMemory<<20 {
		t.Errorf("one side has had %s MiB of anonymous memory, want at most %d", mebi(float64(most)), mostMemory)
	}
}

func TestBadArgumentsAreNamed(t *testing.T) {
	for args, want := range map[string]string{"-rounds=0": "-rounds 0", "speed": `"speed"`} {
		if err := run([]string{args}, io.Discard); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want an error with %s", args, err, want)
		}
	}
}
