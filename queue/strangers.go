package queue

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/fieldpost/fieldpost/wire"
)

// sortOut puts files of another stream aside: one that an operator has put into this
// folder by mistake hides those that begin below it. Its own stream finds it there.
func (r *recovery) sortOut() error {
	s := &r.change.state
	if s.relabelled > 0 {
		return nil
	}
	var kept []segment
	for _, seg := range r.segs {
		if !stranger(filepath.Join(r.dir, seg.name()), s) {
			kept = append(kept, seg)
			continue
		}
		if err := setAside(r.dir, seg.name()); err != nil {
			return fmt.Errorf("segment %s is of another stream and cannot be put aside: %w", seg.name(), err)
		}
		r.warn("segment %s is of another stream of the lane, or of another folder of it; it is in the folder %s", seg.name(), quarantine)
	}
	r.segs = kept
	return nil
}

// stranger reports whether a segment file is certainly not of the stream in state s.
func stranger(path string, s *state) bool {
	if s.next == 1 || s.relabelled > 0 {
		return false
	}
	f, err := openSealed(path)
	if err != nil {
		return false
	}
	defer f.close()
	h, err := f.readHead()
	if err != nil || !apart(h.history, s.history) {
		return false
	}
	if h.first > 1 {
		return true
	}
	_, own, err := f.load() // an opening that has written nothing is forgotten
	return err == nil && own.next > 1
}

// elsewhere returns the folders of the agent's other streams. A file that was put into
// one of them by mistake is looked for there before what it holds counts as lost.
func (cfg *Config) elsewhere() (dirs []string) {
	lane := cfg.Dir
	if s := cfg.strand; s != nil {
		lane = s.lane.cfg.Dir
	}
	lanes := []string{lane}
	parent, base := filepath.Split(filepath.Clean(lane))
	if prefix, ok := strings.CutSuffix(base, string(cfg.Lane)); ok && prefix != "" {
		entries, err := os.ReadDir(parent)
		for _, e := range entries {
			if dir := filepath.Join(parent, e.Name()); err == nil && e.IsDir() && strings.HasPrefix(e.Name(), prefix) && e.Name() != base {
				lanes = append(lanes, dir)
			}
		}
	}
	for _, dir := range lanes {
		dirs = append(dirs, dir)
		entries, err := os.ReadDir(filepath.Join(dir, streamsFolder))
		for _, e := range entries {
			if err == nil && e.IsDir() {
				dirs = append(dirs, filepath.Join(dir, streamsFolder, e.Name()))
			}
		}
	}
	own := filepath.Clean(cfg.Dir)
	return slices.DeleteFunc(dirs, func(d string) bool { return filepath.Clean(d) == own })
}

// strays returns the segment files in another stream's folder that are, as their
// heads say, the lane's and of a line of history.
func strays(dir string, agent wire.AgentID, lane wire.Lane, line wire.History) (paths []string) {
	segs, _, err := list(dir)
	if err != nil || len(line) == 0 {
		return nil
	}
	for _, s := range segs {
		path := filepath.Join(dir, s.name())
		h, err := headOf(path)
		if err == nil && h.agent == agent && h.lane == lane && len(h.history) > 0 && slices.Contains(line, h.history[0]) {
			paths = append(paths, path)
		}
	}
	return paths
}
