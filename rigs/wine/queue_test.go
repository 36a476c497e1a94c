package wine

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

const (
	queueDir = `C:\fält ж\agent`
	storeDir = `C:\fält ж\store`
)

// TestQueue fills a lane of small segments while nobody takes it, kills the agent
// again and again, damages a segment, and has it drained: on Windows a file that is
// open can be neither renamed nor removed.
func TestQueue(t *testing.T) {
	m := boot(t)
	address := freeAddress(t)
	must(t, os.MkdirAll(m.unix(`C:\fält ж`), 0o755))
	must(t, os.WriteFile(m.unix(`C:\fält ж\agent.yaml`), fmt.Appendf(nil, `id: pump-8
dir: '%s'
collectors: ['%s']
insecure_plaintext: true
lanes: {default: {max_bytes: 8MiB}}
`, queueDir, address), 0o600))
	collect := func() *console {
		return m.console(programs+`\collector.exe`, "run", "--dir", storeDir, "--listen", address, "--http", "off", "--insecure-plaintext")
	}
	written := 0
	feed := func(c *console, n int) {
		t.Helper()
		for range n {
			written++
			_, err := fmt.Fprintf(c.stdin, "m%d %s\n", written, strings.Repeat("x", 1000))
			must(t, err)
		}
		m.until("all that was written to be accepted", 30*time.Second, func() bool {
			out, err := m.tryFor(3*time.Second, programs+`\agent.exe`, "queue", "peek", "--dir", queueDir, "--lane", "default", "--from", strconv.Itoa(written), "-n", "1", "--json")
			return err == nil && strings.Contains(out, fmt.Sprintf("m%d ", written))
		})
	}
	work := func() *console {
		return m.console(programs+`\agent.exe`, "run", "--stay", "--config", `C:\fält ж\agent.yaml`)
	}

	t.Log("filled and killed, three times")
	for range 3 {
		c := work()
		m.answers(queueDir)
		feed(c, 1000)
		c.stop()
	}
	segments := m.segments()
	if len(segments) < 4 {
		t.Fatalf("segments: %q", segments)
	}

	t.Log("a segment is damaged in its middle, and the newest at its head: what is in that is searched for")
	damage(t, fullest(t, segments), 128<<10, 256<<10)
	damage(t, segments[len(segments)-1], 0, 8<<10)
	c := work()
	m.answers(queueDir)
	feed(c, 100)

	t.Log("drained: what can be read is stored, what cannot is told, files go")
	store := collect()
	defer store.stop()
	m.until("all to be delivered", time.Minute, func() bool {
		out, err := m.tryFor(5*time.Second, programs+`\agent.exe`, "status", "--dir", queueDir, "--json")
		return err == nil && strings.Contains(strings.ReplaceAll(out, " ", ""), `"backlog":0,`)
	})
	m.until("the delivered segments to go", 30*time.Second, func() bool { return len(m.segments()) <= 1 })
	bad, err := filepath.Glob(filepath.Join(m.unix(queueDir), "lane-default", "quarantine", "*"))
	if err != nil || len(bad) == 0 {
		t.Errorf("nothing is in quarantine: %v", err)
	}
	// The message says what is known of each number: stored, or damaged.
	audit, err := m.try(programs+`\collector.exe`, "audit", "--dir", storeDir)
	if err != nil || !strings.Contains(audit, "nothing is unexplained, nothing is doubled") {
		t.Errorf("audit: %v\n%s", err, audit)
	}
	t.Log(audit)
	t.Logf("in quarantine: %q", bad)
	exported := m.collector("export", "--dir", storeDir)
	last, n := 0, 0
	for line := range strings.Lines(exported) {
		word, _, _ := strings.Cut(bodyOf(t, line), " ")
		number, err := strconv.Atoi(strings.TrimPrefix(word, "m"))
		must(t, err)
		if number <= last {
			t.Fatalf("m%d is stored behind m%d", number, last)
		}
		last = number
		n++
	}
	if lost := written - n; last != written || lost == 0 || lost > 1000 { // some batches of one segment
		t.Errorf("%d of %d are stored, the last is m%d", n, written, last)
	}

	t.Log("killed and started: nothing is left of what is done")
	c.stop()
	c = work()
	m.answers(queueDir)
	feed(c, 10)
	m.until("the rest to be stored", 30*time.Second, func() bool {
		out, err := m.try(programs+`\collector.exe`, "export", "--dir", storeDir)
		return err == nil && strings.Count(out, `"body"`) == n+10
	})
	m.until("one segment to be left", 30*time.Second, func() bool { return len(m.segments()) <= 1 })
	c.stop()
	if out, err := os.ReadFile(c.log); err != nil || strings.Contains(string(out), "stays") {
		t.Errorf("a file could not be removed: %v\n%s", err, out)
	}
}

// fullest returns the segment, not the newest, that holds most messages: where the
// kills fell decides which.
func fullest(t *testing.T, segments []string) (path string) {
	t.Helper()
	first := func(i int) int {
		name := strings.TrimSuffix(filepath.Base(segments[i]), ".seg")
		n, err := strconv.Atoi(name[strings.LastIndex(name, "-")+1:])
		must(t, err)
		return n
	}
	most := 0
	for i := range segments[1:] {
		if n := first(i+1) - first(i); n > most {
			path, most = segments[i], n
		}
	}
	t.Logf("%d messages are in %s", most, filepath.Base(path))
	return path
}

// damage overwrites n bytes of a file.
func damage(t *testing.T, path string, at int64, n int) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	must(t, err)
	_, err = f.WriteAt([]byte(strings.Repeat("damage!!", n/8)), at)
	must(t, err)
	must(t, f.Close())
}

// segments returns the paths of the lane's segments here.
func (m *machine) segments() []string {
	m.t.Helper()
	list, err := filepath.Glob(filepath.Join(m.unix(queueDir), "lane-default", "*.seg"))
	must(m.t, err)
	return list
}
