package tail

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"
)

// Lines that are written, and read, between a copy and the truncation make the copy
// shorter than what was read. It is not read again: not now, not after the next start,
// and not when it was compressed.
func TestACopyThatIsShorterThanWhatWasRead(t *testing.T) {
	for _, zipped := range []bool{false, true} {
		r := newRig(t)
		r.write("a.log", "1\n2\n")
		r.start()
		r.want("1", "2")
		want := []string{"1", "2"}
		for i := range 3 {
			if i == 2 { // and once while nobody reads
				r.stop()
			}
			b, err := os.ReadFile(r.path("a.log"))
			r.must(err)
			name := "a.log." + string(rune('1'+i))
			if zipped {
				name += ".gz"
				b = pack(b)
			}
			if i == 1 { // the first copy is one as it should be
				line := string(rune('a' + i))
				r.write("a.log", line+"\n")
				want = append(want, line)
				r.want(want...)
			}
			r.must(os.WriteFile(r.path(name), b, 0o600))
			r.must(os.Truncate(r.path("a.log"), 0))
			time.Sleep(20 * time.Millisecond)
			line := "new" + string(rune('0'+i))
			r.write("a.log", line+"\n")
			if i == 2 {
				r.start()
			}
			want = append(want, line)
			r.want(want...)
			time.Sleep(time.Second) // beyond the time in which it is looked for
		}
		r.stop()
		r.start()
		time.Sleep(time.Second)
		r.write("a.log", "end\n")
		r.want(append(want, "end")...)
		r.stop()
		r.l.got, r.l.at = nil, map[string][]byte{}
	}
}

// More than the copy has was read when the agent was stopped: what is left of the file
// at the next start, the new content, must not hide that the copy is one.
func TestAShorterCopyIsKnownAfterARestart(t *testing.T) {
	for _, zipped := range []bool{false, true} {
		r := newRig(t)
		long := strings.Repeat("x", 100)
		var want []string
		write := func(lines ...string) {
			r.write("a.log", strings.Join(lines, "\n")+"\n")
			want = append(want, lines...)
		}
		rotate := func(b []byte) {
			name := fmt.Sprintf("a.log.%d", len(want))
			if zipped {
				name, b = name+".gz", pack(b)
			}
			r.must(os.WriteFile(r.path(name), b, 0o600))
			r.must(os.Truncate(r.path("a.log"), 0))
		}
		read := func() []byte {
			b, err := os.ReadFile(r.path("a.log"))
			r.must(err)
			return b
		}
		write("first")
		r.start()
		r.want(want...)
		r.stop()
		rotate(read())
		write("second")
		r.start() // the first one is known by its copy now
		for i := range 30 {
			write(fmt.Sprint(i, long))
		}
		r.want(want...)
		b := read()
		write("behind the copy")
		r.want(want...)
		r.stop()
		rotate(b)
		write("new")
		r.start()
		r.want(want...)
		for i := range 30 {
			write(fmt.Sprint("new", i, long))
		}
		r.want(want...)
		r.stop()
	}
}

func pack(b []byte) []byte {
	var z bytes.Buffer
	w := gzip.NewWriter(&z)
	w.Write(b)
	w.Close()
	return z.Bytes()
}

// A copy is left when it was read and then compressed, out of sight. It is not read
// again while the file that had the name after it is looked for.
func TestACopyThatWasReadAndCompressed(t *testing.T) {
	r := newRig(t)
	var want []string
	write := func(line string) {
		r.write("a.log", line+"\n")
		r.want(append(want, line)...)
		want = append(want, line)
	}
	copied := func(name string) {
		b, err := os.ReadFile(r.path("a.log"))
		r.must(err)
		r.must(os.WriteFile(r.path(name), b, 0o600))
		r.must(os.Truncate(r.path("a.log"), 0))
	}
	r.start()
	write("1")
	copied("a.log.1")
	write("22")
	copied("a.log.2")
	write("333")
	followed := r.tail.Status().Count
	b, err := os.ReadFile(r.path("a.log.2"))
	r.must(err)
	info, err := os.Stat(r.path("a.log.2"))
	r.must(err)
	r.must(os.WriteFile(r.path("a.log.2.gz"), pack(b), 0o600))
	r.must(os.Chtimes(r.path("a.log.2.gz"), info.ModTime(), info.ModTime())) // as gzip does
	r.must(os.Remove(r.path("a.log.2")))
	for end := time.Now().Add(10 * time.Second); r.tail.Status().Count >= followed; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("the copy that is gone is still followed: %+v", r.tail.Status())
		}
	}
	copied("a.log.3")
	write("4444")
	write("55555")
	r.stop()
	r.start()
	write("666666")
	r.stop()
}

// What is written into a file that nobody has written into for a while, and that is
// deleted right after, is read by the handle that is open.
func TestAFileThatIsGoneBeforeTheNextLook(t *testing.T) {
	r := newRig(t)
	r.write("a.log", "")
	r.start()
	for end := time.Now().Add(10 * time.Second); r.tail.Status().Count == 0; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the file is not followed")
		}
	}
	time.Sleep(2 * r.tail.cfg.quiet)
	r.write("a.log", "1\n2\n")
	r.must(os.Remove(r.path("a.log")))
	r.want("1", "2")
	r.stop()
}

// Files are renamed again between a scan and the look at what it has found: none is
// passed over, and none is read before those that were there first.
func TestFilesThatMoveBetweenScanAndLook(t *testing.T) {
	r := newRig(t)
	r.write("a.log", "1\n")
	r.start()
	r.want("1")
	r.stop()
	rename := func(names ...string) {
		for i := len(names) - 1; i > 0; i-- {
			r.must(os.Rename(r.path(names[i-1]), r.path(names[i])))
		}
	}
	rename("a.log", "a.log.1")
	r.write("a.log", "22\n")
	rename("a.log", "a.log.1", "a.log.2")
	r.write("a.log", "333\n")
	moves := 0
	r.scanned = func() {
		if moves++; moves == 1 {
			rename("a.log.1", "a.log.1-20260101")
		}
	}
	r.start()
	r.want("1", "22", "333")
	r.write("a.log", "4\n")
	r.want("1", "22", "333", "4")
	r.stop()
}
