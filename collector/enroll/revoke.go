package enroll

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"
	"time"

	"github.com/fieldpost/fieldpost/collector"
	"github.com/fieldpost/fieldpost/internal/pki"
	"github.com/fieldpost/fieldpost/wire"
)

// Revocations are the agents whose certificates do not count. Its methods may be
// called concurrently.
type Revocations struct {
	folder folder

	mu     sync.Mutex
	seen   fs.FileInfo
	before map[wire.AgentID]time.Time
}

// revoked is the content of revoked.json: no certificate that begins at that time
// or before counts.
type revoked struct {
	Format int                        `json:"format"`
	Agents map[wire.AgentID]time.Time `json:"agents"`
}

// OpenRevocations reads those of the collector in dir, and makes the folder for
// them.
func OpenRevocations(dir string) (*Revocations, error) {
	r := &Revocations{folder: folderOf(dir)}
	if err := pki.MakeFolder(string(r.folder)); err != nil {
		return nil, err
	}
	_, err := r.reload()
	return r, err
}

// reload reads the file if it is another than before, and reports whether it was.
func (r *Revocations) reload() (changed bool, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	info, err := os.Stat(r.folder.path(revokedFile))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		changed = r.seen != nil
		r.seen, r.before = nil, nil
		return changed, nil
	case err != nil:
		return false, err
	case r.seen != nil && os.SameFile(info, r.seen) && info.ModTime().Equal(r.seen.ModTime()) && info.Size() == r.seen.Size():
		return false, nil
	}
	var list revoked
	if err := r.folder.read(revokedFile, &list); err != nil {
		return false, err
	}
	r.seen, r.before = info, list.Agents
	return true, nil
}

// Watch looks every second whether the revocations have changed, calls changed if
// so, and returns when ctx ends. What cannot be read is told to failed, once; the
// old ones stay.
func (r *Revocations) Watch(ctx context.Context, changed func(), failed func(error)) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	said := ""
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		news, err := r.reload()
		switch {
		case err != nil && err.Error() != said:
			said = err.Error()
			failed(err)
		case err == nil:
			said = ""
		}
		if news {
			changed()
		}
	}
}

// since returns when an agent was revoked, zero if it was not.
func (r *Revocations) since(id wire.AgentID) time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.before[id]
}

// Admit is a collector's Config.Admit: it denies certificates that are revoked.
func (r *Revocations) Admit(id wire.AgentID, cert *x509.Certificate) error {
	if at := r.since(id); !at.IsZero() && !cert.NotBefore.After(at) {
		return &collector.Denied{Code: wire.RefuseRevoked, Reason: fmt.Sprintf("the certificates of agent %s were revoked at %s: enrol it again with a new token", id, at.Format(time.RFC3339))}
	}
	return nil
}

// Revoke revokes all certificates of an agent that there are now. It is durable
// when Revoke returns nil, and r itself admits none of them any more. Links end when
// [Revocations.Watch] of another process has seen it; in this one whoever has called
// Revoke sees to that.
func (r *Revocations) Revoke(ctx context.Context, id wire.AgentID) error {
	if err := r.revoke(ctx, id); err != nil {
		return err
	}
	_, err := r.reload()
	return err
}

func (r *Revocations) revoke(ctx context.Context, id wire.AgentID) error {
	return r.folder.locked(ctx, func() error {
		list := revoked{Format: format}
		if err := r.folder.read(revokedFile, &list); err != nil {
			return err
		}
		if list.Agents == nil {
			list.Agents = map[wire.AgentID]time.Time{}
		}
		// A certificate may have been given in this very second.
		list.Agents[id] = time.Now().UTC().Truncate(time.Second).Add(time.Second)
		return r.folder.write(revokedFile, list)
	})
}

// All returns when which agents were revoked. The caller owns the map.
func (r *Revocations) All() (map[wire.AgentID]time.Time, error) {
	var list revoked
	err := r.folder.read(revokedFile, &list)
	return list.Agents, err
}
