package storetest

import (
	"context"
	"testing"

	"github.com/fieldpost/fieldpost/collector"
)

// Hooks says how to get the store that is tested.
type Hooks struct {
	// Open returns an empty store of the test's own, and has it closed with t.
	Open func(t *testing.T) collector.Store

	// Reopen closes a store that Open or Reopen returned, as a restart does, and
	// returns it again. nil: the store does not survive a restart, and what that
	// would prove is left out.
	Reopen func(t *testing.T, s collector.Store) collector.Store
}

// Run runs the suite. Each test has a store of its own.
func Run(t *testing.T, h Hooks) {
	for _, c := range []struct {
		name string
		test func(*testing.T, *subject)
	}{
		{"Identity", testIdentity},
		{"Rule15OneLiveSession", testFencing},
		{"SessionAboveHellos", testSessionNumber},
		{"Rule1Match", testMatch},
		{"Rule2ForkAndBeyond", testFork},
		{"Rule2FingerprintOfAnyNumber", testFingerprints},
		{"Rule9ConditionalAppend", testAppendTable},
		{"Rule9AllOrNothing", testAppendUnknown},
		{"Rule8TombstoneIsVoidBelowW", testVoidTombstone},
		{"ResumeConflicts", testResumeConflicts},
		{"Rule11Backlog", testBacklog},
		{"Rule16Import", testImport},
		{"Rule16ImportBesideALink", testImportBesideALink},
		{"Rule16ImportOfAnotherLine", testImportOfAnotherLine},
		{"Rule16ImportBehindTheWelcome", testImportBehindTheWelcome},
		{"Rule16ImportBesideAnEmptyFork", testImportBesideAnEmptyFork},
		{"Rule2ImportMemory", testImportMemory},
		{"Partings", testParting},
		{"Agents", testAgents},
		{"ReadByCursor", testRead},
		{"ReadStops", testReadStops},
		{"ManyAgentsAtOnce", testConcurrency},
		{"Cancelled", testCancelled},
	} {
		t.Run(c.name, func(t *testing.T) { c.test(t, &subject{T: t, hooks: h, Store: h.Open(t)}) })
	}
	if h.Reopen != nil {
		t.Run("RestartKeepsEverything", func(t *testing.T) {
			testRestart(t, &subject{T: t, hooks: h, Store: h.Open(t)})
		})
	}
}

// subject is the store under test, with helpers that fail the test.
type subject struct {
	collector.Store
	*testing.T
	hooks Hooks
}

// restart restarts the store, if it can be.
func (s *subject) restart() {
	s.Helper()
	if s.hooks.Reopen != nil {
		s.Store = s.hooks.Reopen(s.T, s.Store)
	}
}

// all reads everything the store holds.
func (s *subject) all() (out []collector.Stored) {
	s.Helper()
	_, err := s.Read(context.Background(), "", func(r collector.Stored) error {
		out = append(out, keep(r))
		return nil
	})
	if err != nil {
		s.Fatalf("read: %v", err)
	}
	return out
}

func testIdentity(t *testing.T, s *subject) {
	id := s.Identity()
	if id.ID.IsZero() {
		t.Error("the store has no id")
	}
	if s.restart(); s.Identity().ID != id.ID {
		t.Errorf("the store's id changes with a restart")
	}
}
