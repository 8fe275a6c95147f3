// Package schemalog keeps the schema registry's log in Kafka: one partition
// of a compacted topic, as schemas/registry asks of a log.
package schemalog

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"syncline/schemas/registry"
)

// DefaultTopic is where schema registries usually keep their log. It must be
// this registry's alone: other makes write other records.
const DefaultTopic = "_schemas"

// Config says where the log is.
type Config struct {
	// Seeds are the brokers' addresses, as host:port.
	Seeds []string
	// Options go to the Kafka client beside the log's own, for TLS and login.
	Options []kgo.Opt
	// Topic is the topic's name; the default is DefaultTopic.
	Topic string
	// Replication is the number of copies of a topic that is created here;
	// the default, 0, leaves it to the broker.
	Replication int16
	// Logger is told when the topic is created; the default discards.
	Logger *slog.Logger
}

// Log implements [registry.Log]. It is safe for concurrent use.
type Log struct {
	topic  string
	client *kgo.Client
	admin  *kadm.Client

	mu  sync.Mutex // one reader at a time
	pos int64      // offset that the client fetches next, -1 if none is set
}

var _ registry.Log = (*Log)(nil)

// Open connects, creates the topic if there is none, and refuses one that
// could lose or reorder records: it must have one partition and be compacted
// and nothing else. Close the log after use.
func Open(ctx context.Context, cfg Config) (*Log, error) {
	if len(cfg.Seeds) == 0 {
		return nil, errors.New("opening the schema log: no broker address is given")
	}
	if cfg.Topic == "" {
		cfg.Topic = DefaultTopic
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Replication == 0 {
		cfg.Replication = -1
	}
	client, err := kgo.NewClient(append(slices.Clone(cfg.Options),
		kgo.SeedBrokers(cfg.Seeds...),
		kgo.RequiredAcks(kgo.AllISRAcks()),
		kgo.RecordPartitioner(kgo.ManualPartitioner()),
		// A record twice in the log is void the second time, while a request
		// that waits for ever is a registry that hangs.
		kgo.AllowIdempotentProduceCancellation(),
		// Records that are gone are an error, not a reason to start elsewhere.
		kgo.ConsumeResetOffset(kgo.NoResetOffset()),
		kgo.FetchIsolationLevel(kgo.ReadUncommitted()),
	)...)
	if err != nil {
		return nil, fmt.Errorf("opening the schema log: %w", err)
	}
	l := &Log{topic: cfg.Topic, client: client, admin: kadm.NewClient(client), pos: -1}
	err = l.ensureTopic(ctx, cfg)
	if err == nil {
		err = known(ctx, l.inspect)
	}
	if err == nil {
		err = known(ctx, l.ensureStart)
	}
	if err != nil {
		client.Close()
		return nil, fmt.Errorf("opening the schema log in topic %s: %w", cfg.Topic, err)
	}
	return l, nil
}

// known asks until the brokers know of a topic that may have been made just now,
// for half a minute.
func known(ctx context.Context, ask func(context.Context) error) error {
	const tries, most = 40, time.Second
	for try := 1; ; try++ {
		err := ask(ctx)
		if err == nil || !kerr.IsRetriable(err) || try == tries {
			return err
		}
		timer := time.NewTimer(min(time.Duration(try)*50*time.Millisecond, most))
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return errors.Join(err, ctx.Err())
		}
	}
}

// startKey begins the keys of the records that mark the log's beginning.
const startKey = "schemalog-start-"

// ensureStart gives an empty log a first record that no other replaces. Then
// compaction never moves the beginning, on any broker, and a log that does not
// begin where it did has lost records. Several openers may each write one.
func (l *Log) ensureStart(ctx context.Context) error {
	end, err := l.end(ctx)
	if err != nil {
		return fmt.Errorf("asking for its end: %w", err)
	}
	if end > 0 {
		return nil
	}
	return l.Append(ctx, []byte(startKey+rand.Text()), []byte{})
}

// Close lets go of the broker.
func (l *Log) Close() { l.client.Close() }

func (l *Log) ensureTopic(ctx context.Context, cfg Config) error {
	forever, compact, never := "-1", "compact", "false"
	_, err := l.admin.CreateTopic(ctx, 1, cfg.Replication, map[string]*string{
		"cleanup.policy":                 &compact,
		"retention.ms":                   &forever,
		"retention.bytes":                &forever,
		"unclean.leader.election.enable": &never,
	}, l.topic)
	switch {
	case err == nil:
		cfg.Logger.Info("schema topic created", "topic", l.topic)
	case !errors.Is(err, kerr.TopicAlreadyExists):
		return fmt.Errorf("creating it: %w", err)
	}
	return nil
}

// inspect refuses a topic that could lose or reorder records.
func (l *Log) inspect(ctx context.Context) error {
	topics, err := l.admin.ListTopics(ctx, l.topic)
	if err == nil {
		err = topics[l.topic].Err
	}
	if err != nil {
		return fmt.Errorf("describing it: %w", err)
	}
	if n := len(topics[l.topic].Partitions); n != 1 {
		return fmt.Errorf("it has %d partitions, and ids need one order: use a topic with one partition", n)
	}
	configs, err := l.admin.DescribeTopicConfigs(ctx, l.topic)
	if err != nil {
		return fmt.Errorf("reading its settings: %w", err)
	}
	described, err := configs.On(l.topic, nil)
	if err == nil {
		err = described.Err
	}
	if err != nil {
		return fmt.Errorf("reading its settings: %w", err)
	}
	for _, c := range described.Configs {
		if c.Key == "cleanup.policy" && c.MaybeValue() != "compact" {
			return fmt.Errorf("its cleanup.policy is %q, which drops old schemas: set it to compact", c.MaybeValue())
		}
	}
	return nil
}

// Append implements [registry.Log]: a nil error means that all in-sync copies
// have the record.
func (l *Log) Append(ctx context.Context, key, value []byte) error {
	err := l.client.ProduceSync(ctx, &kgo.Record{Topic: l.topic, Partition: 0, Key: key, Value: value}).FirstErr()
	if err != nil {
		return fmt.Errorf("writing to topic %s: %w", l.topic, err)
	}
	return nil
}

// Read implements [registry.Log]. The end is the high watermark at the time
// of the call; what has come after it and is at hand is read too. The client
// goes on fetching between calls, so following the log costs one question for
// its end.
func (l *Log) Read(ctx context.Context, from int64, fn func(key, value []byte) error) (int64, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	end, err := l.end(ctx)
	if err != nil {
		return from, fmt.Errorf("asking for the end of topic %s: %w", l.topic, err)
	}
	if end < from {
		return from, fmt.Errorf("topic %s ends at offset %d, but records up to %d have been read: it was emptied or made anew; restore it from a copy, or start the registry and everything that uses its ids afresh", l.topic, end, from)
	}
	if end == from {
		return from, nil
	}
	if l.pos != from {
		l.seek(from)
	}
	next, err := l.poll(ctx, from, end, fn)
	if err != nil {
		l.seek(-1)
		return next, err
	}
	l.pos = next
	return next, nil
}

// poll reads until it has passed end. The last record of a compacted topic is
// the newest of its key and, as none here is a tombstone, is always there.
func (l *Log) poll(ctx context.Context, next, end int64, fn func(key, value []byte) error) (int64, error) {
	for next < end {
		fetches := l.client.PollFetches(ctx)
		if err := ctx.Err(); err != nil {
			return next, fmt.Errorf("reading topic %s from offset %d: %w", l.topic, next, err)
		}
		for _, failed := range fetches.Errors() {
			return next, fmt.Errorf("reading topic %s from offset %d: %w", l.topic, next, failed.Err)
		}
		for iter := fetches.RecordIter(); !iter.Done(); {
			rec := iter.Next()
			if rec.Offset < next {
				continue
			}
			if !bytes.HasPrefix(rec.Key, []byte(startKey)) {
				if err := fn(rec.Key, rec.Value); err != nil {
					return rec.Offset, err //nolint:wrapcheck // the caller's own
				}
			}
			next = rec.Offset + 1
		}
	}
	return next, nil
}

// seek makes the client fetch from an offset on, or stop fetching (-1).
func (l *Log) seek(offset int64) {
	l.client.RemoveConsumePartitions(map[string][]int32{l.topic: {0}})
	if offset >= 0 {
		l.client.AddConsumePartitions(map[string]map[int32]kgo.Offset{l.topic: {0: kgo.NewOffset().At(offset)}})
	}
	l.pos = offset
}

func (l *Log) end(ctx context.Context) (int64, error) {
	listed, err := l.admin.ListEndOffsets(ctx, l.topic)
	if err != nil {
		return 0, err //nolint:wrapcheck // wrapped by Read
	}
	o, ok := listed.Lookup(l.topic, 0)
	if !ok {
		return 0, errors.New("the topic is not there")
	}
	return o.Offset, o.Err
}
