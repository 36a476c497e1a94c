package storetest_test

import (
	"testing"

	"github.com/fieldpost/fieldpost/collector"
	"github.com/fieldpost/fieldpost/collector/storetest"
	"github.com/fieldpost/fieldpost/internal/leak"
)

func TestMain(m *testing.M) { leak.Main(m) }

func TestMemory(t *testing.T) {
	storetest.Run(t, storetest.Hooks{
		Open: func(*testing.T) collector.Store { return storetest.NewMemory() },
		// A restart of a store in memory is no restart; the suite's logic still runs.
		Reopen: func(_ *testing.T, s collector.Store) collector.Store { return s },
	})
}
