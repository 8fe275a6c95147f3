package run

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/twmb/franz-go/pkg/kadm"
)

// SampleKeys are keys that a reader of topics must have: those of about n records
// at the start and n at the end of what it has taken, of each partition, by topic.
func SampleKeys(ctx context.Context, cfg Config, reader string, topics []string, n int64) (map[string][]string, error) {
	starts, ends, err := Bounds(ctx, cfg, topics)
	if err != nil {
		return nil, err
	}
	cl, err := cfg.asking()
	if err != nil {
		return nil, fmt.Errorf("making the client: %w", err)
	}
	defer cl.Close()
	taken, err := groupOffsets(ctx, kadm.NewClient(cl), cfg.withDefaults().Prefix+"."+reader)
	if err != nil {
		return nil, err
	}
	firstTo, lastFrom := Marks{}, Marks{}
	for topic, parts := range ends {
		firstTo[topic], lastFrom[topic] = map[int32]int64{}, map[int32]int64{}
		for p, end := range parts {
			start := starts[topic][p]
			if o, ok := taken.Lookup(topic, p); ok {
				end = min(end, o.At)
			} else {
				end = start
			}
			parts[p], firstTo[topic][p], lastFrom[topic][p] = end, min(start+n, end), max(start, end-n)
		}
	}
	keys := map[string]map[string]bool{}
	for _, piece := range [][2]Marks{{starts, firstTo}, {lastFrom, ends}} {
		err := readBetween(ctx, cfg, piece[0], piece[1], func(m *Message) error {
			if keys[m.Topic] == nil {
				keys[m.Topic] = map[string]bool{}
			}
			// Where records were compacted away, one behind the piece ends it.
			if m.Offset < ends[m.Topic][m.Partition] {
				keys[m.Topic][string(m.Key)] = true
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	out := map[string][]string{}
	for topic, set := range keys {
		out[topic] = slices.Sorted(maps.Keys(set))
	}
	return out, nil
}
