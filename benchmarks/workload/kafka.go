package workload

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// MaxRecordBytes is what topics of a workload let through: room for records
// that are over the limit of the pipelines, for those must become letters and
// not be stopped by the broker.
const MaxRecordBytes = 4 << 20

// brokersDefault asks for as many copies of a topic as the brokers make of
// themselves.
const brokersDefault = -1

// KafkaOptions steer NewKafka.
type KafkaOptions struct {
	Brokers []string
	// LZ4 compresses batches; without it they go as they are.
	LZ4 bool
	// Rate is the greatest number of records a second; 0 has no limit.
	Rate float64
	// Progress is called with the number of records acknowledged, from time to
	// time and from the client's goroutine, if set.
	Progress func(acknowledged int64)
	// Client has further options for the client (TLS, a dialer in tests).
	Client []kgo.Opt
}

// Kafka produces into Kafka: exact partitions, idempotent, acknowledged by all
// in-sync replicas, so that a partition's order holds through retries. Use it
// from one goroutine.
type Kafka struct {
	client   *kgo.Client
	admin    *kadm.Client
	pace     *pacer
	progress func(int64)
	acked    atomic.Int64

	mu    sync.Mutex
	first error // first failure of a record
}

// NewKafka connects lazily; the caller closes.
func NewKafka(opts KafkaOptions) (*Kafka, error) {
	compression := kgo.NoCompression()
	if opts.LZ4 {
		compression = kgo.Lz4Compression()
	}
	client, err := kgo.NewClient(append([]kgo.Opt{
		kgo.SeedBrokers(opts.Brokers...),
		kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.RequiredAcks(kgo.AllISRAcks()),
		kgo.ProducerBatchCompression(compression),
		kgo.ProducerBatchMaxBytes(MaxRecordBytes),
		kgo.MaxBufferedBytes(64 << 20),
		// A topic just created is not known to every part of a broker at once.
		kgo.UnknownTopicRetries(100),
	}, opts.Client...)...)
	if err != nil {
		return nil, fmt.Errorf("making Kafka client for %v: %w", opts.Brokers, err)
	}
	return &Kafka{client: client, admin: kadm.NewClient(client), pace: newPacer(opts.Rate), progress: opts.Progress}, nil
}

// Close ends the connection. Records that were not flushed may be lost.
func (k *Kafka) Close() { k.client.Close() }

// CreateTopics implements Producer.
func (k *Kafka) CreateTopics(ctx context.Context, topics []string, partitions int32) error {
	// Records have the times of their feed, which are long past: a broker that
	// keeps a week would throw them away.
	size, forEver := strconv.Itoa(MaxRecordBytes), "-1"
	answers, err := k.admin.CreateTopics(ctx, partitions, brokersDefault, map[string]*string{"max.message.bytes": &size, "retention.ms": &forEver}, topics...)
	if err != nil {
		return fmt.Errorf("creating %d topics: %w", len(topics), err)
	}
	var existing []string
	for _, a := range answers.Sorted() {
		switch {
		case errors.Is(a.Err, kerr.TopicAlreadyExists):
			existing = append(existing, a.Topic)
		case a.Err != nil:
			return fmt.Errorf("creating topic %s: %w", a.Topic, a.Err)
		}
	}
	if len(existing) == 0 {
		return nil
	}
	details, err := k.admin.ListTopics(ctx, existing...)
	if err != nil {
		return fmt.Errorf("looking at topics that exist: %w", err)
	}
	for _, d := range details.Sorted() {
		if d.Err != nil {
			return fmt.Errorf("looking at topic %s: %w", d.Topic, d.Err)
		}
		if len(d.Partitions) != int(partitions) {
			return fmt.Errorf("topic %s has %d partitions where the workload needs %d; delete it or use another prefix", d.Topic, len(d.Partitions), partitions)
		}
	}
	return nil
}

// Produce implements Producer. It blocks while 64 MiB wait for the broker.
func (k *Kafka) Produce(ctx context.Context, r Record) error {
	if err := k.failure(); err != nil {
		return err
	}
	if err := k.pace.wait(ctx); err != nil {
		return err
	}
	rec := &kgo.Record{Topic: r.Topic, Partition: r.Partition, Key: r.Key, Value: r.Value}
	// The record keeps the time of its source; kgo sets it only where it is zero.
	rec.Timestamp = time.UnixMilli(r.Timestamp)
	for _, h := range r.Headers {
		rec.Headers = append(rec.Headers, kgo.RecordHeader{Key: h.Key, Value: h.Value})
	}
	k.client.Produce(ctx, rec, k.done)
	return nil
}

func (k *Kafka) done(r *kgo.Record, err error) {
	if err != nil {
		k.mu.Lock()
		if k.first == nil {
			k.first = fmt.Errorf("writing to %s/%d: %w", r.Topic, r.Partition, err)
		}
		k.mu.Unlock()
		return
	}
	if n := k.acked.Add(1); k.progress != nil && n%1000 == 0 {
		k.progress(n)
	}
}

func (k *Kafka) failure() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.first
}

// Acknowledged returns how many records the broker has.
func (k *Kafka) Acknowledged() int64 { return k.acked.Load() }

// Flush implements Producer.
func (k *Kafka) Flush(ctx context.Context) error {
	if err := k.client.Flush(ctx); err != nil {
		return fmt.Errorf("flushing: %w", err)
	}
	if k.progress != nil {
		k.progress(k.acked.Load())
	}
	return k.failure()
}
