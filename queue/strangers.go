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
// An opening that has written nothing is forgotten, so a head alone tells it only
// of a file that begins above number 1.
func stranger(path string, s *state) bool {
	if s.next == 1 || s.relabelled > 0 {
		return false
	}
	h, own, err := stateOf(path)
	switch {
	case err == nil:
		return own.next > 1 && apart(own.history, s.history)
	case isDamage(err) && h.first > 1:
		return apart(h.history, s.history)
	}
	return false
}

// stateOf returns the head and the state in a segment file; of one whose state does
// not read the head alone, if that does, and the error.
func stateOf(path string) (h head, s state, err error) {
	f, err := openSealed(path)
	if err != nil {
		return h, s, err
	}
	defer f.close()
	if h, s, err = f.load(); err != nil {
		if own, herr := f.readHead(); herr == nil {
			h = own
		}
	}
	return h, s, err
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

// strays returns the segment files in another stream's folder that may hold batches of
// the lane and of a line of history. seen has those that do not, so that none is
// read twice.
func strays(dir string, fs *files, line wire.History, seen map[string]os.FileInfo) (paths []string) {
	segs, _, err := list(dir)
	if err != nil || len(line) == 0 {
		return nil
	}
	for _, seg := range segs {
		path := filepath.Join(dir, seg.name())
		info, err := os.Stat(path)
		if err != nil || seen[path] != nil && os.SameFile(info, seen[path]) {
			continue
		}
		h, s, err := stateOf(path)
		known := h.agent != ""
		switch {
		case err != nil && !isDamage(err):
		case known && (h.agent != fs.agent || h.lane != fs.lane), err == nil && apart(s.history, line):
			seen[path] = info
		case err != nil && known && h.first > 1 && apart(h.history, line):
			seen[path] = info
		case err != nil || s.next > 1 && line[0].First == 1 && s.history[0] == line[0]:
			paths = append(paths, path)
		}
	}
	return paths
}
