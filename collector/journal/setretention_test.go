package journal

import (
	"testing"
	"testing/synctest"
	"time"
)

// A running journal that kept everything keeps less once it is told to, and everything
// again; what it knows of the streams stays.
func TestSetRetention(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		j := openTest(t, Options{Dir: dir, SegmentSize: 2 << 10})
		c := newClient("pump-7")
		must(t, c.sendAgain(j))
		fill := func() {
			for range 100 {
				must(t, c.send(j, 3))
			}
			time.Sleep(time.Hour)
			synctest.Wait()
		}
		fill()
		all := j.Stats().Bytes
		if err := j.SetRetention(-1, 0); err == nil {
			t.Error("a negative age was taken")
		}
		must(t, j.SetRetention(0, 10<<10))
		time.Sleep(time.Hour)
		synctest.Wait()
		if n := j.Stats().Bytes; n > 10<<10 || all < 20<<10 {
			t.Errorf("%d of %d bytes are kept, want up to %d", n, all, 10<<10)
		}
		must(t, j.SetRetention(0, 0))
		before := j.Stats().Bytes
		fill()
		if n := j.Stats().Bytes; n < before+10<<10 {
			t.Errorf("%d bytes after %d: something was removed that is to be kept", n, before)
		}
		must(t, j.SetRetention(2*time.Hour, 0))
		time.Sleep(5 * time.Hour)
		synctest.Wait()
		if n := j.Stats().Bytes; n >= before {
			t.Errorf("%d bytes are kept beyond their age", n)
		}
		kept(t, dir, c)
		must(t, j.Close())
	})
}
