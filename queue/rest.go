package queue

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/fieldpost/fieldpost/wire"
)

// openAtRest opens a folder that no process has open, to look at it. The caller
// closes the files and then calls unlock.
func openAtRest(dir string) (fs *files, s state, unlock func(), err error) {
	segs, _, err := list(dir)
	if err != nil {
		return nil, s, nil, err
	}
	if len(segs) == 0 {
		return nil, s, nil, fmt.Errorf("%w: it has no segment files", ErrNotAQueue)
	}
	unlock = func() {}
	l, err := os.Open(filepath.Join(dir, lockName))
	if err == nil {
		unlock = func() { l.Close() }
		err = lock(l)
	}
	if err != nil && !isNotExist(err) { // a copy of a folder may lack the lock file
		unlock()
		return nil, s, nil, err
	}
	f, err := openSealed(filepath.Join(dir, segs[len(segs)-1].name()))
	if err == nil {
		var h head
		if h, s, err = f.load(); err == nil {
			return &files{dir: dir, agent: h.agent, lane: h.lane, segs: segs, tail: f, look: true}, s, unlock, nil
		}
		f.close()
	}
	unlock()
	return nil, s, nil, err
}

// readLettersAtRest hands the dead letters of a stream's folder that no process
// has open to yield.
func readLettersAtRest(dir string, from uint64, yield func(*letter) error) error {
	fs, s, unlock, err := openAtRest(dir)
	if err != nil {
		return err
	}
	defer unlock()
	defer fs.close()
	return fs.letters(&s, from, yield)
}

// Owner returns the agent whose a lane's folder is, as the newest segment says whose
// head can be read; false if none can. It changes nothing.
func Owner(dir string) (wire.AgentID, bool) {
	segs, _, err := list(dir)
	if err != nil {
		return "", false
	}
	for i := range segs {
		if h, err := headOf(filepath.Join(dir, segs[len(segs)-1-i].name())); err == nil {
			return h.agent, true
		}
	}
	return "", false
}
