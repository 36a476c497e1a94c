package demo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"

	"github.com/fieldpost/fieldpost/collector/journal"
	"github.com/fieldpost/fieldpost/internal/oracle"
)

// verdict is what the comparison found.
type verdict struct {
	oracle.Verdict
	dropped int // missing ones for which the store holds a tombstone
	audit   journal.Report
}

// count compares what the agents noted with an export by this binary's own
// export command, as a user would make one.
func count(ctx context.Context, s *site) (*verdict, error) {
	var sent oracle.Sent
	for _, st := range s.stations {
		if err := sent.Load(s.notes(st)...); err != nil {
			return nil, err
		}
	}
	path := filepath.Join(s.dir, "export.jsonl")
	if err := export(ctx, s.collectorDir(), path); err != nil {
		return nil, err
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	v := &verdict{}
	if v.Verdict, err = sent.Judge(oracle.Export(f)); err != nil {
		return nil, err
	}
	if v.audit, err = journal.Audit(ctx, s.collectorDir()); err != nil {
		return nil, err
	}
	v.dropped = min(v.Missing, tombstoned(&v.audit))
	return v, nil
}

// tombstoned returns how many numbers the store's entries account for as dropped.
func tombstoned(r *journal.Report) (n int) {
	for _, s := range r.Streams {
		for _, k := range s.Tombstoned {
			n += int(k)
		}
	}
	return n
}

// export writes what the collector's folder holds to a file of JSON lines.
func export(ctx context.Context, dir, path string) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	c := exec.CommandContext(ctx, self, "export", "--dir", dir, "--format", "jsonl")
	c.Stdout = f
	var said bytes.Buffer
	c.Stderr = &said
	if err := errors.Join(c.Run(), f.Close()); err != nil {
		return fmt.Errorf("export: %w: %s", err, said.Bytes())
	}
	return nil
}

// print says what was found, agent by agent.
func (v *verdict) print(w *view) {
	w.Printf("\nWhat each Send had promised, against the collector's export:\n")
	w.Printf("         %-10s %10s %10s %9s %9s %13s", "", "accepted", "stored", "missing", "doubled", "out of order")
	names := make([]string, 0, len(v.Agents))
	for name := range v.Agents {
		names = append(names, name)
	}
	slices.SortFunc(names, func(a, b string) int { // agent-10 after agent-9
		if len(a) != len(b) {
			return len(a) - len(b)
		}
		return bytes.Compare([]byte(a), []byte(b))
	})
	for _, name := range names {
		t := v.Agents[name]
		w.Printf("         %-10s %10d %10d %9d %9d %13d", name, t.Accepted, t.Stored, t.Missing, t.Doubled, t.Misplaced)
	}
	w.Printf("")
	if v.Uncertain > 0 {
		w.Printf("%d messages were in the hands of a killed process, which was never told that they are safe; %d of them are stored, once.", v.Uncertain, v.Survived)
	}
	for _, f := range v.Findings {
		w.Printf("  %s", f)
	}
	if v.audit.OK {
		w.Printf("The collector's own audit, which reads every entry, finds nothing unexplained or doubled.")
	} else {
		w.Printf("The collector's own audit finds faults; see: collector audit --dir DIR")
	}
	w.Printf("")
}

// line returns the last line.
func (v *verdict) line() string {
	return fmt.Sprintf("accepted %d stored %d dropped %d doubled %d unexplained %d",
		v.Accepted, v.Stored, v.dropped, v.Doubled, v.Missing-v.dropped+v.Foreign)
}

// err returns nil if every accepted message is stored once and in order.
func (v *verdict) err() error {
	switch {
	case !v.OK():
		return errors.New("not every accepted message is stored once and in order")
	case !v.audit.OK:
		return errors.New("the collector's audit finds faults")
	case v.Accepted == 0:
		return errors.New("nothing was accepted, so nothing is shown")
	}
	return nil
}
