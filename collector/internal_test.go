package collector

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fieldpost/fieldpost/wire"
)

func TestBudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := budget{limit: 10}
		never := make(chan struct{})
		if !b.wait(6, never) || !b.take(3) || b.try(2) || !b.try(1) {
			t.Fatal("10 of 10 were not there")
		}
		order := make(chan int64, 3)
		leave := make(chan struct{})
		left := make(chan bool)
		go func() { left <- b.wait(8, leave) }()
		synctest.Wait()
		for _, n := range []int64{1, 2} { // behind the first: served in turn
			go func() { b.wait(n, never); order <- n }()
			synctest.Wait()
		}
		if len(order) > 0 {
			t.Fatal("a small claim went before a large one that came first")
		}
		close(leave)
		if <-left {
			t.Error("a claim that was given up was granted")
		}
		synctest.Wait()
		if len(order) > 0 || b.reserved() != 10 {
			t.Errorf("%d reserved", b.reserved())
		}
		b.give(1)
		if n := <-order; n != 1 {
			t.Errorf("granted %d first", n)
		}
		if b.take(11) || !b.take(10) {
			t.Error("take goes up to twice the limit")
		}
		b.give(19)
		if n := <-order; n != 2 || b.reserved() != 3 {
			t.Errorf("granted %d, %d reserved", n, b.reserved())
		}
	})
}

func TestPlain(t *testing.T) {
	for _, tt := range [][2]string{
		{"all well", "all well"},
		{"Grüße 世界", "Grüße 世界"},
		{"a\x1b[31m\nb", `a\u{1b}[31m\u{a}b`},
		{"\u202egnp.exe", `\u{202e}gnp.exe`},
		{"\xff\xfe", `\xff\xfe`},
		{strings.Repeat("ä", 10), "ääää..."},
	} {
		if got := plain(tt[0], 9); len(tt[0]) > 9 && got != tt[1] && plain(tt[0], 1000) != tt[1] {
			t.Errorf("plain(%q) = %s, want %s", tt[0], got, tt[1])
		} else if len(tt[0]) <= 9 && got != tt[1] {
			t.Errorf("plain(%q) = %s, want %s", tt[0], got, tt[1])
		}
	}
}

func TestQuiet(t *testing.T) {
	var q quiet
	now := time.Now()
	if ok, _ := q.allow("a", now); !ok {
		t.Error("the first line was not allowed")
	}
	for range 5 {
		if ok, _ := q.allow("a", now.Add(59*time.Second)); ok {
			t.Error("a second line in a minute")
		}
	}
	if ok, missed := q.allow("b", now); !ok || missed != 5 {
		t.Errorf("another source: %v, %d missed", ok, missed)
	}
	for i := range 2 * quietMost {
		q.allow(strings.Repeat("x", i), now)
	}
	if len(q.until) > quietMost {
		t.Errorf("%d sources remembered", len(q.until))
	}
	if ok, missed := q.allow("c", now.Add(2*time.Minute)); !ok || missed != quietMost+2 {
		t.Errorf("after a flood: %v, %d missed", ok, missed)
	}
}

// What is allocated for a batch follows what came of it, not what it declares.
func TestPartGrowsAsBytesCome(t *testing.T) {
	p := part{size: wire.MaxBatchSize}
	for range 100 {
		if whole, err := p.add(make([]byte, 100)); whole || err != nil {
			t.Fatal(whole, err)
		}
	}
	if c := cap(p.data); c > bufferStep {
		t.Errorf("%d bytes allocated for %d", c, len(p.data))
	}
	for len(p.data) < p.size {
		before := cap(p.data)
		whole, err := p.add(make([]byte, min(16<<10, p.size-len(p.data))))
		if err != nil || whole != (len(p.data) == p.size) {
			t.Fatal(whole, err)
		}
		if c := cap(p.data); c != before && c > max(bufferStep, 2*len(p.data)) {
			t.Fatalf("%d bytes allocated for %d", c, len(p.data))
		}
	}
	if cap(p.data) != p.size {
		t.Errorf("%d bytes for a batch of %d", cap(p.data), p.size)
	}
	if _, err := p.add([]byte{1}); err == nil {
		t.Error("one byte more than declared was taken")
	}
}

func TestConfig(t *testing.T) {
	type noStore struct{ Store }
	for _, tt := range []struct {
		cfg  Config
		says string
	}{
		{Config{}, "Store is nil"},
		{Config{Store: noStore{}, Heartbeat: time.Millisecond}, "heartbeat interval 1ms"},
		{Config{Store: noStore{}, Heartbeat: -1}, "heartbeat"},
		{Config{Store: noStore{}, Fragment: 12}, "fragment of 12"},
		{Config{Store: noStore{}, Fragment: wire.MaxFrame}, "fragment of"},
		{Config{Store: noStore{}, Window: 12}, "window of 12"},
		{Config{Store: noStore{}, MaxUnidentified: -1}, "MaxUnidentified"},
		{Config{Store: noStore{}, Memory: 1}, "memory of 1"},
	} {
		if _, err := New(tt.cfg); err == nil || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("New(%+v): %v, want %q", tt.cfg, err, tt.says)
		}
	}
}
