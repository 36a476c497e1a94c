package journal

import (
	"context"
	"errors"
	"fmt"

	"github.com/fieldpost/fieldpost/collector"
	"github.com/fieldpost/fieldpost/collector/ledger"
	"github.com/fieldpost/fieldpost/wire"
)

// Import implements [collector.Store]. Its ctx counts until the commit begins.
// What an import has brought is recorded under session 0.
func (j *Journal) Import(ctx context.Context, im collector.Import) (collector.Imported, error) {
	if _, err := wire.ParseAgentID(string(im.Agent)); err != nil {
		return collector.Imported{}, err
	}
	known := j.newMemo(im.Agent)
	out := collector.Imported{Match: j.agent(im.Agent).Match(&im.Stream, known.lookup)} // also reads from disk what the commit will ask for
	if len(im.Entries) == 0 {
		return out, ctx.Err()
	}
	rules := ledger.Import{Told: im.Stream, Before: im.Before, Entries: im.Entries}
	if err := rules.Check(); err != nil {
		return collector.Imported{}, importError(im.Agent, err)
	}
	records := make([]settled, len(im.Entries))
	for i := range im.Entries {
		records[i] = settled{id: im.Agent, received: wallClock(im.Time), stream: collector.Stream{Lane: im.Stream.Lane}, entry: im.Entries[i]}
		records[i].complete()
	}
	err := j.submit(ctx, func(t *group) error {
		// An error comes before anything is added: from what is added on, the next
		// entry follows.
		if err := t.room(im.Agent, j.opts.MaxAgents); err != nil {
			return err
		}
		for i := range im.Entries {
			p, err := t.agent(im.Agent).Import(&rules, &im.Entries[i], known.lookup, freshEpoch)
			if err == nil && p.Created != nil {
				err = j.oneMore(t.agent(im.Agent))
			}
			if err != nil {
				return importError(im.Agent, err)
			}
			if p.From == 0 {
				continue
			}
			if p.Created != nil {
				t.add(&resumed{im.Agent, *p.Created})
				out.Forked = out.Forked || p.Created.Base > 0 || out.Match.Found
			}
			r := &records[i]
			r.stream.Epoch, r.event.Epoch = p.Epoch, p.Epoch
			r.entry.From, r.event.From = p.From, p.From
			t.add(r)
			if n := uint64(r.entry.To - p.From + 1); r.entry.IsTombstone() {
				out.Tombstoned += n
			} else {
				out.Stored += n
			}
		}
		out.Match = t.agent(im.Agent).Match(&im.Stream, known.lookup)
		return nil
	})
	if err != nil {
		return collector.Imported{}, err
	}
	return out, nil
}

func freshEpoch() wire.Epoch { return wire.Epoch{ID: wire.NewID()} }

// importError gives an error of the ledger the store's meaning.
func importError(id wire.AgentID, err error) error {
	switch {
	case errors.Is(err, ledger.ErrGap):
		return fmt.Errorf("agent %s: %w: %w", id, collector.ErrGap, err)
	case errors.Is(err, ledger.ErrLimit):
		return fmt.Errorf("agent %s: %w: %w", id, collector.ErrLimit, err)
	case errors.Is(err, ledger.ErrMemory):
		return fmt.Errorf("agent %s: %w: %w", id, collector.ErrMemory, err)
	}
	return fmt.Errorf("agent %s: %w", id, err)
}
