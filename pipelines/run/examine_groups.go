package run

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// ExamineGroups looks at the groups of hops and sinks: who is in them, and how
// far each is behind its topics, in records and in time. readers are the topics by
// hop or sink, running the count of processes that should work on each.
func ExamineGroups(ctx context.Context, cfg Config, readers map[string][]string, running map[string]int) []Examination {
	cl, err := cfg.asking()
	if err != nil {
		return nil // Examine says so
	}
	defer cl.Close()
	admin := kadm.NewClient(cl)
	var out []Examination
	for _, reader := range slices.Sorted(maps.Keys(readers)) {
		e, err := examineGroup(ctx, admin, cfg, reader, readers[reader], running[reader])
		if err != nil {
			e = Examination{Check: "group " + cfg.withDefaults().Prefix + "." + reader, OK: true, Warning: true, Found: "cannot be read: " + err.Error(), Fix: "give the account DESCRIBE on its groups and topics"}
		}
		out = append(out, e)
	}
	return out
}

func examineGroup(ctx context.Context, admin *kadm.Client, cfg Config, reader string, topics []string, running int) (e Examination, err error) {
	group := cfg.withDefaults().Prefix + "." + reader
	described, err := admin.DescribeGroups(ctx, group)
	if err != nil && !noGroup(err) {
		return e, err
	}
	var members []string
	for _, m := range described[group].Members {
		id := m.MemberID
		if m.InstanceID != nil {
			id = *m.InstanceID
		}
		members = append(members, strings.TrimPrefix(id, group+"."))
	}
	slices.Sort(members)
	there, err := describeTopics(ctx, admin, topics)
	if err != nil {
		return e, err
	}
	behind, err := behindOf(ctx, admin, cfg, group, slices.Collect(maps.Keys(there)))
	if err != nil {
		return e, err
	}
	e = Examination{Check: "group " + group, OK: true}
	words := fmt.Sprintf("slots %s, state %s", strings.Join(members, ", "), described[group].State)
	switch {
	case len(members) == 0 && running == 0:
		words = "no member"
	case len(members) == 0 && len(there) == 0:
		words = fmt.Sprintf("processes: %d, waiting for the first of its topics to appear", running)
	case len(members) == 0:
		words = fmt.Sprintf("processes: %d, but no member", running)
		e.Warning, e.Fix = true, "it joins within seconds; if not, read the log of the process"
	}
	e.Found = words + "; " + behind.String()
	if running == 0 && behind.records > 0 {
		e.Warning, e.Fix = true, "syncline up, or syncline run"
	}
	return e, nil
}

// lateness is what a group has not taken of its topics.
type lateness struct {
	records int64
	oldest  time.Time // record time of the oldest of them; zero if it cannot be told
}

func (l lateness) String() string {
	switch {
	case l.records == 0:
		return "nothing behind"
	case l.oldest.IsZero():
		return fmt.Sprintf("%d behind", l.records)
	}
	return fmt.Sprintf("%d behind, the oldest from %s ago", l.records, max(time.Since(l.oldest), 0).Round(time.Second))
}

func behindOf(ctx context.Context, admin *kadm.Client, cfg Config, group string, topics []string) (l lateness, err error) {
	if len(topics) == 0 {
		return l, nil
	}
	taken, err := groupOffsets(ctx, admin, group)
	if err != nil {
		return l, err
	}
	ends, err := listed(admin.ListCommittedOffsets(ctx, topics...))
	if err != nil {
		return l, fmt.Errorf("listing ends: %w", err)
	}
	starts, err := listed(admin.ListStartOffsets(ctx, topics...))
	if err != nil {
		return l, fmt.Errorf("listing starts: %w", err)
	}
	at := map[string]map[int32]int64{}
	ends.Each(func(end kadm.ListedOffset) {
		start, ok := starts.Lookup(end.Topic, end.Partition)
		if end.Err != nil || !ok || start.Err != nil {
			return
		}
		next := start.Offset
		if o, ok := taken.Lookup(end.Topic, end.Partition); ok {
			next = max(next, o.At)
		}
		if end.Offset > next {
			l.records += end.Offset - next
			if at[end.Topic] == nil {
				at[end.Topic] = map[int32]int64{}
			}
			at[end.Topic][end.Partition] = next
		}
	})
	times, markers, err := recordTimes(ctx, cfg, at)
	if err != nil {
		return l, err
	}
	l.records -= markers
	for _, t := range times {
		if l.oldest.IsZero() || t.Before(l.oldest) {
			l.oldest = t
		}
	}
	return l, nil
}

// recordTimes are the times of the records at these offsets, or of the first ones
// behind them. markers counts the transaction markers of partitions in which
// nothing else follows.
func recordTimes(ctx context.Context, cfg Config, at map[string]map[int32]int64) (times map[partitionID]time.Time, markers int64, err error) {
	times = map[partitionID]time.Time{}
	if len(at) == 0 {
		return times, 0, nil
	}
	from := map[string]map[int32]kgo.Offset{}
	open := map[partitionID]int64{} // markers passed
	for topic, parts := range at {
		from[topic] = map[int32]kgo.Offset{}
		for p, offset := range parts {
			from[topic][p] = kgo.NewOffset().At(offset)
			open[partitionID{topic, p}] = 0
		}
	}
	cl, err := cfg.asking(kgo.ConsumePartitions(from), kgo.KeepControlRecords(), kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.FetchMaxPartitionBytes(16<<10), kgo.FetchMaxWait(200*time.Millisecond))
	if err != nil {
		return nil, 0, err
	}
	defer cl.Close()
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	for len(open) > 0 {
		fetches := cl.PollFetches(ctx)
		if ctx.Err() != nil {
			break // what has not come by now is told without its time
		}
		if err := fetches.Err(); err != nil && !errors.Is(err, context.DeadlineExceeded) {
			return nil, 0, err
		}
		fetches.EachPartition(func(p kgo.FetchTopicPartition) {
			id := partitionID{p.Topic, p.Partition}
			for _, r := range p.Records {
				if _, ok := open[id]; !ok {
					return
				}
				if !r.Attrs.IsControl() {
					times[id] = r.Timestamp
					delete(open, id)
					return
				}
				if open[id]++; r.Offset+1 >= p.LastStableOffset {
					markers += open[id]
					delete(open, id)
				}
			}
		})
	}
	return times, markers, nil
}

// Retention is what is left to a record that waits before its topic deletes it.
// ok is false where the topic keeps everything, or it cannot be told.
func Retention(ctx context.Context, cfg Config, topic string, partition int32, hop string) (left time.Duration, ok bool) {
	cl, err := cfg.asking()
	if err != nil {
		return 0, false
	}
	defer cl.Close()
	admin := kadm.NewClient(cl)
	configs, err := admin.DescribeTopicConfigs(ctx, topic)
	if err != nil {
		return 0, false
	}
	kept := int64(-1)
	for _, c := range configs {
		for _, kv := range c.Configs {
			switch kv.Key {
			case "retention.ms":
				if kept, err = strconv.ParseInt(kv.MaybeValue(), 10, 64); err != nil {
					return 0, false
				}
			case "cleanup.policy":
				if !strings.Contains(kv.MaybeValue(), "delete") {
					return 0, false
				}
			}
		}
	}
	taken, err := groupOffsets(ctx, admin, cfg.withDefaults().Prefix+"."+hop)
	if err != nil || kept < 0 {
		return 0, false
	}
	at := int64(0)
	if o, ok := taken.Lookup(topic, partition); ok {
		at = max(o.At, 0)
	}
	times, _, err := recordTimes(ctx, cfg, map[string]map[int32]int64{topic: {partition: at}})
	if err != nil {
		return 0, false
	}
	t, ok := times[partitionID{topic, partition}]
	return time.Duration(kept)*time.Millisecond - time.Since(t), ok
}

// ExamineOwned holds the pipelines' own topics against what they should be. None
// at all is a cluster on which they have never run; one that is absent while a
// process of s is starting may be about to be made.
func ExamineOwned(ctx context.Context, cfg Config, owned []Topic, s Survey) []Examination {
	cl, err := cfg.asking()
	if err != nil {
		return nil // Examine says so
	}
	defer cl.Close()
	admin := kadm.NewClient(cl)
	names := make([]string, len(owned))
	for i, t := range owned {
		names[i] = t.Name
	}
	unknown := func(err error) []Examination {
		return []Examination{{Check: "own topics", OK: true, Warning: true, Found: "cannot be read: " + err.Error(), Fix: "give the account DESCRIBE and DESCRIBE_CONFIGS on its topics"}}
	}
	there, err := describeTopics(ctx, admin, names)
	if err != nil {
		return unknown(err)
	}
	if len(there) == 0 {
		return []Examination{{Check: "own topics", OK: true, Found: "none yet: the first `syncline run` makes them"}}
	}
	configs, err := admin.DescribeTopicConfigs(ctx, slices.Collect(maps.Keys(there))...)
	if err != nil {
		return unknown(err)
	}
	set := map[string]map[string]string{}
	for _, c := range configs {
		set[c.Name] = map[string]string{}
		for _, kv := range c.Configs {
			set[c.Name][kv.Key] = kv.MaybeValue()
		}
	}
	var out []Examination
	for _, t := range owned {
		meta, ok := there[t.Name]
		switch {
		case !ok:
			if p := s.starting(); p != nil {
				out = append(out, Examination{
					Check: "topic " + t.Name, OK: true, Warning: true, Found: fmt.Sprintf("is absent as yet: %s runs since %s", p.place(), p.Since.Format(time.DateTime)),
					Fix: "ask again within a minute",
				})
				continue
			}
			out = append(out, Examination{
				Check: "topic " + t.Name, Found: "is absent, while others of this prefix are there: if it was deleted, what it held is gone",
				Fix: "compute everything anew with " + rebuildCommand,
			})
			continue
		case meta.count != t.Partitions:
			out = append(out, Examination{
				Check: "topic " + t.Name, Found: fmt.Sprintf("has %d partitions, --partitions says %d", meta.count, t.Partitions),
				Fix: fmt.Sprintf("start with --partitions %d: the count is fixed at the first start", meta.count),
			})
		}
		for _, key := range []string{"cleanup.policy", "retention.ms", "retention.bytes"} {
			want := topicConfigs(t, cfg.withDefaults())[key]
			if have, known := set[t.Name][key]; want != nil && known && have != *want {
				out = append(out, Examination{
					Check: "topic " + t.Name, Found: fmt.Sprintf("%s is %s, and must be %s, or records go before they are read", key, have, *want),
					Fix: fmt.Sprintf("kafka-configs.sh --alter --topic %s --add-config %s=%s", t.Name, key, *want),
				})
			}
		}
	}
	if len(out) == 0 {
		return []Examination{{Check: "own topics", OK: true, Found: fmt.Sprintf("%d, as they should be", len(owned))}}
	}
	return out
}
