package tail

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fieldpost/fieldpost/agent"
	"github.com/fieldpost/fieldpost/input"
	"github.com/fieldpost/fieldpost/internal/leak"
)

func TestMain(m *testing.M) { leak.Main(m) }

// lanes is an agent of one lane in memory.
type lanes struct {
	mu   sync.Mutex
	got  []agent.Message
	at   map[string][]byte
	full bool
}

func (l *lanes) LaneOf(m *agent.Message) (string, error) { return "default", nil }

func (l *lanes) SendFrom(ctx context.Context, lane string, list []agent.Message, points ...agent.Checkpoint) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.full {
		return agent.ErrFull
	}
	for _, m := range list {
		m.Body = bytes.Clone(m.Body)
		l.got = append(l.got, m)
	}
	for _, c := range points {
		if l.at[c.Source] = bytes.Clone(c.At); c.At == nil {
			delete(l.at, c.Source)
		}
	}
	return nil
}

func (l *lanes) Checkpoints() map[string][]agent.Checkpoint {
	l.mu.Lock()
	defer l.mu.Unlock()
	var list []agent.Checkpoint
	for source, at := range l.at {
		list = append(list, agent.Checkpoint{Source: source, At: bytes.Clone(at)})
	}
	return map[string][]agent.Checkpoint{"default": list}
}

// rig is a folder of files, and the Tail that reads them.
type rig struct {
	t    *testing.T
	dir  string
	l    *lanes
	to   input.Agent // l, or what stands before it
	rule Rule
	tail *Tail
	stop func()

	scanned func() // as in Config
}

func newRig(t *testing.T) *rig {
	r := &rig{t: t, dir: t.TempDir(), l: &lanes{at: map[string][]byte{}}}
	r.to = r.l
	r.rule = Rule{Paths: []string{filepath.Join(r.dir, "*.log")}, Topic: "log/{file}", Flush: time.Hour}
	t.Cleanup(func() {
		if r.stop != nil {
			r.stop()
		}
	})
	return r
}

// start begins a life of the agent.
func (r *rig) start() {
	r.t.Helper()
	feed, err := input.NewFeed(r.to, nil)
	if err != nil {
		r.t.Fatal(err)
	}
	r.tail = New(feed, Config{Rules: []Rule{r.rule}, Poll: 20 * time.Millisecond, Logger: slog.New(slog.NewTextHandler(r.t.Output(), nil)), quiet: 200 * time.Millisecond, search: 500 * time.Millisecond, scanned: r.scanned})
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { r.tail.Run(ctx) })
	r.stop = func() { cancel(); running.Wait(); r.stop = nil }
}

func (r *rig) path(name string) string { return filepath.Join(r.dir, name) }

// write appends to a file.
func (r *rig) write(name, text string) {
	r.t.Helper()
	f, err := os.OpenFile(r.path(name), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err == nil {
		_, err = f.WriteString(text)
		f.Close()
	}
	r.must(err)
}

func (r *rig) must(err error) {
	r.t.Helper()
	if err != nil {
		r.t.Fatal(err)
	}
}

// bodies returns what has been accepted.
func (r *rig) bodies() (list []string) {
	r.l.mu.Lock()
	defer r.l.mu.Unlock()
	for _, m := range r.l.got {
		list = append(list, string(m.Body))
	}
	return list
}

// want waits until exactly these messages are there.
func (r *rig) want(want ...string) {
	r.t.Helper()
	var got []string
	for end := time.Now().Add(15 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if got = r.bodies(); len(got) >= len(want) {
			break
		}
	}
	time.Sleep(50 * time.Millisecond) // more would be wrong
	if got = r.bodies(); !slices.Equal(got, want) {
		r.t.Fatalf("got  %q\nwant %q\nstatus %+v", got, want, r.tail.Status())
	}
}

func TestLinesOfFilesThatGrow(t *testing.T) {
	r := newRig(t)
	r.write("a.log", "1\n2\r\nhal")
	r.start()
	r.want("1", "2\r")
	r.write("a.log", "f\n\n")
	r.want("1", "2\r", "half", "")
	r.write("b.log", "new\n")
	r.write("c.txt", "not read\n")
	r.want("1", "2\r", "half", "", "new")
	if topic := r.l.got[4].Topic; topic != "log/b.log" {
		t.Errorf("topic %q", topic)
	}
	r.stop()
	r.write("a.log", "off\n")
	r.start()
	r.want("1", "2\r", "half", "", "new", "off")
	st := r.tail.Status()
	if st.State != input.Reading || st.Behind != 0 || st.Count != 2 || st.Messages != 1 {
		t.Errorf("status %+v", st)
	}
}

func TestTheEndOfAQuietFile(t *testing.T) {
	r := newRig(t)
	r.rule.Flush = 150 * time.Millisecond
	r.start()
	r.write("a.log", "1\nno newline")
	r.want("1", "no newline")
	r.write("a.log", " and on\n")
	r.want("1", "no newline", " and on")
}

func TestFromTheEnd(t *testing.T) {
	r := newRig(t)
	r.rule.FromEnd = true
	r.write("a.log", "old\n")
	r.start()
	for len(r.l.Checkpoints()["default"]) == 0 {
		time.Sleep(5 * time.Millisecond)
	}
	r.write("a.log", "new\n")
	r.write("b.log", "all of it\n")
	r.want("new", "all of it")
	r.stop()
	r.write("c.log", "came while nobody read\n")
	r.start()
	r.want("new", "all of it", "came while nobody read")
}

func TestMultiline(t *testing.T) {
	for _, c := range []struct {
		name string
		m    Multiline
		most int
		in   string
		want []string
		rest string
	}{
		{"start", Multiline{Start: regexp.MustCompile(`^\d`)}, 100, "1 a\n b\n c\n2 d\n3 e\n f\n", []string{"1 a\n b\n c", "2 d", "3 e\n f"}, "3 e\n f\n"},
		{"start, nothing before", Multiline{Start: regexp.MustCompile(`^\d`)}, 100, " x\n y\n1 a\n", []string{" x\n y", "1 a"}, "1 a\n"},
		{"continue", Multiline{Continue: regexp.MustCompile(`^\s`)}, 100, "a\n b\nc\nd\n e\n f", []string{"a\n b", "c", "d\n e\n f"}, "d\n e\n f"},
		{"too many lines", Multiline{Continue: regexp.MustCompile(`^\s`)}, 6, "a\n b\n c\n d\ne\n", []string{"a\n b", " c\n d", "e"}, "e\n"},
		{"a long line", Multiline{Continue: regexp.MustCompile(`^\s`)}, 4, "a\n bcdefghi\nx\n", []string{"a", " bcd", "efgh", "i", "x"}, "x\n"},
		{"lines", Multiline{}, 4, "abcdefghij\nabcd\nx", []string{"abcd", "efgh", "ij", "abcd", "x"}, "x"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var got cuts
			cut := cutter{c.m, c.most}
			cut.cut([]byte(c.in), true, 1000, &got)
			if s := text(got.bodies); !slices.Equal(s, c.want) {
				t.Errorf("got %q, want %q", s, c.want)
			}
			cut.cut([]byte(c.in), false, 1000, &got)
			if rest := c.in[got.consumed():]; rest != c.rest {
				t.Errorf("%q waits, want %q", rest, c.rest)
			}
		})
	}
}

func text(list [][]byte) (s []string) {
	for _, b := range list {
		s = append(s, string(b))
	}
	return s
}

// FuzzCut: whatever the bytes and the rules, nothing is lost, nothing is above the
// limit, and bytes that come in pieces are cut as those that come at once.
func FuzzCut(f *testing.F) {
	f.Add([]byte("1 a\n b\n\n2 c\n"), uint8(0), uint16(10), uint16(3))
	f.Add([]byte("abcdefghijklmnopqrstuvwxyz\n\n\n x"), uint8(1), uint16(5), uint16(1))
	f.Add([]byte("a\n b\n c\nd"), uint8(2), uint16(4), uint16(7))
	f.Fuzz(func(t *testing.T, in []byte, kind uint8, most, piece uint16) {
		c := cutter{most: 1 + int(most)}
		switch kind % 3 {
		case 1:
			c.multi.Start = regexp.MustCompile(`^\d`)
		case 2:
			c.multi.Continue = regexp.MustCompile(`^\s`)
		}
		var whole, part cuts
		c.cut(in, true, 1<<30, &whole)
		at := 0
		for i, end := range whole.ends {
			body, raw := whole.bodies[i], in[at:end]
			if len(body) > c.most || !bytes.Equal(body, raw) && !bytes.Equal(append(bytes.Clone(body), '\n'), raw) {
				t.Fatalf("%q of %q", body, raw)
			}
			at = end
		}
		if at != len(in) {
			t.Fatalf("%d of %d bytes", at, len(in))
		}
		var ends []int
		from, to := 0, 0
		for to < len(in) {
			to = min(len(in), to+1+int(piece))
			c.cut(in[from:to], to == len(in), 1<<30, &part)
			for _, end := range part.ends {
				ends = append(ends, from+end)
			}
			from += part.consumed()
		}
		if !slices.Equal(ends, whole.ends) {
			t.Fatalf("in pieces %v, at once %v", ends, whole.ends)
		}
	})
}

// Rotations while the agent runs, and while it does not.
func TestRotations(t *testing.T) {
	zip := func(r *rig, name string) {
		b, err := os.ReadFile(r.path(name))
		r.must(err)
		var z bytes.Buffer
		w := gzip.NewWriter(&z)
		w.Write(b)
		w.Close()
		info, _ := os.Stat(r.path(name))
		r.must(os.WriteFile(r.path(name+".gz"), z.Bytes(), 0o600))
		r.must(os.Chtimes(r.path(name+".gz"), info.ModTime(), info.ModTime()))
		r.must(os.Remove(r.path(name)))
	}
	move := func(r *rig, from, to string) { r.must(os.Rename(r.path(from), r.path(to))) }
	copytruncate := func(r *rig, name, to string) {
		b, err := os.ReadFile(r.path(name))
		r.must(err)
		r.must(os.WriteFile(r.path(to), b, 0o600))
		r.must(os.Truncate(r.path(name), 0))
	}
	later := func() { time.Sleep(15 * time.Millisecond) } // another time of change
	for name, steps := range map[string]func(r *rig){
		"renamed":                func(r *rig) { move(r, "a.log", "a.log.1") },
		"renamed, written after": func(r *rig) { move(r, "a.log", "a.log.1"); r.write("a.log.1", "late\n") },
		"renamed and compressed": func(r *rig) { move(r, "a.log", "a.log.1"); zip(r, "a.log.1") },
		"copied and truncated":   func(r *rig) { copytruncate(r, "a.log", "a.log.1") },
		"copied, truncated and compressed": func(r *rig) {
			copytruncate(r, "a.log", "a.log.1")
			zip(r, "a.log.1")
		},
		"renamed twice": func(r *rig) {
			move(r, "a.log", "a.log.1")
			later()
			r.write("a.log", "between\n")
			later()
			move(r, "a.log.1", "a.log.2")
			move(r, "a.log", "a.log.1")
		},
		"renamed twice, the older one compressed": func(r *rig) {
			move(r, "a.log", "a.log.1")
			later()
			r.write("a.log", "between\n")
			later()
			move(r, "a.log.1", "a.log.2")
			zip(r, "a.log.2")
			move(r, "a.log", "a.log.1")
		},
		"renamed twice, both compressed": func(r *rig) {
			move(r, "a.log", "a.log.1")
			later()
			r.write("a.log", "between\n")
			later()
			move(r, "a.log.1", "a.log.2")
			zip(r, "a.log.2")
			move(r, "a.log", "a.log.1")
			zip(r, "a.log.1")
		},
		"by date": func(r *rig) { move(r, "a.log", "a.log-20260101") },
	} {
		for _, on := range []bool{true, false} {
			if on && strings.HasPrefix(name, "renamed twice") {
				continue // between two looks; the system's hints come too late for a test
			}
			t.Run(fmt.Sprintf("%s, running=%t", name, on), func(t *testing.T) {
				t.Parallel()
				r := newRig(t)
				r.write("a.log", "1\n2\n")
				r.start()
				r.want("1", "2")
				if !on {
					r.stop()
				}
				r.l.mu.Lock()
				r.l.full = true
				r.l.mu.Unlock()
				r.write("a.log", "3\n4\n")
				later()
				steps(r)
				later()
				r.write("a.log", "5\n")
				r.l.mu.Lock()
				r.l.full = false
				r.l.mu.Unlock()
				if !on {
					r.start()
				}
				want := []string{"1", "2", "3", "4"}
				switch {
				case strings.Contains(name, "written after"):
					want = append(want, "late")
				case strings.Contains(name, "twice"):
					want = append(want, "between")
				}
				r.want(append(want, "5")...)
				r.stop()
				r.write("a.log", "6\n")
				r.start()
				r.want(append(want, "5", "6")...)
			})
		}
	}
}

// A file that is longer again than it was read is not taken for the old one.
func TestTruncatedAndFilledAgain(t *testing.T) {
	r := newRig(t)
	r.write("a.log", "old 1\nold 2\n")
	r.start()
	r.want("old 1", "old 2")
	r.stop()
	r.must(os.WriteFile(r.path("a.log"), []byte("new 1\nnew 2\nnew 3\n"), 0o600))
	r.start()
	r.want("old 1", "old 2", "new 1", "new 2", "new 3")
}

// What is deleted is read to its end, if it is open; then it is forgotten.
func TestDeleted(t *testing.T) {
	r := newRig(t)
	r.write("a.log", "1\n")
	r.start()
	r.want("1")
	f, err := os.OpenFile(r.path("a.log"), os.O_APPEND|os.O_WRONLY, 0)
	r.must(err)
	defer f.Close()
	r.must(os.Remove(r.path("a.log")))
	f.WriteString("2\nlast")
	r.want("1", "2", "last")
	for end := time.Now().Add(10 * time.Second); len(r.l.Checkpoints()["default"]) > 0; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("it is not forgotten: %q", r.l.Checkpoints())
		}
	}
	r.write("a.log", "another\n")
	r.want("1", "2", "last", "another")
}

func TestFoldersBelow(t *testing.T) {
	r := newRig(t)
	r.must(os.MkdirAll(r.path("x/y"), 0o700))
	r.rule.Paths = []string{filepath.Join(r.dir, "**", "*.log")}
	r.rule.Exclude = []string{"b*.log"}
	r.write("x/y/a.log", "deep\n")
	r.write("x/b.log", "left out\n")
	r.start()
	r.want("deep")
}
