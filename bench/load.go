package main

import (
	"sync"
	"sync/atomic"
	"time"
)

// Load is what producers do: Messages in all, each producer sending Batch of
// them at a time and waiting for the answer, for no longer than Max.
type Load struct {
	Producers, Batch, Messages int
	Max                        time.Duration
}

// Done is what came of a load.
type Done struct {
	Messages int // accepted
	Took     time.Duration
	P50, P99 time.Duration // of one send
}

func (d Done) rate() float64 { return float64(d.Messages) / d.Took.Seconds() }

// run lets producers call send with their own number and how many messages to
// send from which one on.
func (l Load) run(send func(producer, from, count int) error) (Done, error) {
	var left, sent atomic.Int64
	left.Store(int64(l.Messages / l.Batch))
	took := make([][]time.Duration, l.Producers)
	errs := make([]error, l.Producers)
	began := time.Now()
	var running sync.WaitGroup
	for p := range l.Producers {
		running.Go(func() {
			for i := p * 7919; left.Add(-1) >= 0 && time.Since(began) < l.Max; i += l.Batch {
				at := time.Now()
				if errs[p] = send(p, i, l.Batch); errs[p] != nil {
					return
				}
				took[p] = append(took[p], time.Since(at))
				sent.Add(int64(l.Batch))
			}
		})
	}
	running.Wait()
	d := Done{Messages: int(sent.Load()), Took: time.Since(began)}
	var all []time.Duration
	for p := range took {
		if errs[p] != nil {
			return d, errs[p]
		}
		all = append(all, took[p]...)
	}
	d.P50, d.P99 = quantile(all, 0.5), quantile(all, 0.99)
	return d, nil
}

// steady calls send at a rate, from 16 producers out of step, and returns how
// often it did.
func steady(rate int, during time.Duration, send func(producer, from, count int) error) (int, error) {
	const producers = 16
	period := time.Duration(producers) * time.Second / time.Duration(rate)
	var sent atomic.Int64
	errs := make([]error, producers)
	began := time.Now()
	var running sync.WaitGroup
	for p := range producers {
		running.Go(func() {
			next := began.Add(period * time.Duration(p) / producers)
			for i := p * 7919; next.Before(began.Add(during)); i++ {
				time.Sleep(time.Until(next))
				if errs[p] = send(p, i, 1); errs[p] != nil {
					return
				}
				sent.Add(1)
				next = next.Add(period)
			}
		})
	}
	running.Wait()
	for _, err := range errs {
		if err != nil {
			return int(sent.Load()), err
		}
	}
	return int(sent.Load()), nil
}
