package sim

import (
	"runtime"
	"time"

	"github.com/fieldpost/fieldpost/wire"
)

// warm lets package wire make what compresses and decompresses. It is shared by
// all, and a channel made in one bubble cannot be used in another.
func warm() error {
	records, err := wire.AppendRecord(nil, &wire.Message{Topic: "t", Time: time.Unix(1, 0), Body: make([]byte, 4096)})
	if err != nil {
		return err
	}
	for range runtime.GOMAXPROCS(0) { // there is one for each
		h := wire.BatchHeader{Lane: wire.DefaultLane, Epoch: wire.Epoch{ID: wire.ID{1}}, Incarnation: wire.Incarnation{ID: wire.ID{1}}, First: 1, Count: 1, Codec: wire.CodecZstd}
		b, err := wire.ParseBatch(wire.AppendBatch(nil, h, records))
		if err != nil {
			return err
		}
		if _, err := b.AppendRecords(nil); err != nil {
			return err
		}
	}
	return nil
}
