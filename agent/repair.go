package agent

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/fieldpost/fieldpost/queue"
	"github.com/fieldpost/fieldpost/wire"
)

// Verified is what a verification has looked at and found; see [queue.Verified].
type Verified = queue.Verified

// Repaired is what a repair did; see [queue.Repaired].
type Repaired = queue.Repaired

// Verify reads all of a lane's folder and checks every checksum and every range; see
// [queue.Verify]. It changes nothing, and works also beside the agent that has dir.
// id is whose folder it is to be. The errors are ctx's and those of a folder that
// cannot be listed.
func Verify(ctx context.Context, dir, id, lane string, progress func(done, total int64)) (Verified, error) {
	v, err := queue.Verify(ctx, laneDir(dir, wire.Lane(lane)), wire.AgentID(id), wire.Lane(lane), progress)
	if err != nil {
		return v, fmt.Errorf("agent: lane %s: %w", lane, err)
	}
	return v, nil
}

// Repair does now what the agent would do as it meets damage in a lane: see
// [queue.Lane.Repair]. The errors are ErrUnknownLane, ErrClosed, ctx's, and that of a
// disk that cannot be read or written now.
func (a *Agent) Repair(ctx context.Context, lane string) (Repaired, error) {
	q, err := a.existing(lane)
	if err != nil {
		return Repaired{}, err
	}
	return q.Repair(ctx)
}

// reenterAtOnce is how many bytes of bodies are put in one step.
const reenterAtOnce = 1 << 20

// Reenter puts the messages that a search finds whole in a file of the lane's
// quarantine into the lane once more, as new messages with the time that they had:
// those whose numbers were from first to last, 0: all. What of it was delivered is
// doubled by that; the agent cannot know. It returns how many were put: those that
// were are, also beside an error, which is one of Send's or says that the file
// cannot be read.
func (a *Agent) Reenter(ctx context.Context, lane, file string, first, last wire.Seq) (n int, err error) {
	q, err := a.existing(lane)
	if err != nil {
		return 0, err
	}
	if filepath.Base(file) != file {
		return 0, fmt.Errorf("%s: name a file of the folder quarantine, without a path", file)
	}
	var list []wire.Message
	size := 0
	flush := func() error {
		if len(list) == 0 {
			return nil
		}
		err := q.Put(ctx, list...)
		if err == nil {
			n += len(list)
		}
		list, size = nil, 0
		return err
	}
	dir := laneDir(a.cfg.Dir, wire.Lane(lane))
	path := filepath.Join(dir, "quarantine", file)
	if _, err := os.Stat(path); err != nil { // of another stream of the lane
		if list, _ := filepath.Glob(filepath.Join(dir, "streams", "*", "quarantine", file)); len(list) == 1 {
			path = list[0]
		}
	}
	err = queue.ReadQuarantined(path, wire.Lane(lane), func(at wire.Seq, m wire.Message) error {
		if at < first || last > 0 && at > last {
			return nil
		}
		list = append(list, m)
		if size += len(m.Body); size >= reenterAtOnce {
			return flush()
		}
		return nil
	})
	return n, errors.Join(err, flush())
}
