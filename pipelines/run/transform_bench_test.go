package run

import (
	"context"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"syncline/schemas/change"
)

// The figures are CPU of this process per record. On kfake the broker runs in
// the same process and is in them; on real Kafka (SYNCLINE_KAFKA=real) it is
// not. Compare the two benchmarks, not one with another day's.

func cpuTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

const benchRecords = 200_000

func benchWorld(b *testing.B) (*world, string) {
	b.Helper()
	w := newWorld(b)
	in := w.create("in", toyPartitions)
	recs := make([]*kgo.Record, 0, 10_000)
	value := make([]byte, 280)
	for i := range benchRecords {
		for j := 0; j < len(value); j += 8 {
			value[j] = byte(i >> (j % 24)) // neither constant nor random, as rows are
		}
		key := []byte{'k', byte(i), byte(i >> 8), byte(i >> 16)}
		recs = append(recs, &kgo.Record{Topic: in, Partition: PartitionOf(key, toyPartitions), Key: key, Value: slices.Clone(value)})
		if len(recs) == cap(recs) {
			w.produceRecords(recs...)
			recs = recs[:0]
		}
	}
	return w, in
}

// passThrough emits what it gets; it clones nothing, as the bytes live as long
// as the transaction.
type passThrough struct{ out string }

func (p *passThrough) Process(m *Message, out Emitter) change.Verdict {
	out.Emit(p.out, m.Key, m.Key, m.Value)
	return change.Verdict{}
}
func (p *passThrough) Flush(Emitter) error                { return nil }
func (p *passThrough) Advance(int, Emitter) (bool, error) { return false, nil }
func (p *passThrough) Reset()                             {}

func BenchmarkTransformPassThrough(b *testing.B) {
	benchTransform(b, func(hop Hop) func(TaskInfo) (Task, error) {
		return func(TaskInfo) (Task, error) { return &passThrough{out: hop.Outputs[0].Name}, nil }
	})
}

// BenchmarkTransformCount has one read, one write of state and one output per
// record, every key new.
func BenchmarkTransformCount(b *testing.B) {
	benchTransform(b, func(hop Hop) func(TaskInfo) (Task, error) { return hop.NewTask })
}

func benchTransform(b *testing.B, task func(Hop) func(TaskInfo) (Task, error)) {
	for range b.N {
		w, in := benchWorld(b)
		hop := w.countHop(in, nil)
		hop.NewTask = task(hop)
		cfg := w.config()
		cfg.Debug, cfg.Compression = false, "none"
		tr, err := NewTransform(cfg, []Hop{hop})
		if err != nil {
			b.Fatal(err)
		}
		ctx, cancel := context.WithCancel(b.Context())
		done := make(chan error, 1)
		cpu, start := cpuTime(), time.Now()
		go func() { done <- tr.Run(ctx) }()
		for records := int64(0); records < benchRecords; {
			<-time.After(10 * time.Millisecond)
			records = 0
			for _, h := range tr.Status().Hops {
				for _, t := range h.Tasks {
					records += t.Records
				}
			}
		}
		report(b, cpu, start)
		b.ReportMetric(float64(benchRecords)/float64(tr.Status().Hops[0].Committed), "records/txn")
		cancel()
		if err := <-done; err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkRawLoop is poll, produce, End with kgo's own session and nothing
// else: the floor that the engine is measured against.
func BenchmarkRawLoop(b *testing.B) {
	for range b.N {
		w, in := benchWorld(b)
		out := w.create("raw-out", toyPartitions)
		cpu, start := cpuTime(), time.Now()
		s, err := kgo.NewGroupTransactSession(
			kgo.SeedBrokers(w.brokers...), kgo.TransactionalID(w.name+".raw"), kgo.ConsumerGroup(w.name+".raw"),
			kgo.ConsumeTopics(in), kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.ConsumeStartOffset(kgo.NewOffset().AtStart()),
			kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerBatchCompression(kgo.NoCompression()),
			kgo.FetchMaxBytes(16<<20), kgo.MaxBufferedRecords(1<<20), kgo.DisableClientMetrics(),
		)
		if err != nil {
			b.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(b.Context(), 2*time.Minute)
		transactions := 0
		for records := 0; records < benchRecords; {
			fetches := s.PollFetches(ctx)
			if err := fetches.Err(); err != nil {
				b.Fatal(err)
			}
			if err := s.Begin(); err != nil {
				b.Fatal(err)
			}
			n := 0
			fetches.EachRecord(func(r *kgo.Record) {
				s.Produce(ctx, &kgo.Record{Topic: out, Partition: r.Partition, Key: r.Key, Value: r.Value}, nil)
				n++
			})
			committed, err := s.End(ctx, kgo.TryCommit)
			if err != nil {
				b.Fatal(err)
			}
			if committed {
				records += n
			}
			transactions++
		}
		report(b, cpu, start)
		b.ReportMetric(float64(benchRecords)/float64(transactions), "records/txn")
		cancel()
		s.Close()
	}
}

func report(b *testing.B, cpu time.Duration, start time.Time) {
	b.Helper()
	b.ReportMetric(float64((cpuTime()-cpu).Nanoseconds())/benchRecords, "cpu-ns/record")
	b.ReportMetric(benchRecords/time.Since(start).Seconds(), "records/s")
}
