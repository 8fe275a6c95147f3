package run

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"syncline/schemas/change"
)

// ErrNoTopic says that a topic is absent.
var ErrNoTopic = errors.New("there is no such topic")

// Scan reads a topic from its start, all partitions, read committed, outside of
// any group. It is for one goroutine.
type Scan struct {
	cl    *kgo.Client
	admin *kadm.Client
	topic string
	meta  topicMeta
	next  map[int32]int64 // by partition, behind what was read
	from  map[int32]int64 // where its next part begins: markers alone make none
}

// NewScan begins one. A partition whose first records were deleted is refused: a
// topic that is compacted alone never loses any.
func NewScan(ctx context.Context, cfg Config, topic string) (*Scan, error) {
	starts, _, err := Bounds(ctx, cfg, []string{topic})
	if err != nil {
		return nil, err
	}
	c := cfg.withDefaults()
	from := map[int32]kgo.Offset{}
	for p, start := range starts[topic] {
		if start > 0 {
			return nil, fmt.Errorf("%s/%d begins at offset %d: records before it were deleted, and are nowhere else", topic, p, start)
		}
		from[p] = kgo.NewOffset().At(start)
	}
	if len(from) == 0 {
		return nil, fmt.Errorf("%s: %w", topic, ErrNoTopic)
	}
	cl, err := kgo.NewClient(append(append(c.connectOpts(c.Prefix+".scan"), fetchOpts(c.share(1)/4, len(from))...),
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: from}), kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.KeepControlRecords(), kgo.ConsumeResetOffset(kgo.NoResetOffset()))...)
	if err != nil {
		return nil, fmt.Errorf("making the client: %w", err)
	}
	s := &Scan{cl: cl, admin: kadm.NewClient(cl), topic: topic, next: starts[topic], from: maps.Clone(starts[topic])}
	found, err := describeTopics(ctx, s.admin, []string{topic})
	if err != nil {
		cl.Close()
		return nil, err
	}
	s.meta = found[topic]
	return s, nil
}

// Close ends it.
func (s *Scan) Close() { s.cl.Close() }

// Read hands over what is committed now and was not handed over before, and
// returns the number of records. What each returns ends it, and the scan with it.
func (s *Scan) Read(ctx context.Context, each func(change.Batch) error) (records int64, err error) {
	ends, err := listed(s.admin.ListCommittedOffsets(ctx, s.topic))
	if err != nil {
		return 0, fmt.Errorf("listing ends of %s: %w", s.topic, err)
	}
	found, err := describeTopics(ctx, s.admin, []string{s.topic})
	if err != nil {
		return 0, err
	}
	if now := found[s.topic]; now.count != s.meta.count || s.meta.other(now) {
		return 0, fmt.Errorf("%s was deleted or made anew while it was read", s.topic)
	}
	left := func() bool {
		for p, next := range s.next {
			if end, ok := ends.Lookup(s.topic, p); ok && next < end.Offset {
				return true
			}
		}
		return false
	}
	for left() {
		fetches := s.cl.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			return records, fmt.Errorf("reading %s: %w", s.topic, err)
		}
		b := s.batch(fetches)
		if len(b.Parts) == 0 {
			continue
		}
		for i := range b.Parts {
			records += int64(len(b.Parts[i].Records))
		}
		if err := each(b); err != nil {
			return records, err
		}
	}
	return records, nil
}

// batch makes one of what was fetched; markers are only passed over.
func (s *Scan) batch(fetches kgo.Fetches) change.Batch {
	b := change.Batch{Topic: s.topic, TopicID: s.meta.id}
	parts := map[int32]*change.Part{}
	fetches.EachRecord(func(r *kgo.Record) {
		p := parts[r.Partition]
		if p == nil {
			p = &change.Part{Partition: r.Partition, First: s.from[r.Partition]}
			parts[r.Partition] = p
		}
		p.Last = r.Offset
		if !r.Attrs.IsControl() {
			p.Records = append(p.Records, change.Record{Offset: r.Offset, Timestamp: r.Timestamp.UnixMilli(), Key: r.Key, Value: r.Value})
		}
		s.next[r.Partition] = r.Offset + 1
	})
	for _, p := range slices.Sorted(maps.Keys(parts)) {
		if len(parts[p].Records) > 0 {
			b.Parts = append(b.Parts, *parts[p])
			s.from[p] = s.next[p]
		}
	}
	return b
}
