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
// Its head does not tell: an opening that has written nothing is forgotten.
func stranger(path string, s *state) bool {
	own, ok := stateOf(path, "", "")
	return ok && s.next > 1 && own.next > 1 && s.relabelled == 0 && apart(own.history, s.history)
}

// stateOf returns the state in a segment file; false if it does not read, or is of
// another agent or lane, if they are named.
func stateOf(path string, agent wire.AgentID, lane wire.Lane) (s state, ok bool) {
	f, err := openSealed(path)
	if err != nil {
		return s, false
	}
	defer f.close()
	h, s, err := f.load()
	return s, err == nil && (agent == "" || h.agent == agent && h.lane == lane)
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

// strays returns the segment files in another stream's folder that are the lane's and
// of a line of history. seen has those that are not, so that none is read twice.
func strays(dir string, fs *files, line wire.History, seen map[string]os.FileInfo) (paths []string) {
	segs, _, err := list(dir)
	if err != nil || len(line) == 0 || line[0].First > 1 {
		return nil
	}
	for _, seg := range segs {
		path := filepath.Join(dir, seg.name())
		info, err := os.Stat(path)
		if err != nil || seen[path] != nil && os.SameFile(info, seen[path]) {
			continue
		}
		if s, ok := stateOf(path, fs.agent, fs.lane); ok && s.next > 1 && s.history[0] == line[0] {
			paths = append(paths, path)
		} else if ok && s.next > 1 {
			seen[path] = info
		}
	}
	return paths
}
