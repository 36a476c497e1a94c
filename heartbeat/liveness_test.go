package heartbeat

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
)

var t0 = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// at returns the time so many seconds after the start.
func at(s float64) time.Time { return t0.Add(time.Duration(math.Round(s*1000)) * time.Millisecond) }

// event is one thing that Liveness is told, s seconds after the start.
type event struct {
	s    float64
	what string // connected, heard, lost, goodbye, check; interval=1s
}

func tell(l *Liveness, e event) {
	what, arg, _ := strings.Cut(e.what, "=")
	switch now := at(e.s); what {
	case "connected":
		l.Connected(now)
	case "heard":
		l.Heard(now)
	case "lost":
		l.Lost(now, "reset")
	case "goodbye":
		l.Goodbye(now, "shutdown")
	case "interval":
		d, _ := time.ParseDuration(arg)
		l.SetInterval(now, d)
	case "check":
	default:
		panic(what)
	}
}

func drain(l *Liveness, now time.Time) (list []Change) {
	for {
		c, ok := l.Check(now)
		if !ok {
			return list
		}
		list = append(list, c)
	}
}

func show(c Change) string {
	return fmt.Sprintf("%g %s: %s", c.Time.Sub(t0).Seconds(), c.To, c.Cause)
}

// With an interval of 10 s one interval is missed after 11 s, two after 21 s.
func TestLiveness(t *testing.T) {
	for _, tt := range []struct {
		name   string
		events []event
		want   []string
	}{
		{"nothing is said of an agent within two intervals of the start", []event{{20.9, "check"}}, nil},
		{"then it is offline", []event{{21, "check"}}, []string{"21 offline: not heard since the collector started"}},
		{"a known parting is the cause", []event{{0, "lost"}, {30, "check"}}, []string{"21 offline: link lost: reset"}},
		{"a known goodbye stays one", []event{{0, "goodbye"}, {1000, "check"}}, []string{"0 goodbye: shutdown"}},
		{"connected is online at once", []event{{3, "connected"}}, []string{"3 online: connected"}},
		{"heard without a link says nothing", []event{{3, "heard"}, {20, "check"}}, nil},
		{"heard in every interval stays online", []event{{0, "connected"}, {10, "heard"}, {20, "heard"}, {30.5, "heard"}, {41.4, "check"}}, []string{"0 online: connected"}},
		{"one missed is late, two are offline", []event{{0, "connected"}, {5, "heard"}, {40, "check"}},
			[]string{"0 online: connected", "16 late: nothing heard for 11s", "26 offline: nothing heard for 21s"}},
		{"late and heard is online", []event{{0, "connected"}, {12, "heard"}}, []string{"0 online: connected", "11 late: nothing heard for 11s", "12 online: heard again"}},
		{"offline and heard is online", []event{{0, "connected"}, {50, "heard"}},
			[]string{"0 online: connected", "11 late: nothing heard for 11s", "21 offline: nothing heard for 21s", "50 online: heard again"}},
		{"a link that comes back within an interval changes nothing", []event{{0, "connected"}, {10, "lost"}, {20.9, "connected"}, {31.8, "check"}}, []string{"0 online: connected"}},
		{"again and again", []event{{0, "connected"}, {1, "lost"}, {2, "connected"}, {3, "lost"}, {4, "connected"}, {5, "lost"}, {15, "connected"}, {25, "check"}}, []string{"0 online: connected"}},
		{"a link that does not come back counts from its loss", []event{{0, "connected"}, {10, "lost"}, {60, "check"}},
			[]string{"0 online: connected", "21 late: link lost: reset", "31 offline: link lost: reset"}},
		{"unless an interval was missed before it", []event{{0, "connected"}, {20, "lost"}, {60, "check"}},
			[]string{"0 online: connected", "11 late: nothing heard for 11s", "21 offline: link lost: reset"}},
		{"goodbye is said at once and stays", []event{{0, "connected"}, {2, "goodbye"}, {3, "lost"}, {4, "heard"}, {500, "check"}}, []string{"0 online: connected", "2 goodbye: shutdown"}},
		{"back after a goodbye", []event{{0, "connected"}, {2, "goodbye"}, {300, "connected"}}, []string{"0 online: connected", "2 goodbye: shutdown", "300 online: connected"}},
		{"goodbye from late", []event{{0, "connected"}, {12, "goodbye"}}, []string{"0 online: connected", "11 late: nothing heard for 11s", "12 goodbye: shutdown"}},
		{"two goodbyes are one change", []event{{0, "connected"}, {1, "goodbye"}, {2, "connected"}, {3, "goodbye"}, {4, "connected"}, {5, "goodbye"}},
			[]string{"0 online: connected", "1 goodbye: shutdown", "2 online: connected", "3 goodbye: shutdown"}},
		{"after three changes online must hold for an interval", []event{{0, "connected"}, {12, "heard"}, {24, "heard"}, {33, "heard"}, {33.9, "heard"}, {34, "heard"}},
			[]string{"0 online: connected", "11 late: nothing heard for 11s", "12 online: heard again", "23 late: nothing heard for 11s", "34 online: steady for 10s after repeated changes"}},
		{"a lost link begins the hold again", []event{{0, "connected"}, {12, "heard"}, {24, "heard"}, {33, "lost"}, {34, "connected"}, {43, "heard"}, {44, "heard"}},
			[]string{"0 online: connected", "11 late: nothing heard for 11s", "12 online: heard again", "23 late: nothing heard for 11s", "44 online: steady for 10s after repeated changes"}},
		{"so does a missed interval", []event{{0, "connected"}, {12, "heard"}, {24, "heard"}, {35, "heard"}, {44, "heard"}, {45, "heard"}},
			[]string{"0 online: connected", "11 late: nothing heard for 11s", "12 online: heard again", "23 late: nothing heard for 11s", "45 online: steady for 10s after repeated changes"}},
		{"late and held, silent for two intervals is offline", []event{{0, "connected"}, {12, "heard"}, {24, "heard"}, {60, "check"}},
			[]string{"0 online: connected", "11 late: nothing heard for 11s", "12 online: heard again", "23 late: nothing heard for 11s", "45 offline: nothing heard for 21s"}},
		{"said goodbye, back and held, then silent", []event{{0, "connected"}, {1, "goodbye"}, {2, "connected"}, {3, "goodbye"}, {4, "connected"}, {60, "check"}},
			[]string{"0 online: connected", "1 goodbye: shutdown", "2 online: connected", "3 goodbye: shutdown", "15 late: nothing heard for 11s", "25 offline: nothing heard for 21s"}},
		{"changes of long ago do not count", []event{{0, "connected"}, {12, "heard"}, {24, "lost"}, {112, "connected"}},
			[]string{"0 online: connected", "11 late: nothing heard for 11s", "12 online: heard again", "23 late: nothing heard for 11s", "33 offline: link lost: reset", "112 online: connected"}},
		{"another interval counts from then on", []event{{0, "connected"}, {5, "interval=1s"}, {6, "check"}},
			[]string{"0 online: connected", "1.5 late: nothing heard for 1.5s", "2.5 offline: nothing heard for 2.5s"}},
		{"a clock that runs back is taken as standing", []event{{0, "connected"}, {9, "heard"}, {2, "heard"}, {19.9, "check"}}, []string{"0 online: connected"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			often, seldom := NewLiveness(10*time.Second, t0), NewLiveness(10*time.Second, t0)
			var got, all []string
			for _, e := range tt.events {
				// One is asked whenever Next says so, the other only at the end.
				for n := often.Next(); !n.IsZero() && !n.After(at(e.s)); n = often.Next() {
					list := drain(often, n)
					if len(list) == 0 && often.Next().Equal(n) {
						t.Fatalf("Next says %s and Check then says nothing", n)
					}
					for _, c := range list {
						got = append(got, show(c))
					}
				}
				tell(often, e)
				for _, c := range drain(often, at(e.s)) {
					got = append(got, show(c))
				}
				tell(seldom, e)
			}
			for _, c := range drain(seldom, at(tt.events[len(tt.events)-1].s)) {
				all = append(all, show(c))
			}
			if tt.name == "another interval counts from then on" {
				got = all // asked often, what the shorter interval finds in the past comes late
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("got\n  %s\nwant\n  %s", strings.Join(got, "\n  "), strings.Join(tt.want, "\n  "))
			}
			if !slices.Equal(all, got) {
				t.Errorf("asked only at the end it says\n  %s", strings.Join(all, "\n  "))
			}
		})
	}
}

// TestLivenessRandom compares Liveness with a timeline that is played in steps
// of one tick and knows nothing of its bookkeeping.
func TestLivenessRandom(t *testing.T) {
	const interval, grace = 10, 5 // ticks of 100 ms
	for seed := range uint64(3000) {
		r := rand.New(rand.NewPCG(seed, 1))
		events := map[int]string{}
		names := []string{"connected", "heard", "heard", "lost", "goodbye"}
		mean := 1 + r.IntN(25)
		for n := r.IntN(mean); n < 600; n += 1 + r.IntN(2*mean) {
			events[n] = names[r.IntN(len(names))]
		}
		var want []string
		state, base, linked, left, good := Unknown, 0, false, false, -1
		var times []int
		to := func(n int, s State) {
			if s == state {
				return
			}
			want = append(want, fmt.Sprintf("%d %s>%s", n, state, s))
			if state != Unknown {
				times = append(times, n)
			}
			state = s
		}
		up := func(n int) {
			recent := 0
			for _, c := range times {
				if n-c < flapIntervals*interval {
					recent++
				}
			}
			switch {
			case state == Online:
			case good < 0 && recent < flapChanges, good >= 0 && n-good >= interval:
				good = -1
				to(n, Online)
			case good < 0:
				good = n
			}
		}
		l := NewLiveness(interval*100*time.Millisecond, t0)
		var got []string
		for n := range 600 {
			gap := n - base
			if gap >= interval+grace {
				good = -1
			}
			if !left {
				switch {
				case gap >= 2*interval+grace:
					to(n, Offline)
				case gap >= interval+grace && (state == Online || state == Goodbye):
					to(n, Late)
				}
			}
			switch events[n] {
			case "connected":
				base, linked, left, good = n, true, false, -1
				up(n)
			case "heard":
				if linked {
					base = n
					up(n)
				}
			case "lost":
				if !left {
					if linked && gap < interval+grace {
						base = n
					}
					linked, good = false, -1
				}
			case "goodbye":
				linked, left, good = false, true, -1
				to(n, Goodbye)
			}
			if what := events[n]; what != "" {
				tell(l, event{float64(n) / 10, what})
			}
			if r.IntN(20) == 0 || n == 599 {
				for _, c := range drain(l, at(float64(n)/10)) {
					got = append(got, fmt.Sprintf("%d %s>%s", c.Time.Sub(t0)/(100*time.Millisecond), c.From, c.To))
				}
			}
		}
		if !slices.Equal(got, want) {
			t.Fatalf("seed %d: got\n  %s\nwant\n  %s", seed, strings.Join(got, "\n  "), strings.Join(want, "\n  "))
		}
	}
}

func TestCheckInterval(t *testing.T) {
	for d, ok := range map[time.Duration]bool{
		0: false, -time.Second: false, MinInterval - 1: false, MinInterval: true, DefaultInterval: true, MaxInterval: true, MaxInterval + 1: false,
	} {
		if err := CheckInterval(d); (err == nil) != ok {
			t.Errorf("%s: %v", d, err)
		}
	}
}

func BenchmarkHeard(b *testing.B) {
	l := NewLiveness(DefaultInterval, t0)
	l.Connected(t0)
	b.ReportAllocs()
	for b.Loop() {
		l.Heard(t0)
	}
}
