package journal

import (
	"encoding/binary"
	"fmt"
	"strings"
	"time"

	"github.com/fieldpost/fieldpost/collector"
	"github.com/fieldpost/fieldpost/wire"
)

// decoder reads a payload; the first error stays and all further reads are zero.
type decoder struct {
	b   []byte
	err error
}

func (d *decoder) fail(format string, args ...any) {
	if d.err == nil {
		d.err = fmt.Errorf(format, args...)
	}
	d.b = nil
}

func (d *decoder) take(n int) []byte {
	if n > len(d.b) {
		d.fail("ends too early")
		return make([]byte, min(n, 16))
	}
	p := d.b[:n]
	d.b = d.b[n:]
	return p
}

func (d *decoder) u64() uint64     { return binary.BigEndian.Uint64(d.take(8)) }
func (d *decoder) seq() wire.Seq   { return wire.Seq(d.u64()) }
func (d *decoder) id() wire.ID     { return wire.ID(d.take(16)) }
func (d *decoder) time() time.Time { return parseTime(d.take(8)) }
func (d *decoder) flag() bool      { return d.take(1)[0] == 1 }

func (d *decoder) string() string {
	n := int(binary.BigEndian.Uint16(d.take(2)))
	if n > len(d.b) {
		d.fail("a string of %d bytes declared, %d left", n, len(d.b))
		return ""
	}
	return string(d.take(n))
}

func (d *decoder) stream() collector.Stream {
	lane, err := wire.ParseLane(d.string())
	if err != nil {
		d.fail("%w", err)
	}
	s := collector.Stream{Lane: lane, Epoch: wire.Epoch{ID: d.id()}}
	if d.err == nil && s.Epoch.IsZero() {
		d.fail("epoch is zero")
	}
	return s
}

// clip cuts text that is for people to what a record holds of it.
func clip(s string) string {
	const limit = 1024
	return strings.ToValidUTF8(s[:min(len(s), limit)], "")
}
