package sim

import (
	"bytes"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"

	"github.com/fieldpost/fieldpost/internal/durable"
)

// synced is what the power would leave of a folder's files: for each file that
// has been written, by its path in the folder, its content when it was last synced.
// Files that are not in it are on disk as they are. Names are taken to be on disk
// at once; rigs/powercut looks at those.
type synced map[string][]byte

// step notes what a step will do that is about to be done.
func (s synced) step(step durable.Step, dir, path string) {
	rel, err := filepath.Rel(dir, path)
	if err != nil {
		return
	}
	now := func() []byte {
		b, _ := os.ReadFile(path) // none: it is about to be made
		return b
	}
	switch step {
	case durable.Create:
		s[rel] = nil
	case durable.Write:
		if _, ok := s[rel]; !ok {
			s[rel] = now()
		}
	case durable.Sync:
		s[rel] = now()
	case durable.Rename:
		for from := range s {
			if strings.TrimPrefix(strings.TrimSuffix(filepath.Base(from), ".tmp"), "new-") == filepath.Base(rel) && from != rel && filepath.Dir(from) == filepath.Dir(rel) {
				s[rel] = s[from]
				delete(s, from)
				return
			}
		}
		delete(s, rel)
	case durable.Remove:
		delete(s, rel)
	}
}

const sector = 512

// cut lets a copy of the folder lose what was not synced: of each sector that is
// not as it was synced, the old content or the new one stays. It reports whether
// anything was lost.
func (s synced) cut(dir string, r *rand.Rand) (lost bool, err error) {
	for _, rel := range sorted(s) {
		path := filepath.Join(dir, rel)
		now, err := os.ReadFile(path)
		if os.IsNotExist(err) {
			continue
		} else if err != nil {
			return false, err
		}
		if bytes.Equal(now, s[rel]) {
			continue
		}
		kept := bytes.Clone(now)
		keep := []int{0, 50, 90}[r.IntN(3)] // of a hundred sectors
		for at := 0; at < len(now); at += sector {
			if r.IntN(100) < keep {
				continue
			}
			part := kept[at:min(at+sector, len(kept))]
			clear(part)
			if at < len(s[rel]) {
				copy(part, s[rel][at:])
			}
		}
		if bytes.Equal(now, kept) {
			continue
		}
		lost = true
		if err := os.WriteFile(path, kept, 0o600); err != nil {
			return lost, err
		}
	}
	return lost, nil
}
