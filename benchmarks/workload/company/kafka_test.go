package company

import (
	"bytes"
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"syncline/benchmarks/workload"
	"syncline/deploy/local/kafkatest"
)

// TestKafkaHasWhatWasGenerated writes a small company, oversized records and all,
// and reads every partition back.
func TestKafkaHasWhatWasGenerated(t *testing.T) {
	brokers, _ := kafkatest.Start(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	c := Config{Seed: 17, Accounts: 120, Transport: &Transport{Redelivered: 0.1, RewindLength: 20, Poison: 0.01, Oversized: 0.002}}
	to, err := workload.NewKafka(workload.KafkaOptions{Brokers: []string{brokers}, LZ4: true})
	if err != nil {
		t.Fatal(err)
	}
	defer to.Close()
	g := generate(t, c)
	n, err := g.Write(ctx, nil, to)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string][]workload.Record{}
	for _, r := range drain(generate(t, c)) {
		at := fmt.Sprint(r.Topic, "/", r.Partition)
		want[at] = append(want[at], r)
	}
	reader, err := kgo.NewClient(kgo.SeedBrokers(brokers), kgo.ConsumeTopics(g.Topics()...), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	for left := n; left > 0; {
		fetches := reader.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			t.Fatalf("%d of %d records not read: %v", left, n, err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			left--
			at := fmt.Sprint(r.Topic, "/", r.Partition)
			if len(want[at]) == 0 {
				t.Fatalf("more records in %s than were made", at)
			}
			w := want[at][0]
			want[at] = want[at][1:]
			if !bytes.Equal(r.Key, w.Key) || !bytes.Equal(r.Value, w.Value) || (r.Value == nil) != (w.Value == nil) || r.Timestamp.UnixMilli() != w.Timestamp {
				t.Fatalf("%s, offset %d: not the record that was made", at, r.Offset)
			}
		})
	}
	if g.cases[CaseOversized] == 0 {
		t.Error("no oversized record was among them")
	}
}
