package workload

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"syncline/deploy/local/kafkatest"
)

func TestKafkaKeepsPartitionsOrderTimesAndTombstones(t *testing.T) {
	brokers, _ := kafkatest.Start(t)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	to, err := NewKafka(KafkaOptions{Brokers: []string{brokers}, LZ4: true})
	if err != nil {
		t.Fatal(err)
	}
	defer to.Close()
	if err := to.CreateTopics(ctx, []string{"cdc.a"}, Partitions); err != nil {
		t.Fatal(err)
	}
	if err := to.CreateTopics(ctx, []string{"cdc.a", "cdc.b"}, Partitions); err != nil {
		t.Fatalf("creating again: %v", err)
	}
	if err := to.CreateTopics(ctx, []string{"cdc.a"}, 3); err == nil || !strings.Contains(err.Error(), "has 4 partitions") {
		t.Errorf("another partition count: got %v", err)
	}
	const n = 1000
	for i := range n {
		r := Record{Topic: "cdc.a", Partition: int32(i % Partitions), Timestamp: int64(1000 + i), Key: []byte("k"), Value: fmt.Append(nil, i), Headers: []Header{{Key: "h", Value: []byte("v")}}}
		if i%10 == 0 {
			r.Value = nil
		}
		if i == 7 {
			r.Value = make([]byte, 2<<20)
		}
		if err := to.Produce(ctx, r); err != nil {
			t.Fatal(err)
		}
	}
	if err := to.Flush(ctx); err != nil {
		t.Fatal(err)
	}
	if to.Acknowledged() != n {
		t.Errorf("%d acknowledged, want %d", to.Acknowledged(), n)
	}
	reader, err := kgo.NewClient(kgo.SeedBrokers(brokers), kgo.ConsumeTopics("cdc.a"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchMaxPartitionBytes(8<<20))
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	next := [Partitions]int{0, 1, 2, 3}
	for got := 0; got < n; {
		fetches := reader.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			t.Fatal(err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			i := next[r.Partition]
			next[r.Partition] += Partitions
			got++
			want := fmt.Sprint(i)
			switch {
			case i == 7:
				want = string(make([]byte, 2<<20))
			case i%10 == 0:
				want = ""
			}
			if string(r.Value) != want || (r.Value == nil) != (i%10 == 0) || r.Timestamp.UnixMilli() != int64(1000+i) || len(r.Headers) != 1 {
				t.Errorf("partition %d: got %.20q at %d, want record %d", r.Partition, r.Value, r.Timestamp.UnixMilli(), i)
			}
		})
	}
}

func TestKafkaReportsAFailedRecord(t *testing.T) {
	brokers, _ := kafkatest.Start(t)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	to, err := NewKafka(KafkaOptions{Brokers: []string{brokers}})
	if err != nil {
		t.Fatal(err)
	}
	defer to.Close()
	if err := to.CreateTopics(ctx, []string{"cdc.a"}, Partitions); err != nil {
		t.Fatal(err)
	}
	if err := to.Produce(ctx, Record{Topic: "cdc.a", Key: []byte("k"), Value: make([]byte, MaxRecordBytes+1)}); err != nil {
		t.Fatal(err)
	}
	if err := to.Flush(ctx); err == nil || !strings.Contains(err.Error(), "cdc.a/0") {
		t.Errorf("got %v, want the failure of cdc.a/0", err)
	}
}

func TestPacerHoldsItsRate(t *testing.T) {
	p := newPacer(1000)
	start := time.Now()
	for range 101 {
		if err := p.wait(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if took := time.Since(start); took < 95*time.Millisecond {
		t.Errorf("101 records at 1,000 a second took %v", took)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	slow := newPacer(0.001)
	if err := slow.wait(ctx); err != nil {
		t.Fatal(err)
	}
	if err := slow.wait(ctx); err == nil {
		t.Error("waiting went on after the context ended")
	}
}
