package doctor

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/fieldpost/fieldpost/internal/control"
)

// Asker asks a daemon for many checks at once: one thing at a time, each twice if no
// answer comes, and one that does not answer then is not asked again. So a daemon that
// hangs costs its time once. The zero Asker is ready; its method may be called
// concurrently.
type Asker struct {
	mu   sync.Mutex
	hung error
}

// Do calls ask with half of a time, and if the daemon has not answered, once more. The
// error is ask's.
func (a *Asker) Do(ctx context.Context, within time.Duration, ask func(context.Context) error) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.hung != nil {
		return a.hung
	}
	var err error
	for range 2 {
		err = once(ctx, within/2, ask)
		if !errors.Is(err, control.ErrNoAnswer) {
			return err
		}
	}
	a.hung = err
	return err
}

func once(ctx context.Context, within time.Duration, ask func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	return ask(ctx)
}
