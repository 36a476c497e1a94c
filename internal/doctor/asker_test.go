package doctor

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fieldpost/fieldpost/internal/control"
)

func TestADaemonThatHangsCostsItsTimeOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var a Asker
		asked := 0
		hang := func(ctx context.Context) error {
			asked++
			<-ctx.Done()
			return fmt.Errorf("x: %w: %w", control.ErrNoAnswer, ctx.Err())
		}
		if err := a.Do(t.Context(), time.Second, func(context.Context) error { return control.ErrNotRunning }); err != control.ErrNotRunning {
			t.Error(err)
		}
		lost := true // one answer that is lost is asked for again
		if err := a.Do(t.Context(), time.Second, func(ctx context.Context) error {
			if lost {
				lost = false
				return hang(ctx)
			}
			return nil
		}); err != nil {
			t.Error(err)
		}
		asked = 0
		began := time.Now()
		for range 3 {
			if err := a.Do(t.Context(), 4*time.Second, hang); !errors.Is(err, control.ErrNoAnswer) {
				t.Error(err)
			}
		}
		if took := time.Since(began); took != 4*time.Second || asked != 2 {
			t.Errorf("it took %s, and was asked %d times", took, asked)
		}
	})
}
