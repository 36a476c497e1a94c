package agent

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/gofrs/flock"

	"github.com/fieldpost/fieldpost/internal/durable"
	"github.com/fieldpost/fieldpost/wire"
)

// An agent's folder:
//
//	agent.json        who the folder belongs to; written once
//	lock              held while an agent runs
//	control           the daemon's socket
//	lane-<name>/      one queue each
//	tls/              certificate and key, from enrolment
const (
	identityFile = "agent.json"
	lockFile     = "lock"
	lanePrefix   = "lane-"
)

// identity is the content of agent.json.
type identity struct {
	Format int          `json:"format"` // of the folder
	Agent  wire.AgentID `json:"agent"`
}

const folderFormat = 1

// lock takes the folder for this process. The caller unlocks it.
func lock(dir string) (*flock.Flock, error) {
	l := flock.New(filepath.Join(dir, lockFile), flock.SetPermissions(0o600))
	ok, err := l.TryLock()
	if err != nil {
		return nil, fmt.Errorf("lock %s: %w", dir, err)
	}
	if !ok {
		return nil, fmt.Errorf("%s: %w", dir, ErrInUse)
	}
	return l, nil
}

// readIdentity returns whose folder dir is; an error that is fs.ErrNotExist if
// it is nobody's.
func readIdentity(dir string) (wire.AgentID, error) {
	path := filepath.Join(dir, identityFile)
	b, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	var id identity
	d := json.NewDecoder(bytes.NewReader(b))
	if err := d.Decode(&id); err != nil {
		return "", fmt.Errorf("%s: %w: %w", path, ErrNotAQueue, err)
	}
	if id.Format != folderFormat {
		return "", fmt.Errorf("%s: %w: format %d, this version reads %d", path, ErrNotAQueue, id.Format, folderFormat)
	}
	if id.Agent == "" {
		return "", fmt.Errorf("%s: %w: it names no agent", path, ErrNotAQueue)
	}
	return id.Agent, nil
}

// claim returns the folder's agent id. A folder without one gets want, or the
// host's name, for ever.
func claim(dir string, want wire.AgentID) (wire.AgentID, error) {
	have, err := readIdentity(dir)
	switch {
	case err == nil && want != "" && want != have:
		return "", fmt.Errorf("%s: %w: it is %s's, not %s's; use that id or another folder", dir, ErrIdentity, have, want)
	case err == nil:
		return have, nil
	case !errors.Is(err, fs.ErrNotExist):
		return "", err
	}
	// Lanes without a name above them: the folder is damaged or was copied in
	// part. A new name would send them as somebody else's.
	if lanes, err := lanesOnDisk(dir); err != nil {
		return "", err
	} else if len(lanes) > 0 {
		return "", fmt.Errorf(`%s: %w: it has lanes but no %s; restore that file, which has {"format":1,"agent":"ID"}`, dir, ErrNotAQueue, identityFile)
	}
	if want == "" {
		if want, err = hostID(); err != nil {
			return "", err
		}
	}
	b, err := json.Marshal(identity{folderFormat, want})
	if err != nil {
		return "", err
	}
	return want, durable.WriteFile(filepath.Join(dir, identityFile), append(b, '\n'), 0o600)
}

// lanesOnDisk returns the lanes that have a folder in dir.
func lanesOnDisk(dir string) ([]wire.Lane, error) {
	list, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var lanes []wire.Lane
	for _, e := range list {
		name, ok := strings.CutPrefix(e.Name(), lanePrefix)
		if lane, err := wire.ParseLane(name); ok && err == nil && e.IsDir() {
			lanes = append(lanes, lane)
		}
	}
	return lanes, nil
}

func laneDir(dir string, lane wire.Lane) string { return filepath.Join(dir, lanePrefix+string(lane)) }

// sortLanes puts the default lane first and the others in order of their names.
func sortLanes(lanes []wire.Lane) {
	slices.SortFunc(lanes, func(x, y wire.Lane) int {
		switch {
		case x == y:
			return 0
		case x == wire.DefaultLane:
			return -1
		case y == wire.DefaultLane:
			return 1
		}
		return strings.Compare(string(x), string(y))
	})
}
