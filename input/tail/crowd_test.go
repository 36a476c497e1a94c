package tail

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/fieldpost/fieldpost/agent"
)

// crowded is an agent of two lanes, of which one takes nothing: it refuses, or blocks.
type crowded struct {
	*lanes
	blocks bool
}

func (c *crowded) LaneOf(m *agent.Message) (string, error) {
	if strings.HasPrefix(m.Topic, "log/full") || m.Lane == "full" {
		return "full", nil
	}
	return "default", nil
}

func (c *crowded) SendFrom(ctx context.Context, lane string, list []agent.Message, points ...agent.Checkpoint) error {
	if lane != "full" {
		return c.lanes.SendFrom(ctx, lane, list, points...)
	}
	if c.blocks {
		<-ctx.Done()
		return ctx.Err()
	}
	return agent.ErrFull
}

// Files of a lane that is full do not keep the files of others from being read.
func TestAFullLaneKeepsNoOtherFileBack(t *testing.T) {
	for _, blocks := range []bool{false, true} {
		t.Run(fmt.Sprint("blocks=", blocks), func(t *testing.T) {
			r := newRig(t)
			r.to = &crowded{r.l, blocks}
			for i := range 4 * workers {
				r.write(fmt.Sprintf("full%02d.log", i), "x\n")
			}
			r.write("zz.log", "1\n")
			r.start()
			r.want("1")
			r.write("zz.log", "2\n")
			r.want("1", "2")
		})
	}
}
