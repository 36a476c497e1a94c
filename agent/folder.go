package agent

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/gofrs/flock"

	"github.com/fieldpost/fieldpost/internal/durable"
	"github.com/fieldpost/fieldpost/queue"
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

// readFolder returns what agent.json says; an error that is fs.ErrNotExist if there is
// none, and ErrNewer if a later version has written the folder.
func readFolder(dir string) (identity, error) {
	path := filepath.Join(dir, identityFile)
	b, err := os.ReadFile(path)
	if err != nil {
		return identity{}, err
	}
	var id identity
	d := json.NewDecoder(bytes.NewReader(b))
	if err := d.Decode(&id); err != nil {
		return identity{}, fmt.Errorf("%s: %w: %w", path, ErrNotAQueue, err)
	}
	switch {
	case id.Format > FolderFormat:
		return identity{}, fmt.Errorf("%s: %w: it is of format %d, and this version knows formats up to %d; install the later version again", dir, ErrNewer, id.Format, FolderFormat)
	case id.Format < 1:
		return identity{}, fmt.Errorf("%s: %w: it has no format", path, ErrNotAQueue)
	case id.Agent == "":
		return identity{}, fmt.Errorf("%s: %w: it names no agent", path, ErrNotAQueue)
	}
	return id, nil
}

// readIdentity returns whose folder dir is, with the errors of readFolder.
func readIdentity(dir string) (wire.AgentID, error) {
	id, err := readFolder(dir)
	return id.Agent, err
}

// raiseFormat makes the folder one of this version's format, before anything else is
// written there. The caller has the lock.
func raiseFormat(dir string) error {
	id, err := readFolder(dir)
	if err != nil || id.Format == FolderFormat {
		return err
	}
	return writeIdentity(dir, id.Agent)
}

// claim returns the folder's agent id. A folder without one gets want, or the
// host's name, for ever.
// If its file is missing or damaged, the lanes tell whose they are.
func claim(dir string, want wire.AgentID, log *slog.Logger) (wire.AgentID, error) {
	have, err := readIdentity(dir)
	if err != nil && !errors.Is(err, ErrNewer) {
		if owner, ok := ownerOfLanes(dir); ok && (want == "" || want == owner) && restore(dir, owner) == nil {
			log.Error("the file that says whose folder it is was missing or damaged; the lanes say it, and it is written again", "file", filepath.Join(dir, identityFile), "id", owner, "err", err)
			have, err = owner, nil
		}
	}
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
		return "", fmt.Errorf(`%s: %w: it has lanes but no %s; restore that file, which has {"format":%d,"agent":"ID"}`, dir, ErrNotAQueue, identityFile, FolderFormat)
	}
	if want == "" {
		if want, err = hostID(); err != nil {
			return "", err
		}
	}
	return want, writeIdentity(dir, want)
}

func writeIdentity(dir string, id wire.AgentID) error {
	b, err := json.Marshal(identity{FolderFormat, id})
	if err != nil {
		return err
	}
	return durable.WriteFile(filepath.Join(dir, identityFile), append(b, '\n'), 0o600)
}

// restore writes the identity again, and keeps a damaged file beside it.
func restore(dir string, id wire.AgentID) error {
	path := filepath.Join(dir, identityFile)
	if err := durable.RenameFile(path, path+".damaged"); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return writeIdentity(dir, id)
}

// ownerOfLanes returns the agent whose the lanes are; false unless all that can say
// it, one at least, say the same.
func ownerOfLanes(dir string) (owner wire.AgentID, ok bool) {
	names, err := lanesOnDisk(dir)
	if err != nil {
		return "", false
	}
	for _, name := range names {
		id, found := queue.Owner(laneDir(dir, name))
		if found && ok && id != owner {
			return "", false
		}
		if found {
			owner, ok = id, true
		}
	}
	return owner, ok
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
