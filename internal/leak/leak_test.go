package leak

import (
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { Main(m) }

// A goroutine that ends later than goleak waits is no leak, one that stays is.
func TestFind(t *testing.T) {
	end := make(chan struct{})
	go lingering(end)
	if err := find(0); err == nil || !strings.Contains(err.Error(), "lingering") {
		t.Errorf("a goroutine stays: %v", err)
	}
	stays := goleak.IgnoreCurrent()
	time.AfterFunc(time.Second, func() { close(end) })
	if err := find(0, stays); err != nil {
		t.Errorf("one that was there before: %v", err)
	}
	if err := Find(); err != nil {
		t.Errorf("it has ended after a second: %v", err)
	}
}

func lingering(end <-chan struct{}) { <-end }
