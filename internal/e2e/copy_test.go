//go:build unix

package e2e

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	"github.com/fieldpost/fieldpost/internal/oracle"
)

// TestCopyOfAFile runs `agent run < file` over a link that is cut time and again
// to a collector that is killed: at exit code 0 every line is stored, once and in
// order.
func TestCopyOfAFile(t *testing.T) {
	t.Parallel()
	s := newSite(t, "")
	var file bytes.Buffer
	for i := range 20000 {
		switch i % 10 {
		case 3:
			file.WriteString("\n")
		case 5:
			fmt.Fprintf(&file, "carriage return %d\r\n", i%50)
		case 7:
			fmt.Fprintf(&file, "no UTF-8 \xff\xfe %d\n", i)
		default:
			fmt.Fprintf(&file, "line %d of the file %s\n", i, bytes.Repeat([]byte{'.'}, s.r.IntN(200)))
		}
	}
	file.WriteString("the last line has no newline")
	text := file.String()

	s.startCollector()
	// The link is slow, so that the copy takes longer than the faults.
	s.link.Delay(20 * time.Millisecond)
	s.agent = launch(t, nil, &file, "agent", s.b.agent, "run", "--id", agentID, "--dir", s.agentDir,
		"--collector", s.link.Addr(), "--config", s.config("agent"), "--topic", "t")
	faults := 0
	for ; faults < 12 && s.agent.running(); faults++ {
		time.Sleep(time.Duration(s.r.Int64N(int64(60 * time.Millisecond))))
		if faults%4 == 3 {
			s.collector.kill()
			s.startCollector()
		} else {
			s.link.Cut()
		}
	}
	s.link.Heal()
	if faults < 8 {
		t.Errorf("the copy ended after %d faults: make it longer", faults)
	}
	if code := s.agent.exit(t, time.Minute); code != 0 {
		t.Errorf("exit code %d:\n%s", code, s.agent.said.tail())
	}

	var sent oracle.Sent
	if err := sent.AddLines(bytes.NewReader([]byte(text)), oracle.Message{Agent: agentID, Lane: "default", Topic: "t"}); err != nil {
		t.Fatal(err)
	}
	export, _, err := output(nil, s.b.collector, "export", "--dir", s.collectorDir, "--format", "jsonl")
	if err != nil {
		t.Fatal(err)
	}
	v, err := sent.Judge(oracle.Export(bytes.NewReader(export)))
	if err != nil || !v.OK() || v.Stored != 20001 {
		t.Errorf("%v, %v", &v, err)
	}
	if code, said := s.audit(); code != 0 {
		t.Errorf("audit: exit code %d\n%s", code, said)
	}
}
