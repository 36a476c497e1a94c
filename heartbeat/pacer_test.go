package heartbeat

import (
	"math/rand/v2"
	"testing"
	"time"
)

func TestPacer(t *testing.T) {
	type step struct {
		s    float64
		do   string // heard, sent, ping
		news bool
		due  bool
		dead bool
		next float64
	}
	for _, tt := range []struct {
		name  string
		steps []step
	}{
		{"idle both ways: a ping every interval, dead after two and a half seconds", []step{
			{s: 0.9, next: 1}, {s: 1, due: true, next: 1}, {s: 1, do: "ping", next: 2}, {s: 2, due: true, next: 2},
			{s: 2, do: "ping", next: 2.5}, {s: 2.4, next: 2.5}, {s: 2.5, dead: true, next: 2.5}}},
		{"busy both ways: no ping", []step{
			{s: 0.8, do: "heard", next: 1}, {s: 0.9, do: "sent", next: 1.8}, {s: 1.7, do: "heard", next: 1.9}, {s: 1.8, do: "sent", next: 2.7}}},
		{"sends all the time, hears nothing: asks, and gives up", []step{
			{s: 0.9, do: "sent", next: 1}, {s: 1, do: "sent", due: true, next: 1}, {s: 1, do: "ping", next: 2}, {s: 2.5, do: "sent", due: true, dead: true, next: 2}}},
		{"hears all the time, sends nothing: lets itself be heard", []step{
			{s: 0.9, do: "heard", next: 1}, {s: 1, do: "heard", due: true, next: 1}, {s: 1, do: "ping", next: 2}}},
		{"news go out an interval after the last ping, however busy the link", []step{
			{s: 0.9, do: "sent", news: true, next: 1}, {s: 0.9, do: "heard", next: 1.9}, {s: 1, news: true, due: true, next: 1},
			{s: 1, do: "ping", news: true, next: 2}, {s: 1.9, do: "heard", news: true, next: 2}, {s: 2, news: true, due: true, next: 2}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := NewPacer(time.Second, t0)
			for i, st := range tt.steps {
				now := at(st.s)
				switch st.do {
				case "heard":
					p.Heard(now)
				case "sent":
					p.Sent(now)
				case "ping":
					p.Ping(now)
				}
				if due, dead, next := p.Due(now, st.news), p.Dead(now), p.Next(st.news); due != st.due || dead != st.dead || !next.Equal(at(st.next)) {
					t.Errorf("step %d %+v: due %v dead %v next %g", i, st, due, dead, next.Sub(t0).Seconds())
				}
			}
		})
	}
}

func TestPacerRTT(t *testing.T) {
	p := NewPacer(time.Second, t0)
	if p.RTT() != 0 || p.Pong(0, at(0)) || p.Pong(7, at(0)) {
		t.Error("an answer to nothing gives an RTT")
	}
	a, b := p.Ping(at(1)), p.Ping(at(2))
	if a == 0 || a == b {
		t.Errorf("nonces %d and %d", a, b)
	}
	if p.Pong(b, at(2.1)) {
		t.Error("a later ping is measured while an earlier one is open")
	}
	if !p.Pong(a, at(3.5)) || p.RTT() != 2500*time.Millisecond {
		t.Errorf("RTT %s of a link slower than the interval", p.RTT())
	}
	if p.Pong(a, at(9)) || p.RTT() != 2500*time.Millisecond {
		t.Error("one answer counts twice")
	}
	if c := p.Ping(at(4)); !p.Pong(c, at(4.01)) || p.RTT() != 10*time.Millisecond {
		t.Errorf("RTT %s", p.RTT())
	}
	if !p.Deadline().Equal(at(9 + 2.5)) {
		t.Errorf("a pong is no sign of life: deadline %s", p.Deadline())
	}
}

// Two sides that follow the rules, with any data between them and any delay
// below an interval, never call each other dead; and when bytes stop coming, each
// side notices within two intervals and one second.
func TestPacerPairRandom(t *testing.T) {
	const interval, tick = time.Second, 10 * time.Millisecond
	for seed := range uint64(100) {
		r := rand.New(rand.NewPCG(seed, 2))
		p := [2]*Pacer{NewPacer(interval, t0), NewPacer(interval, t0)}
		arrive := [2]map[int][]uint64{{}, {}} // by tick at that side: nonces to answer, 0 for other bytes
		busy := [2]int{r.IntN(200), r.IntN(200)}
		maxDelay := 1 + r.IntN(90)
		cut := 2000 + r.IntN(1000)
		noticed := [2]int{}
		last := [2]int{} // of the last byte that arrived
		free := [2]int{} // TCP keeps the order
		for n := 0; n < 4000; n++ {
			now := t0.Add(time.Duration(n) * tick)
			for side, me := range p {
				other := 1 - side
				send := func(nonce uint64) {
					free[other] = max(free[other], n+1+r.IntN(maxDelay))
					if n < cut {
						arrive[other][free[other]] = append(arrive[other][free[other]], nonce)
					}
				}
				for _, nonce := range arrive[side][n] {
					me.Heard(now)
					last[side] = n
					if nonce != 0 {
						me.Sent(now)
						send(0)
					}
				}
				if me.Dead(now) && noticed[side] == 0 {
					if noticed[side] = n; n < cut {
						t.Fatalf("seed %d: tick %d: side %d calls a live peer dead", seed, n, side)
					}
				}
				if busy[side] > 0 && r.IntN(busy[side]) == 0 {
					me.Sent(now)
					send(0)
				}
				if me.Due(now, false) {
					send(me.Ping(now))
				}
			}
		}
		for side, n := range noticed {
			if d := time.Duration(n-last[side]) * tick; n == 0 || d > 2*interval+time.Second {
				t.Fatalf("seed %d: side %d noticed after %s", seed, side, d)
			}
		}
	}
}
