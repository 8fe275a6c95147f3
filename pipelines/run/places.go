package run

import (
	"context"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
)

// At is a place in a topic, of all its partitions: its start, its end, the first
// record that is not older than a time, or else an offset.
type At struct {
	Start, End bool
	Time       time.Time
	Offset     int64
}

// OffsetsAt resolves a place to offsets by partition.
func OffsetsAt(ctx context.Context, cfg Config, topic string, at At) (map[int32]int64, error) {
	cl, err := cfg.asking()
	if err != nil {
		return nil, fmt.Errorf("making the client: %w", err)
	}
	defer cl.Close()
	admin := kadm.NewClient(cl)
	var listed kadm.ListedOffsets
	switch {
	case at.Start:
		listed, err = admin.ListStartOffsets(ctx, topic)
	case !at.Time.IsZero():
		listed, err = admin.ListOffsetsAfterMilli(ctx, at.Time.UnixMilli(), topic)
	default: // the end, or an offset of as many partitions
		listed, err = admin.ListEndOffsets(ctx, topic)
	}
	if err == nil {
		err = listed.Error()
	}
	if err != nil {
		return nil, fmt.Errorf("listing offsets of %s: %w", topic, err)
	}
	out := map[int32]int64{}
	listed.Each(func(o kadm.ListedOffset) {
		if out[o.Partition] = o.Offset; !at.Start && !at.End && at.Time.IsZero() {
			out[o.Partition] = at.Offset
		}
	})
	return out, nil
}
