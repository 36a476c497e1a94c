package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"sync/atomic"
	"time"

	"github.com/fieldpost/fieldpost/collector/journal"
	"github.com/fieldpost/fieldpost/heartbeat"
	"github.com/fieldpost/fieldpost/internal/config"
	"github.com/fieldpost/fieldpost/internal/doctor"
)

// verifyWithin is how long the journal is read for.
const verifyWithin = 8 * time.Second

// verified is what was found of a journal, and how much of it was read.
type verified struct {
	journal.Verified
	Read  int64 `json:"read_bytes"`
	Total int64 `json:"total_bytes"`
	Whole bool  `json:"whole"` // all was read
}

// verify reads as much of a journal as there is time for, from its oldest record on.
func verify(ctx context.Context, dir string, within time.Duration) (verified, error) {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	var done, all atomic.Int64
	v, err := journal.Verify(ctx, dir, func(n, total int64) {
		done.Store(n)
		all.Store(total)
	})
	out := verified{v, done.Load(), all.Load(), err == nil}
	if errors.Is(err, context.DeadlineExceeded) {
		err = nil
	}
	return out, err
}

// storeCheck looks who the store is.
func (e *examination) storeCheck() doctor.Check {
	return doctor.Check{Group: "store", Name: "store", Needs: []string{"folder"}, Run: func(context.Context) []doctor.Finding {
		r, err := journal.OpenReader(e.cfg.Dir)
		if err != nil {
			return unread(err)
		}
		id := r.Identity()
		text := fmt.Sprintf("store %s", id.ID)
		switch {
		case id.ReplacesAny:
			return []doctor.Finding{doctor.Doubt("start it without --replaces any once all have come: a typing error of an address pours a backlog into the wrong store", "%s takes over from any other store", text)}
		case len(id.Replaces) > 0:
			text += fmt.Sprintf(", which replaces %d others", len(id.Replaces))
		}
		return []doctor.Finding{doctor.Good("%s", text)}
	}}
}

// unread is what a check says of a journal that cannot be opened.
func unread(err error) []doctor.Finding {
	switch {
	case errors.Is(err, journal.ErrNone):
		return []doctor.Finding{doctor.Doubt("name a collector's folder with --dir; collector run makes a new one", "there is no journal in this folder")}
	case errors.Is(err, fs.ErrPermission):
		return []doctor.Finding{doctor.Unseen("run this as root (sudo), or as the account of the service", "this user may not read it")}
	}
	return []doctor.Finding{doctor.Bad("collector verify, then \"Damage to the journal\" in OPERATIONS.md", "%v", err)}
}

// journalCheck reads the journal for as long as there is time.
func (e *examination) journalCheck() doctor.Check {
	return doctor.Check{Group: "store", Name: "journal", Time: verifyWithin + 4*time.Second, Needs: []string{"folder", "store"}, Run: func(context.Context) []doctor.Finding {
		v, err := e.journal()
		if errors.Is(err, journal.ErrRemoved) {
			return []doctor.Finding{doctor.Good("retention removed files while they were read; nothing was damaged until then")}
		}
		if err != nil {
			return unread(err)
		}
		var list []doctor.Finding
		for i := range v.Findings[:min(3, len(v.Findings))] {
			f := &v.Findings[i]
			list = append(list, doctor.Bad(`"Damage to the journal" in OPERATIONS.md: restore that file from a backup, else collector repair`, "damaged: %s at byte %d: %s", f.File, f.Offset, f.What))
		}
		if n := len(v.Findings) + v.More - len(list); n > 0 {
			list = append(list, doctor.Bad("collector verify names them", "and %d more places", n))
		}
		text := fmt.Sprintf("%d messages in %d records, %s, all read", v.Messages, v.Records, config.Approximate(uint64(v.Bytes)))
		if !v.Whole {
			text = fmt.Sprintf("%s of %s read in %s; collector verify reads all", config.Approximate(uint64(v.Read)), config.Approximate(uint64(v.Total)), verifyWithin)
		}
		if v.LostRecords > 0 {
			list = append(list, doctor.Doubt("collector audit says whose numbers they held", "%d records are gone, as repair has marked", v.LostRecords))
		}
		return append(list, doctor.Good("%s", text))
	}}
}

// agentsCheck looks how the agents are.
func (e *examination) agentsCheck() doctor.Check {
	return doctor.Check{Group: "store", Name: "agents", Time: 8 * time.Second, Needs: []string{"folder", "store"}, Run: func(ctx context.Context) []doctor.Finding {
		k, err := e.agents()
		if err != nil {
			return unread(err)
		}
		if len(k.list) == 0 {
			return []doctor.Finding{doctor.Good("no agent has been heard of yet")}
		}
		if !k.running {
			return []doctor.Finding{doctor.Good("%d are known; no collector runs that could say how they are", len(k.list))}
		}
		return judgeAgents(k, time.Now())
	}}
}

// judgeAgents counts the agents by state, and names those to look after.
func judgeAgents(k known, now time.Time) (list []doctor.Finding) {
	count := map[heartbeat.State]int{}
	var gone, contested []string
	for i := range k.list {
		a := &k.list[i]
		count[a.State]++
		if a.State == heartbeat.Offline || a.State == heartbeat.Late {
			gone = append(gone, string(a.ID))
		}
		if !a.Contested.IsZero() && now.Sub(a.Contested) < time.Hour {
			contested = append(contested, string(a.ID))
		}
	}
	text := fmt.Sprintf("%d known: %d online, %d late, %d offline, %d said goodbye, %d not known yet", len(k.list),
		count[heartbeat.Online], count[heartbeat.Late], count[heartbeat.Offline], count[heartbeat.Goodbye], count[heartbeat.Unknown])
	if gone != nil {
		list = append(list, doctor.Doubt("agent doctor on those machines; collector agents says since when and why", "%s (%s)", text, some(gone)))
	} else {
		list = append(list, doctor.Good("%s", text))
	}
	if contested != nil {
		list = append(list, doctor.Doubt("collector agents ID names host and address of both: give the clone an id and a folder of its own", "two processes have used one id within an hour: %s", some(contested)))
	}
	return list
}

// some names the first of a list.
func some(list []string) string {
	slices.Sort(list)
	text := ""
	for i, s := range list {
		if i == 5 {
			return text + fmt.Sprintf(" and %d more", len(list)-i)
		}
		if i > 0 {
			text += ", "
		}
		text += s
	}
	return text
}
