package endtoend

import (
	"context"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"syncline/benchmarks/workload"
)

// canonicalRecords counts the committed records of all canonical topics.
func (w *world) canonicalRecords() int {
	w.t.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(w.p.Brokers()...))
	if err != nil {
		w.t.Fatal(err)
	}
	defer cl.Close()
	admin := kadm.NewClient(cl)
	topics, err := admin.ListTopics(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	var names []string
	for _, name := range topics.Names() {
		if strings.HasPrefix(name, "canonical.") {
			names = append(names, name)
		}
	}
	ends, err := admin.ListCommittedOffsets(w.t.Context(), names...)
	if err != nil {
		w.t.Fatal(err)
	}
	left := map[string]map[int32]int64{}
	from := map[string]map[int32]kgo.Offset{}
	ends.Each(func(o kadm.ListedOffset) {
		if o.Offset > 0 {
			if left[o.Topic] == nil {
				left[o.Topic], from[o.Topic] = map[int32]int64{}, map[int32]kgo.Offset{}
			}
			left[o.Topic][o.Partition], from[o.Topic][o.Partition] = o.Offset, kgo.NewOffset().AtStart()
		}
	})
	reader, err := kgo.NewClient(kgo.SeedBrokers(w.p.Brokers()...), kgo.ConsumePartitions(from), kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.KeepControlRecords())
	if err != nil {
		w.t.Fatal(err)
	}
	defer reader.Close()
	ctx, cancel := context.WithTimeout(w.t.Context(), time.Minute)
	defer cancel()
	n := 0
	for len(left) > 0 {
		fetches := reader.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			w.t.Fatalf("counting canonical records: %v; left %v", err, left)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			if !r.Attrs.IsControl() {
				n++
			}
			if r.Offset+1 >= left[r.Topic][r.Partition] {
				delete(left[r.Topic], r.Partition)
				if len(left[r.Topic]) == 0 {
					delete(left, r.Topic)
				}
			}
		})
	}
	return n
}

// lastRecord returns the last record with a value of a topic.
func (w *world) lastRecord(topic string) workload.Record {
	w.t.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(w.p.Brokers()...), kgo.ConsumeTopics(topic))
	if err != nil {
		w.t.Fatal(err)
	}
	defer cl.Close()
	ends, err := kadm.NewClient(cl).ListEndOffsets(w.t.Context(), topic)
	if err != nil {
		w.t.Fatal(err)
	}
	left := 0
	ends.Each(func(o kadm.ListedOffset) { left += int(o.Offset) })
	var last workload.Record
	ctx, cancel := context.WithTimeout(w.t.Context(), time.Minute)
	defer cancel()
	for left > 0 {
		fetches := cl.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			w.t.Fatalf("reading %s: %v", topic, err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			left--
			if r.Value != nil {
				last = workload.Record{Topic: topic, Partition: r.Partition, Timestamp: time.Now().UnixMilli(), Key: r.Key, Value: r.Value}
			}
		})
	}
	return last
}
