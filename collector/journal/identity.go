package journal

import (
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/fieldpost/fieldpost/collector"
	"github.com/fieldpost/fieldpost/wire"
)

// FolderFormat is the format of the folders that this version writes, and the latest
// that it reads. Older ones are read, and become this one when a collector opens the
// folder. Whatever in a folder an older version could not read raises it: so one
// number in one small file, store.json, says who may open the folder, and a package
// asks it before it replaces a newer program.
const FolderFormat = 3 + later

// identityFile is the content of store.json.
type identityFile struct {
	Format      int            `json:"format"`
	Store       wire.StoreID   `json:"store"`
	Created     time.Time      `json:"created"`
	Replaces    []wire.StoreID `json:"replaces,omitempty"`
	ReplacesAny bool           `json:"replaces_any,omitempty"`
	Checksum    string         `json:"checksum,omitempty"` // CRC-32C of the rest, as sum makes it; version 1 has none
}

// sum returns the checksum of what f says.
func (f identityFile) sum() string {
	f.Checksum = ""
	b, _ := json.Marshal(&f) // fails for no content that f can have
	return fmt.Sprintf("%08x", crc32.Checksum(b, wire.Castagnoli))
}

func (f *identityFile) identity() collector.Identity {
	return collector.Identity{ID: f.Store, Replaces: slices.Clone(f.Replaces), ReplacesAny: f.ReplacesAny}
}

// errIdentity marks a store.json that says nothing.
var errIdentity = errors.New("the store's identity is damaged")

// ErrNewer means that a later version has written the folder. Nothing in it is
// touched.
var ErrNewer = errors.New("the journal is of a later version")

// idOf returns the store id that most of a folder's segments have, false if there
// is none.
func idOf(dir string, ordinals []uint64) (id wire.StoreID, ok bool) {
	votes := map[wire.StoreID]int{}
	for _, n := range ordinals {
		if h, err := readHead(segmentPath(dir, n)); err == nil {
			votes[h.store]++
		}
	}
	for s, n := range votes {
		if n == votes[id] {
			ok = false
		} else if n > votes[id] {
			id, ok = s, true
		}
	}
	return id, ok
}

// readIdentity reads store.json. fs.ErrNotExist: there is none.
func readIdentity(dir string) (f identityFile, err error) {
	path := filepath.Join(dir, identityName)
	b, err := os.ReadFile(path)
	if err != nil {
		return f, err
	}
	f = identityFile{}
	if err := json.Unmarshal(b, &f); err != nil {
		return f, fmt.Errorf("%w: %s: %w", errIdentity, path, err)
	}
	switch {
	case f.Format > FolderFormat:
		return f, fmt.Errorf("%w: %s: format %d, this program knows formats up to %d: use the program that wrote it; if none did, the file is damaged: restore it from a backup, or delete it", ErrNewer, path, f.Format, FolderFormat)
	case f.Store.IsZero() || f.Format < 1:
		return f, fmt.Errorf("%w: %s has no store id or no format", errIdentity, path)
	case f.Checksum != f.sum() && (f.Checksum != "" || f.Format > 1):
		return f, fmt.Errorf("%w: %s has checksum %q, its content has %s", errIdentity, path, f.Checksum, f.sum())
	}
	return f, nil
}

// openIdentity reads or makes the folder's identity and notes what it replaces.
// Without a good store.json the id is that of the segments; a damaged one is kept
// beside the new one.
func openIdentity(o *Options, d disk, ordinals []uint64) (identityFile, error) {
	f, err := readIdentity(o.Dir)
	changed := false
	path := filepath.Join(o.Dir, identityName)
	switch {
	case errors.Is(err, os.ErrNotExist), errors.Is(err, errIdentity):
		id, known := idOf(o.Dir, ordinals)
		if !known && (errors.Is(err, errIdentity) || len(ordinals) > 0) {
			return f, fmt.Errorf("%w: %w; the segments do not tell which store this is: restore store.json from a backup", errIdentity, err)
		}
		if errors.Is(err, errIdentity) {
			if err := d.rename(path, free(path+damagedSuffix)); err != nil {
				return f, err
			}
		}
		changed = true
		f = identityFile{Format: FolderFormat, Store: wire.StoreID{ID: wire.NewID()}, Created: time.Now().UTC().Truncate(time.Second)}
		if known {
			f.Store = id
			o.Logger.Warn("the store's identity was lost and is taken from its segments; what it replaces is not known any more: if it replaced other stores, say --replaces again",
				"file", path, "store", f.Store)
		}
	case err != nil:
		return f, err
	}
	if f.Format != FolderFormat {
		f.Format, changed = FolderFormat, true
	}
	for _, id := range o.Replaces {
		if !slices.Contains(f.Replaces, id) && id != f.Store {
			f.Replaces, changed = append(f.Replaces, id), true
		}
	}
	if o.ReplacesAny && !f.ReplacesAny {
		f.ReplacesAny, changed = true, true
	}
	if !changed {
		return f, nil
	}
	return f, writeIdentity(d, o.Dir, &f)
}

func writeIdentity(d disk, dir string, f *identityFile) error {
	f.Checksum = f.sum()
	b, err := json.MarshalIndent(f, "", "  ")
	if err != nil {
		return err
	}
	return replaceFile(d, dir, filepath.Join(dir, identityName), append(b, '\n'))
}
