package tail

import (
	"bytes"
	"regexp"
	"time"
)

// Multiline says which lines are one message. At most one of Start and Continue is
// set; with neither each line is a message.
type Multiline struct {
	Start    *regexp.Regexp // a line that matches begins a message
	Continue *regexp.Regexp // a line that matches belongs to the one before
}

// cutter cuts bytes into messages. Where it cuts depends on nothing but the bytes
// and where it began, so what is read again is cut as it was at first.
type cutter struct {
	multi Multiline
	most  int // bytes of a message
}

// cuts is what a cutter found. Its bodies point into the bytes that were cut.
type cuts struct {
	bodies [][]byte
	ends   []int // where each ends, its newline included
	long   int   // how many were cut because they were too long
}

func (c *cuts) add(body []byte, end int) {
	c.bodies, c.ends = append(c.bodies, body), append(c.ends, end)
}

func (c *cuts) reset() { *c = cuts{bodies: c.bodies[:0], ends: c.ends[:0]} }

// consumed is how many bytes the messages are made of.
func (c *cuts) consumed() int {
	if len(c.ends) == 0 {
		return 0
	}
	return c.ends[len(c.ends)-1]
}

// most is how many messages of buf are wanted at most. flush says that nothing
// follows: what is left at the end is a message. Only the newline is taken away. A
// line above the limit becomes several messages; of a message of several lines, so
// many lines as fit.
func (c *cutter) cut(buf []byte, flush bool, most int, to *cuts) {
	to.reset()
	if c.multi.Start != nil || c.multi.Continue != nil {
		c.cutMulti(buf, flush, most, to)
		return
	}
	for at := 0; at < len(buf) && len(to.ends) < most; {
		n := bytes.IndexByte(buf[at:min(len(buf), at+c.most+1)], '\n')
		switch {
		case n >= 0:
			to.add(buf[at:at+n], at+n+1)
			at += n + 1
		case len(buf)-at > c.most:
			to.add(buf[at:at+c.most], at+c.most)
			to.long++
			at += c.most
		case flush:
			to.add(buf[at:], len(buf))
			return
		default:
			return
		}
	}
}

// cutMulti is cut for messages of several lines.
func (c *cutter) cutMulti(buf []byte, flush bool, most int, to *cuts) {
	begin := 0 // of the message
	for at := 0; ; {
		if len(to.ends) >= most {
			return
		}
		n, next := bytes.IndexByte(buf[at:], '\n'), len(buf)
		if n >= 0 {
			next = at + n + 1
		}
		whole := n >= 0 || flush && at < len(buf)
		if whole && at > begin && c.begins(line(buf[at:next])) {
			to.add(line(buf[begin:at]), at)
			begin = at
			continue
		}
		if next-begin > c.most+1 || next-begin > c.most && n < 0 { // it would be too long with this line
			to.long++
			if at > begin {
				to.add(line(buf[begin:at]), at)
				begin = at
			} else {
				to.add(buf[begin:begin+c.most], begin+c.most)
				begin += c.most
				at = begin
			}
			continue
		}
		if n < 0 {
			if flush && begin < len(buf) {
				to.add(line(buf[begin:]), len(buf))
			}
			return
		}
		at = next
	}
}

// begins reports whether a line begins a message.
func (c *cutter) begins(line []byte) bool {
	if c.multi.Start != nil {
		return c.multi.Start.Match(line)
	}
	return !c.multi.Continue.Match(line)
}

// line returns b without the newline at its end.
func line(b []byte) []byte { return bytes.TrimSuffix(b, []byte{'\n'}) }

// DefaultFlush is how long the end of a quiet file is waited for.
const DefaultFlush = 10 * time.Second
