package agent

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"

	"github.com/fieldpost/fieldpost/internal/lanes"
	"github.com/fieldpost/fieldpost/queue"
	"github.com/fieldpost/fieldpost/transport"
	"github.com/fieldpost/fieldpost/wire"
)

// ErrRestart: a setting cannot change while the agent runs.
var ErrRestart = errors.New("it takes a restart")

// terms are the settings that may change while the agent runs. They are replaced as a
// whole, never changed in place.
type terms struct {
	cfg    Config // Lanes, Routes, Collectors, Heartbeat and Reconnect of it
	routes lanes.Routes
}

func newTerms(cfg Config) *terms { return &terms{cfg, cfg.routes()} }

// Reconfigure gives a running agent other Lanes, Routes, Collectors, Heartbeat and
// Reconnect, and returns what has changed, in words; nothing, if nothing has. The other
// fields of cfg must be as they were or zero, but for Dial, Logger and Software, which
// do not count.
//
// Sends and the delivery go on meanwhile, and none of their messages is lost, doubled
// or put out of order. Each Send goes by the settings of before or by those of after.
// A new lane takes messages when Reconfigure returns; one that is not in cfg any more
// accepts nothing from then on and is drained; the others go on in place. A lane that
// gets a lower limit than it holds is full at once. Where lanes come or go, or share
// the link in another way, or the collector is another one, the link is made anew.
//
// All of cfg is taken or nothing: after an error the agent goes on as before. That is
// what is wrong with cfg; ErrRestart, for what cannot change; what keeps a new lane
// from being opened; ErrFull, if a lane that changes does not know what is on its disk;
// ErrClosed; or ctx's, which bounds the waiting for the disk.
func (a *Agent) Reconfigure(ctx context.Context, cfg Config) (changed []string, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("agent: %w", err)
		}
	}()
	if cfg, err = cfg.withDefaults(); err != nil {
		return nil, err
	}
	a.changing.Lock()
	defer a.changing.Unlock()
	old := a.terms.Load().cfg
	if !a.accepting.Load() {
		return nil, ErrClosed
	}
	if err := a.fixed(&cfg, &old); err != nil {
		return nil, err
	}
	link := cfg.link()
	if a.link != nil {
		if err := a.link.Check(link); err != nil {
			return nil, err
		}
	}
	fresh, err := a.openNew(ctx, cfg.Lanes)
	if err != nil {
		return nil, err
	}
	if err := a.adjust(ctx, old.Lanes, cfg.Lanes); err != nil {
		a.undo(old.Lanes, cfg.Lanes)
		return nil, errors.Join(err, a.takeBack(fresh))
	}
	set := a.set.Load()
	for name, q := range fresh {
		set = set.with(name, q.Lane, nil)
	}
	a.set.Store(set)
	a.terms.Store(newTerms(cfg))
	if a.link != nil {
		a.link.Configure(link)
		a.linkAgain(&old, &cfg, len(fresh) > 0)
	}
	return differences(&old, &cfg), nil
}

// fixed returns an error if cfg asks for what takes a restart.
func (a *Agent) fixed(cfg, old *Config) error {
	switch {
	case cfg.ID != "" && wire.AgentID(cfg.ID) != a.id:
		return fmt.Errorf("the id is %s and would be %s: %w, with a folder of its own", a.id, cfg.ID, ErrRestart)
	case cfg.Dir != a.cfg.Dir:
		return fmt.Errorf("the folder is %s and would be %s: %w", a.cfg.Dir, cfg.Dir, ErrRestart)
	case cfg.TLS != a.cfg.TLS:
		return fmt.Errorf("other files of the certificate: %w (the same files are read again by themselves)", ErrRestart)
	case cfg.InsecurePlaintext != a.cfg.InsecurePlaintext:
		return fmt.Errorf("whether links are plain TCP: %w", ErrRestart)
	case (len(cfg.Collectors) == 0) != (len(old.Collectors) == 0):
		return fmt.Errorf("%d collectors instead of %d: %w", len(cfg.Collectors), len(old.Collectors), ErrRestart)
	}
	return nil
}

// openNew opens the lanes that are not there yet. It opens all of them or none.
func (a *Agent) openNew(ctx context.Context, all map[string]LaneConfig) (fresh map[wire.Lane]newLane, err error) {
	set := a.set.Load()
	names := make([]string, len(set.names))
	for i, name := range set.names {
		names[i] = string(name)
	}
	fresh = map[wire.Lane]newLane{}
	for _, name := range slices.Sorted(maps.Keys(all)) {
		if set.has(wire.Lane(name)) {
			continue
		}
		err = lanes.Check(name, names...)
		var q *queue.Lane
		_, there := os.Lstat(laneDir(a.cfg.Dir, wire.Lane(name)))
		if err == nil {
			q, err = a.openLane(ctx, wire.Lane(name), all[name])
		}
		if err != nil {
			return nil, errors.Join(fmt.Errorf("lane %s: %w", name, err), a.takeBack(fresh))
		}
		fresh[wire.Lane(name)] = newLane{q, errors.Is(there, fs.ErrNotExist)}
	}
	return fresh, nil
}

// newLane is a lane that was opened and that nobody has seen yet.
type newLane struct {
	*queue.Lane
	made bool // with its folder
}

// takeBack closes new lanes, and takes away the folders that were made for them.
func (a *Agent) takeBack(fresh map[wire.Lane]newLane) error {
	var errs []error
	for name, q := range fresh {
		errs = append(errs, q.Close())
		if q.made {
			errs = append(errs, os.RemoveAll(laneDir(a.cfg.Dir, name)))
		}
	}
	return errors.Join(errs...)
}

// adjust gives the lanes that are open the settings that they have in to: those of a
// lane that is only drained, if they have none. What cannot be opened now gets them once
// it can.
func (a *Agent) adjust(ctx context.Context, from, to map[string]LaneConfig) error {
	for name, q := range a.set.Load().open {
		was, before := from[string(name)]
		is, now := to[string(name)]
		if was == is && before == now {
			continue
		}
		if err := q.Reconfigure(ctx, a.queueConfig(name, to[string(name)])); err != nil {
			return err
		}
	}
	return nil
}

// undo gives the lanes back the settings that they had in from.
func (a *Agent) undo(from, to map[string]LaneConfig) {
	if err := a.adjust(context.Background(), to, from); err != nil && !errors.Is(err, ErrClosed) {
		a.cfg.Logger.Error("lanes have not got all of their old settings back", "err", err)
	}
}

// linkAgain makes the link anew if it cannot go on under other settings, and ends the
// wait for it if it may be there sooner with them.
func (a *Agent) linkAgain(old, cfg *Config, lanes bool) {
	st := a.link.Status()
	switch {
	case lanes, cfg.Heartbeat != old.Heartbeat, !maps.Equal(cfg.policies(), old.policies()),
		st.State == transport.Connected && !slices.Contains(cfg.Collectors, st.Address):
		a.anew(transport.Goodbye("reload"))
	case !slices.Equal(cfg.Collectors, old.Collectors), cfg.Reconnect != old.Reconnect:
		a.link.Again()
	}
}

// differences says what is different in cfg.
func differences(old, cfg *Config) (list []string) {
	names := maps.Clone(old.Lanes)
	maps.Copy(names, cfg.Lanes)
	for _, name := range slices.Sorted(maps.Keys(names)) {
		was, before := old.Lanes[name]
		is, now := cfg.Lanes[name]
		switch {
		case !before:
			list = append(list, fmt.Sprintf("lane %s takes messages", name))
		case !now:
			list = append(list, fmt.Sprintf("lane %s takes no more messages and is drained", name))
		case was != is:
			list = append(list, fmt.Sprintf("lane %s has other settings", name))
		}
	}
	for _, c := range []struct {
		what string
		is   bool
	}{
		{"other routes", !slices.Equal(old.Routes, cfg.Routes)},
		{"other collectors", !slices.Equal(old.Collectors, cfg.Collectors)},
		{"another heartbeat", old.Heartbeat != cfg.Heartbeat},
		{"another pace of reconnecting", old.Reconnect != cfg.Reconnect},
	} {
		if c.is {
			list = append(list, c.what)
		}
	}
	return list
}
