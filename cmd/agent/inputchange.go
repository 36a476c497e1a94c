package main

import (
	"fmt"
	"slices"

	"github.com/fieldpost/fieldpost/internal/config"
)

// inputChange is another configuration of the inputs, in the making: pause, and then
// apply or giveUp.
type inputChange struct {
	in    *inputs
	list  []*runner // as it is to be
	goes  []*runner // that are not in it
	again []*runner // that are in it, and stand still during the change
}

// prepare makes the inputs of another configuration, and takes over those that are
// configured as they were. If lanes take no more messages, what reads files is stopped
// during the change: it has found the lanes for a chunk that is not yet in them. After
// prepare the inputs are the change's alone, until it ends.
func (in *inputs) prepare(c config.Inputs, lanesGo bool) *inputChange {
	in.mu.Lock()
	ch := &inputChange{in: in, goes: slices.Clone(in.list)}
	for _, what := range specs(c) {
		if i := slices.IndexFunc(ch.goes, func(r *runner) bool { return r.spec.key == what.key }); i >= 0 {
			r := ch.goes[i]
			ch.goes = slices.Delete(ch.goes, i, i+1)
			ch.list = append(ch.list, r)
			if lanesGo && what.kind == "file" {
				ch.again = append(ch.again, r)
			}
			continue
		}
		ch.list = append(ch.list, in.runner(what))
	}
	return ch
}

// pause stops what must not run during the change.
func (ch *inputChange) pause() {
	for _, r := range append(slices.Clone(ch.goes), ch.again...) {
		r.stop()
	}
}

// giveUp leaves the inputs as they were.
func (ch *inputChange) giveUp() { ch.end(ch.in.list) }

// apply puts the change into force, and says what it was.
func (ch *inputChange) apply() (changed []string) {
	for _, r := range ch.goes {
		if !slices.ContainsFunc(ch.list, func(o *runner) bool { return o.spec.kind == r.spec.kind && !slices.Contains(ch.in.list, o) }) {
			changed = append(changed, fmt.Sprintf("input %s is read no more", r.spec.kind))
		}
	}
	for _, r := range ch.list {
		if !slices.Contains(ch.in.list, r) {
			changed = append(changed, fmt.Sprintf("input %s is new or has changed", r.spec.kind))
		}
	}
	ch.end(ch.list)
	return changed
}

// end runs all of a list that do not run, if the inputs run at all.
func (ch *inputChange) end(list []*runner) {
	ch.in.list = list
	if ctx := ch.in.ctx; ctx != nil && ctx.Err() == nil {
		for _, r := range list {
			if r.cancel == nil {
				r.start(ctx)
			}
		}
	}
	ch.in.mu.Unlock()
}
