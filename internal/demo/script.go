package demo

import (
	"context"
	"fmt"
	"time"

	"github.com/fieldpost/fieldpost/internal/faultnet"
)

// step is one thing that the demo does to its world.
type step struct {
	at  float64 // when, as a part of the duration
	say string
	do  func(ctx context.Context, s *site) error
}

// script returns what happens to n agents, in order of time. With few agents one
// of them takes several parts.
func script(n int) []step {
	one, two, three := 0, 1%n, 2%n
	id := func(i int) string { return fmt.Sprintf("agent-%d", i+1) }
	link := func(i int, f func(*faultnet.Proxy)) func(context.Context, *site) error {
		return func(_ context.Context, s *site) error { f(s.stations[i].link); return nil }
	}
	every := func(f func(*faultnet.Proxy)) func(context.Context, *site) error {
		return func(_ context.Context, s *site) error {
			for _, st := range s.stations {
				f(st.link)
			}
			return nil
		}
	}
	return []step{
		{0.10, "cutting the link of " + id(one) + "; it goes on accepting", link(one, func(p *faultnet.Proxy) { p.Refuse(true); p.Cut() })},
		{0.24, "the link of " + id(one) + " is back", link(one, (*faultnet.Proxy).Heal)},
		{0.28, "losing every ack on the way to " + id(two) + "; its data still arrives", link(two, func(p *faultnet.Proxy) { p.Swallow(faultnet.Down) })},
		{0.36, "acks reach " + id(two) + " again; it must not deliver anything twice", link(two, (*faultnet.Proxy).Heal)},
		{0.42, "SIGKILL to " + id(three) + ", in the middle of its work", func(_ context.Context, s *site) error { s.killAgent(s.stations[three]); return nil }},
		{0.50, id(three) + " starts again on its folder", func(ctx context.Context, s *site) error { return s.startAgent(ctx, s.stations[three]) }},
		{0.58, "SIGKILL to the collector", func(_ context.Context, s *site) error { s.killCollector(); return nil }},
		{0.70, "the collector starts again on its folder", func(ctx context.Context, s *site) error { return s.startCollector(ctx) }},
		{0.78, "all links go silent: bytes are taken and held back", every(func(p *faultnet.Proxy) { p.Stall(faultnet.Up) })},
		{0.90, "all links are healed", every((*faultnet.Proxy).Heal)},
	}
}

// play runs the script against s. tick is called several times a second.
func play(ctx context.Context, s *site, duration time.Duration, say func(string), tick func()) error {
	begin := time.Now()
	for _, st := range append(script(len(s.stations)), step{at: 1}) {
		if err := wait(ctx, begin.Add(time.Duration(st.at*float64(duration))), tick); err != nil {
			return err
		}
		if st.do == nil {
			continue
		}
		say(st.say)
		if err := st.do(ctx, s); err != nil {
			return err
		}
	}
	return nil
}

// wait waits until a time and calls tick meanwhile.
func wait(ctx context.Context, until time.Time, tick func()) error {
	t := time.NewTicker(200 * time.Millisecond)
	defer t.Stop()
	end := time.NewTimer(time.Until(until))
	defer end.Stop()
	for {
		tick()
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-end.C:
			return nil
		case <-t.C:
		}
	}
}
